//! Load: many threads on the same weights, inside each other, and beside threads that end or panic.
//!
//! `QGEMM_LOAD_SECONDS` says how long each part runs; 1 if it is not set.
#![cfg(feature = "rayon")]

use qgemm::{Dequantize, DynamicGemm, ElementType, Gemm, MatMut, MatRef, PackedB, Threads};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const K: usize = 200;
const N: usize = 150;

fn end() -> Instant {
    let seconds = match std::env::var("QGEMM_LOAD_SECONDS") {
        Ok(seconds) => seconds.parse().expect("QGEMM_LOAD_SECONDS must be a number"),
        Err(_) => 1.0,
    };
    Instant::now() + Duration::from_secs_f64(seconds)
}

fn value(i: usize) -> i8 {
    ((i as u32).wrapping_mul(0x9e37_79b1) >> 13) as i8
}

/// Weights, and rows whose products with them are known.
struct Layer {
    packed: PackedB,
    a: Vec<i8>,
    sums: Vec<i32>,
    /// A row whose greatest magnitude is 127, so that it is quantized to itself.
    x: Vec<f32>,
    float_sums: Vec<f32>,
}

/// The most rows of a product.
const ROWS: usize = 90;

impl Layer {
    fn new() -> Self {
        let b: Vec<i8> = (0..K * N).map(value).collect();
        let a: Vec<i8> = (0..ROWS * K).map(|i| value(i + 77)).collect();
        let sum =
            |i: usize, j: usize| (0..K).map(|k| i32::from(a[i * K + k]) * i32::from(b[k * N + j])).sum();
        let sums = (0..ROWS * N).map(|at| sum(at / N, at % N)).collect();
        let x: Vec<f32> = (0..K).map(|k| if k == 0 { 127.0 } else { f32::from(a[k].max(-127)) }).collect();
        let float_sum = |j: usize| (0..K).map(|k| x[k] * f32::from(b[k * N + j])).sum();
        let float_sums = (0..N).map(float_sum).collect();
        let packed = PackedB::pack_for(MatRef::row_major(&b, K, N).unwrap(), ElementType::I8).unwrap();
        Self { packed, a, sums, x, float_sums }
    }

    /// A product of so many rows, and a float one, which are compared with what they must be. Even numbers of rows are
    /// shared with other threads wherever that is possible, others where it gains time.
    fn check(&self, m: usize) {
        let a = MatRef::row_major(&self.a[..m * K], m, K).unwrap();
        let mut c = vec![0; m * N];
        let threads = if m.is_multiple_of(2) { Threads::ALL.eager() } else { Threads::ALL };
        Gemm::new(a, &self.packed)
            .threads(threads)
            .run_i32(MatMut::row_major(&mut c, m, N).unwrap())
            .unwrap();
        assert!(c == self.sums[..m * N], "{m} rows");
        let (mut y, x) = (vec![0.0; N], MatRef::row_major(&self.x, 1, K).unwrap());
        DynamicGemm::new(x, &self.packed)
            .run_f32(MatMut::row_major(&mut y, 1, N).unwrap(), Dequantize::dynamic(1.0).unwrap())
            .unwrap();
        assert!(y == self.float_sums, "{y:?}");
    }
}

#[test]
fn many_threads_of_both_kinds_share_weights() {
    let (layer, end, products) = (Layer::new(), end(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let (layer, products) = (&layer, &products);
            scope.spawn(move || {
                let mut m = thread;
                while Instant::now() < end {
                    m = (m + 7) % ROWS;
                    layer.check(m + 1);
                    products.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        rayon::scope(|scope| {
            for task in 0..64 {
                let (layer, products) = (&layer, &products);
                scope.spawn(move |_| {
                    let mut m = task;
                    while Instant::now() < end {
                        m = (m + 11) % ROWS;
                        layer.check(m + 1);
                        products.fetch_add(1, Ordering::Relaxed);
                        // Tasks that wait for a thread run within this one.
                        rayon::yield_now();
                    }
                });
            }
        });
    });
    println!("{} products", products.into_inner());
}

/// A program's own parallel loops around products, in pools of several sizes, while other closures of the pool panic.
#[test]
fn loops_in_loops_while_others_panic() {
    let (layer, end) = (Layer::new(), end());
    let (mut products, mut panics) = (0, 0);
    for size in [1, 2, 5].into_iter().cycle() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(size).build().unwrap();
        let panicked = AtomicUsize::new(0);
        pool.install(|| {
            (0..8).into_par_iter().for_each(|outer| {
                (0..4).into_par_iter().for_each(|inner| layer.check(1 + (outer * 4 + inner) * 2));
                let panic = catch_unwind(AssertUnwindSafe(|| {
                    rayon::join(
                        || layer.check(ROWS),
                        || {
                            if outer % 2 == 0 {
                                std::panic::resume_unwind(Box::new(7))
                            }
                        },
                    );
                }));
                panicked.fetch_add(usize::from(panic.is_err()), Ordering::Relaxed);
            });
        });
        assert_eq!(panicked.load(Ordering::Relaxed), 4);
        (products, panics) = (products + 40, panics + 4);
        if Instant::now() >= end {
            break;
        }
    }
    println!("{products} products, {panics} panics");
}

/// Threads that begin and end while others multiply: what they kept is freed with them. Each is joined by its handle, which
/// ThreadSanitizer sees (`sanitizers/threads.sh`), and what a process does once is done before, as it does not see that.
#[test]
fn threads_that_end_beside_others() {
    let (layer, end, stop) = (Layer::new(), end(), AtomicBool::new(false));
    let mut threads = 0;
    layer.check(ROWS);
    std::thread::scope(|scope| {
        let multiply = || {
            while !stop.load(Ordering::Relaxed) {
                layer.check(ROWS);
            }
        };
        let steady = [scope.spawn(multiply), scope.spawn(multiply)];
        while Instant::now() < end {
            let layer = &layer;
            let brief: Vec<_> = (0..8).map(|m| scope.spawn(move || layer.check(1 + m * 3)).join()).collect();
            assert!(brief.iter().all(Result::is_ok));
            threads += 8;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(steady.map(|thread| thread.join()).iter().all(Result::is_ok));
    });
    println!("{threads} threads");
}
