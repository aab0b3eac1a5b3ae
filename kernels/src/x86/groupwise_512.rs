//! The group-wise kernels in 512 bits: AVX-512 F, BW and VL, and the same with VNNI.

use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::layout::{CodeBits, PANEL};
use crate::groupwise::tile::{each_tile, tile};
use crate::groupwise::vector::GroupVector;
use crate::x86::groupwise::{Group, GroupWidth};
use core::arch::x86_64::*;

pub static BW: GroupKernel = GroupKernel {
    name: "avx512bw-g6x32",
    isa: Isa::Avx512Bw,
    needs_fma: false,
    mr: MR_IN_REGISTERS,
    words: true,
    signed_codes: false,
    any_group: false,
    run: avx512_bw,
};

pub static VNNI: GroupKernel = GroupKernel {
    name: "avx512vnni-g12x32",
    isa: Isa::Avx512Vnni,
    needs_fma: false,
    mr: MR,
    words: false,
    signed_codes: false,
    any_group: false,
    run: avx512_vnni,
};

/// The most rows of a tile whose sums and totals fit the registers.
const MR_IN_REGISTERS: usize = 6;
/// The most rows of a tile with VNNI. Totals of groups wait in memory then, and a panel is read by less tiles.
const MR: usize = 12;
/// The most rows of A that are multiplied so. With more of them C lies in no near cache, and the stores of totals, which queue
/// behind those of C, take longer than the reading (Emerald Rapids: 12 rows are 8 % faster at 48x4096x4096, and 10 % slower
/// at 256x768x3072).
const FEW_ROWS: usize = 48;
/// Vectors of a tile.
const V: usize = 2;

/// Vectors of 512 bits.
type Vector<const VNNI: bool> = Group<__m512i, VNNI>;

/// Calls the tile with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`tile`], but for 1 to 12 rows, or 6 without VNNI.
#[inline(always)]
unsafe fn any_tile<const VNNI: bool>(t: &GroupArgs, first: usize) {
    // SAFETY: the caller's promise: there are so many rows.
    unsafe {
        if VNNI {
            with_const!(H in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] = t.rows, at most MR => match t.bits {
                CodeBits::Four => tile::<Vector<VNNI>, H, V, false>(t, first),
                CodeBits::Eight => tile::<Vector<VNNI>, H, V, true>(t, first),
            })
        } else {
            with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most MR_IN_REGISTERS => match t.bits {
                CodeBits::Four => tile::<Vector<VNNI>, H, V, false>(t, first),
                CodeBits::Eight => tile::<Vector<VNNI>, H, V, true>(t, first),
            })
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
    unsafe { each_tile(t, MR_IN_REGISTERS, avx512_bw_tile, V * Vector::<false>::LANES) }
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
    unsafe {
        let mr = if t.rows <= FEW_ROWS { MR } else { MR_IN_REGISTERS };
        each_tile(t, mr, avx512_vnni_tile, V * Vector::<true>::LANES)
    }
}

// SAFETY: AVX-512 F and BW, and VNNI for `dpbusd`; memory is read where the trait says.
unsafe impl GroupWidth for __m512i {
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
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
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }

    #[inline(always)]
    unsafe fn nibbles(self) -> (Self, Self) {
        // SAFETY: registers only.
        unsafe {
            let low = _mm512_set1_epi8(15);
            (_mm512_and_si512(self, low), _mm512_and_si512(_mm512_srli_epi16::<4>(self), low))
        }
    }

    #[inline(always)]
    unsafe fn even_and_odd_bytes(self) -> (Self, Self) {
        // SAFETY: registers only.
        unsafe { (_mm512_and_si512(self, _mm512_set1_epi16(255)), _mm512_srli_epi16::<8>(self)) }
    }

    #[inline(always)]
    unsafe fn pairs_with_128(self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm512_or_si512(self, _mm512_slli_epi32::<23>(self)) }
    }

    #[inline(always)]
    unsafe fn add_words(self, other: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm512_add_epi16(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply_words(self, other: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm512_madd_epi16(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply_bytes(unsigned: Self, signed: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm512_maddubs_epi16(unsigned, signed) }
    }

    #[inline(always)]
    unsafe fn dpbusd(self, unsigned: Self, signed: Self) -> Self {
        // SAFETY: registers only.
        unsafe { _mm512_dpbusd_epi32(self, unsigned, signed) }
    }

    #[inline(always)]
    unsafe fn word_ones() -> Self {
        // SAFETY: registers only.
        unsafe { _mm512_set1_epi16(1) }
    }

    #[inline(always)]
    unsafe fn fused(x: __m512, y: __m512, z: __m512) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_fmadd_ps(x, y, z) }
    }

    #[inline(always)]
    unsafe fn where_nan(of: __m512, nan: __m512, x: __m512) -> __m512 {
        // SAFETY: registers only.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(of, of), x, nan) }
    }
}
