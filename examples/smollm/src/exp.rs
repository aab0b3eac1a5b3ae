//! The exponential function and SiLU by additions, multiplications and a division, none fused: the same on every CPU, and the
//! compiler makes vectors of them.

use multiversion::multiversion;
use std::f32::consts::LOG2_E;

/// `e^x` for `x <= 88`, off by at most 2 units in the last place; 0 for `x < -87`, where results come near to subnormal
/// numbers. NaN stays NaN.
///
/// It is 2^n · e^r, where n is the integer nearest to x / ln 2 and |r| <= ln(2)/2, by a polynomial of degree 6.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// A number that, added to one below 2^22, leaves the nearest integer in the lowest bits.
    const TO_INTEGER: f32 = 1.5 * (1u32 << 23) as f32;
    /// ln 2 in two parts, the first with so few digits that its product with n is exact.
    const LN_2_HIGH: f32 = 0.693_115_23;
    const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;
    const P: [f32; 7] = [0.001_394_121_3, 0.008_375_21, 0.041_666_35, 0.166_664_14, 0.5, 1.0, 1.0];
    let near = if x < -87.0 { -87.0 } else { x };
    let shifted = near * LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = (near - n * LN_2_HIGH) - n * LN_2_LOW;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let y = P[1..].iter().fold(P[0], |sum, c| sum * r + c) * power;
    if x < -87.0 { 0.0 } else { y }
}

/// Writes `silu(gate) · up` for each value of `gate`, where `silu(x) = x / (1 + e^-x)`.
///
/// `gate_up` holds the gates, then as many values of up.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn silu_times_up(gate_up: &[f32], out: &mut [f32]) {
    let (gates, ups) = gate_up.split_at(gate_up.len() / 2);
    for ((gate, up), out) in gates.iter().zip(ups).zip(out) {
        let exponent = if -gate > 88.0 { 88.0 } else { -gate };
        *out = gate / (1.0 + exp(exponent)) * up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The difference in units of the last place.
    fn units_off(got: f32, want: f64) -> f64 {
        let nearest = (want as f32).abs();
        let unit = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(got) - want).abs() / unit
    }

    #[test]
    fn exp_is_near_libm() {
        let mut most: f64 = 0.0;
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            most = most.max(units_off(exp(x), libm::exp(f64::from(x))));
        }
        assert!(most <= 2.0, "off by {most} units");
    }

    #[test]
    fn exp_has_its_limits() {
        assert_eq!([exp(0.0), exp(-0.0)], [1.0, 1.0]);
        assert_eq!([exp(-87.1), exp(-1e30), exp(f32::NEG_INFINITY)], [0.0; 3]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn silu_is_near_libm() {
        let gates: Vec<f32> = (-1000..1000).map(|i| i as f32 * 0.1).collect();
        let gate_up: Vec<f32> = gates.iter().copied().chain(gates.iter().map(|_| 2.0)).collect();
        let mut out = vec![0.0; gates.len()];
        silu_times_up(&gate_up, &mut out);
        for (x, got) in gates.iter().map(|x| f64::from(*x)).zip(out) {
            let want = 2.0 * x / (1.0 + libm::exp(-x));
            assert!(
                (f64::from(got) - want).abs() <= 4e-7 * want.abs() + 1e-35,
                "silu({x}): {got}, not {want}"
            );
        }
    }
}
