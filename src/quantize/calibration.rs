//! The parameters of quantization from ranges of real values, and from data.

use crate::error::Error;
use crate::quantize::checks::positive;
use crate::quantize::params::{MAX_ZERO_POINT, QuantParams};
use crate::quantize::scheme::Scheme;
use crate::quantize::span::{Span, finite_span};
use qgemm_kernels::in_default_float_mode;

impl QuantParams {
    /// The parameters that map the real range [lo, hi] onto the integers [qmin, qmax]. The range is widened to hold 0,
    /// as ONNX, TFLite and PyTorch widen it, so that 0 is one of the integers:
    ///
    /// ```text
    /// lo = min(lo, 0), hi = max(hi, 0)
    /// scale = (hi - lo) / (qmax - qmin)
    /// zero_point = clamp(round_half_even((hi·qmin - lo·qmax) / (hi - lo)), qmin, qmax)
    /// ```
    ///
    /// This is computed in f64, and the scale then rounded to f32. Where it rounds to 0, as for the range [0, 0], the
    /// scale is 1, and the zero point the integer of [qmin, qmax] nearest to 0. `lo` and `hi` may be f32 or f64.
    ///
    /// # Errors
    /// [`Error::QuantizationRange`] if the range is inverted or not finite, or its width is not; [`Error::Range`] if
    /// `qmin >= qmax`; [`Error::Scale`] if the scale is infinite in f32.
    pub fn from_range(lo: impl Into<f64>, hi: impl Into<f64>, qmin: i32, qmax: i32) -> Result<Self, Error> {
        in_default_float_mode(|| Self::holding_zero(lo.into(), hi.into(), qmin, qmax))
    }

    /// The parameters that map the real range [lo, hi], as it is, onto the integers [qmin, qmax]:
    ///
    /// ```text
    /// scale = (hi - lo) / (qmax - qmin)
    /// zero_point = round_half_even((hi·qmin - lo·qmax) / (hi - lo))
    /// ```
    ///
    /// This is computed in f64, and the scale then rounded to f32. `lo` and `hi` may be f32 or f64.
    ///
    /// If the range excludes 0, the steps are finer than those of [`from_range`](Self::from_range), and the zero point
    /// lies outside of [qmin, qmax]. Products of this library take such a zero point; ONNX and TFLite have none.
    ///
    /// # Errors
    /// [`Error::QuantizationRange`] if the range is inverted, empty or not finite, or its width is not;
    /// [`Error::Range`] if `qmin >= qmax` or the zero point does not fit i32; [`Error::Scale`] if the scale is no
    /// positive finite f32.
    pub fn from_range_tight(
        lo: impl Into<f64>,
        hi: impl Into<f64>,
        qmin: i32,
        qmax: i32,
    ) -> Result<Self, Error> {
        in_default_float_mode(|| Self::tight(lo.into(), hi.into(), qmin, qmax))
    }

    /// The parameters of the range that `data` spans, by [`from_range`](Self::from_range). Data that are all 0, or so
    /// small that the scale is 0 in f32, or none, have the scale 1.
    ///
    /// # Errors
    /// [`Error::QuantizationRange`] if a value is infinite or NaN, [`Error::Range`] if `qmin >= qmax`,
    /// [`Error::Scale`] if the scale is infinite in f32, which takes a range wider than `f32::MAX`.
    pub fn from_data(data: &[f32], qmin: i32, qmax: i32) -> Result<Self, Error> {
        in_default_float_mode(|| {
            let span = finite_span(data)?;
            Self::holding_zero(span.lo().into(), span.hi().into(), qmin, qmax)
        })
    }

    /// The parameters of the range that `data` spans, by [`from_range_tight`](Self::from_range_tight).
    ///
    /// The range is widened to hold 0, as [`from_data`](Self::from_data) does it, where all values are equal, or so
    /// nearly that the zero point would lie beyond ±2^21, the limit of [`Requantize`](crate::Requantize), or that the
    /// scale would be 0 in f32.
    ///
    /// # Errors
    /// Those of [`from_data`](Self::from_data).
    pub fn from_data_tight(data: &[f32], qmin: i32, qmax: i32) -> Result<Self, Error> {
        in_default_float_mode(|| {
            let span = finite_span(data)?;
            Self::tight_or_holding_zero(span.lo().into(), span.hi().into(), qmin, qmax)
        })
    }

    /// The parameters for values of at most `max_abs` in magnitude in i8 of -127 to 127: the scale is `max_abs / 127`,
    /// divided in f32, the zero point 0. Where the quotient is 0 the scale is 1.
    /// [`quantize_rows`](crate::quantize_rows) and [`quantize_columns`](crate::quantize_columns) choose these scales.
    ///
    /// # Errors
    /// [`Error::FloatRange`] if `max_abs` is negative, infinite or NaN.
    pub fn symmetric(max_abs: f32) -> Result<Self, Error> {
        in_default_float_mode(|| {
            let (got, max) = (f64::from(max_abs), f64::from(f32::MAX));
            if !(0.0..=max).contains(&got) {
                return Err(Error::FloatRange { argument: "max_abs", got, min: 0.0, max });
            }
            Ok(Scheme::Symmetric.params(Span::ZERO.with_magnitudes(&[max_abs])))
        })
    }

    /// [`from_range`](Self::from_range), in the default floating-point mode.
    pub(crate) fn holding_zero(lo: f64, hi: f64, qmin: i32, qmax: i32) -> Result<Self, Error> {
        let got = (lo, hi);
        let (lo, hi) = (lo.min(0.0), hi.max(0.0));
        // The minimum of NaN and 0 is 0, so the ends as given are compared.
        if !(got.0 <= got.1 && (hi - lo).is_finite()) {
            return Err(Error::QuantizationRange { got });
        }
        check_q_range(qmin, qmax)?;
        let scale = scale_of(hi - lo, qmin, qmax);
        if scale == 0.0 {
            return Ok(Self { scale: 1.0, zero_point: 0.clamp(qmin, qmax) });
        }
        positive("scale", 0, scale)?;
        let zero = exact_zero_point(lo, hi, qmin, qmax).clamp(qmin.into(), qmax.into());
        Ok(Self { scale, zero_point: zero as i32 })
    }

    /// [`from_range_tight`](Self::from_range_tight), in the default floating-point mode.
    fn tight(lo: f64, hi: f64, qmin: i32, qmax: i32) -> Result<Self, Error> {
        if !(lo < hi && (hi - lo).is_finite()) {
            return Err(Error::QuantizationRange { got: (lo, hi) });
        }
        check_q_range(qmin, qmax)?;
        let scale = scale_of(hi - lo, qmin, qmax);
        positive("scale", 0, scale)?;
        let zero = exact_zero_point(lo, hi, qmin, qmax);
        let (min, max) = (i32::MIN, i32::MAX);
        if !(f64::from(min)..=f64::from(max)).contains(&zero) {
            let (min, max) = (min.into(), max.into());
            return Err(Error::Range { argument: "zero point", got: zero as i64, min, max });
        }
        Ok(Self { scale, zero_point: zero as i32 })
    }

    /// The parameters of a range as it is, unless it is too narrow for that: then widened to hold 0.
    pub(crate) fn tight_or_holding_zero(lo: f64, hi: f64, qmin: i32, qmax: i32) -> Result<Self, Error> {
        match Self::tight(lo, hi, qmin, qmax) {
            Ok(params) if params.zero_point.unsigned_abs() <= MAX_ZERO_POINT as u32 => Ok(params),
            _ => Self::holding_zero(lo, hi, qmin, qmax),
        }
    }
}

/// The scale of a range of finite width, rounded to f32: 0 or infinite at worst.
fn scale_of(width: f64, qmin: i32, qmax: i32) -> f32 {
    (width / (f64::from(qmax) - f64::from(qmin))) as f32
}

/// The integer nearest to the place of the real value 0 in a range that is not empty.
fn exact_zero_point(lo: f64, hi: f64, qmin: i32, qmax: i32) -> f64 {
    ((hi * f64::from(qmin) - lo * f64::from(qmax)) / (hi - lo)).round_ties_even()
}

fn check_q_range(qmin: i32, qmax: i32) -> Result<(), Error> {
    if qmin < qmax {
        return Ok(());
    }
    let (min, max) = (i64::from(qmin) + 1, i64::from(i32::MAX));
    Err(Error::Range { argument: "qmax", got: i64::from(qmax), min, max })
}
