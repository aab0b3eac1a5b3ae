//! Statistics of the columns of B: packing collects them, the zero-point correction needs the sums, and the proofs of
//! exact sums need the magnitudes and extremes.

use crate::contract::limits::MAX_NR;
use crate::contract::panel::PackJob;
use core::ops::Range;
use multiversion::multiversion;

/// Statistics of the columns of a panel, which are up to [`MAX_NR`].
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

/// Statistics of some rows of one column.
#[derive(Clone, Copy)]
pub(crate) struct PartOfColumn {
    pub(crate) sum: i32,
    pub(crate) abs: i32,
    pub(crate) least: i16,
    pub(crate) greatest: i16,
}

impl PartOfColumn {
    /// The statistics of no rows.
    const NONE: Self = Self { sum: 0, abs: 0, least: i16::MAX, greatest: i16::MIN };

    #[inline(always)]
    fn with(self, other: Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            abs: self.abs + other.abs,
            least: self.least.min(other.least),
            greatest: self.greatest.max(other.greatest),
        }
    }
}

impl ColumnStats {
    /// The statistics of no rows.
    pub const NONE: Self =
        Self { sum: [0; MAX_NR], abs: [0; MAX_NR], least: [i16::MAX; MAX_NR], greatest: [i16::MIN; MAX_NR] };

    /// Adds the statistics of all rows and columns of `job`, of which there is at least one.
    pub(crate) fn add(&mut self, job: &PackJob<'_>) {
        match (job.signed, job.by_rows()) {
            (true, true) => add_rows::<i8>(job, self),
            (false, true) => add_rows::<u8>(job, self),
            (true, false) => add_columns::<i8>(job, self),
            (false, false) => add_columns::<u8>(job, self),
        }
    }

    /// Adds the statistics of some more rows of `columns`: `part(l)` are those of the column with index l among them.
    #[inline(always)]
    pub(crate) fn merge(&mut self, columns: Range<usize>, part: impl Fn(usize) -> PartOfColumn) {
        // Slices are indexed, rather than the arrays, so that the loop has no bounds checks and becomes vectors.
        let (sum, abs) = (&mut self.sum[columns.clone()], &mut self.abs[columns.clone()]);
        let (least, greatest) = (&mut self.least[columns.clone()], &mut self.greatest[columns]);
        for l in 0..sum.len() {
            let part = part(l);
            sum[l] += part.sum;
            abs[l] += part.abs;
            least[l] = least[l].min(part.least);
            greatest[l] = greatest[l].max(part.greatest);
        }
    }
}

/// The type of B's elements, i8 or u8.
trait ByteElement: Copy + Ord {
    const LEAST: Self;
    const GREATEST: Self;
    fn from_bits(byte: u8) -> Self;
    fn widen(self) -> i16;
    fn magnitude(self) -> u8;
}

impl ByteElement for i8 {
    const LEAST: Self = i8::MIN;
    const GREATEST: Self = i8::MAX;
    #[inline(always)]
    fn from_bits(byte: u8) -> Self {
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

impl ByteElement for u8 {
    const LEAST: Self = u8::MIN;
    const GREATEST: Self = u8::MAX;
    #[inline(always)]
    fn from_bits(byte: u8) -> Self {
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

/// The number of bytes that are loaded at a time: their statistics fit the registers.
const LANES: usize = 32;
/// The number of bytes that a 16-bit lane adds up: 255·128 < 2^15.
const BYTES_PER_I16_SUM: usize = 128;

/// Statistics of chunks of [`LANES`] bytes, at most [`BYTES_PER_I16_SUM`] of them, lane by lane.
struct LaneStats<B> {
    sum: [i16; LANES],
    abs: [i16; LANES],
    least: [B; LANES],
    greatest: [B; LANES],
}

impl<B: ByteElement> LaneStats<B> {
    #[inline(always)]
    fn new<'a>(chunks: impl Iterator<Item = &'a [u8; LANES]>) -> Self {
        let (sum, abs) = ([0; LANES], [0; LANES]);
        let mut lanes = Self { sum, abs, least: [B::GREATEST; LANES], greatest: [B::LEAST; LANES] };
        for chunk in chunks {
            for l in 0..LANES {
                let b = B::from_bits(chunk[l]);
                lanes.sum[l] += b.widen();
                lanes.abs[l] += i16::from(b.magnitude());
                lanes.least[l] = lanes.least[l].min(b);
                lanes.greatest[l] = lanes.greatest[l].max(b);
            }
        }
        lanes
    }

    /// The statistics of lane `l` alone.
    #[inline(always)]
    fn lane(&self, l: usize) -> PartOfColumn {
        PartOfColumn {
            sum: self.sum[l].into(),
            abs: self.abs[l].into(),
            least: self.least[l].widen(),
            greatest: self.greatest[l].widen(),
        }
    }

    /// The statistics of all lanes together.
    #[inline(always)]
    fn all(&self) -> PartOfColumn {
        PartOfColumn {
            sum: self.sum.iter().map(|sum| i32::from(*sum)).sum(),
            abs: self.abs.iter().map(|sum| i32::from(*sum)).sum(),
            least: self.least.iter().fold(B::GREATEST, |least, &lane| least.min(lane)).widen(),
            greatest: self.greatest.iter().fold(B::LEAST, |greatest, &lane| greatest.max(lane)).widen(),
        }
    }
}

/// Adds a job whose rows are contiguous. A lane is a column.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_rows<B: ByteElement>(job: &PackJob<'_>, stats: &mut ColumnStats) {
    let PackJob { source, rows, cols, .. } = *job;
    for start in (0..rows).step_by(BYTES_PER_I16_SUM) {
        let ks = start..rows.min(start + BYTES_PER_I16_SUM);
        for j in (0..cols).step_by(LANES) {
            let width = LANES.min(cols - j);
            let row = |k: usize| &source.bits[k * source.row_stride + j..][..width];
            let lanes = if width == LANES {
                LaneStats::<B>::new(ks.clone().map(|k| row(k).try_into().expect("LANES bytes")))
            } else {
                let mut padded = [[0; LANES]; BYTES_PER_I16_SUM];
                for (padded, k) in padded.iter_mut().zip(ks.clone()) {
                    padded[..width].copy_from_slice(row(k));
                }
                LaneStats::new(padded[..ks.len()].iter())
            };
            stats.merge(j..j + width, |l| lanes.lane(l));
        }
    }
}

/// Adds a job whose rows are not contiguous, one column after the other. If columns are contiguous, lane l sees the
/// values l, l + 32, l + 64, .. of a column.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_columns<B: ByteElement>(job: &PackJob<'_>, stats: &mut ColumnStats) {
    let PackJob { source, rows, cols, .. } = *job;
    for j in 0..cols {
        let column = &source.bits[j * source.col_stride..];
        let mut part = PartOfColumn::NONE;
        let one = |byte: u8| {
            let b = B::from_bits(byte);
            let value = b.widen();
            PartOfColumn { sum: value.into(), abs: b.magnitude().into(), least: value, greatest: value }
        };
        if source.has_contiguous_columns() {
            let (chunks, rest) = column[..rows].as_chunks::<LANES>();
            rest.iter().for_each(|byte| part = part.with(one(*byte)));
            for chunks in chunks.chunks(BYTES_PER_I16_SUM) {
                part = part.with(LaneStats::<B>::new(chunks.iter()).all());
            }
        } else {
            (0..rows).for_each(|k| part = part.with(one(column[k * source.row_stride])));
        }
        stats.merge(j..j + 1, |_| part);
    }
}
