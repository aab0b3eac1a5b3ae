//! Requantization in f64: real factors, rounded once, half away from zero.

use crate::Error;

/// Real factors of the columns of the output: one for all, or one per column.
///
/// Made by `into()` from an `f64` or an `&[f64]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factors<'a> {
    /// The same for every column.
    PerTensor(f64),
    /// One per column.
    PerColumn(&'a [f64]),
}

impl From<f64> for Factors<'_> {
    fn from(factor: f64) -> Self {
        Factors::PerTensor(factor)
    }
}

impl<'a> From<&'a [f64]> for Factors<'a> {
    fn from(factors: &'a [f64]) -> Self {
        Factors::PerColumn(factors)
    }
}

impl<'a> From<&'a Vec<f64>> for Factors<'a> {
    fn from(factors: &'a Vec<f64>) -> Self {
        Factors::PerColumn(factors)
    }
}

impl<'a, const N: usize> From<&'a [f64; N]> for Factors<'a> {
    fn from(factors: &'a [f64; N]) -> Self {
        Factors::PerColumn(factors)
    }
}

impl Factors<'_> {
    /// That of column `j`, which must exist.
    pub(crate) fn at(&self, j: usize) -> f64 {
        match self {
            Factors::PerTensor(factor) => *factor,
            Factors::PerColumn(factors) => factors[j],
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let all = match self {
            Factors::PerTensor(factor) => std::slice::from_ref(factor),
            Factors::PerColumn(factors) => factors,
        };
        match all.iter().find(|f| !(f.is_finite() && **f >= 0.0)) {
            None => Ok(()),
            Some(&got) => Err(Error::Real { argument: "factor", got, min: 0.0, max: f64::MAX }),
        }
    }

    pub(crate) fn check_columns(&self, n: usize) -> Result<(), Error> {
        match self {
            Factors::PerColumn(factors) if factors.len() != n => {
                Err(Error::Length { argument: "factors", got: factors.len(), need: n })
            }
            _ => Ok(()),
        }
    }
}
