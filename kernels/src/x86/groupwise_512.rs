//! The group-wise kernels in 512 bits: AVX-512 F, BW and VL, and the same with VNNI.

use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::tile::{each_column, each_height};
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

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx512_bw(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`each_column`], but for 1 to 6 rows; the CPU has the instructions.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl")]
    unsafe fn tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise: there are so many rows.
        unsafe {
            with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most MR_IN_REGISTERS => {
                each_column::<Vector<false>, H, V>(t)
            })
        }
    }
    // SAFETY: the caller's promise.
    unsafe { each_height(t, MR_IN_REGISTERS, tiles) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn avx512_vnni(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`each_column`], but for 1 to 12 rows; the CPU has the instructions.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise: there are so many rows.
        unsafe {
            with_const!(H in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] = t.rows, at most MR => {
                each_column::<Vector<true>, H, V>(t)
            })
        }
    }
    let mr = if t.rows <= FEW_ROWS { MR } else { MR_IN_REGISTERS };
    // SAFETY: the caller's promise.
    unsafe { each_height(t, mr, tiles) }
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
