//! Rows of real numbers: what bounds them, and their rounding to 8 bits without a division each, on CPUs that have the
//! instructions for it (AVX-512).
//!
//! The result is `round_half_even(x / scale) + zero`, between -128 and 255. With the reciprocal r of the scale,
//! `t = x·r + zero + 768.5`, computed by one instruction that rounds once, lies between 512 and 1024. There f32 has
//! steps of 2^-14: the bits of t are a number in fixed point, in which the 8 bits above the lowest 14 are
//! `floor(x·r + zero + 0.5)`.
//!
//! That is the result, unless a half lies between x·r and the quotient as f32 has it, or is the quotient. Those two
//! differ by two roundings of at most 2^-24 of 255, less than half a step; and t is rounded by half a step at most.
//! So the lowest 14 bits of t are 0 then. Where some are, which is one number of 16,384 if they are random, those
//! about it are divided.

/// 1.5·2^9, and a half: see above.
#[cfg(target_arch = "x86_64")]
pub(crate) const FIXED: f32 = 768.5;
/// Of t in fixed point.
#[cfg(target_arch = "x86_64")]
pub(crate) const FRACTION_BITS: u32 = 14;

/// The greatest of 0 and some numbers' bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowExtremes {
    /// As signed integers: the highest number, if one is above 0.
    pub highest: i32,
    /// As unsigned ones: the lowest number, if one has a sign.
    pub lowest: u32,
}

/// The map from numbers to results.
#[derive(Clone, Copy)]
pub struct RowParams {
    /// The width of a step: positive, and at most a 127th of the greatest number.
    pub scale: f32,
    /// What 0 becomes.
    pub zero: i32,
}
