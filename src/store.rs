//! From exact sums to what is stored in C, where the kernel does not do it: plain loops, compiled for several
//! instruction sets.
//!
//! # Rounding
//!
//! `round_half_even(x)` of an f32 with |x| <= 2^22 is `(x + 1.5·2^23) - 1.5·2^23`: the sum lies where
//! f32 has steps of 1, and rounds half to even. Its bits, less those of 1.5·2^23, are the integer.
//! Clamping to integers commutes with rounding, so the clamp comes first and keeps |x| <= 2^21 + 255.

use crate::epilogue::{Rescale, Stage};
use crate::sink::{Part, Sink};
use multiversion::multiversion;
use qgemm_kernels::MAX_NR;
use qgemm_kernels::block::BlockMut;

/// A finished sum, of either width.
pub(crate) trait Sum: Copy {
    /// To nearest even.
    fn to_f32(self) -> f32;
    /// Modulo 2^32.
    fn to_i32(self) -> i32;
}

impl Sum for i32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self
    }
}

impl Sum for i64 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i32
    }
}

/// Stores finished sums, in rows of `ld`, to a part of `sink`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store(sums: &[i32], ld: usize, stage: &Stage, sink: &mut Sink<'_, '_>, part: &Part) {
    store_sums(sums, ld, stage, sink, part);
}

/// [`store`] from 64-bit sums.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store_wide(sums: &[i64], ld: usize, stage: &Stage, sink: &mut Sink<'_, '_>, part: &Part) {
    store_sums(sums, ld, stage, sink, part);
}

#[inline(always)]
fn store_sums<T: Sum>(sums: &[T], ld: usize, stage: &Stage, sink: &mut Sink<'_, '_>, part: &Part) {
    match (sink, stage) {
        (Sink::I32 { c, .. }, Stage::I32 { accumulate }) => {
            let mut c = part.of(c);
            for i in 0..c.rows() {
                for j in 0..c.cols() {
                    let c = c.get_mut(i, j).expect("the part has this shape");
                    *c = if *accumulate { *c } else { 0 }.wrapping_add(sums[i * ld + j].to_i32());
                }
            }
        }
        (Sink::Bytes { c, output }, Stage::Bytes(p)) => {
            let rows = output.scale.rows(part.rows.clone());
            each_row(sums, ld, &mut part.of(c), |i| {
                let row = factor(rows, i);
                move |j, sum: T| rescale(sum.to_f32(), row * p.scale[j], p)
            });
        }
        (Sink::F32 { c, output }, Stage::F32 { scale, bias, clamp: (lo, hi) }) => {
            let rows = output.scale.rows(part.rows.clone());
            each_row(sums, ld, &mut part.of(c), |i| {
                let row = factor(rows, i);
                move |j, sum: T| {
                    let y = sum.to_f32() * (row * scale[j]) + bias[j];
                    let y = if y < *lo { *lo } else { y };
                    if y > *hi { *hi } else { y }
                }
            });
        }
        _ => unreachable!("a stage is made from its sink"),
    }
}

/// The factor of a row, 1 where there is none.
#[inline(always)]
fn factor(rows: Option<&[f32]>, i: usize) -> f32 {
    rows.map_or(1.0, |rows| rows[i])
}

/// 1.5·2^23
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn rescale(sum: f32, scale: f32, p: &Rescale) -> u8 {
    let x = sum * scale;
    let x = if x < p.lo { p.lo } else { x };
    let x = if x > p.hi { p.hi } else { x };
    let rounded = ((x + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    rounded.wrapping_add(p.zero_point) as u8
}

/// Values that are computed together: panels are a multiple of this wide.
const LANES: usize = 8;

/// `c[i][j] = f(i)(j, sums[i][j])`, for whole groups of [`LANES`] columns at a time.
#[inline(always)]
fn each_row<T: Sum, O: Copy + Default, F: Fn(usize, T) -> O>(
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
fn apply<T: Sum, O>(sums: &[T], out: &mut [O], f: &impl Fn(usize, T) -> O) {
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
