//! The variants that `qgemm bench` can measure.

use qgemm::ElementType::{self, I8, U8};

/// The work that is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// 8-bit operands, B packed ahead, i32 output.
    Sums,
    /// `Sums` with B not packed ahead: packing is timed.
    SumsOfUnpackedB,
    /// `Sums` with a zero point of B, which needs the sums of the rows of A.
    SumsWithBZero,
    /// 8-bit output by f32 scales per column, with zero points of A and of the output.
    Requantize,
    /// `Requantize` by integer multipliers per column with gemmlowp's rounding.
    RequantizeFixedPoint,
    /// `Requantize` with a zero point of A so large that exact sums exceed 32 bits.
    RequantizeFarZero,
    /// Packing of B alone.
    Pack,
    /// f32 input, each row of A quantized by the call (to i8 symmetrically, to u8 with a zero point), f32 output
    /// by scales per column.
    Dynamic,
}

/// A measurement that `--variants` can name.
#[derive(Debug)]
pub struct Variant {
    /// Types of A, B and C (u8, s8, s32), then a word for the work.
    pub name: &'static str,
    pub work: Work,
    /// The type of A, or the type that A is quantized to.
    pub a: ElementType,
    /// It is measured if `--variants` is not given.
    pub default: bool,
}

pub const VARIANTS: [Variant; 15] = [
    Variant { name: "u8s8s32", work: Work::Sums, a: U8, default: true },
    Variant { name: "s8s8s32", work: Work::Sums, a: I8, default: true },
    Variant { name: "u8s8u8_zp", work: Work::Requantize, a: U8, default: true },
    Variant { name: "s8s8s8_zp", work: Work::Requantize, a: I8, default: true },
    Variant { name: "u8s8s32_dynb", work: Work::SumsOfUnpackedB, a: U8, default: false },
    Variant { name: "s8s8s32_dynb", work: Work::SumsOfUnpackedB, a: I8, default: false },
    Variant { name: "u8s8s32_bzp", work: Work::SumsWithBZero, a: U8, default: false },
    Variant { name: "s8s8s32_bzp", work: Work::SumsWithBZero, a: I8, default: false },
    Variant { name: "u8s8u8_fixed", work: Work::RequantizeFixedPoint, a: U8, default: false },
    Variant { name: "s8s8s8_fixed", work: Work::RequantizeFixedPoint, a: I8, default: false },
    Variant { name: "u8s8u8_far", work: Work::RequantizeFarZero, a: U8, default: false },
    Variant { name: "s8s8s8_far", work: Work::RequantizeFarZero, a: I8, default: false },
    Variant { name: "pack", work: Work::Pack, a: U8, default: false },
    Variant { name: "f32_dynamic", work: Work::Dynamic, a: I8, default: false },
    Variant { name: "f32_dynamic_zp", work: Work::Dynamic, a: U8, default: false },
];

impl Variant {
    pub fn a_zero(&self) -> i32 {
        match (self.work, self.a) {
            (Work::Requantize | Work::RequantizeFixedPoint, U8) => 131,
            (Work::Requantize | Work::RequantizeFixedPoint, I8) => 7,
            (Work::RequantizeFarZero, _) => FAR_ZERO,
            _ => 0,
        }
    }

    pub fn b_zero(&self) -> i32 {
        if self.work == Work::SumsWithBZero { 5 } else { 0 }
    }

    /// The zero point of an 8-bit output.
    pub fn output_zero(&self) -> i32 {
        match self.a {
            U8 => 128,
            I8 => -3,
        }
    }
}

/// The zero point of A with which exact sums exceed 32 bits.
pub const FAR_ZERO: i32 = 1 << 20;
