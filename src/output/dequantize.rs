//! The choice of an f32 output.

use crate::error::Error;
use crate::output::scale::Scale;
use qgemm_kernels::in_default_float_mode;

/// An f32 output: `clamp(f32(acc + bias) · scale + bias_f32, lo, hi)`. The conversion of the exact sum, the product and
/// the sum each round to nearest even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dequantize<'a> {
    pub(crate) scale: Scale<'a>,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) clamp: (f32, f32),
}

impl<'a> Dequantize<'a> {
    /// Scales the sums. `scale` is `scale_a · scale_b`: one for all, or per column, per row or both (see [`Scale`]).
    /// For a [`DynamicGemm`](crate::DynamicGemm) it is `scale_b` alone.
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite.
    pub fn new(scale: impl Into<Scale<'a>>) -> Result<Self, Error> {
        let scale = scale.into();
        scale.check()?;
        Ok(Self { scale, bias: None, clamp: (f32::NEG_INFINITY, f32::INFINITY) })
    }

    /// Adds a bias, one value per column, after scaling. (An integer bias, [`Gemm::bias`](crate::Gemm::bias), is added
    /// before scaling.) Its values are not checked: an infinity or NaN makes its column infinite or NaN.
    #[must_use]
    pub fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Limits the output to [lo, hi], which may be infinite. ReLU is `clamp_to(0.0, f32::INFINITY)`. A NaN stays NaN
    /// (only the bias can make one), a zero keeps its sign.
    ///
    /// # Errors
    /// [`Error::FloatClamp`] if a limit is NaN, or `lo > hi`.
    pub fn clamp_to(self, lo: f32, hi: f32) -> Result<Self, Error> {
        if in_default_float_mode(|| lo <= hi) {
            return Ok(Self { clamp: (lo, hi), ..self });
        }
        Err(Error::FloatClamp { got: (lo, hi) })
    }

    /// Checks that scales and bias fit an M×N output.
    ///
    /// # Errors
    /// [`Error::Length`], naming the scale or the bias that does not.
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
