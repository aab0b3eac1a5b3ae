//! The variants that `qgemm bench` can measure.

use qgemm::ElementType::{self, I8, U8};
use qgemm::{Activations, CodeBits};

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
    /// f32 input, quantized by the call, weights with a scale per column and group packed ahead, f32 output.
    Groupwise(GroupVariant),
}

/// Group-wise weights, and the way in which activations are quantized for them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupVariant {
    pub bits: CodeBits,
    /// Rows of a group.
    pub group: usize,
    pub activations: Activations,
}

/// How A and C lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// Both row by row.
    Rows,
    /// A column by column.
    AColumns,
    /// C column by column.
    CColumns,
    /// A as rows picked by index, in reverse order.
    PickedRows,
}

/// A measurement that `--variants` can name.
#[derive(Debug)]
pub struct Variant {
    /// Types of A, B and C (u8, s8, s32), then words for the work and the layout. Of group-wise weights the bits and the
    /// rows of a group.
    pub name: &'static str,
    pub work: Work,
    /// The type of A, or the type that A is quantized to.
    pub a: ElementType,
    pub layout: Layout,
    /// It is measured if `--variants` is not given.
    pub default: bool,
}

pub const VARIANTS: [Variant; 32] = [
    Variant { default: true, ..rows("u8s8s32", Work::Sums, U8) },
    Variant { default: true, ..rows("s8s8s32", Work::Sums, I8) },
    Variant { default: true, ..rows("u8s8u8_zp", Work::Requantize, U8) },
    Variant { default: true, ..rows("s8s8s8_zp", Work::Requantize, I8) },
    rows("u8s8s32_dynb", Work::SumsOfUnpackedB, U8),
    rows("s8s8s32_dynb", Work::SumsOfUnpackedB, I8),
    rows("u8s8s32_bzp", Work::SumsWithBZero, U8),
    rows("s8s8s32_bzp", Work::SumsWithBZero, I8),
    rows("u8s8u8_fixed", Work::RequantizeFixedPoint, U8),
    rows("s8s8s8_fixed", Work::RequantizeFixedPoint, I8),
    rows("u8s8u8_far", Work::RequantizeFarZero, U8),
    rows("s8s8s8_far", Work::RequantizeFarZero, I8),
    rows("pack", Work::Pack, U8),
    rows("f32_dynamic", Work::Dynamic, I8),
    rows("f32_dynamic_zp", Work::Dynamic, U8),
    Variant { layout: Layout::AColumns, ..rows("u8s8s32_acol", Work::Sums, U8) },
    Variant { layout: Layout::CColumns, ..rows("u8s8s32_ccol", Work::Sums, U8) },
    Variant { layout: Layout::PickedRows, ..rows("u8s8s32_gather", Work::Sums, U8) },
    Variant { layout: Layout::CColumns, ..rows("u8s8u8_zp_ccol", Work::Requantize, U8) },
    Variant { layout: Layout::AColumns, ..rows("f32_dynamic_acol", Work::Dynamic, I8) },
    by_groups("w4g32", CodeBits::Four, 32, Activations::PerRowAndGroup),
    by_groups("w4g64", CodeBits::Four, 64, Activations::PerRowAndGroup),
    by_groups("w4g128", CodeBits::Four, 128, Activations::PerRowAndGroup),
    by_groups("w8g32", CodeBits::Eight, 32, Activations::PerRowAndGroup),
    by_groups("w8g64", CodeBits::Eight, 64, Activations::PerRowAndGroup),
    by_groups("w8g128", CodeBits::Eight, 128, Activations::PerRowAndGroup),
    by_groups("w4g32_row", CodeBits::Four, 32, Activations::PerRow),
    by_groups("w4g64_row", CodeBits::Four, 64, Activations::PerRow),
    by_groups("w4g128_row", CodeBits::Four, 128, Activations::PerRow),
    by_groups("w8g32_row", CodeBits::Eight, 32, Activations::PerRow),
    by_groups("w8g64_row", CodeBits::Eight, 64, Activations::PerRow),
    by_groups("w8g128_row", CodeBits::Eight, 128, Activations::PerRow),
];

/// The variants that `--shapes layouts` measures: each layout beside rows.
pub const OF_LAYOUTS: &str =
    "u8s8s32,u8s8s32_acol,u8s8s32_ccol,u8s8s32_gather,u8s8u8_zp,u8s8u8_zp_ccol,f32_dynamic,f32_dynamic_acol";

const fn rows(name: &'static str, work: Work, a: ElementType) -> Variant {
    Variant { name, work, a, layout: Layout::Rows, default: false }
}

const fn by_groups(name: &'static str, bits: CodeBits, group: usize, activations: Activations) -> Variant {
    rows(name, Work::Groupwise(GroupVariant { bits, group, activations }), I8)
}

impl Variant {
    /// The measurement in words, for help.
    pub fn in_words(&self) -> String {
        let a = self.a;
        let work = match self.work {
            Work::Sums => format!("i32 sums of {a} A and i8 B, which is packed ahead"),
            Work::SumsOfUnpackedB => format!("i32 sums of {a} A and i8 B, which the call packs"),
            Work::SumsWithBZero => format!("i32 sums of {a} A and i8 B that has a zero point"),
            Work::Requantize => {
                format!("{a} output by f32 scales per column, zero points of A and of the output")
            }
            Work::RequantizeFixedPoint => {
                format!("{a} output by integer multipliers per column, as gemmlowp rounds")
            }
            Work::RequantizeFarZero => {
                format!("{a} output, with a zero point of A for which exact sums exceed 32 bits")
            }
            Work::Pack => "packing of B alone, in GB/s".into(),
            Work::Dynamic => {
                let how = if a == I8 { "symmetrically" } else { "with a zero point" };
                format!("f32 A, each row quantized by the call to {a} {how}, and f32 output")
            }
            Work::Groupwise(GroupVariant { bits, group, activations }) => {
                let per = if activations == Activations::PerRow { "row" } else { "row and group" };
                let bits = bits.bits();
                format!(
                    "f32 A, quantized by the call per {per}, weights of {bits} bits in groups of {group}, f32 output"
                )
            }
        };
        let layout = match self.layout {
            Layout::Rows => "",
            Layout::AColumns => "; A lies column by column",
            Layout::CColumns => "; C lies column by column",
            Layout::PickedRows => "; rows of A are picked by index",
        };
        format!("{work}{layout}")
    }

    /// Whether A is given as floats.
    pub fn has_float_a(&self) -> bool {
        matches!(self.work, Work::Dynamic | Work::Groupwise(_))
    }

    pub fn is_groupwise(&self) -> bool {
        matches!(self.work, Work::Groupwise(_))
    }

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
