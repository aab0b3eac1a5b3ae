//! One row and a few rows against large weights: bound by reading B, from L2, L3 and memory.

use crate::data::{self, Operands, Shape};
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::U8;
use qgemm::{Gemm, reference};
use std::hint::black_box;

/// With B of 0.4 MB, of 16 MB, of 45 MB; then with more rows.
const SHAPES: [Shape; 6] =
    [[1, 640, 640], [1, 4096, 4096], [1, 4096, 11008], [2, 4096, 4096], [4, 4096, 4096], [8, 4096, 4096]];

pub fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemv");
    for shape in SHAPES {
        let name = data::name(shape);
        let operands = Operands::new(shape);
        let packed = operands.packed(U8);
        let product = Gemm::new(operands.a(), &packed);
        let mut c = vec![0i32; shape[0] * shape[2]];
        product.run_i32(data::output(&mut c, shape)).unwrap();
        data::check(&name, shape, &operands.a, &c, |a, c| reference::run_i32(&Gemm::new(a, operands.b()), c));
        group.throughput(Throughput::Elements(data::macs(shape)));
        group.bench_function(BenchmarkId::new("u8s8s32", &name), |bench| {
            bench.iter(|| product.run_i32(data::output(black_box(&mut c), shape)).unwrap());
        });
    }
    group.finish();
}
