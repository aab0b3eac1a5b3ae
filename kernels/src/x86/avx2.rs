//! AVX2, exact: `vpmaddwd` on 16-bit operands, tile 6x16, KR = 2 (`tile::ymm` has the panel and the registers).
//!
//! `vpmaddwd` multiplies pairs of i16 and adds them in 32 bits. The operands are widened bytes, so nothing saturates
//! (unlike `vpmaddubsw`, which adds in 16 bits).
//!
//! B is packed as bytes and widened when it is read: few rows wait for memory, of which that takes half. One row is 1.3
//! to 2.7 times as fast so, 4x4096x4096 twice. Tiles of many rows would be 7 % slower; for those the driver widens a
//! panel ahead (Zen 4, 2026-11-27).

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::tile::along_k::{self, AlongK, AlongKTiles};
use crate::x86::tile::dot::Dot;
use crate::x86::tile::ymm::{self, Tile6x16, YmmTiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel::new(
    "avx2-6x16c2",
    &[Variant::of::<Tile6x16<Words<true>>>(), Variant::of::<Tile6x16<Words<false>>>()],
);

pub static ALONG_K: Kernel = Kernel::new(
    "avx2-4x8c16",
    &[Variant::of::<AlongK<Words<true>, false>>(), Variant::of::<AlongK<Words<true>, true>>()],
);

/// `vpmaddwd`. B_IS_I8: panels hold i8, which are widened as they are read; else i16.
struct Words<const B_IS_I8: bool>;

impl<const B_IS_I8: bool> Instruction for Words<B_IS_I8> {
    const ISA: Isa = Isa::Avx2;
    const A: Stored = Stored::I16;
    const B: Stored = if B_IS_I8 { Stored::I8 } else { Stored::I16 };
    const KR: usize = 2;
}

// SAFETY: AVX2, registers only.
unsafe impl<const B_IS_I8: bool> Dot for Words<B_IS_I8> {
    type Vector = __m256i;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)) }
    }
}

// SAFETY: `ymm` keeps to the contract.
unsafe impl<const B_IS_I8: bool> YmmTiles for Words<B_IS_I8> {
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<Self, H, V>(t) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tiles::<Self, H, V>(t) }
    }
}

// SAFETY: `along_k` keeps to the contract.
unsafe impl AlongKTiles for Words<true> {
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    unsafe fn part<const H: usize, const V: usize, const A: bool>(
        t: &Args<'_>,
        first: usize,
    ) -> [__m128i; H] {
        // SAFETY: the caller's promise.
        unsafe { along_k::sums_of_part::<Self, H, V, A>(t, first, _mm256_setzero_si256()) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn along_k<const H: usize, const A: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { along_k::tile::<Self, H, A>(t) }
    }
}
