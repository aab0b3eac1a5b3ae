//! What packing learns about the columns of B, for the sums that zero points take and for the bounds of
//! exact sums.

use crate::contract::limits::MAX_NR;
use crate::contract::panel::Source;
use multiversion::multiversion;

/// Of up to NR columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnStats {
    /// Σb
    pub sum: [i32; MAX_NR],
    /// Σ|b|
    pub abs: [i32; MAX_NR],
    /// The least b.
    pub least: [i16; MAX_NR],
    /// The greatest b.
    pub greatest: [i16; MAX_NR],
}

impl ColumnStats {
    /// Of no rows.
    pub const NONE: Self =
        Self { sum: [0; MAX_NR], abs: [0; MAX_NR], least: [i16::MAX; MAX_NR], greatest: [i16::MIN; MAX_NR] };

    /// Takes in some rows, one at least, of i8 (`signed`) or u8.
    pub(crate) fn add(&mut self, source: Source<'_>, signed: bool, size: (usize, usize)) {
        match (signed, source.col_stride == 1) {
            (true, true) => by_rows::<i8>(source, size, self),
            (false, true) => by_rows::<u8>(source, size, self),
            (true, false) => by_columns::<i8>(source, size, self),
            (false, false) => by_columns::<u8>(source, size, self),
        }
    }
}

/// A byte of B as what it means.
trait Value: Copy + Ord {
    const LEAST: Self;
    const GREATEST: Self;
    fn of(byte: u8) -> Self;
    fn widen(self) -> i16;
    fn magnitude(self) -> u8;
}

impl Value for i8 {
    const LEAST: Self = i8::MIN;
    const GREATEST: Self = i8::MAX;
    #[inline(always)]
    fn of(byte: u8) -> Self {
        byte as i8
    }
    #[inline(always)]
    fn widen(self) -> i16 {
        self.into()
    }
    #[inline(always)]
    fn magnitude(self) -> u8 {
        self.unsigned_abs()
    }
}

impl Value for u8 {
    const LEAST: Self = u8::MIN;
    const GREATEST: Self = u8::MAX;
    #[inline(always)]
    fn of(byte: u8) -> Self {
        byte
    }
    #[inline(always)]
    fn widen(self) -> i16 {
        self.into()
    }
    #[inline(always)]
    fn magnitude(self) -> u8 {
        self
    }
}

/// Values that are looked at together: what a loop keeps of them in registers.
const LANES: usize = 32;
/// Values of 8 bits whose sum fits 16.
const RUN: usize = 128;

/// Lane by lane, of at most [`RUN`] runs of [`LANES`] values.
struct Lanes<V> {
    sum: [i16; LANES],
    abs: [i16; LANES],
    lo: [V; LANES],
    hi: [V; LANES],
}

impl<V: Value> Lanes<V> {
    #[inline(always)]
    fn of<'a>(runs: impl Iterator<Item = &'a [u8; LANES]>) -> Self {
        let (sum, abs) = ([0; LANES], [0; LANES]);
        let mut lanes = Self { sum, abs, lo: [V::GREATEST; LANES], hi: [V::LEAST; LANES] };
        for run in runs {
            for l in 0..LANES {
                let b = V::of(run[l]);
                lanes.sum[l] += b.widen();
                lanes.abs[l] += i16::from(b.magnitude());
                lanes.lo[l] = lanes.lo[l].min(b);
                lanes.hi[l] = lanes.hi[l].max(b);
            }
        }
        lanes
    }
}

/// Of rows that are slices: a lane is a column.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn by_rows<V: Value>(source: Source<'_>, (rows, cols): (usize, usize), stats: &mut ColumnStats) {
    for start in (0..rows).step_by(RUN) {
        let ks = start..rows.min(start + RUN);
        for j in (0..cols).step_by(LANES) {
            let width = LANES.min(cols - j);
            let row = |k: usize| &source.bits[k * source.row_stride + j..][..width];
            let lanes = if width == LANES {
                Lanes::<V>::of(ks.clone().map(|k| row(k).try_into().expect("LANES bytes")))
            } else {
                let mut padded = [[0; LANES]; RUN];
                for (padded, k) in padded.iter_mut().zip(ks.clone()) {
                    padded[..width].copy_from_slice(row(k));
                }
                Lanes::of(padded[..ks.len()].iter())
            };
            for l in 0..width {
                stats.sum[j + l] += i32::from(lanes.sum[l]);
                stats.abs[j + l] += i32::from(lanes.abs[l]);
                stats.least[j + l] = stats.least[j + l].min(lanes.lo[l].widen());
                stats.greatest[j + l] = stats.greatest[j + l].max(lanes.hi[l].widen());
            }
        }
    }
}

/// Of columns, slices or not: a lane is every 32nd value of one.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn by_columns<V: Value>(source: Source<'_>, (rows, cols): (usize, usize), stats: &mut ColumnStats) {
    for j in 0..cols {
        let column = &source.bits[j * source.col_stride..];
        let (mut lo, mut hi) = (stats.least[j], stats.greatest[j]);
        let mut one = |byte: u8| {
            let b = V::of(byte);
            stats.sum[j] += i32::from(b.widen());
            stats.abs[j] += i32::from(b.magnitude());
            (lo, hi) = (lo.min(b.widen()), hi.max(b.widen()));
        };
        if source.row_stride != 1 {
            (0..rows).for_each(|k| one(column[k * source.row_stride]));
        } else {
            let (runs, rest) = column[..rows].as_chunks::<LANES>();
            rest.iter().for_each(|byte| one(*byte));
            for runs in runs.chunks(RUN) {
                let lanes = Lanes::<V>::of(runs.iter());
                stats.sum[j] += lanes.sum.iter().map(|sum| i32::from(*sum)).sum::<i32>();
                stats.abs[j] += lanes.abs.iter().map(|sum| i32::from(*sum)).sum::<i32>();
                lo = lo.min(lanes.lo.iter().fold(V::GREATEST, |lo, &lane| lo.min(lane)).widen());
                hi = hi.max(lanes.hi.iter().fold(V::LEAST, |hi, &lane| hi.max(lane)).widen());
            }
        }
        (stats.least[j], stats.greatest[j]) = (lo, hi);
    }
}
