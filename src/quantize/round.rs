//! Rounding real numbers to 8-bit integers with given parameters, and back.
//!
//! ```text
//! saturate(round_half_even(x / scale) + zero) on [qmin, qmax]
//!     = round_half_even(clamp(x / scale, qmin - zero, qmax - zero)) + zero
//! ```
//!
//! since clamping to integers before rounding is clamping after it. Both ends are integers. While they are at most 2^22
//! from 0 they are exact in f32, and the clamped quotient is in reach of the rounding by an addition (see `rounding`);
//! beyond, the clamp and the rounding happen in f64.

use crate::quantize::params::QuantParams;
use crate::rounding::{MAX_ROUND_F32, ROUND_F32, ROUND_F64};
use multiversion::multiversion;

/// `out = saturate(round_half_even(x / scale) + zero_point)` on [qmin, qmax]. Infinities saturate, NaN becomes
/// the zero point (saturated).
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn quantize(x: &[f32], params: QuantParams, (qmin, qmax): (i32, i32), out: &mut [u8]) {
    let zero = i64::from(params.zero_point);
    let (lo, hi) = (i64::from(qmin) - zero, i64::from(qmax) - zero);
    if lo.abs().max(hi.abs()) <= i64::from(MAX_ROUND_F32) {
        return quantize_in_f32(x, params, (qmin, qmax), out);
    }
    let (lo, hi) = (lo as f64, hi as f64);
    let nan = 0.0f64.max(lo).min(hi);
    for (&x, out) in x.iter().zip(out) {
        let quotient = f64::from(x / params.scale);
        let quotient = if quotient.is_nan() { nan } else { quotient };
        let quotient = if quotient < lo { lo } else { quotient };
        let quotient = if quotient > hi { hi } else { quotient };
        *out = ((quotient + ROUND_F64).to_bits() as u8).wrapping_add(params.zero_point as u8);
    }
}

/// [`quantize`] for a zero point at most [`MAX_ROUND_F32`] from `qmin` and `qmax`.
#[inline(always)]
pub(crate) fn quantize_in_f32(x: &[f32], params: QuantParams, (qmin, qmax): (i32, i32), out: &mut [u8]) {
    let (lo, hi) = ((qmin - params.zero_point) as f32, (qmax - params.zero_point) as f32);
    let nan = 0.0f32.max(lo).min(hi);
    quantize_limited(x, params, out, |quotient| {
        let quotient = if quotient.is_nan() { nan } else { quotient };
        let quotient = if quotient < lo { lo } else { quotient };
        if quotient > hi { hi } else { quotient }
    });
}

/// `out = round_half_even(limit(x / scale)) + zero_point`, where `limit` returns at most [`MAX_ROUND_F32`] in magnitude.
#[inline(always)]
pub(crate) fn quantize_limited(x: &[f32], params: QuantParams, out: &mut [u8], limit: impl Fn(f32) -> f32) {
    let QuantParams { scale, zero_point } = params;
    for (&x, out) in x.iter().zip(out) {
        *out = ((limit(x / scale) + ROUND_F32).to_bits() as u8).wrapping_add(zero_point as u8);
    }
}

/// `f32(q - zero_point) * scale`. The difference is exact.
#[inline(always)]
pub(crate) fn dequantize(q: i32, QuantParams { scale, zero_point }: QuantParams) -> f32 {
    (i64::from(q) - i64::from(zero_point)) as f32 * scale
}
