//! AVX-VNNI-INT8: the 256-bit dot products of bytes of any signs, tile 6x16, KR = 4 (`tile::ymm` has the panel and the
//! registers).
//!
//! `vpdpbuud`, `vpdpbssd` and `vpdpbsud` multiply four bytes by four, both unsigned, both signed, or the first
//! operand's signed and the second's unsigned, and add them to an i32 without saturation (their forms that end in `s`
//! would). So every pair of types has a variant, and neither A nor the panel is shifted.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::tile::along_k::{self, AlongK, AlongKTiles};
use crate::x86::tile::dot::Dot;
use crate::x86::tile::ymm::{self, Tile6x16, YmmTiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel::new(
    "avxvnniint8-6x16c4",
    &[
        Variant::of::<Tile6x16<Bytes<false, true>>>(),
        Variant::of::<Tile6x16<Bytes<true, true>>>(),
        Variant::of::<Tile6x16<Bytes<false, false>>>(),
        Variant::of::<Tile6x16<Bytes<true, false>>>(),
    ],
);

pub static ALONG_K: Kernel = Kernel::new(
    "avxvnniint8-4x8c32",
    &[
        Variant::of::<AlongK<Bytes<false, true>, false>>(),
        Variant::of::<AlongK<Bytes<true, true>, true>>(),
        Variant::of::<AlongK<Bytes<false, false>, false>>(),
        Variant::of::<AlongK<Bytes<true, false>, true>>(),
    ],
);

/// The dot product of bytes with or without signs.
struct Bytes<const A_SIGNED: bool, const B_SIGNED: bool>;

impl<const A_SIGNED: bool, const B_SIGNED: bool> Instruction for Bytes<A_SIGNED, B_SIGNED> {
    const ISA: Isa = Isa::AvxVnniInt8;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = byte_type(B_SIGNED);
    const KR: usize = 4;
}

// SAFETY: AVX-VNNI-INT8, registers only.
unsafe impl<const A_SIGNED: bool, const B_SIGNED: bool> Dot for Bytes<A_SIGNED, B_SIGNED> {
    type Vector = __m256i;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            match (A_SIGNED, B_SIGNED) {
                (false, false) => _mm256_dpbuud_epi32(acc, a, b),
                (false, true) => _mm256_dpbsud_epi32(acc, b, a),
                (true, false) => _mm256_dpbsud_epi32(acc, a, b),
                (true, true) => _mm256_dpbssd_epi32(acc, a, b),
            }
        }
    }
}

// SAFETY: `ymm` keeps to the contract.
unsafe impl<const A_SIGNED: bool, const B_SIGNED: bool> YmmTiles for Bytes<A_SIGNED, B_SIGNED> {
    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<Self, H, V>(t) }
    }

    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tiles::<Self, H, V>(t) }
    }
}

// SAFETY: `along_k` keeps to the contract.
unsafe impl<const A_SIGNED: bool, const B_SIGNED: bool> AlongKTiles for Bytes<A_SIGNED, B_SIGNED> {
    #[inline(never)]
    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn part<const H: usize, const V: usize, const A: bool>(
        t: &Args<'_>,
        first: usize,
    ) -> [__m128i; H] {
        // SAFETY: the caller's promise.
        unsafe { along_k::sums_of_part::<Self, H, V, A>(t, first, _mm256_setzero_si256()) }
    }

    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn along_k<const H: usize, const A: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { along_k::tile::<Self, H, A>(t) }
    }
}
