//! AVX-512 F, BW and VL, without VNNI: `vpmaddwd` on 16-bit operands, tile 12x32, KR = 2 (see `zmm`).
//!
//! Exact for the reason given in `avx2`. B is packed as bytes and widened as it is read, or ahead for many rows: on Zen 4
//! that would not take it (2 %, 2026-11-27), but the CPUs that have nothing better are Intel's, for which `emu/mca.py`
//! predicts 18 % more cycles otherwise.

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::Elements;
use crate::x86::tile::zmm;
use crate::x86::tile::zmm::Tiles;
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel {
    name: "avx512bw-12x32c2",
    isa: Isa::Avx512Bw,
    mr: 12,
    nr: 32,
    kr: 2,
    i16_groups: 0,
    fused: true,
    takes: Takes { abreast: zmm::ABREAST, tall: 0 },
    variants: &[
        Variant { a: Stored::I16, b: Stored::I8, a_shift: 0, micro: zmm::micro_12x32::<Words<true>> },
        Variant { a: Stored::I16, b: Stored::I16, a_shift: 0, micro: zmm::micro_12x32::<Words<false>> },
    ],
};

/// 16-bit operands, of B widened here or ahead.
struct Words<const WIDEN: bool>;

impl<const WIDEN: bool> Tiles for Words<WIDEN> {
    const ELEMENTS: Elements = Elements { size: 2, widen: WIDEN };

    #[inline(always)]
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)) }
    }

    #[inline(always)]
    unsafe fn dot_8(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tile::<Self, H, V, PANEL>(t, _mm512_setzero_si512()) }
    }
}
