//! From exact sums to f32: what callers choose.

use crate::error::Error;
use crate::output::scale::Scale;

/// From the exact sum to f32: `clamp(f32(acc + bias) · scale + bias_f32, lo, hi)`, the conversion, the
/// product and the sum each rounded to nearest even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dequantize<'a> {
    pub(crate) scale: Scale<'a>,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) clamp: (f32, f32),
}

impl<'a> Dequantize<'a> {
    /// With a [`Scale`] (`scale_a · scale_b`).
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite.
    pub fn new(scale: impl Into<Scale<'a>>) -> Result<Self, Error> {
        let scale = scale.into();
        scale.check()?;
        Ok(Self { scale, bias: None, clamp: (f32::NEG_INFINITY, f32::INFINITY) })
    }

    /// Adds a bias, one value per column, after scaling; an integer bias of the product (see
    /// [`Gemm::bias`](crate::Gemm::bias)) is added before. Its values are the caller's affair: what is not
    /// finite there is not finite in the output.
    #[must_use]
    pub fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Limits the output to [lo, hi], which may be infinite (ReLU is `clamp_to(0.0, f32::INFINITY)`). A NaN,
    /// which only the bias can bring, stays NaN; a zero keeps its sign.
    ///
    /// # Errors
    /// [`Error::FloatClamp`] if a limit is NaN, or `lo > hi`.
    pub fn clamp_to(self, lo: f32, hi: f32) -> Result<Self, Error> {
        if lo <= hi {
            return Ok(Self { clamp: (lo, hi), ..self });
        }
        Err(Error::FloatClamp { got: (lo, hi) })
    }

    pub(crate) fn check_shape(&self, m: usize, n: usize) -> Result<(), Error> {
        self.scale.check_shape(m, n)?;
        match self.bias {
            Some(bias) if bias.len() != n => {
                Err(Error::Length { argument: "bias", got: bias.len(), need: n })
            }
            _ => Ok(()),
        }
    }
}
