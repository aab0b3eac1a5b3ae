//! The output stage as plain data: how an exact sum becomes the value that is stored.

use crate::{Error, Scale};

/// The greatest magnitude of an output zero point: up to it every step is exact in f32.
const MAX_ZERO_POINT: i32 = 1 << 21;

/// From the exact sum to an 8-bit output, as ONNX QLinearMatMul does:
/// `clamp(round_half_even(f32(acc + bias) · scale) + zero_point, lo, hi)`.
///
/// `f32(·)` and the product each round to nearest even; `lo` and `hi` are the output type's range,
/// narrowed by [`clamp`](Self::clamp).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requantize<'a> {
    pub(crate) scale: Scale<'a>,
    pub(crate) zero_point: i32,
    pub(crate) clamp: (i32, i32),
}

impl<'a> Requantize<'a> {
    /// With a [`Scale`] (`scale_a · scale_b / scale_out`) and the zero point of the output.
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite, [`Error::Range`] if the zero point is beyond ±2^21.
    pub fn new(scale: impl Into<Scale<'a>>, zero_point: i32) -> Result<Self, Error> {
        let scale = scale.into();
        scale.check()?;
        if !(-MAX_ZERO_POINT..=MAX_ZERO_POINT).contains(&zero_point) {
            let max = i64::from(MAX_ZERO_POINT);
            let got = i64::from(zero_point);
            return Err(Error::Range { argument: "output zero point", got, min: -max, max });
        }
        Ok(Self { scale, zero_point, clamp: (i32::MIN, i32::MAX) })
    }

    /// Narrows the output to [lo, hi], in output units (ReLU is `clamp(zero_point, i32::MAX)`).
    ///
    /// # Errors
    /// [`Error::Clamp`] if `lo > hi`.
    pub fn clamp(self, lo: i32, hi: i32) -> Result<Self, Error> {
        if lo > hi {
            return Err(Error::Clamp { got: (lo, hi), output: None });
        }
        Ok(Self { clamp: (lo, hi), ..self })
    }

    /// The range of results on an output type with range `output`.
    pub(crate) fn range(&self, output: (i32, i32)) -> Result<(i32, i32), Error> {
        let range = (self.clamp.0.max(output.0), self.clamp.1.min(output.1));
        if range.0 > range.1 {
            return Err(Error::Clamp { got: self.clamp, output: Some(output) });
        }
        Ok(range)
    }
}

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

    /// Limits the output to [lo, hi], which may be infinite (ReLU is `clamp(0.0, f32::INFINITY)`). A NaN,
    /// which only the bias can bring, stays NaN; a zero keeps its sign.
    ///
    /// # Errors
    /// [`Error::RealClamp`] if a limit is NaN, or `lo > hi`.
    pub fn clamp(self, lo: f32, hi: f32) -> Result<Self, Error> {
        if lo <= hi {
            return Ok(Self { clamp: (lo, hi), ..self });
        }
        Err(Error::RealClamp { got: (lo, hi) })
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
