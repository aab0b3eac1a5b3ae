//! The group-wise kernels in 256 bits: AVX2 with FMA and F16C, and the same with AVX-VNNI.

use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::layout::CodeBits;
use crate::groupwise::tile::{each_column, each_height};
use crate::x86::groupwise::{Group, GroupWidth};
use core::arch::x86_64::*;

pub static AVX2: GroupKernel = GroupKernel {
    name: "avx2-g6x16",
    isa: Isa::Avx2,
    needs_fma: true,
    mr: MR,
    words: true,
    signed_codes: false,
    any_group: false,
    run: avx2,
};

pub static AVX_VNNI: GroupKernel = GroupKernel {
    name: "avxvnni-g6x16",
    isa: Isa::AvxVnni,
    needs_fma: true,
    mr: MR,
    words: false,
    signed_codes: false,
    any_group: false,
    run: avx_vnni,
};

/// The most rows of a tile of codes of 4 bits that `vpmaddubsw` multiplies. Its words take registers.
const MR_MADDUBS: usize = 4;
/// The most rows of the other tiles.
const MR: usize = 6;
/// Vectors of 256 bits.
type Vector<const VNNI: bool> = Group<__m256i, VNNI>;

/// The vectors of a tile of so many rows. Few rows read whole lines of a panel one after the other.
const fn vectors(rows: usize) -> usize {
    if rows <= 2 { 4 } else { 2 }
}

/// Runs the tiles of a panel, with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`each_column`], but for 1 to 6 rows.
#[inline(always)]
unsafe fn tiles<const VNNI: bool>(t: &GroupArgs) {
    // SAFETY: the caller's promise: there are 1..=MR rows.
    unsafe {
        with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most MR => {
            each_column::<Vector<VNNI>, H, { vectors(H) }>(t)
        })
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx2(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`tiles`]; the CPU has the instructions.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn avx2_tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise.
        unsafe { tiles::<false>(t) }
    }
    let mr = if t.bits == CodeBits::Four { MR_MADDUBS } else { MR };
    // SAFETY: the caller's promise.
    unsafe { each_height(t, mr, avx2_tiles) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx_vnni(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`tiles`]; the CPU has the instructions.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn avx_vnni_tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise.
        unsafe { tiles::<true>(t) }
    }
    // SAFETY: the caller's promise.
    unsafe { each_height(t, MR, avx_vnni_tiles) }
}

// SAFETY: AVX2, FMA, F16C, and AVX-VNNI for `dpbusd`; memory is read where the trait says.
unsafe impl GroupWidth for __m256i {
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe {
            let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
        }
    }

    #[inline(always)]
    unsafe fn nibbles(self) -> (Self, Self) {
        // SAFETY: registers only.
        unsafe {
            let low = _mm256_set1_epi8(15);
            (_mm256_and_si256(self, low), _mm256_and_si256(_mm256_srli_epi16::<4>(self), low))
        }
    }

    #[inline(always)]
    unsafe fn even_and_odd_bytes(self) -> (Self, Self) {
        // SAFETY: registers only.
        unsafe { (_mm256_and_si256(self, _mm256_set1_epi16(255)), _mm256_srli_epi16::<8>(self)) }
    }

    #[inline(always)]
    unsafe fn pairs_with_128(self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm256_or_si256(self, _mm256_slli_epi32::<23>(self)) }
    }

    #[inline(always)]
    unsafe fn add_words(self, other: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm256_add_epi16(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply_words(self, other: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm256_madd_epi16(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply_bytes(unsigned: Self, signed: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm256_maddubs_epi16(unsigned, signed) }
    }

    #[inline(always)]
    unsafe fn dpbusd(self, unsigned: Self, signed: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm256_dpbusd_avx_epi32(self, unsigned, signed) }
    }

    #[inline(always)]
    unsafe fn word_ones() -> Self {
        // SAFETY: registers only.
        unsafe { _mm256_set1_epi16(1) }
    }

    #[inline(always)]
    unsafe fn fused(x: __m256, y: __m256, z: __m256) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_fmadd_ps(x, y, z) }
    }

    #[inline(always)]
    unsafe fn where_nan(of: __m256, nan: __m256, x: __m256) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_blendv_ps(x, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(of, of)) }
    }
}
