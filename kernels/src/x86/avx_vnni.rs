//! AVX-VNNI: the 256-bit `vpdpbusd` of CPUs without AVX-512, tile 6x16, KR = 4 (`tile::ymm` has the panel and the
//! registers).
//!
//! The instruction multiplies four unsigned by four signed bytes and adds them to an i32 without saturation
//! (`vpdpbusds` would). Either operand may be the unsigned one: for u8 activations the panel holds i8, for i8
//! activations u8, and no sign is changed in the loop.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::tile::along_k::{self, AlongK, AlongKTiles};
use crate::x86::tile::dot::Dot;
use crate::x86::tile::ymm::{self, Tile6x16, YmmTiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel::new(
    "avxvnni-6x16c4",
    &[Variant::of::<Tile6x16<Bytes<false>>>(), Variant::of::<Tile6x16<Bytes<true>>>()],
);

pub static ALONG_K: Kernel = Kernel::new(
    "avxvnni-4x8c32",
    &[Variant::of::<AlongK<Bytes<false>, false>>(), Variant::of::<AlongK<Bytes<true>, true>>()],
);

/// `vpdpbusd`, for A with or without signs and panels of the other type.
struct Bytes<const A_SIGNED: bool>;

impl<const A_SIGNED: bool> Instruction for Bytes<A_SIGNED> {
    const ISA: Isa = Isa::AvxVnni;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = byte_type(!A_SIGNED);
    const KR: usize = 4;
}

// SAFETY: AVX-VNNI, registers only.
unsafe impl<const A_SIGNED: bool> Dot for Bytes<A_SIGNED> {
    type Vector = __m256i;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        let (unsigned, signed) = if A_SIGNED { (b, a) } else { (a, b) };
        // SAFETY: the caller's promise.
        unsafe { _mm256_dpbusd_avx_epi32(acc, unsigned, signed) }
    }
}

// SAFETY: `ymm` keeps to the contract.
unsafe impl<const A_SIGNED: bool> YmmTiles for Bytes<A_SIGNED> {
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<Self, H, V>(t) }
    }

    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tiles::<Self, H, V>(t) }
    }
}

// SAFETY: `along_k` keeps to the contract.
unsafe impl<const A_SIGNED: bool> AlongKTiles for Bytes<A_SIGNED> {
    #[inline(never)]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn part<const H: usize, const V: usize, const A: bool>(
        t: &Args<'_>,
        first: usize,
    ) -> [__m128i; H] {
        // SAFETY: the caller's promise.
        unsafe { along_k::sums_of_part::<Self, H, V, A>(t, first, _mm256_setzero_si256()) }
    }

    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn along_k<const H: usize, const A: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { along_k::tile::<Self, H, A>(t) }
    }
}
