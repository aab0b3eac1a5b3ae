//! Threads: any number of them computes the same, they share what is packed, and products nest.

use crate::spec;
use crate::support::{Fill, Layout, Matrix, each_kernel, scale};
use qgemm::{Dequantize, ElementType, Gemm, MatMut, PackedB, Requantize, Rhs};
use rayon::prelude::*;

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Operands of a product that is worth several threads.
struct Operands {
    a: Matrix<i8>,
    b: Matrix<u8>,
    a_zero: Vec<i32>,
    b_zero: Vec<i32>,
    bias: Vec<i32>,
}

impl Operands {
    fn new((m, n, k): (usize, usize, usize), seed: u64) -> Self {
        let near = |i: i32| i % 300 - 150;
        Self {
            a: Matrix::filled(m, k, Layout::INNER, Fill::Random, seed),
            b: Matrix::filled(k, n, Layout::ROWS, Fill::Mixed, seed + 1),
            a_zero: (0..m as i32).map(near).collect(),
            b_zero: (0..n as i32).map(near).collect(),
            bias: (0..n as i32).map(|j| j * 12_345 - 100_000).collect(),
        }
    }

    fn gemm<'a>(&'a self, b: impl Into<Rhs<'a>>) -> Gemm<'a> {
        Gemm::new(self.a.view(), b)
            .a_zero(&self.a_zero)
            .b_zero(&self.b_zero)
            .bias(&self.bias)
            .threads(qgemm::Threads::ALL.eager())
    }

    fn sums(&self) -> Vec<Vec<i128>> {
        spec::sums(&self.a, &self.b, |i| self.a_zero[i], |j| self.b_zero[j], |j| self.bias[j])
    }
}

/// Sums, bytes and reals, several of each.
type Outputs = (Vec<Matrix<i32>>, Vec<Matrix<i8>>, Vec<Matrix<f32>>);

/// Everything that a product can store, gaps included, in all of C's layouts.
fn outputs(gemm: &Gemm<'_>, (m, n): (usize, usize)) -> Outputs {
    let (mut sums, mut bytes, mut reals) = (Vec::new(), Vec::new(), Vec::new());
    for layout in [Layout::INNER, Layout::COLS] {
        let mut c = Matrix::random(m, n, layout, 1);
        c.with_mut(|c| gemm.run_i32(c)).unwrap();
        sums.push(c.clone());
        c.with_mut(|c| gemm.accumulate_i32(c)).unwrap();
        sums.push(c);
        let mut c = Matrix::random(m, n, layout, 2);
        let output = Requantize::new(1e-4, 1).unwrap();
        c.with_mut(|c| gemm.run_requantized(c, output)).unwrap();
        bytes.push(c);
        let mut c = Matrix::random(m, n, layout, 3);
        c.with_mut(|c| gemm.run_f32(c, Dequantize::new(0.1).unwrap())).unwrap();
        reals.push(c);
    }
    (sums, bytes, reals)
}

#[test]
fn results_are_the_same_for_any_number_of_threads() {
    // Each is worth five threads (2^19 multiply-adds apiece) or more: of a size that divides by nothing,
    // cut by rows, by columns, and with K split.
    let mut shapes = vec![(151, 149, 131), (709, 41, 97), (5, 1999, 301), (9, 23, 33_000)];
    let mut kernels = each_kernel();
    if scale() < 100 {
        shapes = shapes[1..3].to_vec();
        kernels.drain(..kernels.len() - 1);
    }
    let pools = [1, 2, 3, 5].map(pool);
    for shape in shapes {
        let operands = Operands::new(shape, 1);
        // A zero point this far makes the sums 64 bits wide.
        let mut wide = Operands::new(shape, 1);
        wide.a_zero[0] = i32::MIN;
        for (operands, wide) in [(&operands, false), (&wide, true)] {
            let (m, n) = (shape.0, shape.1);
            let exact = operands.sums();
            // Where threads cut a product is not the kernel's affair: all of them at one size.
            let some = if shape.0 == 151 { &kernels[..] } else { &kernels[kernels.len() - 1..] };
            for (kernel, dispatch) in some {
                let packed = PackedB::pack_with(dispatch, operands.b.view(), ElementType::I8).unwrap();
                let (packed, plain) =
                    (operands.gemm(&packed), operands.gemm(operands.b.view()).dispatch(dispatch));
                let alone = pools[0].install(|| outputs(&packed, (m, n)));
                for (c, times) in alone.0.iter().zip([1, 2, 1, 2]) {
                    let right = |i: usize, j: usize| c.at(i, j) == (times * exact[i][j]) as i32;
                    assert!((0..m).all(|i| (0..n).all(|j| right(i, j))), "{} {shape:?}", kernel.name);
                }
                for pool in &pools[1..] {
                    let threads = pool.current_num_threads();
                    let what = format!("{} {shape:?}, wide: {wide}, {threads} threads", kernel.name);
                    for gemm in [&packed, &plain] {
                        let together = pool.install(|| outputs(gemm, (m, n)));
                        together.0.iter().zip(&alone.0).for_each(|(c, want)| c.assert_same(want, &what));
                        together.1.iter().zip(&alone.1).for_each(|(c, want)| c.assert_same(want, &what));
                        together.2.iter().zip(&alone.2).for_each(|(c, want)| c.assert_same(want, &what));
                    }
                }
            }
        }
    }
}

/// A product of i8 by u8 with its exact sums modulo 2^32.
fn right(operands: &Operands) -> Vec<i32> {
    operands.sums().iter().flatten().map(|sum| *sum as i32).collect()
}

fn run(gemm: &Gemm<'_>, (m, n): (usize, usize)) -> Vec<i32> {
    let mut c = vec![0; m * n];
    gemm.run_i32(MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
    c
}

#[test]
fn many_threads_share_one_packed_matrix() {
    // Rows from one to enough for the threads to split their products in the pool that all share; the
    // same B for all.
    let (n, k) = (140, 150);
    let products = [1, 3, 40, 150].map(|m| Operands::new((m, n, k), 1));
    let packed = PackedB::pack_for(products[0].b.view(), ElementType::I8).unwrap();
    let wants: Vec<_> = products.iter().map(right).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (packed, products, wants) = (&packed, &products, &wants);
            scope.spawn(move || {
                for turn in 0..if scale() < 100 { 2 } else { 20 } {
                    let at = (thread + turn) % products.len();
                    let operands = &products[at];
                    assert_eq!(run(&operands.gemm(packed), (operands.a.rows, n)), wants[at], "{at}");
                }
            });
        }
    });
}

#[test]
fn products_inside_tasks_of_a_pool_are_right() {
    let shape = (120, 110, 100);
    let operands = Operands::new(shape, 5);
    let packed = PackedB::pack_for(operands.b.view(), ElementType::I8).unwrap();
    let want = right(&operands);
    let both = || {
        assert_eq!(run(&operands.gemm(&packed), (shape.0, shape.1)), want);
        // A task that this thread takes on while it waits may pack a B of its own meanwhile.
        assert_eq!(run(&operands.gemm(operands.b.view()), (shape.0, shape.1)), want);
    };
    let tasks = if scale() < 100 { 3 } else { 24 };
    let (outer, inner) = (pool(3), pool(2));
    outer.install(|| (0..tasks).into_par_iter().for_each(|_| both()));
    outer.install(|| rayon::join(both, || rayon::join(both, both)));
    outer.scope(|scope| (0..tasks).for_each(|_| scope.spawn(|_| both())));
    // In a pool from within another, and in none.
    outer.install(|| (0..3).into_par_iter().for_each(|_| inner.install(both)));
    (0..3).into_par_iter().for_each(|_| both());
    both();
    outer.broadcast(|_| qgemm::release_thread_memory());
    outer.install(both);
}
