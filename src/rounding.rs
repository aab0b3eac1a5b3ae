//! Rounding to the nearest integer, ties to even, by an addition.
//!
//! For |x| <= 2^22 the f32 sum `x + 1.5·2^23` lies where consecutive f32 differ by 1, so the addition rounds x to the
//! nearest integer, half to even. The low bits of the sum are those of the integer in two's complement, and
//! `(x + 1.5·2^23) - 1.5·2^23` is the integer as f32. The same holds for f64 with 1.5·2^52 and |x| <= 2^51.
//! Unlike a call of `round_ties_even`, additions are vectorized for every instruction set.

/// 1.5·2^23.
pub(crate) const ROUND_F32: f32 = 12_582_912.0;
/// The greatest magnitude that [`ROUND_F32`] rounds.
pub(crate) const MAX_ROUND_F32: i32 = 1 << 22;
/// 1.5·2^52.
pub(crate) const ROUND_F64: f64 = (3u64 << 51) as f64;
