//! Float scales from the sums to the output.

use crate::error::{Error, check_length};
use multiversion::multiversion;
use qgemm_kernels::in_default_float_mode;
use std::ops::Range;

/// The scale from the sums to the output: one for all elements, or one per row, per column, or both.
///
/// Made by `into()` from an `f32` (for all elements), or from an `&[f32]` (one per column).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scale<'a> {
    /// One for every element.
    PerTensor(f32),
    /// One per column.
    PerColumn(&'a [f32]),
    /// One per row.
    PerRow(&'a [f32]),
    /// One per row times one per column, for activations quantized per row and weights quantized per column. The product
    /// is rounded to f32 before it multiplies the sum.
    RowsByColumns {
        /// One per row.
        rows: &'a [f32],
        /// One per column.
        columns: &'a [f32],
    },
}

/// The place of A's scale in an output stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScaleOfA {
    /// The stage's scales hold it.
    Included,
    /// The call finds it in the values of A, and multiplies by it.
    Found,
}

impl ScaleOfA {
    /// Checks that a stage with this has the scale where a product expects it.
    ///
    /// # Errors
    /// [`Error::ScaleOfA`].
    #[inline]
    pub(crate) fn check(self, expected: Self) -> Result<(), Error> {
        if self == expected { Ok(()) } else { Err(Error::ScaleOfA { included: self == ScaleOfA::Included }) }
    }
}

impl From<f32> for Scale<'_> {
    fn from(scale: f32) -> Self {
        Scale::PerTensor(scale)
    }
}

impl<'a> From<&'a [f32]> for Scale<'a> {
    fn from(scales: &'a [f32]) -> Self {
        Scale::PerColumn(scales)
    }
}

impl<'a> From<&'a Vec<f32>> for Scale<'a> {
    fn from(scales: &'a Vec<f32>) -> Self {
        Scale::PerColumn(scales)
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Scale<'a> {
    fn from(scales: &'a [f32; N]) -> Self {
        Scale::PerColumn(scales)
    }
}

impl<'a> Scale<'a> {
    /// The scale of element (i, j).
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn at(&self, i: usize, j: usize) -> f32 {
        match self {
            Scale::PerTensor(scale) => *scale,
            Scale::PerColumn(columns) => columns[j],
            Scale::PerRow(rows) => rows[i],
            Scale::RowsByColumns { rows, columns } => rows[i] * columns[j],
        }
    }

    /// The scales of some rows; `None` if rows have none.
    pub(crate) fn rows(&self, range: Range<usize>) -> Option<&'a [f32]> {
        match self {
            Scale::PerTensor(_) | Scale::PerColumn(_) => None,
            Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => Some(&rows[range]),
        }
    }

    /// The scales of columns; `None` if columns have none.
    pub(crate) fn columns(&self) -> Option<&'a [f32]> {
        match self {
            Scale::PerTensor(_) | Scale::PerRow(_) => None,
            Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => Some(columns),
        }
    }

    /// The scale of some rows of the output, as that of an output of its own.
    pub(crate) fn of_rows(self, range: Range<usize>) -> Self {
        match self {
            Scale::PerTensor(_) | Scale::PerColumn(_) => self,
            Scale::PerRow(rows) => Scale::PerRow(&rows[range]),
            Scale::RowsByColumns { rows, columns } => Scale::RowsByColumns { rows: &rows[range], columns },
        }
    }

    /// Checks that all scales are finite and not negative, and all products of two finite.
    ///
    /// # Errors
    /// [`Error::Scale`] or [`Error::ScaleProduct`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        in_default_float_mode(|| {
            match self {
                Scale::PerTensor(scale) => check_each("scale", &[*scale]),
                Scale::PerColumn(scales) | Scale::PerRow(scales) => check_each("scale", scales),
                Scale::RowsByColumns { rows, columns } => {
                    check_each("scale.rows", rows)?;
                    check_each("scale.columns", columns)?;
                    // Products of larger scales are not smaller, so the largest two decide.
                    match greatest(rows).zip(greatest(columns)) {
                        Some((row, column)) if !(rows[row] * columns[column]).is_finite() => {
                            Err(Error::ScaleProduct { row, column, got: (rows[row], columns[column]) })
                        }
                        _ => Ok(()),
                    }
                }
            }
        })
    }

    /// Checks that there are as many scales as rows and columns.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub(crate) fn check_shape(&self, m: usize, n: usize) -> Result<(), Error> {
        match self {
            Scale::PerTensor(_) => Ok(()),
            Scale::PerColumn(columns) => check_length("scale", columns.len(), n),
            Scale::PerRow(rows) => check_length("scale", rows.len(), m),
            Scale::RowsByColumns { rows, columns } => {
                check_length("scale.rows", rows.len(), m)?;
                check_length("scale.columns", columns.len(), n)
            }
        }
    }
}

fn check_each(argument: &'static str, scales: &[f32]) -> Result<(), Error> {
    let wrong = |scale: &f32| !(*scale >= 0.0 && *scale < f32::INFINITY);
    // A loop without an exit is vectorized.
    if !scales.iter().fold(false, |any, scale| any | wrong(scale)) {
        return Ok(());
    }
    let index = scales.iter().position(wrong).unwrap_or(0);
    Err(Error::Scale { argument, index, got: scales[index], positive: false })
}

/// The greatest magnitude of some factors; NaN if one is NaN, 0 if there are none. Bits without the sign are ordered like
/// magnitudes, and a maximum of integers is vectorized.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn greatest_of(factors: &[f32]) -> f32 {
    f32::from_bits(factors.iter().fold(0, |max, x| max.max(x.to_bits() & i32::MAX as u32)))
}

/// Whether no factor is more than 1/2.
#[inline]
pub(crate) fn at_most_half(factors: &[f32]) -> bool {
    /// Counting, unlike a search, is vectorized.
    #[inline(always)]
    fn none_above(factors: &[f32]) -> bool {
        factors.iter().filter(|factor| **factor > 0.5).count() == 0
    }
    #[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
    fn none_of_many(factors: &[f32]) -> bool {
        none_above(factors)
    }
    // Choosing the version at run time would take 5 % of 16x16x16.
    if factors.len() < 64 { none_above(factors) } else { none_of_many(factors) }
}

/// The index of the greatest of some numbers, the first of equals.
fn greatest(values: &[f32]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] > values[best] { i } else { best })
}
