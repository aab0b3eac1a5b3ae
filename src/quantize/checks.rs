//! Checks that the functions of this layer share.

use crate::error::Error;

/// # Errors
/// [`Error::Scale`] if a scale, at `index` among those of `argument`, is not finite and positive.
pub(crate) fn positive(argument: &'static str, index: usize, got: f32) -> Result<(), Error> {
    if got.is_finite() && got > 0.0 {
        return Ok(());
    }
    Err(Error::Scale { argument, index, got, positive: true })
}

/// # Errors
/// [`Error::Scale`] for the first scale of `argument` that is not finite and positive.
pub(crate) fn all_positive(argument: &'static str, scales: &[f32]) -> Result<(), Error> {
    scales.iter().enumerate().try_for_each(|(index, &scale)| positive(argument, index, scale))
}
