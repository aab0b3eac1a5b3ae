//! AVX-512 VNNI: the 512-bit `vpdpbusd`, tiles 6x64, 12x32 and 12x16, KR = 4 (`tile::zmm` has the panel and the
//! registers).
//!
//! The instruction multiplies four unsigned by four signed bytes and adds them to an i32 without saturation
//! (`vpdpbusds` would). The panel holds i8. The sign bits of i8 activations are inverted as they are broadcast, once
//! per row and k-group of a tile, where an instruction more is free: 0.3 % at 1024^3 (Zen 4). With u8 in the panel it
//! would not take that, but the sums of A's rows, 20 % at N = 64.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::tile::along_k::{self, AlongK, AlongKTiles};
use crate::x86::tile::b_stationary::{self, BStationary, BStationaryRows};
use crate::x86::tile::dot::Dot;
use crate::x86::tile::zmm::{self, Tile6x64, Tile12x16, Tile12x32, ZmmTiles};
use core::arch::asm;
use core::arch::x86_64::*;

pub static K6X64: Kernel = Kernel::new(
    "avx512vnni-6x64c4",
    &[
        Variant::of::<BStationary<Tile6x64<Bytes<false>>>>(),
        Variant::of::<BStationary<Tile6x64<Bytes<true>>>>(),
    ],
);

pub static K12X32: Kernel = Kernel::new(
    "avx512vnni-12x32c4",
    &[
        Variant::of::<BStationary<Tile12x32<Bytes<false>>>>(),
        Variant::of::<BStationary<Tile12x32<Bytes<true>>>>(),
    ],
);

pub static K12X16: Kernel = Kernel::new(
    "avx512vnni-12x16c4",
    &[
        Variant::of::<BStationary<Tile12x16<Bytes<false>>>>(),
        Variant::of::<BStationary<Tile12x16<Bytes<true>>>>(),
    ],
);

pub static ALONG_K: Kernel = Kernel::new(
    "avx512vnni-4x8c64",
    &[Variant::of::<AlongK<Bytes<false>, false>>(), Variant::of::<AlongK<Bytes<true>, true>>()],
);

/// `vpdpbusd`, for A with or without signs and panels of i8.
pub struct Bytes<const A_SIGNED: bool>;

impl<const A_SIGNED: bool> Instruction for Bytes<A_SIGNED> {
    const ISA: Isa = Isa::Avx512Vnni;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = Stored::I8;
    const KR: usize = 4;
    const A_SHIFT: i32 = if A_SIGNED { 128 } else { 0 };
}

impl<const A_SIGNED: bool> Bytes<A_SIGNED> {
    /// XORed with A: this adds [`A_SHIFT`](Instruction::A_SHIFT) to i8, which makes u8 of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn flips() -> __m512i {
        if Self::A_SHIFT == 128 { sign_bits() } else { _mm512_setzero_si512() }
    }
}

// SAFETY: AVX-512 VNNI and VL, registers only.
unsafe impl<const A_SIGNED: bool> Dot for Bytes<A_SIGNED> {
    type Vector = __m512i;

    #[inline(always)]
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_dpbusd_epi32(acc, a, b) }
    }

    #[inline(always)]
    unsafe fn dot_low(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            let low = |x| _mm512_castsi512_si256(x);
            _mm512_zextsi256_si512(_mm256_dpbusd_epi32(low(acc), low(a), low(b)))
        }
    }
}

// SAFETY: `zmm` keeps to the contract.
unsafe impl<const A_SIGNED: bool> ZmmTiles for Bytes<A_SIGNED> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize, const MORE: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tile::<Self, H, V, PANEL, MORE>(t, Self::flips()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tiles::<Self, H, V>(t, Self::flips()) }
    }
}

// SAFETY: `b_stationary::rows` keeps to the contract.
unsafe impl<const A_SIGNED: bool> BStationaryRows for Bytes<A_SIGNED> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<const G: usize, const H: usize, const V: usize, const HALF: bool>(
        t: &Args<'_>,
        panel: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { b_stationary::rows::<Self, G, H, V, HALF>(t, panel, Self::flips()) }
    }
}

/// The sign bit of each byte, as a value that the compiler does not know: with a constant of equal lanes it moves the
/// XOR before the broadcast, out of a vector register and back into one, which on Intel takes one of the two ports that
/// multiply.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sign_bits() -> __m512i {
    let mut bits = _mm512_set1_epi8(i8::MIN);
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(zmm_reg) bits, options(pure, nomem, nostack, preserves_flags)) };
    bits
}

// SAFETY: `along_k` keeps to the contract.
unsafe impl<const A_SIGNED: bool> AlongKTiles for Bytes<A_SIGNED> {
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn part<const H: usize, const V: usize, const A: bool>(
        t: &Args<'_>,
        first: usize,
    ) -> [__m128i; H] {
        // SAFETY: the caller's promise.
        unsafe { along_k::sums_of_part::<Self, H, V, A>(t, first, Self::flips()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn along_k<const H: usize, const A: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { along_k::tile::<Self, H, A>(t) }
    }
}
