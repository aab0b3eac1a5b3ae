//! The choice of the fastest way to call a library.

use anyhow::Result;
use qgemm_cli::{Times, times};

/// Finds the fastest of several ways to call a library by a few calls of each. Returns its index and its times.
/// With `quick` the first one is called once.
pub fn fastest<W>(
    ways: &mut [W],
    quick: bool,
    mut call: impl FnMut(&mut W) -> Result<()>,
) -> Result<(usize, Times)> {
    let mut best = (0, f64::INFINITY);
    for (i, way) in ways.iter_mut().enumerate().filter(|_| !quick) {
        call(way)?;
        for _ in 0..10 {
            let seconds = times(true, || call(way))?.least;
            if seconds < best.1 {
                best = (i, seconds);
            }
            // A call this long varies little.
            if seconds > 0.02 {
                break;
            }
        }
    }
    Ok((best.0, times(quick, || call(&mut ways[best.0]))?))
}
