//! The times of a call.
//!
//! `benches/opponents` compiles this file too.

use anyhow::Result;
use std::time::Instant;

/// Times per call in seconds.
#[derive(Clone, Copy)]
pub struct Times {
    pub least: f64,
    pub median: f64,
}

impl Times {
    fn of_one(seconds: f64) -> Self {
        Self { least: seconds, median: seconds }
    }
}

/// The times per call of at least 5 batches and 0.2 s. A batch repeats the call for at least 4 ms. With `quick`, or if it
/// takes more than a second, the call is made once.
pub fn times<E>(quick: bool, mut call: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    let mut timed = |calls: u64| {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    };
    let first = timed(1)?;
    if quick || first > 1.0 {
        return Ok(Times::of_one(first));
    }
    let one = timed(1)?;
    let mut calls = 1u64;
    while one * (calls as f64) < 0.004 && calls < 1 << 32 {
        calls *= 2;
    }
    let start = Instant::now();
    let mut batches = Vec::new();
    while batches.len() < 5 || start.elapsed().as_secs_f64() < 0.2 {
        batches.push(timed(calls)?);
    }
    batches.sort_by(f64::total_cmp);
    Ok(Times { least: batches[0], median: batches[batches.len() / 2] })
}
