//! Quantization of rows of f32 to 8 bits without a division per number, on CPUs with AVX-512: the arithmetic, and the
//! data that passes between driver and kernel.
//!
//! The result is `round_half_even(x / scale) + zero`, between -128 and 255. With the reciprocal r of the scale,
//! `t = x·r + zero + 768.5`, computed by one instruction that rounds once, lies between 512 and 1024. There the
//! distance of neighbouring f32 is 2^-14: the bits of t are a number in fixed point, in which the 8 bits above the
//! lowest 14 are `floor(x·r + zero + 0.5)`.
//!
//! That is the result, unless a half lies between x·r and the quotient as f32 has it, or is the quotient. Those two
//! differ by two roundings of at most 2^-24 of 255, which is less than half of 2^-14; and t is rounded by at most half
//! of 2^-14. So in these cases the lowest 14 bits of t are 0. Where they are 0, which happens to one number of 16,384
//! if they are random, the number and its neighbours are divided.

/// 1.5·2^9 + 0.5: the offset that puts t between 512 and 1024 and turns rounding down into rounding.
#[cfg(target_arch = "x86_64")]
pub(crate) const OFFSET: f32 = 768.5;
/// The number of bits of t, as a number in fixed point, below the unit.
#[cfg(target_arch = "x86_64")]
pub(crate) const FRACTION_BITS: u32 = 14;

/// The extremes of a row, as bits of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowExtremes {
    /// The greatest of 0 and the numbers' bits as signed integers: the bits of the greatest number, if one is above 0.
    pub highest: i32,
    /// The greatest of 0 and the numbers' bits as unsigned integers: the bits of the least number, if one has a sign.
    pub lowest: u32,
}

/// The map from the numbers of a row to results.
#[derive(Clone, Copy)]
pub struct RowParams {
    /// The distance of the numbers that neighbouring results stand for: positive, and at most f32::MAX / 127, so that
    /// its reciprocal is not subnormal.
    pub scale: f32,
    /// The result for the number 0, within the range of results.
    pub zero: i32,
}
