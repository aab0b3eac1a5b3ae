//! Products of many rows with i32 output: the speed of the kernels and of the loops around them.

use crate::data::{self, Operands, Shape};
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::{I8, U8};
use qgemm::{Gemm, reference};
use std::hint::black_box;

/// Square, wide, tall, with a long K, odd, small.
const SHAPES: [Shape; 6] =
    [[512, 512, 512], [128, 768, 3072], [3136, 64, 64], [49, 4608, 512], [127, 129, 131], [64, 64, 64]];

pub fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    for shape in SHAPES {
        let name = data::name(shape);
        let operands = Operands::new(shape);
        let mut c = vec![0i32; shape[0] * shape[2]];
        group.throughput(Throughput::Elements(data::macs(shape)));

        let packed = operands.packed(U8);
        let products = [
            ("u8s8s32", Gemm::new(operands.a(), &packed)),
            // B is not packed ahead, so packing is timed.
            ("u8s8s32_dynb", Gemm::new(operands.a(), operands.b())),
        ];
        for (variant, product) in products {
            product.run_i32(data::output(&mut c, shape)).unwrap();
            data::check(&name, shape, &operands.a, &c, |a, c| {
                reference::run_i32(&Gemm::new(a, operands.b()), c)
            });
            group.bench_function(BenchmarkId::new(variant, &name), |bench| {
                bench.iter(|| product.run_i32(data::output(black_box(&mut c), shape)).unwrap());
            });
        }

        let packed = operands.packed(I8);
        let product = Gemm::new(operands.a_signed(), &packed);
        product.run_i32(data::output(&mut c, shape)).unwrap();
        data::check(&name, shape, &operands.a_signed, &c, |a, c| {
            reference::run_i32(&Gemm::new(a, operands.b()), c)
        });
        group.bench_function(BenchmarkId::new("s8s8s32", &name), |bench| {
            bench.iter(|| product.run_i32(data::output(black_box(&mut c), shape)).unwrap());
        });
    }
    group.finish();
}
