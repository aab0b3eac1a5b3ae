//! Times of the library under criterion: products, their output stages, small products and the overhead of a call,
//! packing, quantization. Elements per second are multiply-adds per second, in the groups `pack` and `quantize` values
//! per second. Each result is checked once before it is timed.
//!
//! ```sh
//! taskset -c 1 cargo bench --bench suite              # everything, a few minutes
//! taskset -c 1 cargo bench --bench suite -- small     # a group, or part of a name
//! cargo bench --bench suite -- --test                 # checks results without measuring; seconds
//! ```
//!
//! It runs on one thread, or on `RAYON_NUM_THREADS`; `QGEMM_ISA` selects the kernels. `qgemm bench` and
//! `benches/opponents` compare with other libraries.

mod data;
mod epilogue;
mod gemm;
mod gemv;
mod pack;
mod quantize;
mod small;

use criterion::{Criterion, criterion_group};
use std::time::Duration;

/// A short time per case: there are many, and longer measurements gain little, as the machine's speed drifts more
/// between cases than samples of a case differ.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = config();
    targets = gemm::benches, gemv::benches, small::benches, epilogue::benches, pack::benches, quantize::benches
}

fn main() {
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
    // On a thread of the pool: a call from outside would first have to enter it.
    pool.install(|| {
        benches();
        config().configure_from_args().final_summary();
    });
}
