//! Requantization by factors in f64: rounded once, half away from zero.

use crate::error::Error;
use crate::one_or_each::OneOrEach;
use qgemm_kernels::in_default_float_mode;

/// Factors in f64 from the sums to the output: one for all columns, or one per column.
pub type F64Factors<'a> = OneOrEach<'a, f64>;

impl F64Factors<'_> {
    /// # Errors
    /// [`Error::FloatRange`] if a factor is negative or not finite.
    pub(crate) fn check(&self) -> Result<(), Error> {
        in_default_float_mode(|| match self.values().iter().find(|f| !(f.is_finite() && **f >= 0.0)) {
            None => Ok(()),
            Some(&got) => Err(Error::FloatRange { argument: "factor", got, min: 0.0, max: f64::MAX }),
        })
    }
}
