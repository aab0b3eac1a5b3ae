//! Statistics of columns of B while they are in vectors, and how they get out.

use crate::contract::column_stats::PartOfColumn;
use crate::elements::byte_value;
use core::arch::x86_64::*;

/// The bytes of a vector.
#[inline]
#[target_feature(enable = "avx2")]
pub fn bytes_of_ymm(x: __m256i) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), x) };
    bytes
}

/// The bytes of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn bytes_of_zmm(x: __m512i) -> [u8; 64] {
    let mut bytes = [0; 64];
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), x) };
    bytes
}

/// The statistics of a column, whose extremes are bits of i8 (`SIGNED`) or u8.
#[inline(always)]
pub fn part_of_column<const SIGNED: bool>(sum: i32, abs: i32, least: u8, greatest: u8) -> PartOfColumn {
    PartOfColumn { sum, abs, least: byte_value(least, SIGNED), greatest: byte_value(greatest, SIGNED) }
}

/// The lesser bytes, of i8 (`SIGNED`) or u8.
#[inline]
#[target_feature(enable = "avx2")]
pub fn min_ymm<const SIGNED: bool>(x: __m256i, y: __m256i) -> __m256i {
    if SIGNED { _mm256_min_epi8(x, y) } else { _mm256_min_epu8(x, y) }
}

/// The greater bytes, of i8 (`SIGNED`) or u8.
#[inline]
#[target_feature(enable = "avx2")]
pub fn max_ymm<const SIGNED: bool>(x: __m256i, y: __m256i) -> __m256i {
    if SIGNED { _mm256_max_epi8(x, y) } else { _mm256_max_epu8(x, y) }
}

/// The least and the greatest byte of each of 32 lanes.
#[derive(Clone, Copy)]
pub struct ExtremesYmm {
    pub least: __m256i,
    pub greatest: __m256i,
}

impl ExtremesYmm {
    /// The extremes of no bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn empty<const SIGNED: bool>() -> Self {
        let (least, greatest) = if SIGNED { (i8::MAX, i8::MIN) } else { (-1, 0) };
        Self { least: _mm256_set1_epi8(least), greatest: _mm256_set1_epi8(greatest) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add<const SIGNED: bool>(&mut self, x: __m256i) {
        self.least = min_ymm::<SIGNED>(self.least, x);
        self.greatest = max_ymm::<SIGNED>(self.greatest, x);
    }
}

/// The least and the greatest byte of each of 64 lanes.
#[derive(Clone, Copy)]
pub struct ExtremesZmm {
    pub least: __m512i,
    pub greatest: __m512i,
}

impl ExtremesZmm {
    /// The extremes of no bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn empty<const SIGNED: bool>() -> Self {
        let (least, greatest) = if SIGNED { (i8::MAX, i8::MIN) } else { (-1, 0) };
        Self { least: _mm512_set1_epi8(least), greatest: _mm512_set1_epi8(greatest) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn add<const SIGNED: bool>(&mut self, x: __m512i) {
        if SIGNED {
            self.least = _mm512_min_epi8(self.least, x);
            self.greatest = _mm512_max_epi8(self.greatest, x);
        } else {
            self.least = _mm512_min_epu8(self.least, x);
            self.greatest = _mm512_max_epu8(self.greatest, x);
        }
    }
}

/// Sums of neighbouring bytes, and of their magnitudes, in 16-bit lanes.
#[derive(Clone, Copy)]
pub struct PairSums {
    pub sum: __m256i,
    /// Stays 0 if bytes are u8, whose magnitudes are the values.
    pub abs: __m256i,
}

impl PairSums {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn zero() -> Self {
        Self { sum: _mm256_setzero_si256(), abs: _mm256_setzero_si256() }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add<const SIGNED: bool>(&mut self, x: __m256i) {
        let ones = _mm256_set1_epi8(1);
        if SIGNED {
            self.sum = _mm256_add_epi16(self.sum, _mm256_maddubs_epi16(ones, x));
            self.abs = _mm256_add_epi16(self.abs, _mm256_maddubs_epi16(_mm256_abs_epi8(x), ones));
        } else {
            self.sum = _mm256_add_epi16(self.sum, _mm256_maddubs_epi16(x, ones));
        }
    }
}
