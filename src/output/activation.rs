//! The usual activations, computed in f64 by code without branches: it gives the same bits on every CPU, and the compiler
//! makes vectors of it.

use multiversion::multiversion;
use qgemm_kernels::in_default_float_mode;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LOG2_E, SQRT_2};

/// The usual activations that are no clamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// The value of the function at `x`: computed in f64 with a relative error below 2^-34, then rounded to f32, so nearly
    /// always the nearest f32 and never more than the one beside it. It is the same on every CPU. At an infinite `x` it is
    /// the function's limit; NaN stays NaN.
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
    fn each(values: &mut [f32], f: impl Fn(f64) -> f64) {
        values.iter_mut().for_each(|x| *x = f(f64::from(*x)) as f32);
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
fn at_least(x: f64, lo: f64) -> f64 {
    if x < lo { lo } else { x }
}

/// `x`, or `hi` if it is more. NaN stays NaN.
#[inline(always)]
fn at_most(x: f64, hi: f64) -> f64 {
    if x > hi { hi } else { x }
}

/// `Σ coefficients[i] · x^(len - 1 - i)`, by Horner's rule.
#[inline(always)]
fn polynomial<const LEN: usize>(coefficients: &[f64; LEN], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// e^x for |x| <= 700, with a relative error below 2^-41: 2^n · e^r, where n is the integer nearest x / ln 2 and
/// |r| <= ln(2)/2, by the Taylor series of degree 10.
#[inline(always)]
fn exp(x: f64) -> f64 {
    /// Added to a number below 2^51, it leaves the nearest integer in the lowest bits.
    const TO_INTEGER: f64 = 1.5 * (1u64 << 52) as f64;
    /// ln 2 in two parts, the first with so few digits that its product with n is exact.
    const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0xffff_ffff);
    /// ln 2 less the first part, from its digits.
    const LN_2_LOW: f64 = LN_2 - LN_2_HIGH;
    const TAYLOR: [f64; 11] = [
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let shifted = x * LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0f64.to_bits()));
    polynomial(&TAYLOR, r) * power
}

/// erfc(z) for 0 <= z <= 26: `e^(-z²) · t · P(t)` with t = 2 / (2 + z). P is the polynomial of degree 13 that is nearest to
/// `e^(z²) · erfc(z) / t` at Chebyshev's points of 0 <= z <= 11, where it is off by less than 2^-36; beyond, where erfc is
/// below 10^-53, it is off by less than a tenth. `square` is z², which callers know with less error.
#[inline(always)]
fn erfc(z: f64, square: f64) -> f64 {
    const P: [f64; 14] = [
        0.030_433_489_875_911_695,
        -0.236_035_826_324_830_58,
        0.796_259_966_710_504_4,
        -1.501_153_192_639_402,
        1.678_358_120_516_994_8,
        -1.093_704_957_404_844_5,
        0.443_576_001_441_431_9,
        -0.214_060_779_245_835_36,
        0.029_655_288_981_246_735,
        0.078_982_745_963_662_1,
        0.176_671_691_565_992_4,
        0.246_829_343_254_843_96,
        0.282_093_230_776_531_64,
        0.282_094_876_541_814_5,
    ];
    let t = 2.0 / (2.0 + z);
    exp(-square) * t * polynomial(&P, t)
}

/// `x/2 · erfc(-x/√2)`, where erfc(-z) = 2 - erfc(z).
#[inline(always)]
fn gelu(x: f64) -> f64 {
    // From -36 on the value is below the least f32; from 36 on it is x.
    let x = at_least(x, -36.0);
    let near = at_most(x.abs(), 36.0);
    let tail = erfc(near * FRAC_1_SQRT_2, near * near / 2.0);
    x / 2.0 * if x < 0.0 { tail } else { 2.0 - tail }
}

/// `x · sigmoid(2u)`, since (1 + tanh(u)) / 2 = sigmoid(2u).
#[inline(always)]
fn gelu_tanh(x: f64) -> f64 {
    let x = at_least(x, -36.0);
    let near = at_most(x, 36.0);
    x * sigmoid(FRAC_2_SQRT_PI * SQRT_2 * (near + 0.044_715 * near * near * near))
}

#[inline(always)]
fn silu(x: f64) -> f64 {
    // Below, the value is less than the least f32.
    let x = at_least(x, -200.0);
    x * sigmoid(x)
}

#[inline(always)]
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-at_most(at_least(x, -700.0), 700.0)))
}

/// `(1 - e) / (1 + e)` with e = e^(-2|x|) and the sign of x; near 0, where 1 - e has few digits, the Taylor series.
#[inline(always)]
fn tanh(x: f64) -> f64 {
    const TAYLOR: [f64; 4] = [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0, 1.0];
    let e = exp(-2.0 * at_most(x.abs(), 40.0));
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    if x.abs() < 0.02 { x * polynomial(&TAYLOR, x * x) } else { far }
}

#[inline(always)]
fn hard_swish(x: f64) -> f64 {
    // Below, the value is 0.
    let x = at_least(x, -3.0);
    x * at_most(x + 3.0, 6.0) / 6.0
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

    /// The functions by libm, and the identities that keep their digits.
    fn by_libm(activation: Activation, x: f64) -> f64 {
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

    #[test]
    fn activations_are_the_nearest_number_or_the_one_beside_it() {
        let (mut all, mut off) = (0, 0);
        // Numbers of all magnitudes, and many where the functions bend.
        let of_all = (0..1u32 << 14).map(|i| f32::from_bits(i << 18 | i.wrapping_mul(0x9e37_79b9) >> 14));
        let near = (-60_000..60_000).map(|i| i as f32 * 2.1e-4);
        for x in of_all.chain(near).filter(|x| x.is_finite()) {
            for activation in Activation::ALL {
                let (got, want) = (activation.apply(x), by_libm(activation, x.into()));
                // An infinity times 0 that the definition does not mean.
                let want = if want.is_nan() { 0.0 } else { want as f32 };
                let apart = (got.to_bits() as i32).wrapping_sub(want.to_bits() as i32);
                let zeros = got == 0.0 && want == 0.0;
                assert!(zeros || apart.abs() <= 1, "{activation:?}({x:e}) = {got:e}, not {want:e}");
                all += 1;
                off += i32::from(apart != 0 && !zeros);
            }
        }
        assert!(off < all / 1000, "{off} of {all} are not the nearest");
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
