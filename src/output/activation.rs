//! The usual activations, computed in f32 by code without branches: it gives the same bits on every CPU, and the compiler
//! makes vectors of it.

use multiversion::multiversion;
use qgemm_kernels::in_default_float_mode;
use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// The usual activations that are no clamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Activation {
    /// `x/2 · (1 + erf(x/√2))`
    Gelu,
    /// Its approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`
    GeluTanh,
    /// `x / (1 + e^-x)`, also called swish
    Silu,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `x · min(max(x + 3, 0), 6) / 6`
    HardSwish,
}

impl Activation {
    /// All of them.
    pub const ALL: [Activation; 6] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSwish,
    ];

    /// The value of the function at `x`, by a fixed sequence of f32 operations, none fused: the same on every CPU. It is off
    /// by at most 3 units in its last place, [`Gelu`](Self::Gelu) by 8 (all numbers were tried), except that
    /// [`GeluTanh`](Self::GeluTanh), whose argument is a rounded polynomial, may be off by 2^-24 where `x` is negative, and
    /// that a value nearer to 0 than 2^-118 may be 0. At an infinite `x` it is the function's limit; NaN stays NaN.
    pub fn apply(self, x: f32) -> f32 {
        let mut value = [x];
        in_default_float_mode(|| self.apply_to(&mut value));
        value[0]
    }

    /// Replaces each value by that of [`apply`](Self::apply). The floating-point mode is the default.
    pub(crate) fn apply_to(self, values: &mut [f32]) {
        apply_each(self, values);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn apply_each(activation: Activation, values: &mut [f32]) {
    #[inline(always)]
    fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
        values.iter_mut().for_each(|x| *x = f(*x));
    }
    // A match in the loop would keep it from being vectorized.
    match activation {
        Activation::Gelu => each(values, gelu),
        Activation::GeluTanh => each(values, gelu_tanh),
        Activation::Silu => each(values, silu),
        Activation::Sigmoid => each(values, sigmoid),
        Activation::Tanh => each(values, tanh),
        Activation::HardSwish => each(values, hard_swish),
    }
}

/// `x`, or `lo` if it is less. NaN stays NaN.
#[inline(always)]
fn at_least(x: f32, lo: f32) -> f32 {
    if x < lo { lo } else { x }
}

/// `x`, or `hi` if it is more. NaN stays NaN.
#[inline(always)]
fn at_most(x: f32, hi: f32) -> f32 {
    if x > hi { hi } else { x }
}

/// `Σ coefficients[i] · x^(len - 1 - i)`, by Horner's rule.
#[inline(always)]
fn polynomial<const LEN: usize>(coefficients: &[f32; LEN], x: f32) -> f32 {
    coefficients[1..].iter().fold(coefficients[0], |sum, c| sum * x + c)
}

/// `e^(high + low)` for a sum in -87..=88, where `low` is small and `high` has so few digits that the difference to a
/// multiple of ln 2 is exact: 2^n · e^r, where n is the integer nearest to the sum / ln 2 and |r| <= ln(2)/2, by the
/// polynomial of degree 6 that is nearest at Chebyshev's points.
#[inline(always)]
fn exp_of_sum(high: f32, low: f32) -> f32 {
    /// Added to a number below 2^22, it leaves the nearest integer in the lowest bits.
    const TO_INTEGER: f32 = 1.5 * (1u32 << 23) as f32;
    /// ln 2 in two parts, the first with so few digits that its product with n is exact.
    const LN_2_HIGH: f32 = 0.693_115_23;
    const LN_2_LOW: f32 = (std::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;
    const P: [f32; 7] = [0.001_394_121_3, 0.008_375_21, 0.041_666_35, 0.166_664_14, 0.5, 1.0, 1.0];
    let shifted = (high + low) * LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = (high - n * LN_2_HIGH) + (low - n * LN_2_LOW);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    polynomial(&P, r) * power
}

/// e^x for x in -87..=88.
#[inline(always)]
fn exp(x: f32) -> f32 {
    exp_of_sum(x, 0.0)
}

/// `e^(-x²/2)` for |x| <= 13. The square of the upper half of x's digits is exact, and the rest of x² is small: rounded as
/// a whole, x² would take with it up to 7 bits of the result.
#[inline(always)]
fn exp_of_half_square(x: f32) -> f32 {
    let upper = f32::from_bits(x.to_bits() & !0xfff);
    exp_of_sum(-0.5 * (upper * upper), -0.5 * ((x - upper) * (x + upper)))
}

/// `x/2 · erfc(-x/√2)`. erfc(z) = `e^(-z²) · t · P(t)` with t = 2 / (2 + z), where P is the polynomial that is nearest at
/// Chebyshev's points of 0 <= z <= 9.2; and erfc(-z) = 2 - erfc(z).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    /// The middle of the range of t, about which P has small coefficients.
    const MIDDLE: f32 = 0.593_75;
    const P: [f32; 10] = [
        0.021_035_84,
        -0.056_945_9,
        -0.003_867_963,
        0.111_824_39,
        -0.042_208_746,
        -0.206_442_2,
        0.073_870_67,
        0.590_131_5,
        0.795_203_5,
        0.580_231_4,
    ];
    // Below -13 the value is less than 2^-120 from 0; above it is x.
    let near = at_most(x.abs(), 13.0);
    let t = 2.0 / (2.0 + near * FRAC_1_SQRT_2);
    let tail = exp_of_half_square(near) * (t * polynomial(&P, t - MIDDLE));
    let y = x * 0.5 * if x < 0.0 { tail } else { 2.0 - tail };
    if x < -13.0 { -0.0 } else { y }
}

/// `x · sigmoid(2u)` with `u = √(2/π) · (x + 0.044715·x³)`, since (1 + tanh(u)) / 2 = sigmoid(2u).
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    /// √(8/π), and its product with 0.044715.
    const LINEAR: f32 = 1.595_769;
    const CUBIC: f32 = 0.071_354_814;
    let near = at_most(at_least(x, -11.0), 11.0);
    let y = x * logistic(near * (LINEAR + CUBIC * (near * near)));
    // Where 2u is about -87.
    if x < -10.03 { -0.0 } else { y }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    let y = x * logistic(x);
    if x < -87.0 { -0.0 } else { y }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    if x < -87.0 { 0.0 } else { logistic(x) }
}

/// `1 / (1 + e^-x)`, of an x that is at least -87; less counts as -87.
#[inline(always)]
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-at_most(at_least(x, -87.0), 87.0)))
}

/// `(1 - e) / (1 + e)` with e = e^(-2|x|) and the sign of x; near 0, where 1 - e has few digits, `x + x³·P(x²)`.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    const P: [f32; 4] = [0.019_268_046, -0.053_715_12, 0.133_325_32, -0.333_333_3];
    let e = exp(-2.0 * at_most(x.abs(), 20.0));
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    let square = x * x;
    if x.abs() < 0.4 { x + x * square * polynomial(&P, square) } else { far }
}

#[inline(always)]
fn hard_swish(x: f32) -> f32 {
    // Below, the value is 0.
    let near = at_least(x, -3.0);
    near * (at_most(near + 3.0, 6.0) / 6.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_known_values() {
        // To the last digit of f32 or so, from tables.
        let known = [
            (Activation::Gelu, 1.0, 0.841_344_8),
            (Activation::Gelu, -1.0, -0.158_655_25),
            (Activation::Gelu, -5.0, -1.433_257e-6),
            (Activation::GeluTanh, 1.0, 0.841_192),
            (Activation::GeluTanh, -1.0, -0.158_808),
            (Activation::Silu, 1.0, 0.731_058_6),
            (Activation::Silu, -2.0, -0.238_405_84),
            (Activation::Sigmoid, 0.0, 0.5),
            (Activation::Sigmoid, 2.0, 0.880_797_1),
            (Activation::Tanh, 0.5, 0.462_117_16),
            (Activation::HardSwish, 1.0, 2.0 / 3.0),
            (Activation::HardSwish, -3.0, 0.0),
            (Activation::HardSwish, 4.0, 4.0),
        ];
        for (activation, x, want) in known {
            let got = activation.apply(x);
            assert!(
                (got - want).abs() <= 2e-7 * want.abs().max(1e-3),
                "{activation:?}({x}) = {got}, not {want}"
            );
        }
    }

    /// The functions in f64, by identities that keep their digits.
    fn by_libm(activation: Activation, x: f32) -> f64 {
        use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};
        let x = f64::from(x);
        match activation {
            Activation::Gelu => x / 2.0 * libm::erfc(-x * FRAC_1_SQRT_2),
            Activation::GeluTanh => {
                x / (1.0 + libm::exp(-FRAC_2_SQRT_PI * SQRT_2 * (x + 0.044_715 * x * x * x)))
            }
            Activation::Silu => x / (1.0 + libm::exp(-x)),
            Activation::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            Activation::Tanh => libm::tanh(x),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        }
    }

    /// How far a value is off, in units of its last place; 0 where it is as near as the documentation says otherwise.
    fn units_off(activation: Activation, x: f32) -> f64 {
        let (got, want) = (f64::from(activation.apply(x)), by_libm(activation, x));
        // An infinity times 0 that the definition does not mean.
        let want = if want.is_nan() { 0.0 } else { want };
        let off = (got - want).abs();
        let tiny = want.abs() < 2f64.powi(-118) && got.abs() < 2f64.powi(-118);
        let tail = activation == Activation::GeluTanh && x < 0.0 && off <= 2f64.powi(-24);
        if tiny || tail || off == 0.0 {
            return 0.0;
        }
        let unit =
            f64::from(f32::from_bits((want as f32).abs().to_bits() + 1)) - f64::from((want as f32).abs());
        off / unit
    }

    #[test]
    fn activations_are_as_near_as_documented() {
        // Numbers of all magnitudes, and many where the functions bend.
        let of_all = (0..1u32 << 14).map(|i| f32::from_bits(i << 18 | i.wrapping_mul(0x9e37_79b9) >> 14));
        let near = (-60_000..60_000).map(|i| i as f32 * 2.1e-4);
        for x in of_all.chain(near).filter(|x| x.is_finite()) {
            for activation in Activation::ALL {
                let off = units_off(activation, x);
                assert!(off <= 8.0, "{activation:?}({x:e}) is off by {off}");
            }
        }
    }

    /// All numbers: half an hour.
    #[test]
    #[ignore = "takes half an hour"]
    fn activations_of_all_numbers() {
        for activation in Activation::ALL {
            let each = (0..=u32::MAX).map(f32::from_bits).filter(|x| x.is_finite());
            let (off, x) = each
                .map(|x| (units_off(activation, x), x))
                .fold((0.0, 0.0), |most, one| if one.0 > most.0 { one } else { most });
            println!("{activation:?}: {off} at {x:e}");
            assert!(off <= 8.0);
        }
    }

    /// The bits are the same everywhere and stay so: those of numbers of all magnitudes, and of some about each number where
    /// the code does something else.
    #[test]
    fn activations_have_the_committed_digest() {
        use sha2::{Digest, Sha256};
        let of_all = (0..1u32 << 14).map(|i| f32::from_bits(i << 18));
        let near = (-60_000..60_000).map(|i| i as f32 * 2.1e-4);
        let bends = [0.0f32, 0.4, 3.0, 6.0, 10.03, 11.0, 13.0, 20.0, 43.5, 87.0, f32::INFINITY];
        let about = bends.iter().flat_map(|x| {
            (-3..=3i32).flat_map(|ulps| {
                let x = f32::from_bits(x.to_bits().saturating_add_signed(ulps));
                [x, -x]
            })
        });
        let mut digest = Sha256::new();
        for x in of_all.chain(near).chain(about).filter(|x| !x.is_nan()) {
            for activation in Activation::ALL {
                digest.update(activation.apply(x).to_bits().to_le_bytes());
            }
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "9c11e3a6325295c390357bd92e30d637cf97d15cd780986c3636ec921d845197");
    }

    #[test]
    fn activations_have_limits() {
        let at = |x: f32| Activation::ALL.map(|activation| activation.apply(x));
        let infinity = f32::INFINITY;
        assert_eq!(at(infinity), [infinity, infinity, infinity, 1.0, 1.0, infinity]);
        assert_eq!(at(f32::MAX), [f32::MAX, f32::MAX, f32::MAX, 1.0, 1.0, f32::MAX]);
        for x in [-infinity, f32::MIN, -1e10] {
            assert_eq!(at(x), [0.0, 0.0, 0.0, 0.0, -1.0, 0.0], "{x}");
        }
        assert_eq!(at(0.0), [0.0, 0.0, 0.0, 0.5, 0.0, 0.0]);
        assert!(at(f32::NAN).iter().all(|y| y.is_nan()));
    }
}
