//! The threads of a pool.

use crate::counting::{ENLISTED, LARGEST, allocations, turn};
use crate::product::{OUTPUTS, Output, Product, kernels, paths};
use qgemm::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A pool of two threads, enlisted, that have both taken work from one another.
struct Pair(rayon::ThreadPool);

impl Pair {
    fn new() -> Self {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for first in [0, 1] {
            let both = Barrier::new(2);
            // Thread `first` can meet in the second task only the other one, which must take it.
            pool.broadcast(|thread| {
                if thread.index() == first {
                    rayon::join(|| both.wait(), || both.wait());
                }
            });
        }
        pool.broadcast(|thread| ENLISTED.set(Some(thread.index())));
        Self(pool)
    }

    /// Frees what the threads keep.
    fn forget(&self) {
        self.0.broadcast(|_| release_thread_memory());
    }
}

impl Drop for Pair {
    /// Its threads end some time later, and what that allocates is not to be counted.
    fn drop(&mut self) {
        self.0.broadcast(|_| ENLISTED.set(None));
    }
}

/// Runs a product once on each thread while the other one is held: it does all parts by itself,
/// and has then the memory for any of them.
fn each_alone(pool: &Pair, product: &Product, output: Output) {
    let barrier = Barrier::new(2);
    pool.0.broadcast(|thread| {
        // Until both are here one might still look for work to take.
        barrier.wait();
        let mut ran = Ok(());
        for turn in [0, 1] {
            if thread.index() == turn {
                ran = catch_unwind(AssertUnwindSafe(|| product.run(output, &mut product.stores())));
            }
            // Also after a panic: the other one waits.
            barrier.wait();
        }
        ran.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

#[test]
fn after_the_first_call_the_threads_of_a_pool_allocate_nothing() {
    let _turn = turn();
    let pool = Pair::new();
    for kernel in kernels() {
        // Worth two threads, and of several tiles and panels.
        for path in paths((70, 131, 180), (25, 9, 33_000)) {
            let product = Product::new(kernel, path);
            let mut stores = product.stores();
            for output in OUTPUTS {
                pool.forget();
                each_alone(&pool, &product, output);
                let again = allocations(|| {
                    for _ in 0..3 {
                        pool.0.install(|| product.run(output, &mut stores));
                    }
                });
                assert_eq!(again, [0, 0], "{} {output:?} {path:?}", kernel.name);
            }
        }
    }
}

#[test]
fn both_threads_of_a_pool_take_part_in_such_a_product() {
    // Otherwise the test above would say nothing of threads. A thread without memory of its own allocates when it
    // takes part. The one that runs the product may be done before the other one comes: then it runs it again.
    let _turn = turn();
    let pool = Pair::new();
    let scalar = Dispatch::named("scalar").unwrap();
    let kernel = scalar.kernels().next().unwrap();
    for path in paths((70, 131, 180), (25, 9, 33_000)) {
        let product = Product::new(kernel, path);
        let mut stores = product.stores();
        let start = Instant::now();
        loop {
            pool.forget();
            let counts = allocations(|| pool.0.install(|| product.run(Output::Bytes, &mut stores)));
            if counts[0] > 0 && counts[1] > 0 {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{counts:?} {path:?}");
        }
    }
}

/// An odd number of panels, for an even number of threads: they share rows if one of them can pack all of B, else
/// columns, of which each packs a part at a time.
#[test]
fn a_product_without_the_memory_for_all_of_b_packs_it_in_parts() {
    let _turn = turn();
    let (m, k) = (8, 4096);
    let kernel = kernels().pop().unwrap();
    // A part has 256 columns or a panel, which is at most half of these.
    let threads = (256 / kernel.nr).max(2);
    let n = (2 * threads + 1) * kernel.nr;
    let (a, b) = (vec![7u8; m * k], vec![-3i8; k * n]);
    let (a, b) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
    let dispatch = Dispatch::named(kernel.name).unwrap().with_caches(Caches { l1d: 1, l2: 1, l3: 0 });
    let largest = PackedB::pack_with(&dispatch, b, ElementType::U8).unwrap().bytes() / 4 * 3;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for batch in [false, true] {
        let mut sums = vec![0; m * n];
        let c = MatMut::row_major(&mut sums, m, n).unwrap();
        let gemm = Gemm::new(a, b).dispatch(&dispatch).threads(Threads::ALL.eager());
        let result = pool.install(|| {
            release_thread_memory();
            LARGEST.store(largest, SeqCst);
            ENLISTED.set(Some(0));
            let result = if batch { run_batch(&mut [Task::i32(gemm, c).unwrap()]) } else { gemm.run_i32(c) };
            ENLISTED.set(None);
            LARGEST.store(usize::MAX, SeqCst);
            result
        });
        assert_eq!(result, Ok(()), "batch: {batch}");
        assert!(sums.iter().all(|sum| *sum == -3 * 7 * 4096), "batch: {batch}");
    }
}
