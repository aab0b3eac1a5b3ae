//! The parameters of affine quantization: `real = scale · (q - zero_point)`.

use crate::error::Error;
use crate::quantize::span::finite_span;
use qgemm_kernels::in_default_float_mode;

/// The affine map of a quantized tensor: `real = scale * (q - zero_point)`.
///
/// The zero point may lie outside the 8-bit range: it does if the range of real values excludes 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantParams {
    /// The real distance between two consecutive integers; finite and positive.
    pub scale: f32,
    /// The integer that stands for the real value 0.
    pub zero_point: i32,
}

impl QuantParams {
    /// The parameters that map the real range [lo, hi] onto the integers [qmin, qmax]:
    /// `scale = (hi - lo) / (qmax - qmin)` and
    /// `zero_point = round_half_even((hi·qmin - lo·qmax) / (hi - lo))`, computed in f64, the scale
    /// then rounded to f32.
    ///
    /// # Errors
    /// [`Error::QuantizationRange`] if the range is inverted, empty or not finite, [`Error::Range`] if
    /// `qmin >= qmax` or the zero point does not fit i32, [`Error::Scale`] if the scale is no
    /// positive finite f32.
    pub fn from_range(lo: f64, hi: f64, qmin: i32, qmax: i32) -> Result<Self, Error> {
        in_default_float_mode(|| {
            if !(lo.is_finite() && hi.is_finite() && lo < hi && (hi - lo).is_finite()) {
                return Err(Error::QuantizationRange { got: (lo, hi) });
            }
            check_q_range(qmin, qmax)?;
            let (q_lo, q_hi) = (f64::from(qmin), f64::from(qmax));
            let scale = ((hi - lo) / (q_hi - q_lo)) as f32;
            if !(scale.is_finite() && scale > 0.0) {
                return Err(Error::Scale { argument: "scale", index: 0, got: scale, positive: true });
            }
            let zero = ((hi * q_lo - lo * q_hi) / (hi - lo)).round_ties_even();
            let limits = f64::from(i32::MIN)..=f64::from(i32::MAX);
            if !limits.contains(&zero) {
                let (min, max) = (i64::from(i32::MIN), i64::from(i32::MAX));
                return Err(Error::Range { argument: "zero point", got: zero as i64, min, max });
            }
            Ok(Self { scale, zero_point: zero as i32 })
        })
    }

    /// The parameters of the range that `data` spans. Where all values are equal the range is
    /// widened to hold 0; where all are 0 (or there are none) the scale is 1 and the zero point 0.
    ///
    /// # Errors
    /// Those of [`QuantParams::from_range`]; a value that is not finite makes the range so.
    pub fn from_data(data: &[f32], qmin: i32, qmax: i32) -> Result<Self, Error> {
        in_default_float_mode(|| {
            let span = finite_span(data)?;
            let (mut lo, mut hi) = (span.lo(), span.hi());
            check_q_range(qmin, qmax)?;
            if lo == hi {
                (lo, hi) = (lo.min(0.0), hi.max(0.0));
            }
            if lo == hi {
                return Ok(Self { scale: 1.0, zero_point: 0 });
            }
            Self::from_range(f64::from(lo), f64::from(hi), qmin, qmax)
        })
    }

    /// # Errors
    /// [`Error::Scale`] if the scale is not finite and positive.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.scale.is_finite() && self.scale > 0.0 {
            return Ok(());
        }
        Err(Error::Scale { argument: "scale", index: 0, got: self.scale, positive: true })
    }
}

fn check_q_range(qmin: i32, qmax: i32) -> Result<(), Error> {
    if qmin < qmax {
        return Ok(());
    }
    let (min, max) = (i64::from(qmin) + 1, i64::from(i32::MAX));
    Err(Error::Range { argument: "qmax", got: i64::from(qmax), min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let p = QuantParams::from_range(10.0, 50.0, -127, 127).unwrap();
        assert_eq!(p, QuantParams { scale: 0.157_480_32, zero_point: -190 });
        for (lo, hi) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (-1e308, 1e308)] {
            assert!(matches!(
                QuantParams::from_range(lo, hi, -127, 127),
                Err(Error::QuantizationRange { .. })
            ));
        }
        assert!(matches!(QuantParams::from_range(0.0, 1.0, 3, 3), Err(Error::Range { .. })));
        assert!(matches!(QuantParams::from_range(0.0, 1e-60, 0, 255), Err(Error::Scale { .. })));
        assert!(matches!(QuantParams::from_range(1e9, 1e9 + 1.0, 0, 255), Err(Error::Range { .. })));
    }

    #[test]
    fn ranges_of_data() {
        let of = |x: &[f32]| QuantParams::from_data(x, 0, 255).unwrap();
        assert_eq!(of(&[]), QuantParams { scale: 1.0, zero_point: 0 });
        assert_eq!(of(&[0.0, -0.0]), QuantParams { scale: 1.0, zero_point: 0 });
        assert_eq!(of(&[51.0, 51.0]), QuantParams { scale: 0.2, zero_point: 0 });
        assert_eq!(of(&[-51.0]), QuantParams { scale: 0.2, zero_point: 255 });
        assert_eq!(of(&[-51.0, 204.0]), QuantParams { scale: 1.0, zero_point: 51 });
        assert!(matches!(
            QuantParams::from_data(&[1.0, f32::NAN], 0, 255),
            Err(Error::QuantizationRange { .. })
        ));
        for data in [&[][..], &[0.0], &[1.0]] {
            assert!(matches!(QuantParams::from_data(data, 5, 5), Err(Error::Range { .. })));
        }
    }
}
