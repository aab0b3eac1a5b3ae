//! The dot products of the 8-bit matrix extension: `usdot` and `sudot` by element, tile 8x8, KR = 4 (`dot_tile` has the
//! panel and the registers).
//!
//! The operands have different signs: i8 activations go with u8 panels, u8 with i8.

use crate::aarch64::dot_tile::{self, DotByElement};
use crate::aarch64::tile::{NeonTiles, Tile8x8};
use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::Stored;
use core::arch::aarch64::*;
use core::arch::asm;

pub static KERNEL: Kernel = Kernel::new(
    "i8mm-8x8c4",
    &[Variant::of::<Tile8x8<Bytes<false>>>(), Variant::of::<Tile8x8<Bytes<true>>>()],
);

/// `usdot` for signed A, else `sudot`: their names say the sign of the panel first.
struct Bytes<const A_SIGNED: bool>;

impl<const A_SIGNED: bool> Instruction for Bytes<A_SIGNED> {
    const ISA: Isa = Isa::I8mm;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = byte_type(!A_SIGNED);
    const KR: usize = 4;
}

// SAFETY: `dot_tile::tile` keeps to the contract.
unsafe impl<const A_SIGNED: bool> NeonTiles for Bytes<A_SIGNED> {
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { dot_tile::tile::<H, Self>(t) }
    }
}

// SAFETY: registers only.
unsafe impl<const A_SIGNED: bool> DotByElement for Bytes<A_SIGNED> {
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn dot<const L: i32>(mut acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise; registers only.
        unsafe {
            if A_SIGNED {
                asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                     const L, options(pure, nomem, nostack, preserves_flags));
            } else {
                asm!("sudot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                     const L, options(pure, nomem, nostack, preserves_flags));
            }
        }
        acc
    }
}
