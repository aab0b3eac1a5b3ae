//! Counts of f32 values by their leading bits, from which percentiles are found.

use crate::buffer::refill;
use crate::error::Error;
use crate::quantize::span::key;

/// Counts of values that share the leading 16 bits: the sign, the exponent and 7 bits of the fraction. The bins are
/// ordered like the values, and each of normal numbers is at most 1/128 of its values wide.
///
/// Unlike bins of equal width they need no range that is known beforehand, and the counts do not depend on the order in
/// which values come.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    values: u64,
}

const BINS: usize = 1 << 16;
/// The bin of 0, which it shares with nothing: magnitudes below 2^-133 lie in the bins beside it. Among values most of
/// which are 0 no end is a tiny number.
const ZERO: usize = BINS / 2;

/// The bin of a finite value.
#[inline(always)]
fn bin(x: f32) -> usize {
    let bin = (ZERO as i32 + (key(x.to_bits() as i32) >> 16)) as usize;
    if x == 0.0 {
        ZERO
    } else if bin == ZERO {
        ZERO + 1
    } else {
        bin
    }
}

/// The least value of a bin, or less.
fn least(bin: usize) -> f32 {
    if bin == ZERO + 1 { 0.0 } else { edge(bin, 0) }
}

/// The greatest value of a bin, or more.
fn greatest(bin: usize) -> f32 {
    edge(bin, 0xffff)
}

/// The value whose key has the leading 16 bits of a bin, and these last ones.
fn edge(bin: usize, last: i32) -> f32 {
    let leading = (bin as i32 - ZERO as i32) << 16;
    if bin == ZERO { 0.0 } else { f32::from_bits(key(leading | last) as u32) }
}

impl Histogram {
    /// # Errors
    /// [`Error::Memory`] if there is not enough for the counts (512 KiB).
    pub(crate) fn new() -> Result<Self, Error> {
        let mut counts = Vec::new();
        refill(&mut counts, BINS, 0, "histogram")?;
        Ok(Self { counts, values: 0 })
    }

    /// Counts finite values.
    pub(crate) fn add(&mut self, data: &[f32]) {
        self.values += data.len() as u64;
        for &x in data {
            self.counts[bin(x)] += 1;
        }
    }

    /// The outer edges of the bins that hold the least and the greatest value after a fraction of all values, rounded
    /// down to a number of them, was cut off at each end. At least one value remains. There has to be a value.
    pub(crate) fn span_without(&self, fraction: f64) -> (f32, f32) {
        let cut = ((self.values as f64 * fraction) as u64).min(self.values.saturating_sub(1) / 2);
        let lo = self.first_beyond(cut, 0..BINS);
        let hi = self.first_beyond(cut, (0..BINS).rev());
        (least(lo), greatest(hi))
    }

    /// The first of some bins up to which there are more than `cut` values.
    fn first_beyond(&self, cut: u64, mut bins: impl Iterator<Item = usize>) -> usize {
        let mut seen = 0;
        let beyond = bins.find(|&bin| {
            seen += self.counts[bin];
            seen > cut
        });
        beyond.expect("more values were counted")
    }
}
