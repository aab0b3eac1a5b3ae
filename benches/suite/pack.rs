//! Packing of B, as it lies (K×N) and transposed (N×K), next to copying it.

use crate::data::Operands;
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::{I8, U8};
use qgemm::{ElementType, MatRef, PackedB};
use std::hint::black_box;

/// K, N.
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
        let (as_it_lies, transposed) = (operands.b(), MatRef::col_major(&operands.b, k, n).unwrap());
        let cases: [(&str, MatRef<'_, i8>, ElementType); 3] =
            [("KxN", as_it_lies, U8), ("KxN_for_i8", as_it_lies, I8), ("NxK", transposed, U8)];
        for (case, view, activations) in cases {
            check(&PackedB::pack(view, activations).unwrap(), view);
            group.bench_function(BenchmarkId::new(case, &name), |bench| {
                bench.iter(|| PackedB::pack(black_box(view), activations).unwrap());
            });
        }
    }
    group.finish();
}

/// # Panics
/// If an element of the last row, of the last column or of the diagonal is not what was packed.
fn check(packed: &PackedB, view: MatRef<'_, i8>) {
    let (k, n) = (view.rows(), view.cols());
    let edges = (0..n).map(|j| (k - 1, j)).chain((0..k).map(|i| (i, n - 1)));
    for (i, j) in edges.chain((0..k.min(n)).map(|i| (i, i))) {
        assert_eq!(packed.get(i, j), view.get(i, j).map(|&b| i32::from(b)), "element {i}, {j}");
    }
}
