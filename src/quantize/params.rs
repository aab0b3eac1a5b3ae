//! The parameters of affine quantization: `real = scale · (q - zero_point)`.

use crate::error::Error;
use crate::quantize::checks::positive;

/// The greatest magnitude of a zero point that output stages take, and that parameters of data have if it lies outside
/// of the integers' range. Up to it every step of a requantization is exact in f32.
pub(crate) const MAX_ZERO_POINT: i32 = 1 << 21;

/// The affine map of a quantized tensor: `real = scale * (q - zero_point)`.
///
/// The zero point lies in the range of the integers, as ONNX and TFLite need it, unless the range of real values
/// excludes 0 ([`from_range_tight`](Self::from_range_tight), [`from_data_tight`](Self::from_data_tight)).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuantParams {
    /// The real distance between two consecutive integers; finite and positive.
    pub scale: f32,
    /// The integer that stands for the real value 0.
    pub zero_point: i32,
}

impl QuantParams {
    /// # Errors
    /// [`Error::Scale`] if the scale is not finite and positive.
    pub(crate) fn check(&self) -> Result<(), Error> {
        positive("scale", 0, self.scale)
    }
}
