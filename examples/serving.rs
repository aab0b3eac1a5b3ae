//! One layer, shared by 8 threads of a server, each with requests of its own: without locks, and without a thread pool.

use qgemm::{Error, Linear, MatMut, MatRef};
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn main() -> Result<(), Error> {
    let (k, n, requests) = (768, 768, 50);
    let weight: Vec<f32> = (0..n * k).map(|i| (i * 7919 % 997) as f32 / 10_000.0 - 0.05).collect();

    // Each request stays on the thread that serves it: the server has a thread per core already.
    let layer = Arc::new(Linear::out_in(MatRef::row_major(&weight, n, k)?).relu().threads(1).build()?);
    let weight = Arc::new(weight);
    let start = Instant::now();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (layer, weight) = (Arc::clone(&layer), Arc::clone(&weight));
            std::thread::spawn(move || -> Result<f32, Error> {
                let mut worst = 0f32;
                for request in 0..requests {
                    let rows = 1 + request % 4;
                    let x: Vec<f32> = (0..rows * k)
                        .map(|i| ((i * 31 + thread * 7 + request) % 201) as f32 - 100.0)
                        .collect();
                    let mut y = vec![0f32; rows * n];
                    layer
                        .run_dynamic(MatRef::row_major(&x, rows, k)?, MatMut::row_major(&mut y, rows, n)?)?;

                    // One output of each request, computed naively.
                    let (i, j) = (request % rows, request * 13 % n);
                    let naive: f32 = (0..k).map(|l| x[i * k + l] * weight[j * k + l]).sum();
                    worst = worst.max((y[i * n + j] - naive.max(0.0)).abs());
                }
                Ok(worst)
            })
        })
        .collect();
    let mut worst = 0f32;
    for thread in threads {
        worst = worst.max(thread.join().expect("a thread panicked")?);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} requests on 8 threads, {:.0} a second, off by at most {worst:.2}",
        8 * requests,
        8.0 * requests as f64 / seconds
    );
    assert!(worst < 10.0);
    Ok(())
}
