//! Rows of f32 with their parameters and scales, the steps of an f32 output, and memory.

use crate::buffer;
use crate::error::Error;
use crate::matrix::view::MatMut;
use crate::output::dequantize::{Dequantize, FloatResidual};
use crate::output::scale::Scale;
use crate::product::operands::FloatLhs;
use crate::quantize::params::QuantParams;
use crate::quantize::scheme::Scheme;
use std::ops::Range;

/// The purpose that errors name.
pub(super) const QUANTIZED_A: &str = "quantized a";

/// An empty vector with room for `len` values.
///
/// # Errors
/// [`Error::Memory`], naming `purpose`, if there is not enough.
pub(super) fn with_capacity<T>(len: usize, purpose: &'static str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    buffer::reserve(&mut values, len, purpose)?;
    Ok(values)
}

pub(super) fn real(a: &FloatLhs<'_>, i: usize, l: usize) -> f32 {
    a.get(i, l).expect("the shapes were checked")
}

/// The parameters of some rows, from their values in some columns.
pub(super) fn dynamic_params(
    scheme: Scheme,
    (argument, a): (&'static str, &FloatLhs<'_>),
    rows: Range<usize>,
    columns: Range<usize>,
) -> Result<QuantParams, Error> {
    let (mut lo, mut hi) = (0f32, 0f32);
    for (row, column) in rows.flat_map(|i| columns.clone().map(move |l| (i, l))) {
        let got = real(a, row, column);
        if !got.is_finite() {
            return Err(Error::NotFinite { argument, row, column, got });
        }
        (lo, hi) = (lo.min(got), hi.max(got));
    }
    let scale = match scheme {
        Scheme::Symmetric => hi.max(-lo) / 127.0,
        Scheme::Asymmetric => (hi - lo) / 255.0,
    };
    match (scale, scheme) {
        (f32::INFINITY, _) => Err(Error::QuantizationRange { got: (lo.into(), hi.into()) }),
        (0.0, _) => Ok(QuantParams { scale: 1.0, zero_point: 0 }),
        (_, Scheme::Symmetric) => Ok(QuantParams { scale, zero_point: 0 }),
        (_, Scheme::Asymmetric) => {
            let zero_point = (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i32;
            Ok(QuantParams { scale, zero_point })
        }
    }
}

pub(super) fn element<'m, T>(c: &'m mut MatMut<'_, T>, i: usize, j: usize) -> &'m mut T {
    c.get_mut(i, j).expect("the shapes were checked")
}

/// The scales of rows times those that an output has for all or each of them.
pub(super) fn row_scales(found: &[f32], output: Scale<'_>) -> Result<Vec<f32>, Error> {
    let mut rows = with_capacity(found.len(), QUANTIZED_A)?;
    rows.extend(found.iter().enumerate().map(|(i, scale)| match output {
        Scale::PerTensor(b) => scale * b,
        Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => scale * rows[i],
        Scale::PerColumn(_) => *scale,
    }));
    Ok(rows)
}

/// The scale of an output with these scales of its rows.
pub(super) fn with_row_scales<'s>(output: Scale<'s>, rows: &'s [f32]) -> Scale<'s> {
    match output {
        Scale::PerTensor(_) | Scale::PerRow(_) => Scale::PerRow(rows),
        Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => {
            Scale::RowsByColumns { rows, columns }
        }
    }
}

/// A scaled sum with the bias and the residual of an output stage, clamped. `c` is what the element holds.
pub(super) fn clamped(scaled: f32, (i, j): (usize, usize), c: f32, output: &Dequantize<'_>) -> f32 {
    let y = output.bias.map_or(scaled, |bias| scaled + bias[j]);
    let y = match output.residual {
        None => y,
        Some(FloatResidual::Matrix(matrix)) => y + matrix.get(i, j).expect("the shapes were checked"),
        Some(FloatResidual::Output) => y + c,
    };
    let (lo, hi) = output.clamp;
    let y = if y < lo { lo } else { y };
    if y > hi { hi } else { y }
}
