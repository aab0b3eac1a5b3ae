//! The dot product extension: `sdot` and `udot`, tile 8x8, KR = 4 (see `lanes`).
//!
//! Both operands have the same sign: i8 activations go with i8 panels, u8 with u8.

use crate::aarch64::lanes::Dot;
use crate::aarch64::tile::{MR, NR, Tiles};
use crate::aarch64::{lanes, tile};
use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use core::arch::aarch64::*;
use core::arch::asm;

pub static KERNEL: Kernel = Kernel {
    name: "dotprod-8x8c4",
    isa: Isa::Dotprod,
    mr: MR,
    nr: NR,
    kr: 4,
    i16_groups: 0,
    fused: false,
    takes: Takes::TILES,
    variants: &[
        Variant { a: Stored::U8, b: Stored::U8, a_shift: 0, micro: tile::micro_8x8::<Unsigned> },
        Variant { a: Stored::I8, b: Stored::I8, a_shift: 0, micro: tile::micro_8x8::<Signed> },
    ],
};

struct Unsigned;

impl Tiles for Unsigned {
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { lanes::tile::<H, Self>(t) }
    }
}

impl Dot for Unsigned {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot<const L: i32>(mut acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only.
        unsafe {
            asm!("udot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                 const L, options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}

struct Signed;

impl Tiles for Signed {
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { lanes::tile::<H, Self>(t) }
    }
}

impl Dot for Signed {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot<const L: i32>(mut acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only.
        unsafe {
            asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                 const L, options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}
