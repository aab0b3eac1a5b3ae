//! The numerical contract in integers: 128-bit sums, and f32 arithmetic by shifting and rounding.

use crate::support::{Byte, Matrix};
use qgemm::{Multiplier, Rounding};

/// The sums of a product, row by row: Σ (A - za)(B - zb) + bias.
pub fn sums<A: Byte, B: Byte>(
    a: &Matrix<A>,
    b: &Matrix<B>,
    a_zero: impl Fn(usize) -> i32,
    b_zero: impl Fn(usize) -> i32,
    bias: impl Fn(usize) -> i32,
) -> Vec<Vec<i128>> {
    let row =
        |i: usize| -> Vec<i64> { (0..a.cols).map(|l| a.at(i, l).into() - i64::from(a_zero(i))).collect() };
    let column =
        |j: usize| -> Vec<i64> { (0..b.rows).map(|l| b.at(l, j).into() - i64::from(b_zero(j))).collect() };
    let columns: Vec<_> = (0..b.cols).map(column).collect();
    let sum = |row: &[i64], j: usize| {
        let products = row.iter().zip(&columns[j]).map(|(a, b)| i128::from(*a) * i128::from(*b));
        products.sum::<i128>() + i128::from(bias(j))
    };
    (0..a.rows).map(row).map(|row| (0..b.cols).map(|j| sum(&row, j)).collect()).collect()
}

/// An f32: ± mant · 2^exp with mant <= 2^24, or infinite.
#[derive(Clone, Copy, Debug)]
pub struct Float {
    negative: bool,
    mant: u128,
    exp: i32,
    infinite: bool,
}

/// `mant >> shift`, rounded half to even.
fn shift_half_even(mant: u128, shift: i32) -> u128 {
    if shift <= 0 {
        return mant;
    }
    if shift > 127 {
        return 0;
    }
    let (quotient, rest, half) = (mant >> shift, mant & ((1 << shift) - 1), 1 << (shift - 1));
    quotient + u128::from(rest > half || rest == half && quotient % 2 == 1)
}

impl Float {
    /// ± mant · 2^exp to nearest even.
    fn round(negative: bool, mant: u128, exp: i32) -> Self {
        let bits = 128 - mant.leading_zeros() as i32;
        let last = (exp + bits - 24).max(-149).max(exp);
        let mant = shift_half_even(mant, last - exp);
        let infinite = mant != 0 && last + 128 - mant.leading_zeros() as i32 > 128;
        Self { negative, mant, exp: last, infinite }
    }

    pub fn from_int(x: i128) -> Self {
        Self::round(x < 0, x.unsigned_abs(), 0)
    }

    /// Of a finite value.
    pub fn from_f32(x: f32) -> Self {
        let (exp, fraction) = ((x.to_bits() >> 23 & 255) as i32, x.to_bits() & 0x7f_ffff);
        let mant = if exp == 0 { fraction } else { fraction | 0x80_0000 };
        Self { negative: x.is_sign_negative(), mant: mant.into(), exp: exp.max(1) - 150, infinite: false }
    }

    /// To nearest even.
    pub fn times(self, other: Self) -> Self {
        assert!(!self.infinite && !other.infinite);
        Self::round(self.negative != other.negative, self.mant * other.mant, self.exp + other.exp)
    }

    /// Half to even, saturated.
    pub fn to_int(self) -> i128 {
        let magnitude = match self.exp {
            _ if self.infinite => i128::MAX as u128,
            0.. => self.mant << self.exp,
            _ => shift_half_even(self.mant, -self.exp),
        };
        let magnitude = magnitude.min(i128::MAX as u128) as i128;
        if self.negative { -magnitude } else { magnitude }
    }

    pub fn to_f32(self) -> f32 {
        // An f64 holds mant and the result exactly.
        let magnitude = if self.infinite { f64::INFINITY } else { self.mant as f64 * 2f64.powi(self.exp) };
        if self.negative { -magnitude as f32 } else { magnitude as f32 }
    }
}

/// `clamp( round_half_even( f32(sum) · scale ) + zero_point, lo, hi )`
pub fn requantize(sum: i128, scale: f32, zero_point: i32, (lo, hi): (i32, i32)) -> i32 {
    let rounded = Float::from_int(sum).times(Float::from_f32(scale)).to_int();
    rounded.saturating_add(zero_point.into()).clamp(lo.into(), hi.into()) as i32
}

/// `clamp( round( sum, m · 2^(shift - 31) ) + zero_point, lo, hi )` of the sum saturated to i32.
pub fn fixed(
    sum: i128,
    multiplier: Multiplier,
    rounding: Rounding,
    zero_point: i32,
    (lo, hi): (i32, i32),
) -> i32 {
    let int32 = |x: i128| x.clamp(i32::MIN.into(), i32::MAX.into());
    let (m, shift) = (i128::from(multiplier.m()), multiplier.shift());
    // Half of a quotient's unit added to its magnitude, or to itself.
    let away = |x: i128, by: i32| x.signum() * ((2 * x.abs() + (1 << by)) >> (by + 1));
    let up = |x: i128, by: i32| (2 * x + (1 << by)).div_euclid(1 << (by + 1));
    // gemmlowp's: truncated after a nudge of half that is less by one for a negative product.
    let high = || {
        let product = (int32(int32(sum) << shift.max(0))) * m;
        (product + if product >= 0 { 1 << 30 } else { 1 - (1 << 30) }) / (1 << 31)
    };
    let rounded = match rounding {
        Rounding::Gemmlowp => away(high(), (-shift).max(0)),
        Rounding::Ruy => up(high(), (-shift).max(0)),
        Rounding::Single => up(int32(sum) * m, 31 - shift),
        Rounding::Reference => away(int32(sum) * m, 31 - shift),
        _ => panic!("{rounding:?} is not in the specification"),
    };
    (rounded + i128::from(zero_point)).clamp(lo.into(), hi.into()) as i32
}

/// `clamp( round_half_away( f64(sum) · factor ) + zero_point, lo, hi )`, the product in integers.
pub fn real(sum: i128, factor: f64, zero_point: i32, (lo, hi): (i32, i32)) -> i32 {
    let parts = |x: f64| {
        let (bits, normal) = (x.to_bits(), x.is_normal());
        let mantissa = bits & ((1 << 52) - 1) | u64::from(normal) << 52;
        (u128::from(mantissa), ((bits >> 52) as i32 & 0x7ff).max(1) - 1075)
    };
    let ((x, x_exp), (f, f_exp)) = (parts((sum as f64).abs()), parts(factor));
    let (mut product, mut exp) = (x * f, x_exp + f_exp);
    let excess = (128 - product.leading_zeros()).saturating_sub(53);
    if excess > 0 {
        let (kept, rest, half) = (product >> excess, product & ((1 << excess) - 1), 1 << (excess - 1));
        product = kept + u128::from(rest > half || rest == half && kept % 2 == 1);
        exp += excess as i32;
    }
    let magnitude = match exp {
        ..-100 => 0,
        -100..0 => ((2 * product + (1 << -exp)) >> (1 - exp)) as i128,
        0..70 => (product << exp) as i128,
        70.. => i128::from(product > 0) << 120,
    };
    (sum.signum() * magnitude + i128::from(zero_point)).clamp(lo.into(), hi.into()) as i32
}

/// `clamp( round_half_even( f32(sum) · scale + added ) + zero_point, lo, hi )`
pub fn requantize_and_add(sum: i128, scale: f32, added: f32, zero_point: i32, (lo, hi): (i32, i32)) -> i32 {
    let x = dequantize(sum, scale, Some(added));
    let rounded = match x.is_finite() {
        true => Float::from_f32(x).to_int(),
        false => {
            if x > 0.0 {
                i128::MAX
            } else {
                i128::MIN
            }
        }
    };
    rounded.saturating_add(zero_point.into()).clamp(lo.into(), hi.into()) as i32
}

/// `f32(sum) · scale + bias`
pub fn dequantize(sum: i128, scale: f32, bias: Option<f32>) -> f32 {
    let product = Float::from_int(sum).times(Float::from_f32(scale)).to_f32();
    bias.map_or(product, |bias| product + bias)
}

#[test]
fn float_arithmetic_of_the_spec_is_the_hardware_s() {
    let mut random = crate::support::Random(7);
    for _ in 0..crate::support::cases(20_000) {
        let int = random.next() as i64 >> random.below(64);
        let (x, y) = (random.next() as u32, random.next() as u32);
        let (x, y) = (f32::from_bits(x), f32::from_bits(y));
        assert_eq!(Float::from_int(int.into()).to_f32().to_bits(), (int as f32).to_bits(), "{int}");
        if x.is_finite() && y.is_finite() {
            assert_eq!(Float::from_f32(x).to_f32().to_bits(), x.to_bits(), "{x:e}");
            let product = Float::from_f32(x).times(Float::from_f32(y));
            assert_eq!(product.to_f32().to_bits(), (x * y).to_bits(), "{x:e} * {y:e}");
            let want = (x * y).round_ties_even();
            if want.abs() < 1e30 {
                assert_eq!(product.to_int(), want as i128, "{x:e} * {y:e}");
            }
        }
    }
}
