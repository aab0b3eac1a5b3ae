//! From sums of stored products to what is stored in C, while they are in cache.
//!
//! # Rounding
//!
//! `round_half_even(x)` of an f32 with |x| <= 2^22 is `(x + 1.5·2^23) - 1.5·2^23`: the sum lies where
//! f32 has steps of 1, and rounds half to even. Its bits, less those of 1.5·2^23, are the integer.
//! Clamping to integers commutes with rounding, so the clamp comes first and keeps |x| <= 2^21 + 255.

use crate::output::Scale;
use crate::sink::Sink;
use crate::terms::PerColumn;
use multiversion::multiversion;
use qgemm_kernels::MAX_NR;
use qgemm_kernels::block::BlockMut;
use qgemm_kernels::finish::{self, Output};
use std::ops::Range;

/// The output stage of one panel's columns.
#[allow(clippy::large_enum_variant)] // It lives on the stack of the loop over panels.
pub(crate) enum Stage {
    I32 { accumulate: bool },
    Bytes(Rescale),
    F32 { scale: PerColumn<f32>, bias: Option<PerColumn<f32>> },
}

/// To 8 bits: `round_half_even(clamp(sum · scale, lo, hi)) + zero_point`.
pub(crate) struct Rescale {
    scale: PerColumn<f32>,
    zero_point: i32,
    range: (i32, i32),
    /// The ends of the output range less the zero point; integers, exact in f32.
    lo: f32,
    hi: f32,
}

impl Stage {
    /// For these columns of the whole output.
    pub(crate) fn new(sink: &Sink<'_, '_>, columns: Range<usize>) -> Self {
        let of = |values: &[f32]| {
            let mut padded = [0.0; MAX_NR];
            padded[..columns.len()].copy_from_slice(&values[columns.clone()]);
            padded
        };
        let scale = |scale: &Scale<'_>| match scale {
            Scale::PerTensor(scale) => [*scale; MAX_NR],
            Scale::PerColumn(scales) => of(scales),
        };
        match sink {
            Sink::I32 { accumulate, .. } => Stage::I32 { accumulate: *accumulate },
            Sink::Bytes { output, .. } => Stage::Bytes(Rescale {
                scale: scale(&output.scale),
                zero_point: output.zero_point,
                range: (output.lo, output.hi),
                lo: (output.lo - output.zero_point) as f32,
                hi: (output.hi - output.zero_point) as f32,
            }),
            Sink::F32 { output, .. } => Stage::F32 { scale: scale(&output.scale), bias: output.bias.map(of) },
        }
    }
}

/// Calls `run` with the part of `sink` that `at` gives as row, column, rows and columns, where a kernel can
/// store to it; whether it did.
pub(crate) fn with_output(
    sink: &mut Sink<'_, '_>,
    stage: &Stage,
    [row, col, rows, cols]: [usize; 4],
    fused: bool,
    run: impl FnOnce(Output<'_, '_>),
) -> bool {
    match (sink, stage) {
        (Sink::I32 { c, accumulate }, _) if c.rows_are_slices() => {
            let c = &mut c.part(row, col, rows, cols);
            run(Output::Sums { c, accumulate: *accumulate });
        }
        (Sink::Bytes { c, .. }, Stage::Bytes(p))
            if fused && c.rows_are_slices() && p.zero_point.abs() <= finish::MAX_ZERO_POINT =>
        {
            let c = &mut c.part(row, col, rows, cols);
            let Rescale { scale, zero_point, range, .. } = p;
            let stage = finish::Rescale { scale, row_scale: None, zero_point: *zero_point, range: *range };
            run(Output::Bytes { c, stage });
        }
        (Sink::F32 { c, .. }, Stage::F32 { scale, bias }) if fused && c.rows_are_slices() => {
            let c = &mut c.part(row, col, rows, cols);
            let bias = bias.as_ref().unwrap_or(&[-0.0; MAX_NR]);
            let range = (f32::NEG_INFINITY, f32::INFINITY);
            run(Output::Floats { c, stage: finish::Scaled { scale, row_scale: None, bias, range } });
        }
        _ => return false,
    }
    true
}

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

/// Stores finished sums, in rows of `ld`, to the part of `sink` that `at` gives as row, column, rows
/// and columns.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store(sums: &[i32], ld: usize, stage: &Stage, sink: &mut Sink<'_, '_>, at: [usize; 4]) {
    store_sums(sums, ld, stage, sink, at);
}

/// [`store`] from 64-bit sums.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store_wide(sums: &[i64], ld: usize, stage: &Stage, sink: &mut Sink<'_, '_>, at: [usize; 4]) {
    store_sums(sums, ld, stage, sink, at);
}

#[inline(always)]
fn store_sums<T: Sum>(
    sums: &[T],
    ld: usize,
    stage: &Stage,
    sink: &mut Sink<'_, '_>,
    [row, col, rows, cols]: [usize; 4],
) {
    match (sink, stage) {
        (Sink::I32 { c, .. }, Stage::I32 { accumulate }) => {
            let mut c = c.part(row, col, rows, cols);
            for i in 0..rows {
                for j in 0..cols {
                    let c = c.get_mut(i, j).expect("the part has this shape");
                    *c = if *accumulate { *c } else { 0 }.wrapping_add(sums[i * ld + j].to_i32());
                }
            }
        }
        (Sink::Bytes { c, .. }, Stage::Bytes(p)) => {
            let mut c = c.part(row, col, rows, cols);
            each_row(sums, ld, &mut c, |j, sum| rescale(sum.to_f32(), p.scale[j], p));
        }
        (Sink::F32 { c, .. }, Stage::F32 { scale, bias: None }) => {
            let mut c = c.part(row, col, rows, cols);
            each_row(sums, ld, &mut c, |j, sum| sum.to_f32() * scale[j]);
        }
        (Sink::F32 { c, .. }, Stage::F32 { scale, bias: Some(bias) }) => {
            let mut c = c.part(row, col, rows, cols);
            each_row(sums, ld, &mut c, |j, sum| sum.to_f32() * scale[j] + bias[j]);
        }
        _ => unreachable!("a stage is made from its sink"),
    }
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

/// `c[i][j] = f(j, sums[i][j])`, for whole groups of [`LANES`] columns at a time.
#[inline(always)]
fn each_row<T: Sum, O: Copy + Default>(
    sums: &[T],
    ld: usize,
    c: &mut BlockMut<'_, O>,
    f: impl Fn(usize, T) -> O,
) {
    let cols = c.cols();
    let padded = cols.next_multiple_of(LANES);
    for i in 0..c.rows() {
        let sums = &sums[i * ld..][..padded];
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
