//! Checks that the functions of this layer share.

use crate::error::Error;

/// # Errors
/// [`Error::Length`] if the lengths of input and output differ.
pub(crate) fn same_length(input: usize, out: usize) -> Result<(), Error> {
    if input == out {
        return Ok(());
    }
    Err(Error::Length { argument: "out", got: out, need: input })
}

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
