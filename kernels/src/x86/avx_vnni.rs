//! AVX-VNNI: the 256-bit `vpdpbusd` of CPUs without AVX-512, tile 6x16, KR = 4 (see `ymm`).
//!
//! The instruction multiplies four unsigned by four signed bytes and adds them to an i32 without
//! saturation (`vpdpbusds` would). Which operand is unsigned is free: for u8 activations the panel holds
//! i8, for i8 activations u8, and no sign is changed in the loop.

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::BYTES;
use crate::x86::tile::ymm;
use crate::x86::tile::ymm::{MR, NR, Tiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel {
    name: "avxvnni-6x16c4",
    isa: Isa::AvxVnni,
    mr: MR,
    nr: NR,
    kr: 4,
    i16_groups: 0,
    fused: true,
    takes: Takes::TILES,
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: ymm::micro_6x16::<Unsigned> },
        Variant { a: Stored::I8, b: Stored::U8, a_shift: 0, micro: ymm::micro_6x16::<Signed> },
    ],
};

/// u8 activations.
struct Unsigned;

impl Tiles for Unsigned {
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, BYTES, |acc, a, b| _mm256_dpbusd_avx_epi32(acc, a, b)) }
    }
}

/// i8 activations.
struct Signed;

impl Tiles for Signed {
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, BYTES, |acc, a, b| _mm256_dpbusd_avx_epi32(acc, b, a)) }
    }
}
