//! Quantizing and dequantizing slices, and single values.

use crate::element::Int8Element;
use crate::error::{Error, check_length};
use crate::quantize::params::QuantParams;
use crate::quantize::round;
use crate::quantize::scheme::Scheme;
use crate::quantize::span::{Span, finite_span};
use qgemm_kernels::in_default_float_mode;

/// Quantizes f32 values: `out = saturate(round_half_even(x / scale) + zero_point)`, with a division in f32 that rounds
/// to nearest even. Infinities saturate, NaN becomes the zero point (saturated).
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::Scale`] if the scale is not finite and positive.
pub fn quantize<T: Int8Element>(x: &[f32], params: QuantParams, out: &mut [T]) -> Result<(), Error> {
    in_default_float_mode(|| {
        params.check()?;
        check_length("out", out.len(), x.len())?;
        round::quantize(x, params, T::TYPE.range(), bytemuck::cast_slice_mut(out));
        Ok(())
    })
}

/// Turns quantized values back into f32: `out = f32(q - zero_point) * scale`. The difference is exact; its conversion
/// and the product each round to nearest even.
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::Scale`] if the scale is not finite and positive.
pub fn dequantize<T: Int8Element>(q: &[T], params: QuantParams, out: &mut [f32]) -> Result<(), Error> {
    in_default_float_mode(|| {
        params.check()?;
        check_length("out", out.len(), q.len())?;
        // A table of the 256 results, since the difference may take 64 bits.
        let table: [f32; 256] =
            std::array::from_fn(|byte| round::dequantize(T::from_bits(byte as u8).to_i32(), params));
        for (&q, out) in q.iter().zip(out) {
            *out = table[usize::from(q.to_bits())];
        }
        Ok(())
    })
}

impl QuantParams {
    /// Quantizes a value to i8 or u8, bit for bit as [`quantize`](crate::quantize) does:
    /// `saturate(round_half_even(x / scale) + zero_point)`, with a division in f32.
    ///
    /// It returns a value for all arguments: ±infinity saturates, NaN becomes the zero point (saturated). A scale that
    /// is not finite and positive, which `quantize` refuses, is divided by all the same: by 0, for instance, numbers
    /// saturate.
    pub fn quantize<T: Int8Element>(&self, x: f32) -> T {
        let mut bits = [0];
        in_default_float_mode(|| round::quantize(&[x], *self, T::TYPE.range(), &mut bits));
        T::from_bits(bits[0])
    }

    /// The real value of an i8 or u8, bit for bit as [`dequantize`](crate::dequantize) finds it:
    /// `f32(q - zero_point) * scale`.
    ///
    /// A scale that is not finite and positive, which `dequantize` refuses, is multiplied by all the same.
    pub fn dequantize<T: Int8Element>(&self, q: T) -> f32 {
        in_default_float_mode(|| round::dequantize(q.to_i32(), *self))
    }
}

/// Quantizes `x` to u8 over its own range, widened to hold 0, and returns the parameters: ONNX DynamicQuantizeLinear.
/// In f32: `scale = (max - min) / 255`, `zero_point = saturate(round_half_even(-min / scale))`. Where the quotient is
/// 0, as for values that are all 0 or none, the scale is 1.
///
/// # Errors
/// [`Error::Length`] if the lengths differ, [`Error::QuantizationRange`] if a value or the width of the range
/// is not finite.
pub fn dynamic_quantize_linear(x: &[f32], out: &mut [u8]) -> Result<QuantParams, Error> {
    in_default_float_mode(|| {
        check_length("out", out.len(), x.len())?;
        let span = finite_span(x)?.join(Span::ZERO);
        let params = Scheme::Asymmetric.params(span);
        if !params.scale.is_finite() {
            return Err(Error::QuantizationRange { got: (span.lo().into(), span.hi().into()) });
        }
        quantize(x, params, out)?;
        Ok(params)
    })
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
    fn dequantize_is_exact_beyond_i32() {
        let p = QuantParams { scale: 1.0, zero_point: i32::MIN };
        let mut out = [0.0; 2];
        dequantize(&[255u8, 0], p, &mut out).unwrap();
        assert_eq!(out, [2_147_483_903_i64 as f32, 2_147_483_648.0]);
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
