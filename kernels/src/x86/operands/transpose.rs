//! Transposition of bytes and of 32-bit words, with AVX2 and AVX-512.
//!
//! A block of 16x16 bytes, in 16 vectors: with v the number of a vector and b that of a byte in it, four bits each, a
//! round of interleaving vector v with vector v + 8 rotates the eight bits v3 v2 v1 v0 b3 b2 b1 b0 by one. After four
//! rounds v and b have changed places. AVX2 does two blocks at a time, one in each 128-bit lane.

use core::arch::x86_64::*;

/// A matrix to be transposed: `rows` rows of `cols` elements each, at `from`, become `cols` rows at `to`.
#[derive(Clone, Copy)]
pub struct Transposition<T> {
    pub from: *const T,
    /// Elements from one row of the source to the next.
    pub from_stride: usize,
    pub to: *mut T,
    /// Elements from one row of the result to the next.
    pub to_stride: usize,
    pub rows: usize,
    pub cols: usize,
}

impl<T> Transposition<T> {
    /// This transposition with elements of another type of the same size.
    pub fn cast<U>(self) -> Transposition<U> {
        debug_assert!(size_of::<T>() == size_of::<U>());
        let Self { from, from_stride, to, to_stride, rows, cols } = self;
        Transposition { from: from.cast(), from_stride, to: to.cast(), to_stride, rows, cols }
    }
}

/// The starts of blocks of `size` that cover `0..len`. The last one overlaps the one before if they do not fit.
fn starts(len: usize, size: usize) -> impl Iterator<Item = usize> {
    debug_assert!(len >= size);
    (0..len.div_ceil(size)).map(move |block| (block * size).min(len - size))
}

/// Transposes bytes.
///
/// # Safety
/// - The CPU has AVX2.
/// - The source can be read and the result written where [`Transposition`] says; they do not overlap.
/// - There are 16 rows and 16 columns at least.
#[target_feature(enable = "avx2")]
pub unsafe fn bytes_avx2(t: Transposition<u8>) {
    debug_assert!(t.rows >= 16 && t.cols >= 16);
    // SAFETY: the caller's promise; blocks lie within the rows and columns.
    unsafe {
        for i in starts(t.rows, 16) {
            if t.cols >= 32 {
                for j in starts(t.cols, 32) {
                    let mut x = [_mm256_setzero_si256(); 16];
                    for v in 0..16 {
                        x[v] = _mm256_loadu_si256(t.from.add((i + v) * t.from_stride + j).cast());
                    }
                    for _ in 0..4 {
                        x = interleave(x, |a, b| (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)));
                    }
                    for v in 0..16 {
                        let row = |j: usize| t.to.add((j + v) * t.to_stride + i).cast::<__m128i>();
                        _mm_storeu_si128(row(j), _mm256_castsi256_si128(x[v]));
                        _mm_storeu_si128(row(j + 16), _mm256_extracti128_si256::<1>(x[v]));
                    }
                }
                continue;
            }
            for j in starts(t.cols, 16) {
                let mut x = [_mm_setzero_si128(); 16];
                for v in 0..16 {
                    x[v] = _mm_loadu_si128(t.from.add((i + v) * t.from_stride + j).cast());
                }
                for _ in 0..4 {
                    x = interleave(x, |a, b| (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)));
                }
                for v in 0..16 {
                    _mm_storeu_si128(t.to.add((j + v) * t.to_stride + i).cast(), x[v]);
                }
            }
        }
    }
}

/// A round: vector v of the first half and vector v of the second become vectors 2·v and 2·v + 1.
#[inline(always)]
fn interleave<V: Copy, const N: usize>(x: [V; N], unpack: impl Fn(V, V) -> (V, V)) -> [V; N] {
    let mut y = x;
    for v in 0..N / 2 {
        (y[2 * v], y[2 * v + 1]) = unpack(x[v], x[v + N / 2]);
    }
    y
}

/// Transposes bytes of few columns, 16 rows of 8 at a time: as [`bytes_avx2`], but the first of the four rounds only
/// halves the number of vectors.
///
/// # Safety
/// As for [`bytes_avx2`], with 16 rows at least and 1 to 15 columns; 8 bytes of each row can be read.
#[target_feature(enable = "avx2")]
pub unsafe fn narrow_bytes_avx2(t: Transposition<u8>) {
    debug_assert!(t.rows >= 16 && (1..16).contains(&t.cols));
    let width = t.cols.min(8);
    // SAFETY: the caller's promise; blocks lie within the rows, and within the columns or the first 8 bytes.
    unsafe {
        for i in starts(t.rows, 16) {
            for j in starts(t.cols, width) {
                let row = |v: usize| _mm_loadl_epi64(t.from.add((i + v) * t.from_stride + j).cast());
                let mut x = [_mm_setzero_si128(); 8];
                for v in 0..8 {
                    x[v] = _mm_unpacklo_epi8(row(v), row(v + 8));
                }
                for _ in 0..3 {
                    x = interleave(x, |a, b| (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)));
                }
                for (c, x) in x[..width].iter().enumerate() {
                    _mm_storeu_si128(t.to.add((j + c) * t.to_stride + i).cast(), *x);
                }
            }
        }
    }
}

/// Transposes words, 8x8 at a time.
///
/// # Safety
/// As for [`bytes_avx2`], with 8 rows and 8 columns at least.
#[target_feature(enable = "avx2")]
pub unsafe fn words_avx2(t: Transposition<u32>) {
    debug_assert!(t.rows >= 8 && t.cols >= 8);
    // SAFETY: the caller's promise; blocks lie within the rows and columns.
    unsafe {
        for i in starts(t.rows, 8) {
            for j in starts(t.cols, 8) {
                let mut x = [_mm256_setzero_si256(); 8];
                for v in 0..8 {
                    x[v] = _mm256_loadu_si256(t.from.add((i + v) * t.from_stride + j).cast());
                }
                // 4x4 within 128-bit lanes: vector 4·h + c has, in lane l, column 4·l + c of rows 4·h..4·h + 4.
                let mut y = x;
                for h in [0, 4] {
                    let (a, b) =
                        (_mm256_unpacklo_epi32(x[h], x[h + 1]), _mm256_unpackhi_epi32(x[h], x[h + 1]));
                    let (c, d) = (
                        _mm256_unpacklo_epi32(x[h + 2], x[h + 3]),
                        _mm256_unpackhi_epi32(x[h + 2], x[h + 3]),
                    );
                    y[h] = _mm256_unpacklo_epi64(a, c);
                    y[h + 1] = _mm256_unpackhi_epi64(a, c);
                    y[h + 2] = _mm256_unpacklo_epi64(b, d);
                    y[h + 3] = _mm256_unpackhi_epi64(b, d);
                }
                for c in 0..4 {
                    let row = |j: usize| t.to.add((j + c) * t.to_stride + i).cast::<__m256i>();
                    _mm256_storeu_si256(row(j), _mm256_permute2x128_si256::<0x20>(y[c], y[4 + c]));
                    _mm256_storeu_si256(row(j + 4), _mm256_permute2x128_si256::<0x31>(y[c], y[4 + c]));
                }
            }
        }
    }
}

/// Transposes words, 16x16 at a time.
///
/// # Safety
/// As for [`bytes_avx2`], with AVX-512 F instead of AVX2.
#[target_feature(enable = "avx512f")]
pub unsafe fn words_avx512(t: Transposition<u32>) {
    debug_assert!(t.rows >= 16 && t.cols >= 16);
    // SAFETY: the caller's promise; blocks lie within the rows and columns.
    unsafe {
        for i in starts(t.rows, 16) {
            for j in starts(t.cols, 16) {
                let mut x = [_mm512_setzero_si512(); 16];
                for v in 0..16 {
                    x[v] = _mm512_loadu_si512(t.from.add((i + v) * t.from_stride + j).cast());
                }
                // 4x4 within 128-bit lanes: vector 4·h + c has, in lane l, column 4·l + c of rows 4·h..4·h + 4.
                let mut y = x;
                for h in [0, 4, 8, 12] {
                    let (a, b) =
                        (_mm512_unpacklo_epi32(x[h], x[h + 1]), _mm512_unpackhi_epi32(x[h], x[h + 1]));
                    let (c, d) = (
                        _mm512_unpacklo_epi32(x[h + 2], x[h + 3]),
                        _mm512_unpackhi_epi32(x[h + 2], x[h + 3]),
                    );
                    y[h] = _mm512_unpacklo_epi64(a, c);
                    y[h + 1] = _mm512_unpackhi_epi64(a, c);
                    y[h + 2] = _mm512_unpacklo_epi64(b, d);
                    y[h + 3] = _mm512_unpackhi_epi64(b, d);
                }
                for c in 0..4 {
                    let lanes = exchange_lanes([y[c], y[4 + c], y[8 + c], y[12 + c]]);
                    for l in 0..4 {
                        _mm512_storeu_si512(t.to.add((j + 4 * l + c) * t.to_stride + i).cast(), lanes[l]);
                    }
                }
            }
        }
    }
}

/// Exchanges 128-bit lanes: lane l of vector v becomes lane v of vector l.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn exchange_lanes(x: [__m512i; 4]) -> [__m512i; 4] {
    // a and c have lanes 0 and 1 of two vectors each, b and d lanes 2 and 3.
    let (a, b) = (_mm512_shuffle_i32x4::<0x44>(x[0], x[1]), _mm512_shuffle_i32x4::<0xee>(x[0], x[1]));
    let (c, d) = (_mm512_shuffle_i32x4::<0x44>(x[2], x[3]), _mm512_shuffle_i32x4::<0xee>(x[2], x[3]));
    [
        _mm512_shuffle_i32x4::<0x88>(a, c),
        _mm512_shuffle_i32x4::<0xdd>(a, c),
        _mm512_shuffle_i32x4::<0x88>(b, d),
        _mm512_shuffle_i32x4::<0xdd>(b, d),
    ]
}
