//! Requantization in integers: a multiplier of 31 bits, a shift, and one of four published roundings.

use crate::error::Error;
use crate::one_or_each::OneOrEach;
use qgemm_kernels::in_default_float_mode;

/// A real factor `m · 2^(shift - 31)`, with m in [2^30, 2^31), or m = 0 and shift = 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Parts"))]
pub struct Multiplier {
    m: i32,
    shift: i32,
}

/// A multiplier as it was stored, which nobody has checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Parts {
    m: i32,
    shift: i32,
}

#[cfg(feature = "serde")]
impl TryFrom<Parts> for Multiplier {
    type Error = Error;
    fn try_from(Parts { m, shift }: Parts) -> Result<Self, Error> {
        Multiplier::new(m, shift)
    }
}

/// The rounding of `x · m · 2^(shift - 31)` to an integer. The four differ in ties, and the first two round twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Rounding {
    /// gemmlowp's output pipeline, and TFLite's kernels built on it:
    /// `RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(x << max(shift, 0), m), max(-shift, 0))`. The
    /// high half of the doubled product is rounded half up, its division by 2^-shift half away from zero.
    Gemmlowp,
    /// ruy's: the same first step, then a right shift that rounds half up.
    Ruy,
    /// Once, half up: `(x · m + 2^(30 - shift)) >> (31 - shift)`.
    Single,
    /// Once, half away from zero. TFLite's reference kernels round in the same way, but a product in f64: see
    /// [`Requantize::in_f64`](crate::Requantize::in_f64).
    Reference,
}

/// Multipliers of the columns of the output: one for all, or one per column.
pub type Multipliers<'a> = OneOrEach<'a, Multiplier>;

const MIN_SHIFT: i32 = -31;
const MAX_SHIFT: i32 = 30;

impl Multiplier {
    /// `m · 2^(shift - 31)`. If m is 0 the shift becomes 0, so that equal factors are equal.
    ///
    /// # Errors
    /// [`Error::Range`] if m is neither 0 nor in [2^30, 2^31), or the shift not in [-31, 30].
    pub fn new(m: i32, shift: i32) -> Result<Self, Error> {
        if m != 0 && m < 1 << 30 {
            let (min, max) = (1 << 30, i64::from(i32::MAX));
            return Err(Error::Range { argument: "multiplier", got: m.into(), min, max });
        }
        if !(MIN_SHIFT..=MAX_SHIFT).contains(&shift) {
            let (min, max) = (MIN_SHIFT.into(), MAX_SHIFT.into());
            return Err(Error::Range { argument: "shift", got: shift.into(), min, max });
        }
        Ok(Self { m, shift: if m == 0 { 0 } else { shift } })
    }

    /// The multiplier that is nearest to a real factor, half away from zero: TFLite's QuantizeMultiplier.
    ///
    /// TFLite's built-in kernels make the factor from f32 scales: with one scale of B
    /// `f64(f32(a_scale · b_scale)) / f64(y_scale)`, with one per column
    /// `f64(a_scale) · f64(b_scale) / f64(y_scale)`.
    ///
    /// A factor below 2^-32 (less half of the last digit of m) becomes 0, one above 2^30 the greatest multiplier,
    /// `(2^31 - 1) · 2^-1`.
    ///
    /// # Errors
    /// [`Error::FloatRange`] if the factor is negative or not finite.
    pub fn from_real(real: f64) -> Result<Self, Error> {
        if !in_default_float_mode(|| real.is_finite() && real >= 0.0) {
            return Err(Error::FloatRange { argument: "multiplier", got: real, min: 0.0, max: f64::MAX });
        }
        // real = mantissa · 2^(exponent - 53) with the mantissa in [2^52, 2^53); subnormal ones are far below 2^-32.
        let bits = real.abs().to_bits();
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        let exponent = (bits >> 52) as i32 - 1022;
        let (m, shift) = match (mantissa + (1 << 21)) >> 22 {
            m if m == 1 << 31 => (1 << 30, exponent + 1),
            m => (m as i32, exponent),
        };
        Ok(match shift {
            ..MIN_SHIFT => Self { m: 0, shift: 0 },
            MIN_SHIFT..=MAX_SHIFT => Self { m, shift },
            _ => Self { m: i32::MAX, shift: MAX_SHIFT },
        })
    }

    /// m: 0, or in [2^30, 2^31).
    pub fn m(self) -> i32 {
        self.m
    }

    /// The shift: in [-31, 30].
    pub fn shift(self) -> i32 {
        self.shift
    }

    /// `round(x · m · 2^(shift - 31))`. If `x << shift` does not fit i32 the first two roundings saturate it, like the
    /// ShiftLeft of gemmlowp's fixedpoint.h. (Its vector forms, and TFLite, let it wrap.)
    pub fn apply(self, x: i32, rounding: Rounding) -> i64 {
        let Self { m, shift } = self;
        let product = i64::from(x) * i64::from(m);
        match rounding {
            Rounding::Gemmlowp => {
                divide_by_power(high_product(shift_left(x, shift.max(0)), m), (-shift).max(0))
            }
            Rounding::Ruy => {
                let high = i64::from(high_product(shift_left(x, shift.max(0)), m));
                match (-shift).max(0) {
                    0 => high,
                    right => (high + (1 << (right - 1))) >> right,
                }
            }
            Rounding::Single => (product + (1 << (30 - shift))) >> (31 - shift),
            Rounding::Reference => {
                let magnitude = (product.abs() + (1 << (30 - shift))) >> (31 - shift);
                if product < 0 { -magnitude } else { magnitude }
            }
        }
    }
}

/// `x · 2^by`, saturated.
fn shift_left(x: i32, by: i32) -> i32 {
    (i64::from(x) << by).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// `x · m / 2^31` as gemmlowp rounds it: a nudge of half, then a division that truncates.
fn high_product(x: i32, m: i32) -> i32 {
    let product = i64::from(x) * i64::from(m);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// `x / 2^by`, half away from zero.
fn divide_by_power(x: i32, by: i32) -> i64 {
    let (x, mask) = (i64::from(x), (1i64 << by) - 1);
    let threshold = (mask >> 1) + i64::from(x < 0);
    (x >> by) + i64::from(x & mask > threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(m: i32, shift: i32) -> Multiplier {
        Multiplier::new(m, shift).unwrap()
    }

    #[test]
    fn real_factors_become_multipliers_as_in_tflite() {
        let from = |real| Multiplier::from_real(real).map(|x| (x.m, x.shift));
        assert_eq!(from(0.0), Ok((0, 0)));
        assert_eq!(from(-0.0), Ok((0, 0)));
        assert_eq!(from(0.5), Ok((1 << 30, 0)));
        assert_eq!(from(1.0), Ok((1 << 30, 1)));
        assert_eq!(from(0.75), Ok((3 << 29, 0)));
        assert_eq!(from(0.007_843_137_718_737_125), Ok((1_077_952_640, -6)));
        // A mantissa that rounds up to 2^31 is halved; half a digit rounds up.
        assert_eq!(from(1.0 - f64::EPSILON / 2.0), Ok((1 << 30, 1)));
        assert_eq!(from(0.5 + 2f64.powi(-32)), Ok(((1 << 30) + 1, 0)));
        assert_eq!(from(0.5 + 2f64.powi(-32) - 2f64.powi(-53)), Ok((1 << 30, 0)));
        // The ends.
        assert_eq!(from(2f64.powi(-32)), Ok((1 << 30, -31)));
        assert_eq!(from(2f64.powi(-32).next_down()), Ok((1 << 30, -31)));
        assert_eq!(from(2f64.powi(-32) * (1.0 - 2f64.powi(-31))), Ok((0, 0)));
        assert_eq!(from(f64::from_bits(1)), Ok((0, 0)));
        assert_eq!(from(2f64.powi(30).next_down()), Ok((i32::MAX, 30)));
        assert_eq!(from(2f64.powi(29)), Ok((1 << 30, 30)));
        assert_eq!(from(2f64.powi(30)), Ok((i32::MAX, 30)));
        assert_eq!(from(f64::MAX), Ok((i32::MAX, 30)));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::from_bits(1)] {
            assert!(matches!(from(wrong), Err(Error::FloatRange { argument: "multiplier", .. })), "{wrong}");
        }
    }

    #[test]
    fn multipliers_out_of_range_are_refused() {
        for m in [1, -1, (1 << 30) - 1, i32::MIN] {
            assert!(matches!(Multiplier::new(m, 0), Err(Error::Range { argument: "multiplier", .. })), "{m}");
        }
        for shift in [-32, 31, i32::MIN, i32::MAX] {
            assert!(matches!(Multiplier::new(1 << 30, shift), Err(Error::Range { argument: "shift", .. })));
        }
        assert!(Multiplier::new(0, -31).is_ok() && Multiplier::new(i32::MAX, 30).is_ok());
    }

    #[test]
    fn all_multipliers_of_0_are_one() {
        for shift in [-31, -1, 0, 7, 30] {
            assert_eq!(of(0, shift), Multiplier::from_real(0.0).unwrap());
        }
    }

    /// By hand: a factor of 1/4 (as 2^30 · 2^(-1 - 31)) of 1 2 3 5 6 7 and their negatives.
    #[test]
    fn roundings_differ_in_ties_and_in_rounding_twice() {
        let quarter = of(1 << 30, -1);
        let each = |rounding| [1, 2, 3, 5, 6, 7, -1, -2, -3, -5, -6, -7].map(|x| quarter.apply(x, rounding));
        // Halves first, up: 1 1 2 3 3 4, 0 -1 -1 -2 -3 -3; halved again, away from zero or up.
        assert_eq!(each(Rounding::Gemmlowp), [1, 1, 1, 2, 2, 2, 0, -1, -1, -1, -2, -2]);
        assert_eq!(each(Rounding::Ruy), [1, 1, 1, 2, 2, 2, 0, 0, 0, -1, -1, -1]);
        assert_eq!(each(Rounding::Single), [0, 1, 1, 1, 2, 2, 0, 0, -1, -1, -1, -2]);
        assert_eq!(each(Rounding::Reference), [0, 1, 1, 1, 2, 2, 0, -1, -1, -1, -2, -2]);
    }

    #[test]
    fn what_a_left_shift_drives_out_of_i32_saturates() {
        // x · 2^10 · (2^30 / 2^31): 2^21 shifted is 2^31.
        let factor = of(1 << 30, 10);
        for rounding in [Rounding::Gemmlowp, Rounding::Ruy] {
            assert_eq!(factor.apply((1 << 21) - 1, rounding), ((1 << 21) - 1) << 9);
            assert_eq!(factor.apply(1 << 21, rounding), 1 << 30);
            assert_eq!(factor.apply(i32::MAX, rounding), 1 << 30);
            assert_eq!(factor.apply(-(1 << 21), rounding), -1 << 30);
            assert_eq!(factor.apply(i32::MIN, rounding), -1 << 30);
        }
        for rounding in [Rounding::Single, Rounding::Reference] {
            assert_eq!(factor.apply(i32::MIN, rounding), -1 << 40);
            assert_eq!(of(i32::MAX, 30).apply(i32::MIN, rounding), -(i64::from(i32::MAX) << 30));
        }
    }

    #[test]
    fn single_roundings_are_those_of_the_exact_product() {
        let mut seed = 1u64;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let x = (seed >> 32) as i32 >> (seed & 31);
            let factor =
                of(1 << 30 | (seed >> 20) as i32 & 0x3fff_ffff, (seed >> 5 & 63).min(61) as i32 - 31);
            // 2·x·m and the divisor 2·2^(31 - shift), so that halves are whole.
            let (twice, one) = (2 * i128::from(x) * i128::from(factor.m), 1i128 << (32 - factor.shift));
            let floor = (twice + one / 2).div_euclid(one);
            let tie = (twice + one / 2).rem_euclid(one) == 0;
            assert_eq!(i128::from(factor.apply(x, Rounding::Single)), floor, "{x} {factor:?}");
            let away = if tie && x < 0 { floor - 1 } else { floor };
            assert_eq!(i128::from(factor.apply(x, Rounding::Reference)), away, "{x} {factor:?}");
        }
    }
}
