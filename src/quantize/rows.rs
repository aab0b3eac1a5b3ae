//! Quantizing the rows of an f32 matrix, each with parameters of its own or all with the same.

use crate::matrix::view::MatRef;
use crate::quantize::params::QuantParams;
use crate::quantize::scheme::Scheme;
use crate::quantize::span::Span;
use multiversion::multiversion;
use qgemm_kernels::{BlockMut, F32Rows, QuantizedRows, RowExtremes, RowParams, transpose};
use std::ops::Range;

/// The destination of quantized rows, and of their parameters.
pub(crate) struct RowsMut<'a> {
    /// The bit patterns. Rows are slices.
    pub(crate) bits: BlockMut<'a, u8>,
    /// One scale per row.
    pub(crate) scales: &'a mut [f32],
    /// One zero point per row, or none if nobody asks for them.
    pub(crate) zeros: &'a mut [i32],
}

impl<'a> RowsMut<'a> {
    /// The rows before `at`, and those from it on.
    pub(crate) fn split(self, at: usize) -> (Self, Self) {
        let RowsMut { bits, scales, zeros } = self;
        let (bits, bits_below) = bits.split_rows(at);
        let (scales, scales_below) = scales.split_at_mut(at);
        let (zeros, zeros_below) = zeros.split_at_mut(at.min(zeros.len()));
        (
            RowsMut { bits, scales, zeros },
            RowsMut { bits: bits_below, scales: scales_below, zeros: zeros_below },
        )
    }
}

/// Stores the scale of row `i`, and its zero point if there is a place for it.
#[inline(always)]
fn store(params: QuantParams, i: usize, scales: &mut [f32], zeros: &mut [i32]) {
    scales[i] = params.scale;
    if let Some(zero) = zeros.get_mut(i) {
        *zero = params.zero_point;
    }
}

/// Calls `f(k, values)` with the values of row `i` from column `k` on: all at once if the row is contiguous, else as
/// copies in pieces of a small buffer.
#[inline(always)]
fn for_each_piece(x: &MatRef<'_, f32>, i: usize, mut f: impl FnMut(usize, &[f32])) {
    const BUFFER: usize = 256;
    if let Some(row) = x.row(i) {
        return f(0, row);
    }
    let mut copied = [0.0; BUFFER];
    for start in (0..x.cols()).step_by(BUFFER) {
        let copied = &mut copied[..BUFFER.min(x.cols() - start)];
        for (k, value) in (start..).zip(copied.iter_mut()) {
            *value = x.get(i, k).copied().unwrap_or(0.0);
        }
        f(start, copied);
    }
}

/// The span of 0 and some rows, as `scheme` needs it.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn span_of_rows(x: &MatRef<'_, f32>, rows: Range<usize>, scheme: Scheme) -> Span {
    let mut span = Span::ZERO;
    let columns = x.transpose();
    if !x.rows_are_slices() && columns.rows_are_slices() {
        for k in 0..x.cols() {
            if let Some(column) = columns.row(k) {
                span = scheme.extend(span, &column[rows.clone()]);
            }
        }
        return span;
    }
    for i in rows {
        for_each_piece(x, i, |_, piece| span = scheme.extend(span, piece));
    }
    span
}

/// Quantizes rows of `x` from row `first` on, as many as `out` has, with the parameters `given`, or each with its own.
///
/// # Errors
/// The first row that has a value, or a range, that is not finite. Rows of `out` then have any value.
pub(crate) fn quantize_by_scheme(
    x: &MatRef<'_, f32>,
    first: usize,
    scheme: Scheme,
    given: Option<QuantParams>,
    out: RowsMut<'_>,
) -> Result<(), usize> {
    let rows = F32Rows::new(x.data_from_row(first), x.row_stride(), x.cols());
    let (Some(rows), true) = (rows, x.rows_are_slices()) else {
        return quantize_by_division(x, first, scheme, given, out);
    };
    let RowsMut { bits, scales, zeros } = out;
    let quantized = rows.quantize(
        given.is_none(),
        #[inline(always)]
        |i, extremes: RowExtremes| {
            let params = match given {
                Some(params) => params,
                None => scheme.params_of_row(extremes)?,
            };
            store(params, i, scales, zeros);
            Some(RowParams { scale: params.scale, zero: params.zero_point })
        },
        QuantizedRows { bits, unsigned: scheme == Scheme::Asymmetric },
    );
    quantized.map_err(|row| first + row)
}

/// The rows of `k` values that [`quantize_copies`] copies at a time: 256 KiB where they are not long.
pub(crate) fn rows_copied(k: usize) -> usize {
    ((1 << 16) / k.max(1)).clamp(16, 64)
}

/// [`quantize_by_scheme`] of rows of `k` values that are no slices. `copy(rows, out)` writes some of them to `out`, one
/// after the other. `memory` holds [`rows_copied`] of them, or all.
pub(crate) fn quantize_copies(
    k: usize,
    first: usize,
    scheme: Scheme,
    given: Option<QuantParams>,
    out: RowsMut<'_>,
    memory: &mut [f32],
    copy: impl Fn(Range<usize>, &mut [f32]),
) -> Result<(), usize> {
    let (mut first, mut rest) = (first, out);
    while !rest.scales.is_empty() {
        let rows = rest.scales.len().min(rows_copied(k));
        let (out, below) = rest.split(rows);
        copy(first..first + rows, &mut memory[..rows * k]);
        let block = MatRef::row_major(memory, rows, k).expect("it holds as many rows");
        quantize_by_scheme(&block, 0, scheme, given, out).map_err(|row| first + row)?;
        (first, rest) = (first + rows, below);
    }
    Ok(())
}

/// Transposes some rows of an `x` whose columns are contiguous to `out`, one after the other.
pub(crate) fn transpose_rows(x: &MatRef<'_, f32>, rows: Range<usize>, out: &mut [f32]) {
    let (columns, k) = (x.transpose(), x.cols());
    let from = columns.data_from_row(0).get(rows.start..).unwrap_or(&[]);
    let mut block = BlockMut::new(out, rows.len(), k, k, 1).expect("it holds as many rows");
    transpose(from, columns.row_stride(), &mut block);
}

/// Rows whose parameters are found before any of them is quantized, so that the division of one row does not wait for
/// the maximum of another.
const ROWS_TOGETHER: usize = 64;
/// The values of such rows are at most this many, so that they stay in the first-level cache (16 KiB).
const VALUES_TOGETHER: usize = 4096;

/// [`quantize_by_scheme`] for CPUs and layouts without code in the kernels.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn quantize_by_division(
    x: &MatRef<'_, f32>,
    first: usize,
    scheme: Scheme,
    given: Option<QuantParams>,
    out: RowsMut<'_>,
) -> Result<(), usize> {
    let RowsMut { mut bits, scales, zeros } = out;
    let together = (VALUES_TOGETHER / x.cols().max(1)).clamp(1, ROWS_TOGETHER);
    let mut spans = [Span::ZERO; ROWS_TOGETHER];
    let mut params = [given.unwrap_or(QuantParams { scale: 1.0, zero_point: 0 }); ROWS_TOGETHER];
    let rows = bits.rows();
    for start in (0..rows).step_by(together) {
        let block = start..rows.min(start + together);
        if given.is_none() {
            for (i, span) in block.clone().zip(&mut spans) {
                *span = Span::ZERO;
                for_each_piece(x, first + i, |_, piece| *span = scheme.extend(*span, piece));
            }
            let mut finite = true;
            let found = &spans[..block.len()];
            for (span, params) in found.iter().zip(&mut params) {
                *params = scheme.params(*span);
                finite &= span.is_finite() && params.scale.is_finite();
            }
            if !finite {
                let wrong = |i: &usize| !(spans[*i].is_finite() && params[*i].scale.is_finite());
                return Err(first + start + (0..block.len()).find(wrong).unwrap_or(0));
            }
        }
        for (i, params) in block.zip(params) {
            store(params, i, scales, zeros);
            let bits = bits.row_mut(i).expect("rows are slices");
            for_each_piece(x, first + i, |start, piece| {
                scheme.quantize(piece, params, &mut bits[start..start + piece.len()]);
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of a row's scale, zero point and bits.
    fn expected(row: &[f32], scheme: Scheme) -> (f32, i32, Vec<u8>) {
        let (lo, hi) = row.iter().fold((0f32, 0f32), |(lo, hi), x| (lo.min(*x), hi.max(*x)));
        let asymmetric = scheme == Scheme::Asymmetric;
        let scale = if asymmetric { (hi - lo) / 255.0 } else { hi.max(-lo) / 127.0 };
        let scale = if scale == 0.0 { 1.0 } else { scale };
        let zero = if asymmetric { (-lo / scale).round_ties_even().clamp(0.0, 255.0) } else { 0.0 };
        let (least, most) = if asymmetric { (0.0, 255.0) } else { (-127.0, 127.0) };
        let value = |x: &f32| ((x / scale).round_ties_even() + zero).clamp(least, most) as i32 as u8;
        (scale, zero as i32, row.iter().map(value).collect())
    }

    type Quantize =
        fn(&MatRef<'_, f32>, usize, Scheme, Option<QuantParams>, RowsMut<'_>) -> Result<(), usize>;

    /// With vectors, where the CPU has them, and without.
    const WAYS: [Quantize; 2] = [quantize_by_scheme, quantize_by_division];

    /// Calls `f` with matrices whose rows have numbers of any magnitude, subnormal ones among them, in several layouts.
    fn each_matrix(mut f: impl FnMut(&MatRef<'_, f32>, Quantize, Scheme)) {
        for (rows, cols) in [(1, 1), (70, 3), (131, 40), (9, 5000)] {
            for (row_stride, col_stride) in [(cols, 1), (cols + 3, 1), (1, rows), (2 * cols, 2)] {
                let units = [1.0, f32::from_bits(1), 1e-30, 1e30, 0.0];
                let mut data = vec![0f32; (rows - 1) * row_stride + (cols - 1) * col_stride + 1];
                for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                    // Of both signs, of one, or of the other.
                    let steps = ((i * 31 + j * 17) % 381) as f32 - [190.0, 0.0, 380.0][i % 3];
                    data[i * row_stride + j * col_stride] = steps * units[i % 5];
                }
                let x = MatRef::new(&data, rows, cols, row_stride, col_stride).unwrap();
                for way in WAYS {
                    for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
                        f(&x, way, scheme);
                    }
                }
            }
        }
    }

    /// Bits, scales and zero points.
    type Rows = (Vec<u8>, Vec<f32>, Vec<i32>);

    /// Quantizes the rows from `first` on.
    fn run(x: &MatRef<'_, f32>, way: Quantize, (first, scheme): (usize, Scheme)) -> Result<Rows, usize> {
        let (rows, cols) = (x.rows() - first, x.cols());
        let (mut bits, mut scales, mut zeros) = (vec![0; rows * cols], vec![0.0; rows], vec![0; rows]);
        let block = BlockMut::new(&mut bits, rows, cols, cols, 1).unwrap();
        way(x, first, scheme, None, RowsMut { bits: block, scales: &mut scales, zeros: &mut zeros })?;
        Ok((bits, scales, zeros))
    }

    #[test]
    fn rows_are_quantized_by_their_definition() {
        each_matrix(|x, way, scheme| {
            for first in [0, x.rows() / 2] {
                let (bits, scales, zeros) = run(x, way, (first, scheme)).unwrap();
                for i in first..x.rows() {
                    let row: Vec<f32> = (0..x.cols()).map(|j| *x.get(i, j).unwrap()).collect();
                    let at = i - first;
                    let want = expected(&row, scheme);
                    assert_eq!((scales[at], zeros[at]), (want.0, want.1), "{scheme:?} {i}");
                    assert_eq!(bits[at * x.cols()..][..x.cols()], want.2, "{scheme:?} {i}");
                }
            }
        });
    }

    #[test]
    fn the_first_row_that_is_not_finite_is_named() {
        let (rows, cols) = (150, 6);
        for wrong in [0, 1, 63, 64, 65, 149] {
            for (value, other) in [(f32::NAN, 0.0), (f32::INFINITY, 0.0), (f32::MAX, f32::MIN)] {
                let mut data = vec![1f32; rows * cols];
                (data[wrong * cols + 2], data[wrong * cols + 3]) = (value, other);
                data[149 * cols] = f32::NAN;
                let x = MatRef::row_major(&data, rows, cols).unwrap();
                for (way, first) in WAYS.into_iter().flat_map(|way| [(way, 0), (way, 60)]) {
                    // A range that f32 does not hold has no scale, and a magnitude has one.
                    let wrong = if wrong < first { 149 } else { wrong };
                    assert_eq!(run(&x, way, (first, Scheme::Asymmetric)).unwrap_err(), wrong);
                    let wrong = if value == f32::MAX { 149 } else { wrong };
                    assert_eq!(run(&x, way, (first, Scheme::Symmetric)).unwrap_err(), wrong);
                }
            }
        }
    }
}
