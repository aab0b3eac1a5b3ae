//! AVX2, exact: `vpmaddwd` on 16-bit operands, tile 6x16, KR = 2 (see `ymm`).
//!
//! `vpmaddwd` multiplies pairs of i16 and adds them in 32 bits; operands are widened bytes, so nothing
//! saturates (unlike `vpmaddubsw`, which adds in 16 bits).
//!
//! B is packed as bytes and widened when it is read: few rows wait for memory, of which that takes half. One row is 1.3 to
//! 2.7 times as fast so, 4x4096x4096 twice. Tiles of many rows would be 7 % slower; for those the driver widens a panel
//! ahead (Zen 4, 2026-11-27).

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::Elements;
use crate::x86::tile::ymm;
use crate::x86::tile::ymm::{MR, NR, Tiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel {
    name: "avx2-6x16c2",
    isa: Isa::Avx2,
    mr: MR,
    nr: NR,
    kr: 2,
    i16_groups: 0,
    fused: true,
    takes: Takes::TILES,
    variants: &[
        Variant { a: Stored::I16, b: Stored::I8, a_shift: 0, micro: ymm::micro_6x16::<Words<true>> },
        Variant { a: Stored::I16, b: Stored::I16, a_shift: 0, micro: ymm::micro_6x16::<Words<false>> },
    ],
};

/// 16-bit operands, of B widened here or ahead.
struct Words<const WIDEN: bool>;

impl<const WIDEN: bool> Tiles for Words<WIDEN> {
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        let elements = Elements { size: 2, widen: WIDEN };
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, elements, |acc, a, b| _mm256_add_epi32(acc, _mm256_madd_epi16(a, b))) }
    }
}
