//! The vectors of the group-wise kernels in 512 bits, and the kernels: AVX-512 F, BW and VL, and the same with VNNI.
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

pub static BW: GroupKernel = GroupKernel {
    name: "avx512bw-g6x32",
    isa: Isa::Avx512Bw,
    needs_fma: false,
    mr: 6,
    words: true,
    signed_codes: false,
    any_group: false,
    run: avx512_bw,
};

pub static VNNI: GroupKernel = GroupKernel {
    name: "avx512vnni-g6x32",
    isa: Isa::Avx512Vnni,
    needs_fma: false,
    mr: 6,
    words: false,
    signed_codes: false,
    any_group: false,
    run: avx512_vnni,
};

/// Vectors of a tile.
const V: usize = 2;

/// Calls the tile with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`tile`], but for 1 to 6 rows.
#[inline(always)]
unsafe fn any_tile<const VNNI: bool>(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match (t.bits, t.rows) {
            (CodeBits::Four, 1) => tile::<Vector<VNNI>, 1, V, false>(t, first),
            (CodeBits::Four, 2) => tile::<Vector<VNNI>, 2, V, false>(t, first),
            (CodeBits::Four, 3) => tile::<Vector<VNNI>, 3, V, false>(t, first),
            (CodeBits::Four, 4) => tile::<Vector<VNNI>, 4, V, false>(t, first),
            (CodeBits::Four, 5) => tile::<Vector<VNNI>, 5, V, false>(t, first),
            (CodeBits::Four, _) => tile::<Vector<VNNI>, 6, V, false>(t, first),
            (CodeBits::Eight, 1) => tile::<Vector<VNNI>, 1, V, true>(t, first),
            (CodeBits::Eight, 2) => tile::<Vector<VNNI>, 2, V, true>(t, first),
            (CodeBits::Eight, 3) => tile::<Vector<VNNI>, 3, V, true>(t, first),
            (CodeBits::Eight, 4) => tile::<Vector<VNNI>, 4, V, true>(t, first),
            (CodeBits::Eight, 5) => tile::<Vector<VNNI>, 5, V, true>(t, first),
            (CodeBits::Eight, _) => tile::<Vector<VNNI>, 6, V, true>(t, first),
        }
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
unsafe fn avx512_bw_tile(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise.
    unsafe { any_tile::<false>(t, first) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx512_bw(t: &GroupArgs) {
    const { assert!(PANEL.is_multiple_of(V * Vector::<false>::LANES)) };
    // SAFETY: the caller's promise.
    unsafe { each_tile::<6>(t, avx512_bw_tile, V * Vector::<false>::LANES) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn avx512_vnni_tile(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise.
    unsafe { any_tile::<true>(t, first) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx512_vnni(t: &GroupArgs) {
    const { assert!(PANEL.is_multiple_of(V * Vector::<true>::LANES)) };
    // SAFETY: the caller's promise.
    unsafe { each_tile::<6>(t, avx512_vnni_tile, V * Vector::<true>::LANES) }
}

/// 512 bits.
struct Vector<const VNNI: bool>;

// SAFETY: AVX2, FMA and F16C, AVX-512 F and BW, and VNNI if it is said; memory is read and written where the trait says.
unsafe impl<const VNNI: bool> GroupVector for Vector<VNNI> {
    type Int = __m512i;
    type Real = __m512;
    type Partial = __m512i;
    const LANES: usize = 16;
    const RUN_4: usize = if VNNI { usize::MAX - 1 } else { 8 };
    const RUN_8: usize = usize::MAX;
    const WORDS: bool = !VNNI;

    #[inline(always)]
    unsafe fn splat(value: i32) -> __m512i {
        // SAFETY: registers only.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(x: __m512i, to: *mut i32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }

    #[inline(always)]
    unsafe fn multiply_add(acc: __m512i, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: registers only.
        unsafe { _mm512_add_epi32(acc, _mm512_mullo_epi32(x, y)) }
    }

    #[inline(always)]
    unsafe fn start(start: i32, zeros: __m512i) -> __m512i {
        // SAFETY: registers only. A zero point is below 256, so that 128 times it fits the high half.
        unsafe {
            let pairs = _mm512_or_si512(zeros, _mm512_slli_epi32::<23>(zeros));
            _mm512_madd_epi16(_mm512_set1_epi32(start), pairs)
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn nibble(x: __m512i, high: bool) -> __m512i {
        // SAFETY: registers only.
        unsafe { if high { _mm512_srli_epi32::<4>(x) } else { _mm512_and_si512(x, _mm512_set1_epi32(15)) } }
    }

    #[inline(always)]
    unsafe fn load_codes(from: *const u8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn nibbles(codes: __m512i) -> (__m512i, __m512i) {
        // SAFETY: registers only.
        unsafe {
            let low = _mm512_set1_epi8(15);
            (_mm512_and_si512(codes, low), _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low))
        }
    }

    #[inline(always)]
    unsafe fn begin(acc: __m512i) -> __m512i {
        // SAFETY: registers only.
        if VNNI { acc } else { unsafe { Self::begin_beside() } }
    }

    #[inline(always)]
    unsafe fn begin_beside() -> __m512i {
        // SAFETY: registers only.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn join(x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: registers only. The halves of a run of `vpmaddubsw` fit 16 bits together.
        unsafe { if VNNI { _mm512_add_epi32(x, y) } else { _mm512_add_epi16(x, y) } }
    }

    #[inline(always)]
    unsafe fn finish_4(acc: __m512i, partial: __m512i) -> __m512i {
        // SAFETY: registers only.
        unsafe {
            if VNNI {
                partial
            } else {
                _mm512_add_epi32(acc, _mm512_madd_epi16(partial, _mm512_set1_epi16(1)))
            }
        }
    }

    #[inline(always)]
    unsafe fn finish_8(acc: __m512i, partial: __m512i) -> __m512i {
        // SAFETY: registers only.
        unsafe { if VNNI { partial } else { _mm512_add_epi32(acc, partial) } }
    }

    #[inline(always)]
    unsafe fn dot_4(partial: __m512i, codes: __m512i, a: *const u8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            let a = _mm512_set1_epi32(a.cast::<i32>().read_unaligned());
            if VNNI {
                dpbusd(partial, codes, a)
            } else {
                _mm512_add_epi16(partial, _mm512_maddubs_epi16(codes, a))
            }
        }
    }

    #[inline(always)]
    unsafe fn dot_8(partial: __m512i, codes: __m512i, a: *const u8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            if VNNI {
                return Self::dot_4(partial, codes, a);
            }
            let even = _mm512_and_si512(codes, _mm512_set1_epi16(255));
            let odd = _mm512_srli_epi16::<8>(codes);
            let a = a.cast::<i32>();
            let sum = _mm512_madd_epi16(even, _mm512_set1_epi32(a.read_unaligned()));
            let sum =
                _mm512_add_epi32(sum, _mm512_madd_epi16(odd, _mm512_set1_epi32(a.add(1).read_unaligned())));
            _mm512_add_epi32(partial, sum)
        }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat_real(value: f32) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load_real(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(
                from.cast(),
            ))))
        }
    }

    #[inline(always)]
    unsafe fn store_real(x: __m512, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, x) }
    }

    #[inline(always)]
    unsafe fn to_real(x: __m512i) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn multiply(x: __m512, y: __m512) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_mul_ps(x, y) }
    }

    #[inline(always)]
    unsafe fn add(x: __m512, y: __m512) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_add_ps(x, y) }
    }

    #[inline(always)]
    unsafe fn fused(x: __m512, y: __m512, z: __m512) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_fmadd_ps(x, y, z) }
    }

    #[inline(always)]
    unsafe fn clamp(x: __m512, lo: __m512, hi: __m512) -> __m512 {
        // SAFETY: registers only. `vmaxps` and `vminps` return their second operand where the two are equal or one is NaN.
        unsafe {
            let clamped = _mm512_min_ps(hi, _mm512_max_ps(lo, x));
            let nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc0_0000));
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), clamped, nan)
        }
    }
}

/// Adds the products of four unsigned and four signed bytes of each lane.
///
/// # Safety
/// The CPU has AVX-512 VNNI.
#[inline(always)]
unsafe fn dpbusd(acc: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_dpbusd_epi32(acc, unsigned, signed) }
}
