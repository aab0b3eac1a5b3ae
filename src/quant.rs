//! Between real numbers and 8-bit integers: `real = scale · (q - zero_point)`.

use crate::Error;
use crate::element::Int8Element;
use crate::real::{self, Scheme, Span};

/// The affine map of a quantized tensor: `real = scale * (q - zero_point)`.
///
/// The zero point may lie outside the 8-bit range: it does whenever the range of real values
/// excludes 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantParams {
    /// The width of a step; finite and positive.
    pub scale: f32,
    /// The integer (perhaps beyond the 8-bit range) that stands for 0.
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
    }

    /// The parameters of the range that `data` spans. Where all values are equal the range is
    /// widened to hold 0; where all are 0 (or there are none) the scale is 1 and the zero point 0.
    ///
    /// # Errors
    /// As [`QuantParams::from_range`]; a value that is not finite makes the range so.
    pub fn from_data(data: &[f32], qmin: i32, qmax: i32) -> Result<Self, Error> {
        let span = span(data)?;
        let (mut lo, mut hi) = (span.lo(), span.hi());
        check_q_range(qmin, qmax)?;
        if lo == hi {
            (lo, hi) = (lo.min(0.0), hi.max(0.0));
        }
        if lo == hi {
            return Ok(Self { scale: 1.0, zero_point: 0 });
        }
        Self::from_range(f64::from(lo), f64::from(hi), qmin, qmax)
    }

    fn check(&self) -> Result<(), Error> {
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

/// The span of some values, which are finite; that of 0 for none.
fn span(data: &[f32]) -> Result<Span, Error> {
    if data.is_empty() {
        return Ok(Span::ZERO);
    }
    let span = real::span(data);
    if span.is_finite() {
        return Ok(span);
    }
    let wrong = f64::from(*data.iter().find(|x| !x.is_finite()).unwrap_or(&f32::NAN));
    Err(Error::QuantizationRange { got: (wrong, wrong) })
}

/// `out = saturate(round_half_even(x / scale) + zero_point)`. Infinities saturate, NaN becomes the
/// zero point (saturated).
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::Scale`] if the scale is not finite and positive.
pub fn quantize<T: Int8Element>(x: &[f32], params: QuantParams, out: &mut [T]) -> Result<(), Error> {
    params.check()?;
    same_length(x.len(), out.len())?;
    real::quantize(x, params, T::TYPE.range(), bytemuck::cast_slice_mut(out));
    Ok(())
}

/// `out = f32(q - zero_point) * scale`, the difference exact, each of the two steps rounded to
/// nearest even.
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::Scale`] if the scale is not finite and positive.
pub fn dequantize<T: Int8Element>(q: &[T], params: QuantParams, out: &mut [f32]) -> Result<(), Error> {
    params.check()?;
    same_length(q.len(), out.len())?;
    // There are 256 results: a table computes each once, however wide the difference.
    let real = |q: i32| (i64::from(q) - i64::from(params.zero_point)) as f32 * params.scale;
    let table: [f32; 256] = std::array::from_fn(|byte| real(T::from_bits(byte as u8).to_i32()));
    for (&q, out) in q.iter().zip(out) {
        *out = table[usize::from(q.to_bits())];
    }
    Ok(())
}

/// A quantized bias in the scale of the accumulator:
/// `out = round_half_even(bias.scale · (q - bias.zero_point) / (a_scale · b_scale))`, in f64.
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::Scale`] if a scale is not finite and positive,
/// [`Error::Bias`] if a result does not fit i32; `out` is then left as it was.
pub fn fold_bias<T: Int8Element>(
    q: &[T],
    bias: QuantParams,
    a_scale: f32,
    b_scale: f32,
    out: &mut [i32],
) -> Result<(), Error> {
    bias.check()?;
    QuantParams { scale: a_scale, zero_point: 0 }.check()?;
    QuantParams { scale: b_scale, zero_point: 0 }.check()?;
    same_length(q.len(), out.len())?;
    let unit = f64::from(a_scale) * f64::from(b_scale);
    let folded = |q: T| {
        let steps = i64::from(q.to_i32()) - i64::from(bias.zero_point);
        (f64::from(bias.scale) * steps as f64 / unit).round_ties_even()
    };
    let limits = f64::from(i32::MIN)..=f64::from(i32::MAX);
    for (index, &q) in q.iter().enumerate() {
        let got = folded(q);
        if !limits.contains(&got) {
            return Err(Error::Bias { index, got });
        }
    }
    for (&q, out) in q.iter().zip(out) {
        *out = folded(q) as i32;
    }
    Ok(())
}

/// The scale of a [`Requantize`](crate::Requantize) from those of A, B and the output, with the roundings of
/// ONNX Runtime and XNNPACK: `f32(f32(a_scale · b_scale) / y_scale)`.
///
/// Another order of the three, or f64, gives another f32 at times, and that another output.
///
/// ```
/// let (a, b, y) = (0.1, 0.7, 0.3);
/// assert_eq!(qgemm::requantize_scale(a, b, y), 0.233_333_32);
/// assert_eq!(a * (b / y), 0.233_333_33);
/// ```
pub fn requantize_scale(a_scale: f32, b_scale: f32, y_scale: f32) -> f32 {
    a_scale * b_scale / y_scale
}

/// ONNX DynamicQuantizeLinear: `x` to u8 over its own range, widened to hold 0. All in f32:
/// `scale = (max - min) / 255`, `zero_point = saturate(round_half_even(-min / scale))`. Where all
/// values are 0 (or there are none) the scale is 1 and the zero point 0.
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::QuantizationRange`] if a value or the width of the range
/// is not finite.
pub fn dynamic_quantize_linear(x: &[f32], out: &mut [u8]) -> Result<QuantParams, Error> {
    same_length(x.len(), out.len())?;
    let span = span(x)?.join(Span::ZERO);
    let params = Scheme::Asymmetric.params(span);
    if !params.scale.is_finite() {
        return Err(Error::QuantizationRange { got: (span.lo().into(), span.hi().into()) });
    }
    quantize(x, params, out)?;
    Ok(params)
}

fn same_length(input: usize, output: usize) -> Result<(), Error> {
    if input == output {
        return Ok(());
    }
    Err(Error::Length { argument: "out", got: output, need: input })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, a value at a time.
    fn spec<T: Int8Element>(x: f32, p: QuantParams) -> i32 {
        let (lo, hi) = T::TYPE.range();
        let steps = f64::from(x / p.scale).round_ties_even();
        let steps = if steps.is_nan() { 0.0 } else { steps };
        (steps + f64::from(p.zero_point)).clamp(f64::from(lo), f64::from(hi)) as i32
    }

    #[test]
    fn quantize_is_its_definition() {
        let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN_POSITIVE];
        let mut x: Vec<f32> = specials.to_vec();
        x.extend((-2000..2000).map(|i| i as f32 * 0.25));
        // Also about the bound up to which f32 serves, from either side.
        let (max, min) = (1 << 22, -(1 << 22));
        let bounds = [max - 128, max - 127, max, max + 1, min + 127, min + 255, min + 256, min - 1];
        for zero_point in [0, 5, -190, 127, -128, 300, i32::MIN, i32::MAX, 1 << 25].into_iter().chain(bounds)
        {
            for scale in [0.5, 1.0, 0.157_480_32, f32::MIN_POSITIVE, 1e30] {
                let p = QuantParams { scale, zero_point };
                let (mut i, mut u) = (vec![0i8; x.len()], vec![0u8; x.len()]);
                quantize(&x, p, &mut i).unwrap();
                quantize(&x, p, &mut u).unwrap();
                for (j, &x) in x.iter().enumerate() {
                    assert_eq!(i32::from(i[j]), spec::<i8>(x, p), "{x} {p:?}");
                    assert_eq!(i32::from(u[j]), spec::<u8>(x, p), "{x} {p:?}");
                }
            }
        }
    }

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

    #[test]
    fn dequantize_is_exact_beyond_i32() {
        let p = QuantParams { scale: 1.0, zero_point: i32::MIN };
        let mut out = [0.0; 2];
        dequantize(&[255u8, 0], p, &mut out).unwrap();
        assert_eq!(out, [2_147_483_903_i64 as f32, 2_147_483_648.0]);
    }

    #[test]
    fn fold_bias_refuses_what_does_not_fit() {
        let bias = QuantParams { scale: 1.0, zero_point: -254 };
        let mut out = [7; 2];
        assert_eq!(fold_bias(&[0i8, 1], bias, 0.5, 0.5, &mut out), Ok(()));
        assert_eq!(out, [1016, 1020]);
        let e = fold_bias(&[0i8, 1], bias, 1e-5, 1e-5, &mut out);
        assert!(matches!(e, Err(Error::Bias { index: 0, .. })), "{e:?}");
        assert_eq!(out, [1016, 1020]);
    }

    #[test]
    fn dynamic_quantize_linear_holds_zero() {
        let mut out = [0u8; 3];
        let p = dynamic_quantize_linear(&[1.0, 2.0, 5.1], &mut out).unwrap();
        assert_eq!((p.zero_point, out), (0, [50, 100, 255]));
        let p = dynamic_quantize_linear(&[-1.0, -2.0, -5.1], &mut out).unwrap();
        assert_eq!((p.zero_point, out), (255, [205, 155, 0]));
        assert!(dynamic_quantize_linear(&[f32::MAX, f32::MIN, 0.0], &mut out).is_err());
    }
}
