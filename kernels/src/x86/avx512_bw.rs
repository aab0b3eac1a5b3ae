//! AVX-512 F, BW and VL, without VNNI: `vpmaddwd` on 16-bit operands, tile 12x32, KR = 2 (`tile::zmm` has the panel and
//! the registers).
//!
//! Exact for the reason given in `avx2`. B is packed as bytes and widened as it is read, or ahead for many rows. Zen 4
//! gains 2 % by widening ahead (2026-11-27); but the CPUs that have nothing better are Intel's, for which `emu/mca.py`
//! predicts 18 %.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::tile::along_k::{self, AlongK, AlongKTiles};
use crate::x86::tile::dot::Dot;
use crate::x86::tile::zmm::{self, Tile12x32, ZmmTiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel::new(
    "avx512bw-12x32c2",
    &[Variant::of::<Tile12x32<Words<true>>>(), Variant::of::<Tile12x32<Words<false>>>()],
);

pub static ALONG_K: Kernel = Kernel::new(
    "avx512bw-4x8c32",
    &[Variant::of::<AlongK<Words<true>, false>>(), Variant::of::<AlongK<Words<true>, true>>()],
);

/// `vpmaddwd`. B_IS_I8: panels hold i8, which are widened as they are read; else i16.
struct Words<const B_IS_I8: bool>;

impl<const B_IS_I8: bool> Instruction for Words<B_IS_I8> {
    const ISA: Isa = Isa::Avx512Bw;
    const A: Stored = Stored::I16;
    const B: Stored = if B_IS_I8 { Stored::I8 } else { Stored::I16 };
    const KR: usize = 2;
}

// SAFETY: AVX-512 BW and AVX2, registers only.
unsafe impl<const B_IS_I8: bool> Dot for Words<B_IS_I8> {
    type Vector = __m512i;

    #[inline(always)]
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)) }
    }

    #[inline(always)]
    unsafe fn dot_low(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            let low = |x| _mm512_castsi512_si256(x);
            _mm512_zextsi256_si512(_mm256_add_epi32(low(acc), _mm256_madd_epi16(low(a), low(b))))
        }
    }
}

// SAFETY: `zmm` keeps to the contract.
unsafe impl<const B_IS_I8: bool> ZmmTiles for Words<B_IS_I8> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize, const MORE: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tile::<Self, H, V, PANEL, MORE>(t, _mm512_setzero_si512()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tiles::<Self, H, V>(t, _mm512_setzero_si512()) }
    }
}

// SAFETY: `along_k` keeps to the contract.
unsafe impl AlongKTiles for Words<true> {
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn part<const H: usize, const V: usize, const A: bool>(
        t: &Args<'_>,
        first: usize,
    ) -> [__m128i; H] {
        // SAFETY: the caller's promise.
        unsafe { along_k::sums_of_part::<Self, H, V, A>(t, first, _mm512_setzero_si512()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn along_k<const H: usize, const A: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { along_k::tile::<Self, H, A>(t) }
    }
}
