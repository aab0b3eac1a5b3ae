//! From exact sums to what is stored in C, where the kernel does not do it: plain loops, compiled for several
//! instruction sets.
//!
//! # Rounding
//!
//! `round_half_even(x)` of an f32 with |x| <= 2^22 is `(x + 1.5·2^23) - 1.5·2^23`: the sum lies where
//! f32 has steps of 1, and rounds half to even. Its bits, less those of 1.5·2^23, are the integer.
//! Clamping to integers commutes with rounding, so the clamp comes first and keeps |x| <= 2^21 + 255.

use crate::element::ElementType;
use crate::epilogue::{Fixed, Real, Rescale, Stage};
use crate::output::Residual;
use crate::sink::{Part, Sink};
use crate::terms::{PerColumn, RealTerms};
use multiversion::multiversion;
use qgemm_kernels::{BlockMut, MAX_NR, NO_BIAS, look_up};
use std::ops::Range;

/// A finished sum, of either width.
pub(crate) trait Sum: Copy {
    /// To nearest even.
    fn to_f32(self) -> f32;
    /// To nearest even.
    fn to_f64(self) -> f64;
    /// Modulo 2^32.
    fn to_i32(self) -> i32;
    /// The nearest i32.
    fn saturate(self) -> i32;
}

impl Sum for i32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self
    }
    #[inline(always)]
    fn saturate(self) -> i32 {
        self
    }
}

impl Sum for f64 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i64 as i32
    }
    #[inline(always)]
    fn saturate(self) -> i32 {
        let x = self.clamp(i32::MIN.into(), i32::MAX.into());
        (x + ROUND_F64).to_bits() as i32
    }
}

impl Sum for i64 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i32
    }
    #[inline(always)]
    fn saturate(self) -> i32 {
        self.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
}

/// Stores finished sums, in rows of `ld`, to a part of `sink`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store(sums: &[i32], ld: usize, stage: &Stage<'_>, sink: &mut Sink<'_, '_>, part: &Part) {
    store_sums(sums, ld, |_| |_, sum| sum, stage, sink, part);
}

/// [`store`] from 64-bit sums.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store_wide(sums: &[i64], ld: usize, stage: &Stage<'_>, sink: &mut Sink<'_, '_>, part: &Part) {
    store_sums(sums, ld, |_| |_, sum| sum, stage, sink, part);
}

/// [`store`] from sums of stored products, to which terms are yet to be added; row `top` of those is the part's
/// first.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store_corrected(
    sums: &[i32],
    ld: usize,
    (terms, top): (&RealTerms<'_>, usize),
    stage: &Stage<'_>,
    sink: &mut Sink<'_, '_>,
    part: &Part,
) {
    store_sums(sums, ld, |i| terms.finish(top + i), stage, sink, part);
}

/// `exact(i)(j, sums[i][j])` is what is to be stored.
#[inline(always)]
fn store_sums<T: Copy, S: Sum, E: Fn(usize, T) -> S>(
    sums: &[T],
    ld: usize,
    exact: impl Fn(usize) -> E,
    stage: &Stage<'_>,
    sink: &mut Sink<'_, '_>,
    part: &Part,
) {
    match (sink, stage) {
        (Sink::I32 { c, .. }, Stage::I32 { accumulate }) => {
            let mut c = part.of(c);
            for i in 0..c.rows() {
                let exact = exact(i);
                for j in 0..c.cols() {
                    let c = c.get_mut(i, j).expect("the part has this shape");
                    *c = if *accumulate { *c } else { 0 }.wrapping_add(exact(j, sums[i * ld + j]).to_i32());
                }
            }
        }
        (Sink::Bytes { c, output }, Stage::Bytes(p)) => {
            let (rows, mut c) = (output.row_scale(part), part.of(c));
            let scale = per_column(p.scale);
            match &output.residual {
                None => each_row(sums, ld, &mut c, |i| {
                    let (row, exact) = (factor(rows, i), exact(i));
                    move |j, sum| round(exact(j, sum).to_f32() * (row * scale[j]), p)
                }),
                Some(residual) => each_row(sums, ld, &mut c, |i| {
                    let (row, exact) = (factor(rows, i), exact(i));
                    let added = residual_row(residual, part.rows.start + i, part.columns.clone());
                    move |j, sum| round(exact(j, sum).to_f32() * (row * scale[j]) + added[j], p)
                }),
            }
            if let Some(table) = output.table {
                look_up(&mut c, table);
            }
        }
        (Sink::Bytes { c, output }, Stage::Fixed(p)) => {
            let mut c = part.of(c);
            match (p.any_left, p.away) {
                (false, false) => store_fixed::<false, false, _, _, _>(sums, ld, exact, p, &mut c),
                (false, true) => store_fixed::<false, true, _, _, _>(sums, ld, exact, p, &mut c),
                (true, false) => store_fixed::<true, false, _, _, _>(sums, ld, exact, p, &mut c),
                (true, true) => store_fixed::<true, true, _, _, _>(sums, ld, exact, p, &mut c),
            }
            if let Some(table) = output.table {
                look_up(&mut c, table);
            }
        }
        (Sink::Bytes { c, output }, Stage::Real(p)) => {
            let mut c = part.of(c);
            each_row(sums, ld, &mut c, |i| {
                let exact = exact(i);
                move |j, sum| half_away(exact(j, sum).to_f64() * p.factor[j], p)
            });
            if let Some(table) = output.table {
                look_up(&mut c, table);
            }
        }
        (Sink::F32 { c, output }, Stage::F32 { scale, bias, clamp: (lo, hi) }) => {
            let rows = output.scale.rows(part.rows.clone());
            let (scale, bias) = (per_column(scale), per_column(bias.unwrap_or(&NO_BIAS)));
            each_row(sums, ld, &mut part.of(c), |i| {
                let (row, exact) = (factor(rows, i), exact(i));
                move |j, sum| {
                    let y = exact(j, sum).to_f32() * (row * scale[j]) + bias[j];
                    let y = if y < *lo { *lo } else { y };
                    if y > *hi { *hi } else { y }
                }
            });
        }
        _ => unreachable!("a stage is made from its sink"),
    }
}

/// As an array, whose length the compiler knows.
#[inline(always)]
fn per_column(values: &[f32]) -> &PerColumn<f32> {
    values.first_chunk().expect("a stage is padded to MAX_NR")
}

/// The factor of a row, 1 where there is none.
#[inline(always)]
fn factor(rows: Option<&[f32]>, i: usize) -> f32 {
    rows.map_or(1.0, |rows| rows[i])
}

/// 1.5·2^23
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn round(x: f32, p: &Rescale<'_>) -> u8 {
    let x = if x < p.lo { p.lo } else { x };
    let x = if x > p.hi { p.hi } else { x };
    let rounded = ((x + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    rounded.wrapping_add(p.zero_point) as u8
}

/// 1.5·2^52: what 1.5·2^23 is to f32.
const ROUND_F64: f64 = (3u64 << 51) as f64;

/// Half to even first; where that went towards zero by a half, one further.
#[inline(always)]
fn half_away(x: f64, p: &Real) -> u8 {
    let x = if x < p.lo { p.lo } else { x };
    let x = if x > p.hi { p.hi } else { x };
    let even = (x + ROUND_F64) - ROUND_F64;
    let away = even + if x - even == 0.5f64.copysign(x) { 1.0f64.copysign(x) } else { 0.0 };
    ((away + ROUND_F64).to_bits() as u8).wrapping_add(p.zero_point as u8)
}

/// What a residual adds to some columns of a row.
#[inline(always)]
fn residual_row(residual: &Residual<'_>, i: usize, columns: Range<usize>) -> PerColumn<f32> {
    let mut added = [0.0; MAX_NR];
    let Residual { matrix, scale, zero_point } = *residual;
    match matrix.bits.row(i) {
        Some(row) => {
            // A signed value is 128 less than its bits with the sign inverted.
            let (flip, less) = if matrix.element == ElementType::I8 { (0x80, 128) } else { (0, 0) };
            for (added, byte) in added.iter_mut().zip(&row[columns]) {
                *added = (i32::from(byte ^ flip) - less - zero_point) as f32 * scale;
            }
        }
        None => columns.zip(&mut added).for_each(|(j, added)| *added = residual.at(i, j)),
    }
    added
}

#[inline(always)]
fn store_fixed<const LEFT: bool, const AWAY: bool, T: Copy, S: Sum, E: Fn(usize, T) -> S>(
    sums: &[T],
    ld: usize,
    exact: impl Fn(usize) -> E,
    p: &Fixed,
    c: &mut BlockMut<'_, u8>,
) {
    each_row(sums, ld, c, |i| {
        let exact = exact(i);
        move |j, sum| fixed::<LEFT, AWAY>(exact(j, sum).saturate(), j, p)
    });
}

/// The definition is at [`Fixed`]. No step overflows: `high` is from 1 - 2^31, or -2^31 where nothing is
/// taken off, to 2^31 - 2.
#[inline(always)]
fn fixed<const LEFT: bool, const AWAY: bool>(x: i32, j: usize, p: &Fixed) -> u8 {
    let x = match LEFT {
        false => x,
        true => i64::from(x).wrapping_shl(p.left[j] as u32).clamp(i32::MIN.into(), i32::MAX.into()) as i32,
    };
    let product = i64::from(x) * i64::from(p.m[j]);
    let product = if AWAY { product + (product >> 63) } else { product };
    let high = ((product + i64::from(p.nudge[j])) >> 31) as i32;
    let low = high.wrapping_sub((high >> 31) & p.negative[j]);
    let one = p.one[j];
    let y = low.wrapping_shr(p.before[j] as u32).wrapping_add(one).wrapping_shr(one as u32);
    y.clamp(p.lo, p.hi).wrapping_add(p.zero_point) as u8
}

/// Values that are computed together: panels are a multiple of this wide.
const LANES: usize = 8;

/// `c[i][j] = f(i)(j, sums[i][j])`, for whole groups of [`LANES`] columns at a time.
#[inline(always)]
fn each_row<T: Copy, O: Copy + Default, F: Fn(usize, T) -> O>(
    sums: &[T],
    ld: usize,
    c: &mut BlockMut<'_, O>,
    row: impl Fn(usize) -> F,
) {
    let cols = c.cols();
    let padded = cols.next_multiple_of(LANES);
    for i in 0..c.rows() {
        let sums = &sums[i * ld..][..padded];
        let f = row(i);
        match c.row_mut(i) {
            Some(row) if cols == padded => apply(sums, row, &f),
            row => {
                let mut values = [O::default(); MAX_NR];
                apply(sums, &mut values[..padded], &f);
                match row {
                    Some(row) => row.copy_from_slice(&values[..cols]),
                    None => {
                        for (j, &value) in values[..cols].iter().enumerate() {
                            *c.get_mut(i, j).expect("the block has this shape") = value;
                        }
                    }
                }
            }
        }
    }
}

/// `out[j] = f(j, sums[j])`: 16 at a time, then 8.
#[inline(always)]
fn apply<T: Copy, O>(sums: &[T], out: &mut [O], f: &impl Fn(usize, T) -> O) {
    let len = sums.len().min(MAX_NR);
    let wide = len / 16 * 16;
    for start in (0..wide).step_by(16) {
        let (sums, out) = (&sums[start..start + 16], &mut out[start..start + 16]);
        for l in 0..16 {
            out[l] = f(start + l, sums[l]);
        }
    }
    if wide < len {
        let (sums, out) = (&sums[wide..len], &mut out[wide..len]);
        for l in 0..sums.len() {
            out[l] = f(wide + l, sums[l]);
        }
    }
}
