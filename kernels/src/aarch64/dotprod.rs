//! The dot product extension: `sdot` and `udot`, tile 8x8, KR = 4 (`dot_tile` has the panel and the registers).
//!
//! Both operands have the same sign: i8 activations go with i8 panels, u8 with u8.

use crate::aarch64::dot_tile::{self, DotByElement};
use crate::aarch64::tile::{NeonTiles, Tile8x8};
use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::Stored;
use core::arch::aarch64::*;
use core::arch::asm;

pub static KERNEL: Kernel = Kernel::new(
    "dotprod-8x8c4",
    &[Variant::of::<Tile8x8<Bytes<false>>>(), Variant::of::<Tile8x8<Bytes<true>>>()],
);

/// `sdot`, or `udot`.
struct Bytes<const SIGNED: bool>;

impl<const SIGNED: bool> Instruction for Bytes<SIGNED> {
    const ISA: Isa = Isa::Dotprod;
    const A: Stored = byte_type(SIGNED);
    const B: Stored = byte_type(SIGNED);
    const KR: usize = 4;
}

// SAFETY: `dot_tile::tile` keeps to the contract.
unsafe impl<const SIGNED: bool> NeonTiles for Bytes<SIGNED> {
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { dot_tile::tile::<H, Self>(t) }
    }
}

// SAFETY: registers only.
unsafe impl<const SIGNED: bool> DotByElement for Bytes<SIGNED> {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot<const L: i32>(mut acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise; registers only.
        unsafe {
            if SIGNED {
                asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                     const L, options(pure, nomem, nostack, preserves_flags));
            } else {
                asm!("udot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                     const L, options(pure, nomem, nostack, preserves_flags));
            }
        }
        acc
    }
}
