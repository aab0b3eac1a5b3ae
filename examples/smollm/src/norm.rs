//! The norm by the root mean square.

use crate::lanes::{LANES, join};
use multiversion::multiversion;

/// Writes `x / √(mean(x²) + epsilon) · weight`.
///
/// Squares are added in 16 partial sums: number i goes to sum i mod 16.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut sums = [0.0; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for values in whole {
        for i in 0..LANES {
            sums[i] += values[i] * values[i];
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value * value;
    }
    let factor = 1.0 / (join(sums) / x.len() as f32 + epsilon).sqrt();
    for ((x, weight), out) in x.iter().zip(weight).zip(out) {
        *out = x * factor * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_is_near_that_in_f64() {
        for len in [5, 16, 576, 577] {
            let x: Vec<f32> = (0..len).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
            let weight: Vec<f32> = (0..len).map(|i| 1.0 + (i as f32 * 0.11).cos()).collect();
            let mut out = vec![0.0; len];
            rms_norm(&x, &weight, 1e-5, &mut out);
            let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let factor = 1.0 / (squares / len as f64 + 1e-5).sqrt();
            for i in 0..len {
                let want = f64::from(x[i]) * factor * f64::from(weight[i]);
                assert!((f64::from(out[i]) - want).abs() <= 1e-6 * want.abs() + 1e-9, "{len}, {i}");
            }
        }
    }
}
