//! Vectors of 512 bits: AVX-512 F, BW and VL.
//!
//! Four of them become one of 64 bytes. The two instructions that narrow work within 128-bit quarters, so the bytes end
//! up in groups of four, which one permutation puts in order:
//!
//! ```text
//!   sums 0..16 | 16..32 | 32..48 | 48..64      convert, scale, convert back     4 zmm
//!   packssdw                                   to 16 bits, + zero point         2 zmm
//!   packsswb or packuswb, vpermd               to 8 bits, in order              1 zmm, one store
//! ```
//!
//! In tiles that are one vector or two wide, four rows or two go that way together.

use crate::contract::args::Args;
use crate::x86::tile::epilogue_rare;
use crate::x86::tile::vector::{Narrow, Vector};
use core::arch::x86_64::*;

// SAFETY: each method is the instructions that its name says, for 16 lanes at most. Their own contracts are that of the
// trait.
#[allow(clippy::undocumented_unsafe_blocks)] // As is said here.
unsafe impl Vector for __m512i {
    const LANES: usize = 16;
    const HALVES: bool = true;
    type Floats = __m512;
    type Mask = __mmask16;
    type Narrow = Narrow512;

    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        unsafe { _mm512_maskz_loadu_epi32(!0, from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        unsafe { _mm512_storeu_si512(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn load_i8_as_i16(from: *const u8) -> Self {
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_u8_as_i16(from: *const u8) -> Self {
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, len: usize, _: bool, flips: Self) -> Self {
        unsafe {
            let mask = !0u64 >> (64 - len);
            let bytes = _mm512_maskz_loadu_epi8(mask, from.cast());
            _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(bytes, flips))
        }
    }
    #[inline(always)]
    unsafe fn load_part_i8_as_i16(from: *const u8, len: usize, _: bool) -> Self {
        unsafe { _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(!0u32 >> (32 - len), from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_part_u8_as_i16(from: *const u8, len: usize, _: bool) -> Self {
        unsafe { _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(!0u32 >> (32 - len), from.cast())) }
    }
    #[inline(always)]
    unsafe fn sums_of_lanes([a, b, c, d]: [Self; 4]) -> __m128i {
        unsafe {
            let pairs = |x, y| _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
            let (ab, cd) = (pairs(a, b), pairs(c, d));
            let quarters = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let high = _mm512_extracti64x4_epi64::<1>(quarters);
            let halves = _mm256_add_epi32(_mm512_castsi512_si256(quarters), high);
            _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
        }
    }
    #[inline(always)]
    unsafe fn from_fours(low: __m128i, high: __m128i) -> Self {
        unsafe { _mm512_zextsi256_si512(_mm256_set_m128i(high, low)) }
    }
    #[inline(always)]
    unsafe fn first_lane(self) -> i32 {
        unsafe { _mm512_cvtsi512_si32(self) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm512_xor_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm512_add_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { _mm512_sub_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { _mm512_mullo_epi32(self, other) }
    }

    #[inline(always)]
    unsafe fn mask(lanes: usize) -> __mmask16 {
        !0 >> (16 - lanes)
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const i32, mask: __mmask16) -> Self {
        unsafe { _mm512_maskz_loadu_epi32(mask, from) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, to: *mut i32, mask: __mmask16) {
        unsafe { _mm512_mask_storeu_epi32(to, mask, self) }
    }
    #[inline(always)]
    unsafe fn store_low_masked(self, to: *mut i32, mask: __mmask16) {
        unsafe { _mm256_mask_storeu_epi32(to, mask as u8, _mm512_castsi512_si256(self)) }
    }
    #[inline(always)]
    unsafe fn store_floats_masked(x: __m512, to: *mut f32, mask: __mmask16) {
        unsafe { _mm512_mask_storeu_ps(to, mask, x) }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(!0, from) }
    }
    #[inline(always)]
    unsafe fn store_floats(x: __m512, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn to_floats(self) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(self) }
    }
    #[inline(always)]
    unsafe fn bits_as_floats(self) -> __m512 {
        unsafe { _mm512_castsi512_ps(self) }
    }
    #[inline(always)]
    unsafe fn to_floats_with_terms(self, col: *const f64, row: Option<f64>) -> __m512 {
        unsafe {
            let add = |half: __m256i, col: *const f64| {
                let x = _mm512_add_pd(_mm512_cvtepi32_pd(half), _mm512_maskz_loadu_pd(!0, col));
                _mm256_castps_pd(_mm512_cvtpd_ps(match row {
                    Some(row) => _mm512_add_pd(x, _mm512_set1_pd(row)),
                    None => x,
                }))
            };
            let low = add(_mm512_castsi512_si256(self), col);
            let high = add(_mm512_extracti64x4_epi64::<1>(self), col.add(8));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high))
        }
    }
    #[inline(always)]
    unsafe fn add_floats(x: __m512, y: __m512) -> __m512 {
        unsafe { _mm512_add_ps(x, y) }
    }
    #[inline(always)]
    unsafe fn mul_floats(x: __m512, y: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(x, y) }
    }
    // The instructions return the second operand if one is NaN.
    #[inline(always)]
    unsafe fn at_least(x: __m512, bound: __m512) -> __m512 {
        unsafe { _mm512_max_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn at_most(x: __m512, bound: __m512) -> __m512 {
        unsafe { _mm512_min_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn round(x: __m512) -> Self {
        unsafe { _mm512_cvtps_epi32(x) }
    }

    #[inline(always)]
    unsafe fn odd(self) -> Self {
        unsafe { _mm512_srli_epi64::<32>(self) }
    }
    #[inline(always)]
    unsafe fn even(self) -> Self {
        unsafe { _mm512_maskz_mov_epi32(0x5555, self) }
    }
    #[inline(always)]
    unsafe fn with_odd(self, odd: Self) -> Self {
        unsafe { _mm512_mask_mov_epi32(self, 0xaaaa, odd) }
    }
    #[inline(always)]
    unsafe fn mul_even(self, other: Self) -> Self {
        unsafe { _mm512_mul_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn add_64(self, other: Self) -> Self {
        unsafe { _mm512_add_epi64(self, other) }
    }
    #[inline(always)]
    unsafe fn sign_64(self) -> Self {
        unsafe { _mm512_srai_epi64::<63>(self) }
    }
    #[inline(always)]
    unsafe fn shift_right_31(self) -> Self {
        unsafe { _mm512_srli_epi64::<31>(self) }
    }
    #[inline(always)]
    unsafe fn shift_left_1(self) -> Self {
        unsafe { _mm512_slli_epi64::<1>(self) }
    }
    #[inline(always)]
    unsafe fn shift_right_each(self, by: Self) -> Self {
        unsafe { _mm512_srav_epi32(self, by) }
    }
    #[inline(always)]
    unsafe fn sub_if_negative(self, other: Self) -> Self {
        unsafe {
            {
                let negative = _mm512_cmplt_epi32_mask(self, _mm512_setzero_si512());
                _mm512_mask_sub_epi32(self, negative, self, other)
            }
        }
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn finish_rare<const V: usize>(t: &Args<'_>, sums: *mut i32) {
        unsafe { epilogue_rare::finish::<Self, V>(t, sums) }
    }
}

/// From up to four vectors of rounded values to 64 bytes.
pub struct Narrow512 {
    zero: __m512i,
    lo: __m512i,
    hi: __m512i,
    /// Whether the range is of u8, else of i8.
    unsigned: bool,
    /// Whether the range is narrower than the type.
    limited: bool,
    order: __m512i,
    /// The columns that are stored, 64 at a time.
    masks: [u64; 2],
}

// SAFETY: the masks keep loads and stores to the columns.
unsafe impl Narrow<__m512i> for Narrow512 {
    #[inline(always)]
    unsafe fn new(zero_point: i32, range: (i32, i32), cols: usize) -> Self {
        // SAFETY: registers only.
        unsafe {
            Self {
                zero: _mm512_set1_epi16(zero_point as i16),
                lo: _mm512_set1_epi8(range.0 as i8),
                hi: _mm512_set1_epi8(range.1 as u8 as i8),
                unsigned: range.1 > 127,
                limited: !matches!(range, (-128, 127) | (0, 255)),
                order: _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                masks: [!0 >> (64 - cols.min(64)), if cols > 64 { !0 >> (128 - cols) } else { 0 }],
            }
        }
    }

    #[inline(always)]
    fn rows_at_once(vectors: usize) -> usize {
        if vectors < 4 { 4 / vectors } else { 1 }
    }

    #[inline(always)]
    unsafe fn store_rows<const V: usize>(&self, y: [[__m512i; V]; 4], rows: usize, c: *mut u8, ldc: usize) {
        // SAFETY: the caller's promise, for each row; the masks keep to the columns.
        unsafe {
            if V > 2 {
                return self.store(y[0], c);
            }
            let bytes = self.narrow(if V == 1 {
                [y[0][0], y[1][0], y[2][0], y[3][0]]
            } else {
                [y[0][0], y[0][V - 1], y[1][0], y[1][V - 1]]
            });
            let whole = self.masks[0] == (1 << (16 * V)) - 1;
            let part = |row: usize| match (V, row) {
                (_, 0) => bytes,
                (1, 1) => _mm512_zextsi128_si512(_mm512_extracti32x4_epi32::<1>(bytes)),
                (1, 2) => _mm512_zextsi128_si512(_mm512_extracti32x4_epi32::<2>(bytes)),
                (1, _) => _mm512_zextsi128_si512(_mm512_extracti32x4_epi32::<3>(bytes)),
                _ => _mm512_zextsi256_si512(_mm512_extracti64x4_epi64::<1>(bytes)),
            };
            for row in 0..rows {
                let (c, bytes) = (c.add(row * ldc), part(row));
                let (low, mask) = (_mm512_castsi512_si256(bytes), self.masks[0] as u32);
                match (whole, V) {
                    (true, 1) => _mm_storeu_si128(c.cast(), _mm512_castsi512_si128(bytes)),
                    (true, _) => _mm256_storeu_si256(c.cast(), low),
                    (_, 1) => _mm_mask_storeu_epi8(c.cast(), mask as u16, _mm512_castsi512_si128(bytes)),
                    _ => _mm256_mask_storeu_epi8(c.cast(), mask, low),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const V: usize>(&self, y: [__m512i; V], c: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            let none = _mm512_setzero_si512();
            let vector = |v: usize| if v < V { y[v] } else { none };
            self.store_64([vector(0), vector(1), vector(2), vector(3)], c, 0);
            if V > 4 {
                self.store_64([vector(4), vector(5), vector(6), vector(7)], c, 64);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_row<const V: usize>(&self, from: *const u8, flip: u8) -> [__m512i; V] {
        // SAFETY: the masks keep to the columns, and 16·V bytes fit the buffer.
        unsafe {
            let mut row = [0u8; 128];
            for j in (0..16 * V).step_by(64) {
                let bytes = _mm512_maskz_loadu_epi8(self.masks[j / 64], from.add(j).cast());
                let bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(flip as i8));
                _mm512_storeu_si512(row.as_mut_ptr().add(j).cast(), bytes);
            }
            let mut values = [_mm512_setzero_si512(); V];
            for v in 0..V {
                values[v] = _mm512_cvtepu8_epi32(_mm_loadu_si128(row.as_ptr().add(16 * v).cast()));
            }
            values
        }
    }
}

impl Narrow512 {
    /// Stores the columns from `j` on, 64 at most.
    ///
    /// # Safety
    /// The contract of [`Narrow::store`].
    #[inline(always)]
    unsafe fn store_64(&self, y: [__m512i; 4], c: *mut u8, j: usize) {
        // SAFETY: the caller's promise; the mask keeps to the columns.
        unsafe { _mm512_mask_storeu_epi8(c.add(j).cast(), self.masks[j / 64], self.narrow(y)) }
    }

    /// # Safety
    /// The contract of [`Vector`].
    #[inline(always)]
    unsafe fn narrow(&self, y: [__m512i; 4]) -> __m512i {
        // SAFETY: registers only.
        unsafe {
            let low = _mm512_adds_epi16(_mm512_packs_epi32(y[0], y[1]), self.zero);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(y[2], y[3]), self.zero);
            let mut y =
                if self.unsigned { _mm512_packus_epi16(low, high) } else { _mm512_packs_epi16(low, high) };
            if self.limited {
                y = if self.unsigned {
                    _mm512_min_epu8(_mm512_max_epu8(y, self.lo), self.hi)
                } else {
                    _mm512_min_epi8(_mm512_max_epi8(y, self.lo), self.hi)
                };
            }
            _mm512_permutexvar_epi32(self.order, y)
        }
    }
}
