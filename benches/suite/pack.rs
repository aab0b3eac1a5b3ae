//! Packing of B, row-major (K×N) and given as its transpose (N×K), beside copying it.

use crate::data::Operands;
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::{I8, U8};
use qgemm::{ElementType, MatRef, PackedB};
use std::hint::black_box;

/// K and N.
const SHAPES: [[usize; 2]; 4] = [[64, 64], [768, 768], [1024, 1000], [4096, 4096]];

pub fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("pack");
    for [k, n] in SHAPES {
        let name = format!("{k}x{n}");
        let operands = Operands::new([1, k, n]);
        group.throughput(Throughput::Elements((k * n) as u64));
        group.bench_function(BenchmarkId::new("copy", &name), |bench| {
            bench.iter(|| black_box(&operands.b).clone());
        });
        let (row_major, transposed) = (operands.b(), MatRef::col_major(&operands.b, k, n).unwrap());
        let cases: [(&str, MatRef<'_, i8>, ElementType); 3] =
            [("KxN", row_major, U8), ("KxN_for_i8", row_major, I8), ("NxK", transposed, U8)];
        for (case, view, activations) in cases {
            check(&PackedB::pack_for(view, activations).unwrap(), view);
            group.bench_function(BenchmarkId::new(case, &name), |bench| {
                bench.iter(|| PackedB::pack_for(black_box(view), activations).unwrap());
            });
        }
    }
    group.finish();
}

/// Compares the packed elements of the last row, of the last column and of the diagonal with those of `view`.
///
/// # Panics
/// If one differs.
fn check(packed: &PackedB, view: MatRef<'_, i8>) {
    let (k, n) = (view.rows(), view.cols());
    let edges = (0..n).map(|j| (k - 1, j)).chain((0..k).map(|i| (i, n - 1)));
    for (i, j) in edges.chain((0..k.min(n)).map(|i| (i, i))) {
        assert_eq!(packed.get(i, j), view.get(i, j).map(|&b| i32::from(b)), "element {i}, {j}");
    }
}
