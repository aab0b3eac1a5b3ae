//! Products of 1 to 8 rows: by large packed weights, where reading B from L2, L3 or memory takes most of the time; and
//! by a B that is not packed, as in attention, where B changes with each token.

use crate::data::{self, Operands, Shape};
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::U8;
use qgemm::{Gemm, MatRef, reference};
use std::hint::black_box;

/// M, K, N: one row with a B of 0.4 MB, 16 MB and 45 MB, then more rows.
const SHAPES: [Shape; 6] =
    [[1, 640, 640], [1, 4096, 4096], [1, 4096, 11008], [2, 4096, 4096], [4, 4096, 4096], [8, 4096, 4096]];

/// M, K, N of attention of one token over 2,048 others (the scores, then the values, for one head and for four heads
/// that share keys), then larger ones.
const UNPACKED: [Shape; 6] =
    [[1, 128, 2048], [1, 2048, 128], [4, 128, 2048], [4, 2048, 128], [1, 1024, 1024], [1, 4096, 4096]];

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
    for shape in UNPACKED {
        let name = data::name(shape);
        let operands = Operands::new(shape);
        let transposed = MatRef::col_major(&operands.b, shape[1], shape[2]).unwrap();
        for (kind, b) in [("unpacked", operands.b()), ("unpacked_transposed", transposed)] {
            let product = Gemm::new(operands.a(), b);
            let mut c = vec![0i32; shape[0] * shape[2]];
            product.run_i32(data::output(&mut c, shape)).unwrap();
            data::check(&name, shape, &operands.a, &c, |a, c| reference::run_i32(&Gemm::new(a, b), c));
            group.throughput(Throughput::Elements(data::macs(shape)));
            group.bench_function(BenchmarkId::new(kind, &name), |bench| {
                bench.iter(|| product.run_i32(data::output(black_box(&mut c), shape)).unwrap());
            });
        }
    }
    group.finish();
}
