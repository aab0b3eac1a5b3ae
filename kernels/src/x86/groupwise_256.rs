//! The vectors of the group-wise kernels in 256 bits, and the kernels: AVX2 with FMA and F16C, and the same with AVX-VNNI.
//!
//! `vpdpbusd` multiplies four unsigned by four signed bytes and adds them to an i32 without saturation; codes are the
//! unsigned operand. Without it, codes of 4 bits go through `vpmaddubsw`: two products are at most 2·15·128 = 3840, so
//! that 8 k-groups of them fit 16 bits for all values. Codes of 8 bits are split into even and odd bytes, which are words that
//! `vpmaddwd` multiplies by words of A.

use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::layout::{CodeBits, PANEL};
use crate::groupwise::tile::{each_tile, tile};
use crate::groupwise::vector::GroupVector;
use core::arch::x86_64::*;

pub static AVX2: GroupKernel = GroupKernel {
    name: "avx2-g4x16",
    isa: Isa::Avx2,
    needs_fma: true,
    mr: 4,
    words: true,
    signed_codes: false,
    any_group: false,
    run: avx2,
};

pub static AVX_VNNI: GroupKernel = GroupKernel {
    name: "avxvnni-g4x16",
    isa: Isa::AvxVnni,
    needs_fma: true,
    mr: 4,
    words: false,
    signed_codes: false,
    any_group: false,
    run: avx_vnni,
};

/// Vectors of a tile.
const V: usize = 2;

/// Calls the tile with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`tile`], but for 1 to 4 rows.
#[inline(always)]
unsafe fn any_tile<const VNNI: bool>(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match (t.bits, t.rows) {
            (CodeBits::Four, 1) => tile::<Vector<VNNI>, 1, V, false>(t, first),
            (CodeBits::Four, 2) => tile::<Vector<VNNI>, 2, V, false>(t, first),
            (CodeBits::Four, 3) => tile::<Vector<VNNI>, 3, V, false>(t, first),
            (CodeBits::Four, _) => tile::<Vector<VNNI>, 4, V, false>(t, first),
            (CodeBits::Eight, 1) => tile::<Vector<VNNI>, 1, V, true>(t, first),
            (CodeBits::Eight, 2) => tile::<Vector<VNNI>, 2, V, true>(t, first),
            (CodeBits::Eight, 3) => tile::<Vector<VNNI>, 3, V, true>(t, first),
            (CodeBits::Eight, _) => tile::<Vector<VNNI>, 4, V, true>(t, first),
        }
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
    unsafe { each_tile::<4>(t, avx2_tile, V * Vector::<false>::LANES) }
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
    unsafe { each_tile::<4>(t, avx_vnni_tile, V * Vector::<true>::LANES) }
}

/// 256 bits.
struct Vector<const VNNI: bool>;

// SAFETY: AVX2, FMA and F16C, and VNNI if it is said; memory is read and written where the trait says.
unsafe impl<const VNNI: bool> GroupVector for Vector<VNNI> {
    type Int = __m256i;
    type Real = __m256;
    type Partial = __m256i;
    const LANES: usize = 8;
    const RUN_4: usize = if VNNI { usize::MAX - 1 } else { 8 };
    const RUN_8: usize = usize::MAX;
    const WORDS: bool = !VNNI;

    #[inline(always)]
    unsafe fn splat(value: i32) -> __m256i {
        // SAFETY: registers only.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(x: __m256i, to: *mut i32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }

    #[inline(always)]
    unsafe fn multiply_add(acc: __m256i, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: registers only.
        unsafe { _mm256_add_epi32(acc, _mm256_mullo_epi32(x, y)) }
    }

    #[inline(always)]
    unsafe fn start(start: i32, zeros: __m256i) -> __m256i {
        // SAFETY: registers only. A zero point is below 256, so that 128 times it fits the high half.
        unsafe {
            let pairs = _mm256_or_si256(zeros, _mm256_slli_epi32::<23>(zeros));
            _mm256_madd_epi16(_mm256_set1_epi32(start), pairs)
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) }
    }

    #[inline(always)]
    unsafe fn nibble(x: __m256i, high: bool) -> __m256i {
        // SAFETY: registers only.
        unsafe { if high { _mm256_srli_epi32::<4>(x) } else { _mm256_and_si256(x, _mm256_set1_epi32(15)) } }
    }

    #[inline(always)]
    unsafe fn load_codes(from: *const u8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn nibbles(codes: __m256i) -> (__m256i, __m256i) {
        // SAFETY: registers only.
        unsafe {
            let low = _mm256_set1_epi8(15);
            (_mm256_and_si256(codes, low), _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low))
        }
    }

    #[inline(always)]
    unsafe fn begin(acc: __m256i) -> __m256i {
        // SAFETY: registers only.
        if VNNI { acc } else { unsafe { Self::begin_beside() } }
    }

    #[inline(always)]
    unsafe fn begin_beside() -> __m256i {
        // SAFETY: registers only.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn join(x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: registers only. The halves of a run of `vpmaddubsw` fit 16 bits together.
        unsafe { if VNNI { _mm256_add_epi32(x, y) } else { _mm256_add_epi16(x, y) } }
    }

    #[inline(always)]
    unsafe fn finish_4(acc: __m256i, partial: __m256i) -> __m256i {
        // SAFETY: registers only.
        unsafe {
            if VNNI {
                partial
            } else {
                _mm256_add_epi32(acc, _mm256_madd_epi16(partial, _mm256_set1_epi16(1)))
            }
        }
    }

    #[inline(always)]
    unsafe fn finish_8(acc: __m256i, partial: __m256i) -> __m256i {
        // SAFETY: registers only.
        unsafe { if VNNI { partial } else { _mm256_add_epi32(acc, partial) } }
    }

    #[inline(always)]
    unsafe fn dot_4(partial: __m256i, codes: __m256i, a: *const u8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            let a = _mm256_set1_epi32(a.cast::<i32>().read_unaligned());
            if VNNI {
                dpbusd(partial, codes, a)
            } else {
                _mm256_add_epi16(partial, _mm256_maddubs_epi16(codes, a))
            }
        }
    }

    #[inline(always)]
    unsafe fn dot_8(partial: __m256i, codes: __m256i, a: *const u8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            if VNNI {
                return Self::dot_4(partial, codes, a);
            }
            let even = _mm256_and_si256(codes, _mm256_set1_epi16(255));
            let odd = _mm256_srli_epi16::<8>(codes);
            let a = a.cast::<i32>();
            let sum = _mm256_madd_epi16(even, _mm256_set1_epi32(a.read_unaligned()));
            let sum =
                _mm256_add_epi32(sum, _mm256_madd_epi16(odd, _mm256_set1_epi32(a.add(1).read_unaligned())));
            _mm256_add_epi32(partial, sum)
        }
    }

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat_real(value: f32) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load_real(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
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
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()))))
        }
    }

    #[inline(always)]
    unsafe fn store_real(x: __m256, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, x) }
    }

    #[inline(always)]
    unsafe fn to_real(x: __m256i) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn multiply(x: __m256, y: __m256) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_mul_ps(x, y) }
    }

    #[inline(always)]
    unsafe fn add(x: __m256, y: __m256) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_add_ps(x, y) }
    }

    #[inline(always)]
    unsafe fn fused(x: __m256, y: __m256, z: __m256) -> __m256 {
        // SAFETY: registers only.
        unsafe { _mm256_fmadd_ps(x, y, z) }
    }

    #[inline(always)]
    unsafe fn clamp(x: __m256, lo: __m256, hi: __m256) -> __m256 {
        // SAFETY: registers only. `vmaxps` and `vminps` return their second operand where the two are equal or one is NaN.
        unsafe {
            let clamped = _mm256_min_ps(hi, _mm256_max_ps(lo, x));
            let nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc0_0000));
            _mm256_blendv_ps(clamped, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
        }
    }
}

/// Adds the products of four unsigned and four signed bytes of each lane.
///
/// # Safety
/// The CPU has AVX-VNNI.
#[inline(always)]
unsafe fn dpbusd(acc: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_dpbusd_avx_epi32(acc, unsigned, signed) }
}
