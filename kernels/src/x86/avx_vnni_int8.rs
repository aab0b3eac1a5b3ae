//! AVX-VNNI-INT8: the 256-bit dot products of bytes of any signs, tile 6x16, KR = 4 (see `ymm`).
//!
//! `vpdpbuud`, `vpdpbssd` and `vpdpbsud` multiply four bytes by four, both unsigned, both signed, or the first
//! operand's signed and the second's unsigned, and add them to an i32 without saturation (their forms that end
//! in `s` would). So every pair of types has a variant, and neither A nor the panel is shifted.

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::BYTES;
use crate::x86::tile::ymm;
use crate::x86::tile::ymm::{MR, NR, Tiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel {
    name: "avxvnniint8-6x16c4",
    isa: Isa::AvxVnniInt8,
    mr: MR,
    nr: NR,
    kr: 4,
    i16_groups: 0,
    fused: true,
    takes: Takes::TILES,
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: ymm::micro_6x16::<UnsignedSigned> },
        Variant { a: Stored::I8, b: Stored::I8, a_shift: 0, micro: ymm::micro_6x16::<SignedSigned> },
        Variant { a: Stored::U8, b: Stored::U8, a_shift: 0, micro: ymm::micro_6x16::<UnsignedUnsigned> },
        Variant { a: Stored::I8, b: Stored::U8, a_shift: 0, micro: ymm::micro_6x16::<SignedUnsigned> },
    ],
};

/// u8 activations, i8 panels.
struct UnsignedSigned;

impl Tiles for UnsignedSigned {
    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, BYTES, |acc, a, b| _mm256_dpbsud_epi32(acc, b, a)) }
    }
}

/// i8 activations, i8 panels.
struct SignedSigned;

impl Tiles for SignedSigned {
    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, BYTES, |acc, a, b| _mm256_dpbssd_epi32(acc, a, b)) }
    }
}

/// u8 activations, u8 panels.
struct UnsignedUnsigned;

impl Tiles for UnsignedUnsigned {
    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, BYTES, |acc, a, b| _mm256_dpbuud_epi32(acc, a, b)) }
    }
}

/// i8 activations, u8 panels.
struct SignedUnsigned;

impl Tiles for SignedUnsigned {
    #[target_feature(enable = "avx2,avxvnniint8")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, BYTES, |acc, a, b| _mm256_dpbsud_epi32(acc, a, b)) }
    }
}
