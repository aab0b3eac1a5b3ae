//! Sums of rows of bytes. `vpsadbw` adds eight unsigned bytes at a time; signed ones become unsigned by inverting the
//! sign bit, which adds 128 to each, and 128·k is subtracted from the sum of a row.
//!
//! Sums of up to 2^23 bytes fit 31 bits (`BYTES_PER_I32_SUM`), so that the upper half of each 64-bit lane is 0 and the
//! lanes of several rows can be transposed as 32-bit values. 16 rows are summed together, or 8, because adding up the
//! lanes of one vector takes longer than summing a short row:
//!
//! ```text
//!   rows p, q    [p  p' | q  q'] in each 128 bits     vshufps: the low halves of their 64-bit sums
//!   p, q, r, s   [p  q  | r  s ]                      two shuffles, one addition
//!   then the 128-bit parts of vectors of four rows are transposed and added
//! ```

use crate::elements::{BYTES_PER_I32_SUM, SIGN_SHIFT, mask_to_u8};
use core::arch::x86_64::*;

/// The sum of `k` bytes with inverted sign bits, as u8, minus their sum as i8; 0 for bytes that are not signed.
fn excess(signed: bool, k: usize) -> i64 {
    if signed { i64::from(SIGN_SHIFT) * k as i64 } else { 0 }
}

/// Adds to each of `sums` the sum of a row of `k` bytes, `lda` bytes after the row before. The result is exact if `k`
/// is at most [`BYTES_PER_I32_SUM`].
///
/// # Safety
/// - The CPU has AVX-512 F and BW.
/// - `a` is valid for reading `sums.len()` rows of `k` bytes, `lda` apart.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn add_avx512<const SIGNED: bool>(a: *const u8, lda: usize, k: usize, sums: &mut [i64]) {
    debug_assert!(k <= BYTES_PER_I32_SUM);
    let excess = excess(SIGNED, k);
    let (blocks, rest) = sums.as_chunks_mut::<16>();
    let done = 16 * blocks.len();
    for (b, block) in blocks.iter_mut().enumerate() {
        // SAFETY: rows 16·b to 16·b + 15 are among the `sums.len()` rows; each half of the block has 8 sums.
        unsafe {
            let rows = add_up_16(lane_sums_avx512::<16, SIGNED>(a.add(16 * b * lda), lda, k));
            let [low, high] = [_mm512_castsi512_si256(rows), _mm512_extracti64x4_epi64::<1>(rows)];
            for (part, half) in [low, high].into_iter().enumerate() {
                let out = block.as_mut_ptr().add(8 * part);
                let sum = _mm512_sub_epi64(_mm512_cvtepu32_epi64(half), _mm512_set1_epi64(excess));
                _mm512_storeu_epi64(out, _mm512_add_epi64(_mm512_loadu_epi64(out), sum));
            }
        }
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        // SAFETY: row `done + i` is one of the `sums.len()` rows.
        let [row] = unsafe { lane_sums_avx512::<1, SIGNED>(a.add((done + i) * lda), lda, k) };
        *sum += _mm512_reduce_add_epi64(row) - excess;
    }
}

/// Sums each of H rows in eight lanes, together with the [`excess`].
///
/// # Safety
/// - The CPU has AVX-512 F and BW.
/// - `a` is valid for reading H rows of `k` bytes, `lda` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn lane_sums_avx512<const H: usize, const SIGNED: bool>(
    a: *const u8,
    lda: usize,
    k: usize,
) -> [__m512i; H] {
    let none = _mm512_setzero_si512();
    let mut sums = [none; H];
    let whole = k & !63;
    let flip = _mm512_set1_epi8(mask_to_u8(SIGNED) as i8);
    for at in (0..whole).step_by(64) {
        for i in 0..H {
            // SAFETY: at + 64 <= k, so the 64 bytes are the row's.
            let bytes = unsafe { _mm512_loadu_si512(a.add(i * lda + at).cast()) };
            sums[i] = _mm512_add_epi64(sums[i], _mm512_sad_epu8(_mm512_xor_si512(bytes, flip), none));
        }
    }
    if whole < k {
        let mask = !0 >> (64 - (k - whole));
        let flip = _mm512_maskz_mov_epi8(mask, flip);
        for i in 0..H {
            // SAFETY: the mask keeps the load to the k - whole bytes that are left of the row.
            let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, a.add(i * lda + whole).cast()) };
            sums[i] = _mm512_add_epi64(sums[i], _mm512_sad_epu8(_mm512_xor_si512(bytes, flip), none));
        }
    }
    sums
}

/// Adds up the lanes of each of 16 rows; the result has a 32-bit lane per row, in order.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_up_16(rows: [__m512i; 16]) -> __m512i {
    let add = |x, y| _mm512_add_epi32(x, y);
    let mut four = [_mm512_setzero_si512(); 4];
    for (four, rows) in four.iter_mut().zip(rows.as_chunks::<4>().0) {
        let [p, q, r, s] = rows.map(|row| _mm512_castsi512_ps(row));
        let (pq, rs) = (_mm512_shuffle_ps::<0b10_00_10_00>(p, q), _mm512_shuffle_ps::<0b10_00_10_00>(r, s));
        let even = _mm512_shuffle_ps::<0b10_00_10_00>(pq, rs);
        let odd = _mm512_shuffle_ps::<0b11_01_11_01>(pq, rs);
        *four = add(_mm512_castps_si512(even), _mm512_castps_si512(odd));
    }
    let halve = |x, y| {
        let (even, odd) =
            (_mm512_shuffle_i32x4::<0b10_00_10_00>(x, y), _mm512_shuffle_i32x4::<0b11_01_11_01>(x, y));
        add(even, odd)
    };
    halve(halve(four[0], four[1]), halve(four[2], four[3]))
}

/// Adds to each of `sums` the sum of a row of `k` bytes, `lda` bytes after the row before. The result is exact if `k`
/// is at most [`BYTES_PER_I32_SUM`].
///
/// # Safety
/// - The CPU has AVX2.
/// - `a` is valid for reading `sums.len()` rows of `k` bytes, `lda` apart.
#[target_feature(enable = "avx2")]
pub unsafe fn add_avx2<const SIGNED: bool>(a: *const u8, lda: usize, k: usize, sums: &mut [i64]) {
    debug_assert!(k <= BYTES_PER_I32_SUM);
    let excess = excess(SIGNED, k);
    let (blocks, rest) = sums.as_chunks_mut::<8>();
    let done = 8 * blocks.len();
    for (b, block) in blocks.iter_mut().enumerate() {
        // SAFETY: rows 8·b to 8·b + 7 are among the `sums.len()` rows; each half of the block has 4 sums.
        unsafe {
            let rows = add_up_8(lane_sums_avx2::<8, SIGNED>(a.add(8 * b * lda), lda, k));
            let [low, high] = [_mm256_castsi256_si128(rows), _mm256_extracti128_si256::<1>(rows)];
            for (part, half) in [low, high].into_iter().enumerate() {
                let out = block.as_mut_ptr().add(4 * part).cast();
                let sum = _mm256_sub_epi64(_mm256_cvtepu32_epi64(half), _mm256_set1_epi64x(excess));
                _mm256_storeu_si256(out, _mm256_add_epi64(_mm256_loadu_si256(out), sum));
            }
        }
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        // SAFETY: row `done + i` is one of the `sums.len()` rows.
        let [row] = unsafe { lane_sums_avx2::<1, SIGNED>(a.add((done + i) * lda), lda, k) };
        let half = _mm_add_epi64(_mm256_castsi256_si128(row), _mm256_extracti128_si256::<1>(row));
        *sum += _mm_extract_epi64::<0>(half) + _mm_extract_epi64::<1>(half) - excess;
    }
}

/// Sums each of H rows in four lanes, together with the [`excess`].
///
/// # Safety
/// - The CPU has AVX2.
/// - `a` is valid for reading H rows of `k` bytes, `lda` apart.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn lane_sums_avx2<const H: usize, const SIGNED: bool>(
    a: *const u8,
    lda: usize,
    k: usize,
) -> [__m256i; H] {
    let none = _mm256_setzero_si256();
    let mut sums = [none; H];
    let whole = k & !31;
    let flip = _mm256_set1_epi8(mask_to_u8(SIGNED) as i8);
    for at in (0..whole).step_by(32) {
        for i in 0..H {
            // SAFETY: at + 32 <= k, so the 32 bytes are the row's.
            let bytes = unsafe { _mm256_loadu_si256(a.add(i * lda + at).cast()) };
            sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(_mm256_xor_si256(bytes, flip), none));
        }
    }
    let left = k - whole;
    if left > 0 && whole > 0 {
        // The row's last 32 bytes are loaded, and those that were summed above are masked out: 32 bytes of this table
        // from `left` on are 0 in the first 32 - left bytes.
        static LAST: [u8; 64] = {
            let mut bytes = [0; 64];
            let (_, ones) = bytes.split_at_mut(32);
            let mut i = 0;
            while i < 32 {
                ones[i] = 0xff;
                i += 1;
            }
            bytes
        };
        // SAFETY: left < 32, and the table has 64 bytes.
        let mask = unsafe { _mm256_loadu_si256(LAST.as_ptr().add(left).cast()) };
        for i in 0..H {
            // SAFETY: k >= 32, so the last 32 bytes are the row's.
            let bytes = unsafe { _mm256_loadu_si256(a.add(i * lda + k - 32).cast()) };
            let bytes = _mm256_and_si256(_mm256_xor_si256(bytes, flip), mask);
            sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(bytes, none));
        }
    } else {
        for i in 0..H {
            // SAFETY: the row has `left` bytes: either k = left, or left = 0.
            let row = unsafe { core::slice::from_raw_parts(a.add(i * lda), left) };
            let sum: u32 = row.iter().map(|byte| u32::from(byte ^ mask_to_u8(SIGNED))).sum();
            sums[i] = _mm256_add_epi64(sums[i], _mm256_setr_epi64x(sum.into(), 0, 0, 0));
        }
    }
    sums
}

/// Adds up the lanes of each of 8 rows; the result has a 32-bit lane per row, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn add_up_8(rows: [__m256i; 8]) -> __m256i {
    let mut four = [_mm256_setzero_si256(); 2];
    for (four, rows) in four.iter_mut().zip(rows.as_chunks::<4>().0) {
        let [p, q, r, s] = rows.map(|row| _mm256_castsi256_ps(row));
        let (pq, rs) = (_mm256_shuffle_ps::<0b10_00_10_00>(p, q), _mm256_shuffle_ps::<0b10_00_10_00>(r, s));
        let even = _mm256_shuffle_ps::<0b10_00_10_00>(pq, rs);
        let odd = _mm256_shuffle_ps::<0b11_01_11_01>(pq, rs);
        *four = _mm256_add_epi32(_mm256_castps_si256(even), _mm256_castps_si256(odd));
    }
    let low = _mm256_permute2x128_si256::<0x20>(four[0], four[1]);
    let high = _mm256_permute2x128_si256::<0x31>(four[0], four[1]);
    _mm256_add_epi32(low, high)
}
