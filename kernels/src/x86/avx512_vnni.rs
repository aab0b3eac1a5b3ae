//! AVX-512 VNNI: the 512-bit `vpdpbusd`, tiles 6x64, 12x32 and 12x16, KR = 4 (see `zmm`).
//!
//! The instruction multiplies four unsigned by four signed bytes and adds them to an i32 without
//! saturation (`vpdpbusds` would). The panel holds i8. Of i8 activations the sign bits are inverted as they
//! are broadcast, once per row and k-group of a tile, where an instruction more is free: 0.3 % at 1024^3 on
//! Zen 4. With u8 in the panel it would not take that, but the sums of A's rows, 20 % at N = 64.

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::{BYTES, Elements};
use crate::x86::tile::stationary::Stationary;
use crate::x86::tile::zmm::Tiles;
use crate::x86::tile::{stationary, zmm};
use core::arch::asm;
use core::arch::x86_64::*;

pub static K6X64: Kernel = Kernel {
    name: "avx512vnni-6x64c4",
    isa: Isa::Avx512Vnni,
    mr: 6,
    nr: 64,
    kr: 4,
    i16_groups: 0,
    fused: true,
    takes: Takes { abreast: zmm::ABREAST, tall: TALL_K },
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: micro_6x64::<Bytes<false>> },
        Variant { a: Stored::I8, b: Stored::I8, a_shift: 128, micro: micro_6x64::<Bytes<true>> },
    ],
};

pub static K12X32: Kernel = Kernel {
    name: "avx512vnni-12x32c4",
    isa: Isa::Avx512Vnni,
    mr: 12,
    nr: 32,
    kr: 4,
    i16_groups: 0,
    fused: true,
    takes: Takes { abreast: zmm::ABREAST, tall: TALL_K },
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: micro_12x32::<Bytes<false>> },
        Variant { a: Stored::I8, b: Stored::I8, a_shift: 128, micro: micro_12x32::<Bytes<true>> },
    ],
};

pub static K12X16: Kernel = Kernel {
    name: "avx512vnni-12x16c4",
    isa: Isa::Avx512Vnni,
    mr: 12,
    nr: 16,
    kr: 4,
    i16_groups: 0,
    fused: true,
    takes: Takes { abreast: 0, tall: TALL_K },
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: micro_12x16::<Bytes<false>> },
        Variant { a: Stored::I8, b: Stored::I8, a_shift: 128, micro: micro_12x16::<Bytes<true>> },
    ],
};

const TALL_K: usize = 4 * stationary::MAX_GROUPS;

/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn) of a kernel that takes tall products.
unsafe fn micro_6x64<T: Stationary>(t: &Args<'_>) {
    // SAFETY: the caller's promise.
    unsafe { if t.rows <= 6 { zmm::micro_6x64::<T>(t) } else { stationary::micro::<T, 4>(t) } }
}

/// # Safety
/// As [`micro_6x64`].
unsafe fn micro_12x32<T: Stationary>(t: &Args<'_>) {
    // SAFETY: the caller's promise.
    unsafe { if t.rows <= 12 { zmm::micro_12x32::<T>(t) } else { stationary::micro::<T, 2>(t) } }
}

/// # Safety
/// As [`micro_6x64`].
unsafe fn micro_12x16<T: Stationary>(t: &Args<'_>) {
    // SAFETY: the caller's promise.
    unsafe { if t.rows <= 12 { zmm::micro_12x16::<T>(t) } else { stationary::micro::<T, 1>(t) } }
}

/// u8 activations, or i8.
struct Bytes<const SIGNED: bool>;

impl<const SIGNED: bool> Bytes<SIGNED> {
    /// What is XORed to A.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn flips() -> __m512i {
        if SIGNED { sign_bits() } else { _mm512_setzero_si512() }
    }
}

impl<const SIGNED: bool> Tiles for Bytes<SIGNED> {
    const ELEMENTS: Elements = BYTES;

    #[inline(always)]
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_dpbusd_epi32(acc, a, b) }
    }

    #[inline(always)]
    unsafe fn dot_8(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_dpbusd_epi32(acc, a, b) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tile::<Self, H, V, PANEL>(t, Self::flips()) }
    }
}

impl<const SIGNED: bool> Stationary for Bytes<SIGNED> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<const G: usize, const H: usize, const V: usize, const HALF: bool>(
        t: &Args<'_>,
        panel: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { stationary::rows::<Self, G, H, V, HALF>(t, panel, Self::flips()) }
    }
}

/// The sign bit of each byte, as a value that the compiler does not know: with a constant of equal lanes it
/// moves the XOR before the broadcast, out of a vector register and back into one, which on Intel takes one of
/// the two ports that multiply.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sign_bits() -> __m512i {
    let mut bits = _mm512_set1_epi8(i8::MIN);
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(zmm_reg) bits, options(pure, nomem, nostack, preserves_flags)) };
    bits
}
