//! The group-wise kernels in 256 bits: AVX2 with FMA and F16C, and the same with AVX-VNNI.

use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::layout::{CodeBits, PANEL};
use crate::groupwise::tile::{each_tile, tile};
use crate::groupwise::vector::GroupVector;
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
/// Vectors of a tile.
const V: usize = 2;

/// Vectors of 256 bits.
type Vector<const VNNI: bool> = Group<__m256i, VNNI>;

/// Calls the tile with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`tile`], but for 1 to 6 rows, or 4 of codes of 4 bits without VNNI.
#[inline(always)]
unsafe fn any_tile<const VNNI: bool>(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise: there are so many rows.
    unsafe {
        if t.bits == CodeBits::Eight {
            return with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most MR => {
                tile::<Vector<VNNI>, H, V, true>(t, first)
            });
        }
        if VNNI {
            return with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most MR => {
                tile::<Vector<VNNI>, H, V, false>(t, first)
            });
        }
        with_const!(H in [1, 2, 3, 4] = t.rows, at most MR_MADDUBS => {
            tile::<Vector<VNNI>, H, V, false>(t, first)
        })
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2_tile(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise.
    unsafe { any_tile::<false>(t, first) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx2(t: &GroupArgs) {
    const { assert!(PANEL.is_multiple_of(V * Vector::<false>::LANES)) };
    // SAFETY: the caller's promise.
    unsafe {
        let mr = if t.bits == CodeBits::Four { MR_MADDUBS } else { MR };
        each_tile(t, mr, avx2_tile, V * Vector::<false>::LANES)
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn avx_vnni_tile(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise.
    unsafe { any_tile::<true>(t, first) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx_vnni(t: &GroupArgs) {
    const { assert!(PANEL.is_multiple_of(V * Vector::<true>::LANES)) };
    // SAFETY: the caller's promise.
    unsafe { each_tile(t, MR, avx_vnni_tile, V * Vector::<true>::LANES) }
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
