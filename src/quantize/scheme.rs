//! How f32 activations become 8-bit ones with parameters from the values themselves.

use crate::element::ElementType;
use crate::quantize::params::QuantParams;
use crate::quantize::round::{quantize_in_f32, quantize_limited};
use crate::quantize::span::Span;
use crate::rounding::ROUND_F32;
use qgemm_kernels::RowExtremes;

/// A choice of element type, scale and zero point from the range of some values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// i8 of -127..=127, scale max|x| / 127, zero point 0.
    Symmetric,
    /// u8 with a zero point, as ONNX DynamicQuantizeLinear chooses them.
    Asymmetric,
}

impl Scheme {
    /// The type of the quantized values.
    pub(crate) fn element(self) -> ElementType {
        match self {
            Scheme::Symmetric => ElementType::I8,
            Scheme::Asymmetric => ElementType::U8,
        }
    }

    /// The least and the greatest integer that quantized values take.
    pub(crate) fn range(self) -> (i32, i32) {
        match self {
            Scheme::Symmetric => (-127, 127),
            Scheme::Asymmetric => (0, 255),
        }
    }

    /// Extends `span` by `x`, or by the magnitudes of `x` if the scheme is symmetric.
    #[inline(always)]
    pub(crate) fn extend(self, span: Span, x: &[f32]) -> Span {
        match self {
            Scheme::Symmetric => span.with_magnitudes(x),
            Scheme::Asymmetric => span.with(x),
        }
    }

    /// The parameters for a row with these extremes; `None` if a value or the scale is not finite.
    #[inline(always)]
    pub(crate) fn params_of_row(self, RowExtremes { highest, lowest }: RowExtremes) -> Option<QuantParams> {
        let span = match self {
            Scheme::Symmetric => Span::of_magnitudes(highest, lowest),
            Scheme::Asymmetric => Span::of_extremes(highest, lowest),
        };
        let params = self.params(span);
        (span.is_finite() && params.scale.is_finite()).then_some(params)
    }

    /// The parameters for values of a span that holds 0. The scale is infinite if the width of the span is.
    #[inline(always)]
    pub(crate) fn params(self, span: Span) -> QuantParams {
        let (lo, hi) = (span.lo(), span.hi());
        let scale = match self {
            Scheme::Symmetric => hi / 127.0,
            Scheme::Asymmetric => (hi - lo) / 255.0,
        };
        // The quotient is 0 if all values are 0, or so small that it underflows.
        let scale = if scale == 0.0 { 1.0 } else { scale };
        // Symmetric spans start at 0, so their zero point is 0.
        let zero = -lo / scale;
        let zero = if zero > 255.0 { 255.0 } else { zero };
        QuantParams { scale, zero_point: (zero + ROUND_F32 - ROUND_F32) as i32 }
    }

    /// Quantizes finite values with the parameters of their span, or of a wider one, as `round::quantize` does. It keeps
    /// only the limits that such values can pass, which saves an eighth of the time.
    ///
    /// A scale that is a normal number is at least q·(1 - 2^-22), where q is the exact quotient that it was rounded from
    /// (for an asymmetric scheme, the quotient of the rounded width). Therefore
    ///
    /// - symmetric: |x| / scale is at most 127·(1 + 2^-21), which rounds to 127;
    /// - asymmetric: x / scale is at least lo / scale. Rounded to f32 and then to an integer, lo / scale is minus the
    ///   zero point: both kinds of rounding are symmetric about 0, and -lo / scale <= 255·(1 + 2^-21) does not saturate.
    ///   So no value falls below 0. At the upper end hi / scale and the zero point may both have been rounded up, to 256
    ///   together, so that limit stays.
    #[inline(always)]
    pub(crate) fn quantize(self, x: &[f32], params: QuantParams, out: &mut [u8]) {
        if params.scale < f32::MIN_POSITIVE {
            return quantize_in_f32(x, params, self.range(), out);
        }
        match self {
            Scheme::Symmetric => quantize_limited(x, params, out, |quotient| quotient),
            Scheme::Asymmetric => {
                let hi = (255 - params.zero_point) as f32;
                quantize_limited(x, params, out, |quotient| if quotient > hi { hi } else { quotient });
            }
        }
    }
}
