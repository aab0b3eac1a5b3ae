//! AVX-512 F and BW, without VNNI: `vpmaddwd` on 16-bit operands, tile 12x32, KR = 2 (see `zmm`).
//!
//! Exact for the reason given in `avx2`.

use super::zmm::{self, Tiles};
use crate::{Args, Isa, Kernel, Stored, Takes, Variant};
use core::arch::x86_64::*;

pub static KERNEL: Kernel = Kernel {
    name: "avx512bw-12x32c2",
    isa: Isa::Avx512Bw,
    mr: 12,
    nr: 32,
    kr: 2,
    steps: 0,
    fused: true,
    takes: Takes { abreast: zmm::ABREAST, tall: 0 },
    variants: &[Variant { a: Stored::I16, b: Stored::I16, a_shift: 0, micro: zmm::micro_12x32::<Words> }],
};

struct Words;

impl Tiles for Words {
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize>(t: &Args<'_>) {
        let dot = |acc, a, b| _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
        // SAFETY: the caller's promise.
        unsafe { zmm::tile::<H, V, PANEL>(t, 2, _mm512_setzero_si512(), dot) }
    }
}
