//! Vectors of 256 bits: AVX2.
//!
//! Two of them become 16 bytes. The two instructions that narrow work within 128-bit halves, so the bytes end up in
//! groups of four, which one permutation puts in order.

use crate::contract::args::Args;
use crate::x86::tile::epilogue_rare;
use crate::x86::tile::vector::{Narrow, Vector};
use core::arch::x86_64::*;
use core::mem::transmute;

/// The first few lanes. A masked store takes some CPUs twenty cycles, so whole vectors are stored without the mask.
#[derive(Clone, Copy)]
pub struct Mask {
    whole: bool,
    lanes: __m256i,
}

// SAFETY: each method is the instructions that its name says, for 8 lanes at most. Their own contracts are that of the
// trait.
#[allow(clippy::undocumented_unsafe_blocks)] // As is said here.
unsafe impl Vector for __m256i {
    const LANES: usize = 8;
    const HALVES: bool = false;
    type Floats = __m256;
    type Mask = Mask;
    type Narrow = Narrow256;

    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        unsafe { _mm256_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        unsafe { transmute(*from.cast::<[u8; 32]>()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn load_i8_as_i16(from: *const u8) -> Self {
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_u8_as_i16(from: *const u8) -> Self {
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, len: usize, follows: bool, flips: Self) -> Self {
        unsafe {
            let low = if len < 16 { part_of_16(from, len, follows) } else { _mm_loadu_si128(from.cast()) };
            // From here on, if there is anything, 16 bytes lie before.
            let high = if len > 16 { part_of_16(from.add(16), len - 16, true) } else { _mm_setzero_si128() };
            let (low_lanes, lanes) =
                (_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 16);
            let lanes = _mm256_set_m128i(_mm_add_epi8(low_lanes, _mm_set1_epi8(lanes)), low_lanes);
            let inside = _mm256_cmpgt_epi8(_mm256_set1_epi8(len as i8), lanes);
            _mm256_xor_si256(_mm256_set_m128i(high, low), _mm256_and_si256(flips, inside))
        }
    }
    #[inline(always)]
    unsafe fn load_part_i8_as_i16(from: *const u8, len: usize, follows: bool) -> Self {
        unsafe { _mm256_cvtepi8_epi16(part_of_16(from, len, follows)) }
    }
    #[inline(always)]
    unsafe fn load_part_u8_as_i16(from: *const u8, len: usize, follows: bool) -> Self {
        unsafe { _mm256_cvtepu8_epi16(part_of_16(from, len, follows)) }
    }
    #[inline(always)]
    unsafe fn sums_of_lanes([a, b, c, d]: [Self; 4]) -> __m128i {
        unsafe {
            let pairs = |x, y| _mm256_add_epi32(_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y));
            let (ab, cd) = (pairs(a, b), pairs(c, d));
            let halves = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
            _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
        }
    }
    #[inline(always)]
    unsafe fn from_fours(low: __m128i, high: __m128i) -> Self {
        unsafe { _mm256_set_m128i(high, low) }
    }
    #[inline(always)]
    unsafe fn first_lane(self) -> i32 {
        unsafe { _mm256_cvtsi256_si32(self) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm256_xor_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm256_add_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { _mm256_sub_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { _mm256_mullo_epi32(self, other) }
    }

    #[inline(always)]
    unsafe fn mask(lanes: usize) -> Mask {
        unsafe {
            let each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let lanes_below = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), each);
            Mask { whole: lanes == 8, lanes: lanes_below }
        }
    }
    #[inline(always)]
    unsafe fn load_masked(from: *const i32, mask: Mask) -> Self {
        unsafe { if mask.whole { Self::load(from) } else { _mm256_maskload_epi32(from, mask.lanes) } }
    }
    #[inline(always)]
    unsafe fn store_masked(self, to: *mut i32, mask: Mask) {
        unsafe { if mask.whole { self.store(to) } else { _mm256_maskstore_epi32(to, mask.lanes, self) } }
    }
    #[inline(always)]
    unsafe fn store_low_masked(self, to: *mut i32, mask: Mask) {
        unsafe { self.store_masked(to, mask) }
    }
    #[inline(always)]
    unsafe fn store_floats_masked(x: __m256, to: *mut f32, mask: Mask) {
        unsafe { if mask.whole { _mm256_storeu_ps(to, x) } else { _mm256_maskstore_ps(to, mask.lanes, x) } }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> __m256 {
        unsafe { transmute(*from.cast::<[u8; 32]>()) }
    }
    #[inline(always)]
    unsafe fn store_floats(x: __m256, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn to_floats(self) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(self) }
    }
    #[inline(always)]
    unsafe fn bits_as_floats(self) -> __m256 {
        unsafe { _mm256_castsi256_ps(self) }
    }
    #[inline(always)]
    unsafe fn to_floats_with_terms(self, col: *const f64, row: Option<f64>) -> __m256 {
        unsafe {
            let add = |half: __m128i, col: *const f64| {
                let x = _mm256_add_pd(_mm256_cvtepi32_pd(half), _mm256_loadu_pd(col));
                _mm256_cvtpd_ps(match row {
                    Some(row) => _mm256_add_pd(x, _mm256_set1_pd(row)),
                    None => x,
                })
            };
            let low = add(_mm256_castsi256_si128(self), col);
            let high = add(_mm256_extracti128_si256::<1>(self), col.add(4));
            _mm256_set_m128(high, low)
        }
    }
    #[inline(always)]
    unsafe fn add_floats(x: __m256, y: __m256) -> __m256 {
        unsafe { _mm256_add_ps(x, y) }
    }
    #[inline(always)]
    unsafe fn mul_floats(x: __m256, y: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(x, y) }
    }
    // The instructions return the second operand if one is NaN.
    #[inline(always)]
    unsafe fn at_least(x: __m256, bound: __m256) -> __m256 {
        unsafe { _mm256_max_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn at_most(x: __m256, bound: __m256) -> __m256 {
        unsafe { _mm256_min_ps(bound, x) }
    }
    #[inline(always)]
    unsafe fn round(x: __m256) -> Self {
        unsafe { _mm256_cvtps_epi32(x) }
    }

    #[inline(always)]
    unsafe fn odd(self) -> Self {
        unsafe { _mm256_srli_epi64::<32>(self) }
    }
    #[inline(always)]
    unsafe fn even(self) -> Self {
        unsafe { _mm256_blend_epi32::<0xaa>(self, _mm256_setzero_si256()) }
    }
    #[inline(always)]
    unsafe fn with_odd(self, odd: Self) -> Self {
        unsafe { _mm256_blend_epi32::<0xaa>(self, odd) }
    }
    #[inline(always)]
    unsafe fn mul_even(self, other: Self) -> Self {
        unsafe { _mm256_mul_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn add_64(self, other: Self) -> Self {
        unsafe { _mm256_add_epi64(self, other) }
    }
    #[inline(always)]
    unsafe fn sign_64(self) -> Self {
        unsafe { _mm256_cmpgt_epi64(_mm256_setzero_si256(), self) }
    }
    #[inline(always)]
    unsafe fn shift_right_31(self) -> Self {
        unsafe { _mm256_srli_epi64::<31>(self) }
    }
    #[inline(always)]
    unsafe fn shift_left_1(self) -> Self {
        unsafe { _mm256_slli_epi64::<1>(self) }
    }
    #[inline(always)]
    unsafe fn shift_right_each(self, by: Self) -> Self {
        unsafe { _mm256_srav_epi32(self, by) }
    }
    #[inline(always)]
    unsafe fn sub_if_negative(self, other: Self) -> Self {
        unsafe { _mm256_sub_epi32(self, _mm256_and_si256(_mm256_srai_epi32::<31>(self), other)) }
    }

    #[inline(never)]
    #[target_feature(enable = "avx2")]
    unsafe fn finish_rare<const V: usize>(t: &Args<'_>, sums: *mut i32) {
        unsafe { epilogue_rare::finish::<Self, V>(t, sums) }
    }
}

/// From one or two vectors of rounded values to a row of bytes.
pub struct Narrow256 {
    zero: __m256i,
    lo: __m128i,
    hi: __m128i,
    /// Whether the range is of u8, else of i8.
    unsigned: bool,
    /// Whether the range is narrower than the type.
    limited: bool,
    cols: usize,
}

// SAFETY: rows that are not whole vectors go through a buffer, by `cols` bytes.
unsafe impl Narrow<__m256i> for Narrow256 {
    #[inline(always)]
    unsafe fn new(zero_point: i32, range: (i32, i32), cols: usize) -> Self {
        // SAFETY: registers only.
        unsafe {
            Self {
                zero: _mm256_set1_epi16(zero_point as i16),
                lo: _mm_set1_epi8(range.0 as i8),
                hi: _mm_set1_epi8(range.1 as u8 as i8),
                unsigned: range.1 > 127,
                limited: !matches!(range, (-128, 127) | (0, 255)),
                cols,
            }
        }
    }

    #[inline(always)]
    fn rows_at_once(_: usize) -> usize {
        1
    }

    #[inline(always)]
    unsafe fn store_rows<const V: usize>(&self, y: [[__m256i; V]; 4], _: usize, c: *mut u8, _: usize) {
        // SAFETY: the caller's promise, for one row.
        unsafe { self.store(y[0], c) }
    }

    #[inline(always)]
    unsafe fn store<const V: usize>(&self, y: [__m256i; V], c: *mut u8) {
        // SAFETY: `c` is valid for `cols` bytes: 16 or 8 where a whole store is made.
        unsafe {
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
            let second = if V > 1 { y[V - 1] } else { _mm256_setzero_si256() };
            let words = _mm256_adds_epi16(_mm256_packs_epi32(y[0], second), self.zero);
            let bytes = if self.unsigned {
                _mm256_packus_epi16(words, words)
            } else {
                _mm256_packs_epi16(words, words)
            };
            let mut y = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
            if self.limited {
                y = if self.unsigned {
                    _mm_min_epu8(_mm_max_epu8(y, self.lo), self.hi)
                } else {
                    _mm_min_epi8(_mm_max_epi8(y, self.lo), self.hi)
                };
            }
            match (V, self.cols) {
                (2, 16) => _mm_storeu_si128(c.cast(), y),
                (1, 8) => _mm_storel_epi64(c.cast(), y),
                (_, cols) => {
                    let mut row = [0; 16];
                    _mm_storeu_si128(row.as_mut_ptr().cast(), y);
                    for (j, byte) in row.iter().enumerate().take(cols) {
                        *c.add(j) = *byte;
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn load_row<const V: usize>(&self, from: *const u8, flip: u8) -> [__m256i; V] {
        // SAFETY: `from` is valid for `cols` bytes: 16 or 8 where a whole load is made.
        unsafe {
            let row = match (V, self.cols) {
                (2, 16) => _mm_loadu_si128(from.cast()),
                (1, 8) => _mm_loadl_epi64(from.cast()),
                (_, cols) => {
                    let mut row = [0u8; 16];
                    for (j, byte) in row.iter_mut().enumerate().take(cols) {
                        *byte = *from.add(j);
                    }
                    _mm_loadu_si128(row.as_ptr().cast())
                }
            };
            let row = _mm_xor_si128(row, _mm_set1_epi8(flip as i8));
            let mut values = [_mm256_cvtepu8_epi32(row); V];
            if V > 1 {
                values[V - 1] = _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(row, row));
            }
            values
        }
    }
}

/// The first `len` bytes, less than 16, and 0 in the others. `follows`: 16 bytes may be read before them.
///
/// # Safety
/// The CPU has AVX2, and this is inlined into code compiled for it; the bytes are readable.
#[inline(always)]
unsafe fn part_of_16(from: *const u8, len: usize, follows: bool) -> __m128i {
    /// From index 16 - n on: the lanes of the last n bytes of 16, then lanes of zeros.
    static LAST: [u8; 32] = {
        let mut lanes = [0x80; 32];
        let mut i = 0;
        while i < 16 {
            lanes[i] = i as u8;
            i += 1;
        }
        lanes
    };
    debug_assert!(len < 16);
    // SAFETY: the caller's promise; 16 bytes of `LAST` follow any index up to 16.
    unsafe {
        if follows {
            let last = _mm_loadu_si128(from.add(len).sub(16).cast());
            return _mm_shuffle_epi8(last, _mm_loadu_si128(LAST.as_ptr().add(16 - len).cast()));
        }
        // Not by a copy, whose call would cost all registers. Bytes that two loads share come to lie on themselves.
        let byte = |i: usize| u64::from(*from.add(i)) << (8 * i);
        let four = |i: usize| u64::from(u32::from_ne_bytes(*from.add(i).cast()));
        let eight = |i: usize| u64::from_ne_bytes(*from.add(i).cast());
        let (low, high) = match len {
            0 => (0, 0),
            1..4 => (byte(0) | byte(len / 2) | byte(len - 1), 0),
            4..8 => (four(0) | four(len - 4) << (8 * (len - 4)), 0),
            _ => (eight(0), eight(len - 8).checked_shr(8 * (16 - len as u32)).unwrap_or(0)),
        };
        _mm_set_epi64x(high as i64, low as i64)
    }
}
