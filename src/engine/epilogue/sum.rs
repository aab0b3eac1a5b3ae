//! Exact sums of any width, and their conversions.

use crate::rounding::ROUND_F64;

/// An exact sum, of any width.
pub(crate) trait Sum: Copy {
    /// The nearest f32, ties to even.
    fn to_f32(self) -> f32;
    /// The nearest f64, ties to even.
    fn to_f64(self) -> f64;
    /// The sum modulo 2^32.
    fn to_i32(self) -> i32;
    /// The nearest i32.
    fn saturate(self) -> i32;
}

impl Sum for i32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self
    }
    #[inline(always)]
    fn saturate(self) -> i32 {
        self
    }
}

impl Sum for f64 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i64 as i32
    }
    #[inline(always)]
    fn saturate(self) -> i32 {
        let x = self.clamp(i32::MIN.into(), i32::MAX.into());
        (x + ROUND_F64).to_bits() as i32
    }
}

impl Sum for i64 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self as i32
    }
    #[inline(always)]
    fn saturate(self) -> i32 {
        self.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
}
