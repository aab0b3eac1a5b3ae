//! The scales from sums to outputs.

use crate::error::{Error, check_length};
use crate::quantize::checks::{all_positive, positive};
use qgemm_kernels::in_default_float_mode;

/// The scale for [`Requantize`](crate::Requantize) from the scales of A, B and the output:
/// `f32(f32(a_scale · b_scale) / y_scale)`, with the roundings of ONNX Runtime and XNNPACK.
///
/// Another order of the three operands, or f64, gives another f32 for some scales, and so other outputs.
///
/// ```
/// let (a, b, y) = (0.1, 0.7, 0.3);
/// assert_eq!(qgemm::requantize_scale(a, b, y), 0.233_333_32);
/// assert_eq!(a * (b / y), 0.233_333_33);
/// ```
pub fn requantize_scale(a_scale: f32, b_scale: f32, y_scale: f32) -> f32 {
    in_default_float_mode(|| requantized(a_scale, b_scale, y_scale))
}

/// The scales for [`Requantize::new`](crate::Requantize::new) from that of A, those of the columns of B, and that of
/// the output: `out[j]` is the [`requantize_scale`] of `b_scales[j]`.
///
/// # Errors
/// [`Error::Length`] if the lengths of `b_scales` and `out` differ; [`Error::Scale`] if a scale, or a result (the
/// argument is then `out`), is not finite and positive. `out` is then left as it was.
pub fn requantize_scales(a_scale: f32, b_scales: &[f32], y_scale: f32, out: &mut [f32]) -> Result<(), Error> {
    in_default_float_mode(|| {
        positive("y_scale", 0, y_scale)?;
        store_scales(a_scale, b_scales, out, |b_scale| requantized(a_scale, b_scale, y_scale))
    })
}

/// The scales for [`Dequantize::new`](crate::Dequantize::new) from that of A and those of the columns of B:
/// `out[j] = a_scale · b_scales[j]`, rounded to nearest even.
///
/// # Errors
/// Those of [`requantize_scales`].
pub fn product_scales(a_scale: f32, b_scales: &[f32], out: &mut [f32]) -> Result<(), Error> {
    in_default_float_mode(|| store_scales(a_scale, b_scales, out, |b_scale| a_scale * b_scale))
}

fn requantized(a_scale: f32, b_scale: f32, y_scale: f32) -> f32 {
    a_scale * b_scale / y_scale
}

/// Checks all arguments and results, then stores `scale(b_scales[j])` in every `out[j]`.
fn store_scales(
    a_scale: f32,
    b_scales: &[f32],
    out: &mut [f32],
    scale: impl Fn(f32) -> f32,
) -> Result<(), Error> {
    check_length("out", out.len(), b_scales.len())?;
    positive("a_scale", 0, a_scale)?;
    all_positive("b_scales", b_scales)?;
    for (index, &b_scale) in b_scales.iter().enumerate() {
        positive("out", index, scale(b_scale))?;
    }
    for (&b_scale, out) in b_scales.iter().zip(out) {
        *out = scale(b_scale);
    }
    Ok(())
}
