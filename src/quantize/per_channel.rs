//! Matrices quantized with a scale per row, or per column.

use crate::buffer::refill;
use crate::error::{Error, check_length, check_shape};
use crate::matrix::view::{MatMut, MatRef};
use crate::quantize::rows::{
    RowsMut, quantize_by_scheme, quantize_copies, rows_copied, span_of_rows, transpose_rows,
};
use crate::quantize::scheme::Scheme;
use crate::quantize::span::Span;
use crate::rounding::ROUND_F32;
use multiversion::multiversion;
use qgemm_kernels::{BlockMut, in_default_float_mode, transpose};

/// Quantizes every row of `x` (M×K) to i8 symmetrically, by a scale of its own, as
/// [`DynamicGemm`](crate::DynamicGemm) quantizes its A:
///
/// ```text
/// scales[m] = max_k |x[m,k]| / 127
/// out[m,k] = clamp(round_half_even(x[m,k] / scales[m]), -127, 127)
/// ```
///
/// Both divisions are in f32. A row whose first quotient is 0, because it is all 0 or has no values, gets 1 as its
/// scale. `out` is M×K as well, `scales` has M values, and both matrices may have any strides. The calling thread does
/// all of the work.
///
/// # Errors
/// [`Error::Shape`] if `out` has another shape than `x`, [`Error::Length`] if `scales` has another length than M,
/// [`Error::NotFinite`] if a value is infinite or NaN (it names the first one, row by row), [`Error::Memory`] if there
/// is not enough. `out` and `scales` are then left as they were.
pub fn quantize_rows(x: MatRef<'_, f32>, out: MatMut<'_, i8>, scales: &mut [f32]) -> Result<(), Error> {
    check_shapes(&x, &out, x.rows(), scales.len())?;
    in_default_float_mode(|| quantize_each_row(x, out.block.into_bits(), scales))
}

/// Quantizes every column of `x` (K×N) to i8 symmetrically, by a scale of its own: the usual way to quantize weights.
///
/// ```text
/// scales[n] = max_k |x[k,n]| / 127
/// out[k,n] = clamp(round_half_even(x[k,n] / scales[n]), -127, 127)
/// ```
///
/// Both divisions are in f32. A column whose first quotient is 0, because it is all 0 or has no values, gets 1 as its
/// scale. `out` is K×N as well, `scales` has N values, and both matrices may have any strides. The calling thread does
/// all of the work.
///
/// ```
/// use qgemm::{MatMut, MatRef, PackedB, quantize_columns};
///
/// let weights = [0.5f32, -254.0, -1.27, 3.0, 0.0, 100.0]; // K = 3, N = 2
/// let (mut quantized, mut scales) = ([0i8; 6], [0f32; 2]);
/// let out = MatMut::row_major(&mut quantized, 3, 2)?;
/// quantize_columns(MatRef::row_major(&weights, 3, 2)?, out, &mut scales)?;
/// assert_eq!((quantized, scales), ([50, -127, -127, 2, 0, 50], [0.01, 2.0]));
///
/// let b = PackedB::pack(MatRef::row_major(&quantized, 3, 2)?)?;
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if `out` has another shape than `x`, [`Error::Length`] if `scales` has another length than N,
/// [`Error::NotFinite`] if a value is infinite or NaN (it names the first one, column by column), [`Error::Memory`] if
/// there is not enough. `out` and `scales` are then left as they were.
pub fn quantize_columns(x: MatRef<'_, f32>, out: MatMut<'_, i8>, scales: &mut [f32]) -> Result<(), Error> {
    check_shapes(&x, &out, x.cols(), scales.len())?;
    let quantized =
        in_default_float_mode(|| quantize_each_row(x.transpose(), out.transpose().block.into_bits(), scales));
    quantized.map_err(|error| match error {
        Error::NotFinite { argument, row, column, got } => {
            Error::NotFinite { argument, row: column, column: row, got }
        }
        other => other,
    })
}

/// # Errors
/// [`Error::Shape`] and [`Error::Length`] of the public functions. `need` is the number of scales.
fn check_shapes(x: &MatRef<'_, f32>, out: &MatMut<'_, i8>, need: usize, scales: usize) -> Result<(), Error> {
    check_shape("out", (out.rows(), out.cols()), (x.rows(), x.cols()))?;
    check_length("scales", scales, need)
}

/// [`quantize_rows`] for arguments that fit each other.
fn quantize_each_row(x: MatRef<'_, f32>, mut out: BlockMut<'_, u8>, scales: &mut [f32]) -> Result<(), Error> {
    /// From this number on, rows that lie side by side fill a vector.
    const SIDE_BY_SIDE: usize = 8;
    /// The rows that are quantized before they are transposed: a cache line of each column of the output.
    const ROWS_TOGETHER: usize = 64;
    let (m, k) = (x.rows(), x.cols());
    if m == 0 {
        return Ok(());
    }
    if m >= SIDE_BY_SIDE && x.row_stride() == 1 && out.row_stride() == 1 {
        return quantize_side_by_side(x, out.transposed(), scales);
    }
    // Values are checked before anything is written: a quarter of the time (128x768, Zen 4, 2026-11-29).
    if !all_finite(&x) {
        return Err(first_not_finite(&x));
    }
    let by_columns = !x.rows_are_slices() && x.transpose().rows_are_slices();
    let together = ROWS_TOGETHER.min(m);
    let (mut floats, mut bytes) = (Vec::new(), Vec::new());
    if by_columns {
        refill(&mut floats, rows_copied(k).min(m).saturating_mul(k), 0.0, "transposed x")?;
    }
    if !out.rows_are_slices() {
        refill(&mut bytes, together.saturating_mul(k), 0, "quantized x")?;
    }
    let mut quantize = |first: usize, out: RowsMut<'_>| {
        let quantized = match by_columns {
            true => quantize_copies(k, first, Scheme::Symmetric, None, out, &mut floats, |rows, copies| {
                transpose_rows(&x, rows, copies);
            }),
            false => quantize_by_scheme(&x, first, Scheme::Symmetric, None, out),
        };
        quantized.expect("all values are finite");
    };
    if out.rows_are_slices() {
        quantize(0, RowsMut { bits: out, scales, zeros: &mut [] });
        return Ok(());
    }
    for (block, scales) in scales.chunks_mut(together).enumerate() {
        let (first, rows) = (block * together, scales.len());
        let bits = BlockMut::new(&mut bytes, rows, k, k, 1).expect("it holds as many rows");
        quantize(first, RowsMut { bits, scales, zeros: &mut [] });
        transpose(&bytes, k, &mut out.part(first, 0, rows, k).transposed());
    }
    Ok(())
}

/// [`quantize_rows`] for matrices whose columns are contiguous: rows lie side by side, each in a lane of vectors. `out`
/// is the transpose of the output.
fn quantize_side_by_side(
    x: MatRef<'_, f32>,
    mut out: BlockMut<'_, u8>,
    scales: &mut [f32],
) -> Result<(), Error> {
    let columns = x.transpose();
    let mut greatest = Vec::new();
    refill(&mut greatest, scales.len(), 0, "greatest magnitudes")?;
    greatest_magnitudes(&columns, &mut greatest);
    let spans = || greatest.iter().map(|&bits| Span::of_magnitudes(bits, 0));
    if !spans().all(Span::is_finite) {
        return Err(first_not_finite(&x));
    }
    for (span, scale) in spans().zip(scales.iter_mut()) {
        *scale = Scheme::Symmetric.params(span).scale;
    }
    divide_side_by_side(&columns, scales, &mut out);
    Ok(())
}

/// Finds the greatest magnitude of each column of `x`, as bits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn greatest_magnitudes(x: &MatRef<'_, f32>, greatest: &mut [i32]) {
    for row in (0..x.rows()).filter_map(|k| x.row(k)) {
        for (greatest, x) in greatest.iter_mut().zip(row) {
            *greatest = (*greatest).max(x.abs().to_bits() as i32);
        }
    }
}

/// Quantizes each column of `x` by its scale.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn divide_side_by_side(x: &MatRef<'_, f32>, scales: &[f32], out: &mut BlockMut<'_, u8>) {
    for k in 0..x.rows() {
        let (Some(row), Some(out)) = (x.row(k), out.row_mut(k)) else { return };
        for ((x, scale), out) in row.iter().zip(scales).zip(out) {
            let quotient = x / scale;
            let quotient = if quotient < -127.0 { -127.0 } else { quotient };
            let quotient = if quotient > 127.0 { 127.0 } else { quotient };
            *out = (quotient + ROUND_F32).to_bits() as u8;
        }
    }
}

fn all_finite(x: &MatRef<'_, f32>) -> bool {
    let finite = |x: &MatRef<'_, f32>| span_of_rows(x, 0..x.rows(), Scheme::Symmetric).is_finite();
    match x.data_from_row(0).get(..x.rows() * x.cols()) {
        // Rows without gaps are read as one: the maximum over the lanes of a vector takes as long as some 100 values.
        Some(values) if x.rows_are_slices() && x.row_stride() == x.cols() => {
            MatRef::row_major(values, 1, values.len()).is_ok_and(|values| finite(&values))
        }
        _ => finite(x),
    }
}

/// The error for the first value that is not finite, row by row.
fn first_not_finite(x: &MatRef<'_, f32>) -> Error {
    let places = (0..x.rows()).flat_map(|row| (0..x.cols()).map(move |column| (row, column)));
    let values = places.filter_map(|(row, column)| x.get(row, column).map(|&got| (row, column, got)));
    let (row, column, got) =
        values.clone().find(|(.., got)| !got.is_finite()).expect("a value is not finite");
    Error::NotFinite { argument: "x", row, column, got }
}
