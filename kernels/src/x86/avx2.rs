//! AVX2, exact: `vpmaddwd` on 16-bit operands, tile 6x16, KR = 2 (see `ymm`).
//!
//! `vpmaddwd` multiplies pairs of i16 and adds them in 32 bits; operands are widened bytes, so nothing
//! saturates (unlike `vpmaddubsw`, which adds in 16 bits).

use super::ymm::{self, MR, NR, Tiles};
use crate::{Args, Isa, Kernel, Stored, Takes, Variant};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel {
    name: "avx2-6x16c2",
    isa: Isa::Avx2,
    mr: MR,
    nr: NR,
    kr: 2,
    steps: 0,
    fused: true,
    takes: Takes::TILES,
    variants: &[Variant { a: Stored::I16, b: Stored::I16, a_shift: 0, micro: ymm::micro_6x16::<Words> }],
};

struct Words;

impl Tiles for Words {
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { ymm::tile::<H, V>(t, 2, |acc, a, b| _mm256_add_epi32(acc, _mm256_madd_epi16(a, b))) }
    }
}
