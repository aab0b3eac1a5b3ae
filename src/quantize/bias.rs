//! Biases in the scale of the sums, the scale of A times that of B.

use crate::element::Int8Element;
use crate::error::{Error, check_length};
use crate::one_or_each::OneOrEach;
use crate::quantize::checks::{all_positive, positive};
use crate::quantize::params::QuantParams;
use qgemm_kernels::in_default_float_mode;

/// Quantizes a float bias to the scale of the sums, for [`Gemm::bias`](crate::Gemm::bias), in f64:
///
/// ```text
/// out[n] = round_half_even(bias[n] / (a_scale · b_scale[n]))
/// ```
///
/// `b_scale` is one scale for all of B, or N of them, one per column; `bias` and `out` have N values.
///
/// This is the int32 bias of ONNX and TFLite. A bias that is itself quantized to 8 bits is for [`fold_bias`].
///
/// ```
/// // Activations in steps of 0.5; the columns of B in steps of 0.25 and 0.5.
/// let mut bias = [0; 2];
/// qgemm::quantize_bias(&[1.0, -3.3], 0.5, &[0.25, 0.5], &mut bias)?;
/// assert_eq!(bias, [8, -13]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if the lengths of `bias` and `out`, or of `bias` and scales per column, differ; [`Error::Scale`]
/// if a scale is not finite and positive; [`Error::Bias`] if a result does not fit i32, or if a bias is not finite.
/// `out` is then left as it was.
pub fn quantize_bias<'a>(
    bias: &[f32],
    a_scale: f32,
    b_scale: impl Into<OneOrEach<'a, f32>>,
    out: &mut [i32],
) -> Result<(), Error> {
    let b_scale = b_scale.into();
    in_default_float_mode(|| {
        check_length("out", out.len(), bias.len())?;
        b_scale.check_len("b_scale", bias.len())?;
        positive("a_scale", 0, a_scale)?;
        all_positive("b_scale", b_scale.values())?;
        // The product of two f32 is exact in f64, and never 0 or infinite.
        let unit = |j: usize| f64::from(a_scale) * f64::from(b_scale.at(j));
        store_rounded(out, |j| f64::from(bias[j]) / unit(j))
    })
}

/// Rescales a bias that is quantized to 8 bits to the scale of the sums, for [`Gemm::bias`](crate::Gemm::bias):
/// `out = round_half_even(bias.scale · (q - bias.zero_point) / (a_scale · b_scale))`, in f64. A float bias is for
/// [`quantize_bias`].
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
    in_default_float_mode(|| {
        bias.check()?;
        positive("scale", 0, a_scale)?;
        positive("scale", 0, b_scale)?;
        check_length("out", out.len(), q.len())?;
        let unit = f64::from(a_scale) * f64::from(b_scale);
        store_rounded(out, |j| {
            let steps = i64::from(q[j].to_i32()) - i64::from(bias.zero_point);
            f64::from(bias.scale) * steps as f64 / unit
        })
    })
}

/// Stores `round_half_even(value(j))` in every `out[j]`.
///
/// # Errors
/// [`Error::Bias`] for the first that does not fit i32. Nothing is stored then.
fn store_rounded(out: &mut [i32], value: impl Fn(usize) -> f64) -> Result<(), Error> {
    let limits = f64::from(i32::MIN)..=f64::from(i32::MAX);
    for index in 0..out.len() {
        let got = value(index).round_ties_even();
        if !limits.contains(&got) {
            return Err(Error::Bias { index, got });
        }
    }
    for (index, out) in out.iter_mut().enumerate() {
        *out = value(index).round_ties_even() as i32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
