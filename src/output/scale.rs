//! The factor from the sums to the output.

use crate::error::Error;
use multiversion::multiversion;
use std::ops::Range;

/// The factor from the sums to the output: one for all elements, or one per row, column, or both.
///
/// Made by `into()` from an `f32`, or from an `&[f32]` with a value per column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale<'a> {
    /// The same for every element.
    PerTensor(f32),
    /// One per column.
    PerColumn(&'a [f32]),
    /// One per row.
    PerRow(&'a [f32]),
    /// The product of one per row and one per column, rounded to f32 before it meets the sum: activations
    /// that were quantized row by row, weights column by column.
    RowsByColumns {
        /// One per row.
        rows: &'a [f32],
        /// One per column.
        columns: &'a [f32],
    },
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
    /// The scale of element (i, j), which must exist.
    pub(crate) fn at(&self, i: usize, j: usize) -> f32 {
        match self {
            Scale::PerTensor(scale) => *scale,
            Scale::PerColumn(columns) => columns[j],
            Scale::PerRow(rows) => rows[i],
            Scale::RowsByColumns { rows, columns } => rows[i] * columns[j],
        }
    }

    /// The factors of some rows, if they have any.
    pub(crate) fn rows(&self, range: Range<usize>) -> Option<&'a [f32]> {
        match self {
            Scale::PerTensor(_) | Scale::PerColumn(_) => None,
            Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => Some(&rows[range]),
        }
    }

    /// That all factors are finite and not negative, and all products finite.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Scale::PerTensor(scale) => check_each("scale", &[*scale]),
            Scale::PerColumn(scales) | Scale::PerRow(scales) => check_each("scale", scales),
            Scale::RowsByColumns { rows, columns } => {
                check_each("scale.rows", rows)?;
                check_each("scale.columns", columns)?;
                // Products of larger factors are not smaller, so the largest two decide.
                match greatest(rows).zip(greatest(columns)) {
                    Some((row, column)) if !(rows[row] * columns[column]).is_finite() => {
                        Err(Error::ScaleProduct { row, column, got: (rows[row], columns[column]) })
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// That there are as many factors as rows and columns.
    pub(crate) fn check_shape(&self, m: usize, n: usize) -> Result<(), Error> {
        let length = |argument, scales: &[f32], need| match scales.len() {
            got if got != need => Err(Error::Length { argument, got, need }),
            _ => Ok(()),
        };
        match self {
            Scale::PerTensor(_) => Ok(()),
            Scale::PerColumn(columns) => length("scale", columns, n),
            Scale::PerRow(rows) => length("scale", rows, m),
            Scale::RowsByColumns { rows, columns } => {
                length("scale.rows", rows, m)?;
                length("scale.columns", columns, n)
            }
        }
    }
}

fn check_each(argument: &'static str, scales: &[f32]) -> Result<(), Error> {
    let wrong = |scale: &f32| !(*scale >= 0.0 && *scale < f32::INFINITY);
    // Without a way out of the loop it runs in vectors.
    if !scales.iter().fold(false, |any, scale| any | wrong(scale)) {
        return Ok(());
    }
    let index = scales.iter().position(wrong).unwrap_or(0);
    Err(Error::Scale { argument, index, got: scales[index], positive: false })
}

/// The greatest magnitude of some factors, NaN if one is; 0 of none. (Bits without the sign are in the same order, and
/// of integers a maximum is vectorized.)
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn greatest_of(factors: &[f32]) -> f32 {
    f32::from_bits(factors.iter().fold(0, |max, x| max.max(x.to_bits() & i32::MAX as u32)))
}

/// Whether no factor is more than 1/2.
#[inline]
pub(crate) fn at_most_half(factors: &[f32]) -> bool {
    /// Counted, which unlike a search is done several at a time.
    #[inline(always)]
    fn none_above(factors: &[f32]) -> bool {
        factors.iter().filter(|factor| **factor > 0.5).count() == 0
    }
    #[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
    fn none_of_many(factors: &[f32]) -> bool {
        none_above(factors)
    }
    // A small product would notice the choice of a version: 5 % of 16x16x16.
    if factors.len() < 64 { none_above(factors) } else { none_of_many(factors) }
}

/// Where the greatest of some numbers is, the first of equals.
fn greatest(values: &[f32]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] > values[best] { i } else { best })
}
