//! Real numbers of the definition, in plain operations: the fused multiply-add and the conversion of 16-bit scales.

/// `a·b + c`, rounded once to nearest even, as IEEE 754 defines it. NaN results may be any NaN.
///
/// The product of two f32 is exact in f64. Its sum with `c` is rounded to odd: where it is inexact, its lowest bit is
/// made 1. A number of 53 bits that is rounded so rounds to the 24 of f32 as the exact sum would (Boldo and Melquiond,
/// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    let (x, y) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = x + y;
    // The exact error of the sum (Knuth's TwoSum), unless something is infinite; it then is NaN, and nothing is changed.
    let part = sum - x;
    let error = (x - (sum - part)) + (y - part);
    let bits = sum.to_bits();
    // Towards the error: away from 0 if both have one sign. A sum that is even and inexact is next to one that is odd.
    let away = (error > 0.0) == (sum > 0.0);
    let odd = if away { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    let inexact_and_even = error.abs() > 0.0 && bits & 1 == 0;
    f64::from_bits(if inexact_and_even { odd } else { bits }) as f32
}

/// The value of a finite IEEE half-precision number, exactly.
#[inline(always)]
pub fn f32_of_f16(bits: u16) -> f32 {
    /// 2^112: the difference of the exponents' biases.
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * REBIAS;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// The value of a bfloat16 number, exactly.
#[inline(always)]
pub fn f32_of_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_multiply_add_is_that_of_the_standard_library() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let special =
            [0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE, 1e-45, -1e-45, f32::MAX, f32::MIN, f32::INFINITY];
        for i in 0..4_000_000u32 {
            let (x, y) = (f32::from_bits(next()), f32::from_bits(next()));
            let c = match i % 4 {
                0 => f32::from_bits(next()),
                // Near the product, where it cancels, or half a unit away from a tie.
                1 => -(x * y),
                2 => f32::from_bits((x * y * 16_777_216.0).to_bits().wrapping_add(next() & 1)),
                _ => special[next() as usize % special.len()],
            };
            // Few bits make ties.
            let (x, y) = if i % 3 == 0 { (f32::from_bits(x.to_bits() & !0xfff), y) } else { (x, y) };
            let (got, want) = (fma(x, y, c), x.mul_add(y, c));
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{x:e} {y:e} {c:e}: {got:e} {want:e}"
            );
        }
    }

    #[test]
    fn sixteen_bit_numbers_convert_exactly() {
        for bits in 0..=u16::MAX {
            let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, bits & 0x3ff);
            if exponent == 31 {
                continue;
            }
            let magnitude = match exponent {
                0 => f64::from(fraction) * 2f64.powi(-24),
                _ => f64::from(fraction | 0x400) * 2f64.powi(i32::from(exponent) - 25),
            };
            let want = if sign == 1 { -magnitude } else { magnitude };
            assert_eq!(f64::from(f32_of_f16(bits)).to_bits(), want.to_bits(), "{bits:#x}");
        }
        assert_eq!(f32_of_bf16(0x3fc0), 1.5);
    }
}
