//! A process that was forked after products ran on threads has a copy of their memory, but not the threads.

#![cfg(unix)]

use qgemm::*;
use std::time::{Duration, Instant};

/// A product that threads share, and its right sums.
struct Product {
    a: Vec<u8>,
    b: PackedB,
    sums: Vec<i32>,
}

const M: usize = 256;
const N: usize = 512;
const K: usize = 512;

impl Product {
    fn new() -> Self {
        let a: Vec<u8> = (0..M * K).map(|i| (i * 7 % 251) as u8).collect();
        let b: Vec<i8> = (0..K * N).map(|i| (i * 11 % 255) as i8).collect();
        let b = PackedB::pack_for(MatRef::row_major(&b, K, N).unwrap(), ElementType::U8).unwrap();
        let mut product = Self { a, b, sums: Vec::new() };
        product.sums = product.run(Threads::at_most(1));
        product
    }

    fn run(&self, threads: Threads<'_>) -> Vec<i32> {
        let mut sums = vec![0; M * N];
        let c = MatMut::row_major(&mut sums, M, N).unwrap();
        Gemm::new(MatRef::row_major(&self.a, M, K).unwrap(), &self.b).threads(threads).run_i32(c).unwrap();
        sums
    }

    fn is_right(&self) -> bool {
        [Threads::ALL, Threads::ALL.eager()]
            .iter()
            .all(|threads| (0..5).all(|_| self.run(*threads) == self.sums))
    }
}

/// Calls `f` in a forked process, and returns whether that ends within a minute and `f` was true there.
fn in_a_fork(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls `f`, which is no worse than in any process that was forked, and ends.
    match unsafe { libc::fork() } {
        -1 => panic!("fork failed"),
        0 => {
            let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(false);
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(if right { 0 } else { 1 }) }
        }
        child => {
            let start = Instant::now();
            let mut status = 0;
            loop {
                // SAFETY: `child` is a child of this process, and `status` is an integer of this function.
                match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
                    0 if start.elapsed() < Duration::from_secs(60) => {
                        std::thread::sleep(Duration::from_millis(5))
                    }
                    0 => {
                        // SAFETY: as above: the child hangs.
                        unsafe { libc::kill(child, libc::SIGKILL) };
                        return false;
                    }
                    ended => {
                        return ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
                    }
                }
            }
        }
    }
}

/// One test: a second one would fork while the first one works.
#[test]
fn products_run_in_forked_processes() {
    let product = Product::new();
    // Before any thread was started, after some were, and after rayon's were as well.
    assert!(in_a_fork(|| product.is_right()), "in the first fork");
    assert!(product.is_right());
    assert!(in_a_fork(|| product.is_right()), "after products on threads");
    #[cfg(feature = "rayon")]
    rayon::broadcast(|_| ());
    for round in 0..20 {
        assert!(product.is_right());
        assert!(in_a_fork(|| product.is_right()), "in fork {round}");
    }
    // Forks of forks, more than there are places for helpers.
    fn nested(product: &Product, depth: usize) -> bool {
        product.is_right() && (depth == 0 || in_a_fork(|| nested(product, depth - 1))) && product.is_right()
    }
    assert!(nested(&product, 6));
}
