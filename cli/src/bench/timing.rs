//! The times of a call.

use std::time::Instant;

/// Times per call in seconds, of batches of calls.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The least of all batches.
    pub least: f64,
    /// The median.
    pub median: f64,
    /// Nine in ten batches take at most this.
    pub ninth: f64,
    /// The number of batches.
    pub batches: usize,
    /// The calls of a batch.
    pub calls: u64,
}

impl Times {
    /// Sums up the times of batches, at least one, each of `calls` calls.
    fn new(mut seconds: Vec<f64>, calls: u64) -> Self {
        seconds.sort_by(f64::total_cmp);
        let batches = seconds.len();
        let (least, median) = (seconds[0], seconds[batches / 2]);
        Self { least, median, ninth: seconds[(9 * batches).div_ceil(10) - 1], batches, calls }
    }
}

/// The times per call of at least 5 batches and 0.2 s. A batch repeats the call for at least 4 ms. With `quick`, or if it
/// takes more than a second, the call is made once.
///
/// # Errors
/// The first that a call returns.
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
        return Ok(Times::new(vec![first], 1));
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
    Ok(Times::new(batches, calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_batches() {
        let of = |n: usize| Times::new((1..=n).rev().map(|x| x as f64).collect(), 8);
        let (one, ten, eleven) = (of(1), of(10), of(11));
        assert_eq!((one.least, one.median, one.ninth, one.batches, one.calls), (1.0, 1.0, 1.0, 1, 8));
        assert_eq!((ten.least, ten.median, ten.ninth), (1.0, 6.0, 9.0));
        assert_eq!((eleven.median, eleven.ninth), (6.0, 10.0));
    }
}
