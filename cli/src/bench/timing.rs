//! The time of a call.
//!
//! `benches/opponents` compiles this file too.

use anyhow::Result;
use std::time::Instant;

/// The least time per call in seconds, over at least 5 batches and 0.2 s. A batch repeats the call for at least
/// 4 ms. With `quick`, or if it takes more than a second, the call is made once.
pub fn best_time<E>(quick: bool, mut call: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut timed = |calls: u64| {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    };
    let first = timed(1)?;
    if quick || first > 1.0 {
        return Ok(first);
    }
    let one = timed(1)?;
    let mut calls = 1u64;
    while one * (calls as f64) < 0.004 && calls < 1 << 32 {
        calls *= 2;
    }
    let start = Instant::now();
    let (mut best, mut batches) = (f64::INFINITY, 0);
    while batches < 5 || start.elapsed().as_secs_f64() < 0.2 {
        best = best.min(timed(calls)?);
        batches += 1;
    }
    Ok(best)
}
