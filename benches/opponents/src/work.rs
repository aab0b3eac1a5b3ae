//! Operands of a shape, the check of their product, and the choice of the fastest way to call a library.

use crate::shape::Shape;
use crate::timing::{Times, times};
use anyhow::Result;

/// The operands of a product.
pub struct Work {
    pub shape: Shape,
    /// A over the whole range of u8. If there are several rows, the first is 255.
    pub a: Vec<u8>,
    /// The bytes of `a` as i8. If there are several rows, the first is -128.
    pub a_signed: Vec<i8>,
    /// B over the whole range. Columns 0 and 1 are 127 and -128.
    pub b: Vec<i8>,
    /// Numbers of the rows of C that are checked.
    rows: Vec<usize>,
}

/// A measurement.
pub struct Measured {
    /// The kernel, if the library names it; else the element type or the setting.
    pub isa: String,
    pub times: Times,
    /// The largest difference from the exact sums.
    pub error: f64,
}

impl Work {
    pub fn new(shape: Shape) -> Self {
        let Shape { m, k, n } = shape;
        let mut state = 1u64;
        // Marsaglia's xorshift64.
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let mut a: Vec<u8> = (0..m * k).map(|_| random()).collect();
        let mut a_signed: Vec<i8> = a.iter().map(|&a| a as i8).collect();
        let mut b: Vec<i8> = (0..k * n).map(|_| random() as i8).collect();
        if m > 1 {
            a[..k].fill(255);
            a_signed[..k].fill(-128);
        }
        for row in b.chunks_exact_mut(n) {
            row[0] = 127;
            row[1.min(n - 1)] = -128;
        }
        let mut rows = vec![0, m / 3, m / 2, m - 1];
        if shape.macs() < 2e7 {
            rows = (0..m).collect();
        }
        Self { shape, a, a_signed, b, rows }
    }

    /// The largest difference between `c(row, column)` and the exact product of `a`, one of the two A, and B.
    pub fn error<T: Copy + Into<i64>>(&self, a: &[T], c: impl Fn(usize, usize) -> f64) -> f64 {
        let Shape { k, n, .. } = self.shape;
        let mut worst = 0.0f64;
        for &i in &self.rows {
            let mut sums = vec![0i64; n];
            for (&a, b) in a[i * k..][..k].iter().zip(self.b.chunks_exact(n)) {
                sums.iter_mut().zip(b).for_each(|(sum, &b)| *sum += a.into() * i64::from(b));
            }
            for (j, sum) in sums.into_iter().enumerate() {
                worst = worst.max((c(i, j) - sum as f64).abs());
            }
        }
        worst
    }
}

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
