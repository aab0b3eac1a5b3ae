//! Sums of rows of bytes. `vpsadbw` adds eight unsigned bytes at a time; signed ones become unsigned by an
//! inverted sign bit, which adds 128 to each.
//!
//! Several rows go side by side, since adding up the lanes of a vector takes longer than a short row does:
//!
//! ```text
//!   rows p, q    [p  p' | q  q'] in each 128 bits     vshufps: the low halves of their 64-bit sums
//!   p, q, r, s   [p  q  | r  s ]                      two shuffles, one addition
//!   then the 128-bit parts of vectors of four rows are transposed and added
//! ```

use core::arch::x86_64::*;

/// The sign bits of bytes, if they are signed.
const fn flips(signed: bool) -> i8 {
    if signed { i8::MIN } else { 0 }
}

/// Adds to each of `sums` the sum of a row; rows are `k` bytes, `lda` apart, `k` at most 2^23.
///
/// # Safety
/// The CPU has AVX-512 F and BW. `a` is valid for `sums.len()` such rows.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn add_avx512<const SIGNED: bool>(a: *const u8, lda: usize, k: usize, sums: &mut [i64]) {
    let less = _mm512_set1_epi64(if SIGNED { 128 * k as i64 } else { 0 });
    let (blocks, rest) = sums.as_chunks_mut::<16>();
    let done = 16 * blocks.len();
    for (b, block) in blocks.iter_mut().enumerate() {
        // SAFETY: the caller's promise: 16 rows of the matrix, 16 sums.
        unsafe {
            let rows = transpose_avx512(each_avx512::<16, SIGNED>(a.add(16 * b * lda), lda, k));
            let [low, high] = [_mm512_castsi512_si256(rows), _mm512_extracti64x4_epi64::<1>(rows)];
            for (part, half) in [low, high].into_iter().enumerate() {
                let out = block.as_mut_ptr().add(8 * part);
                let sum = _mm512_sub_epi64(_mm512_cvtepu32_epi64(half), less);
                _mm512_storeu_epi64(out, _mm512_add_epi64(_mm512_loadu_epi64(out), sum));
            }
        }
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        // SAFETY: the caller's promise: a row of the matrix.
        let [row] = unsafe { each_avx512::<1, SIGNED>(a.add((done + i) * lda), lda, k) };
        *sum += _mm512_reduce_add_epi64(row) - if SIGNED { 128 * k as i64 } else { 0 };
    }
}

/// Of each of H rows, the sum in eight parts; those of signed bytes are 128·k more.
///
/// # Safety
/// The CPU has AVX-512 F and BW. `a` is valid for H rows of `k` bytes, `lda` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn each_avx512<const H: usize, const SIGNED: bool>(
    a: *const u8,
    lda: usize,
    k: usize,
) -> [__m512i; H] {
    let none = _mm512_setzero_si512();
    let mut sums = [none; H];
    let whole = k & !63;
    let flip = _mm512_set1_epi8(flips(SIGNED));
    for at in (0..whole).step_by(64) {
        for i in 0..H {
            // SAFETY: at + 64 <= k: the caller's promise.
            let bytes = unsafe { _mm512_loadu_si512(a.add(i * lda + at).cast()) };
            sums[i] = _mm512_add_epi64(sums[i], _mm512_sad_epu8(_mm512_xor_si512(bytes, flip), none));
        }
    }
    if whole < k {
        let mask = !0 >> (64 - (k - whole));
        let flip = _mm512_maskz_mov_epi8(mask, flip);
        for i in 0..H {
            // SAFETY: the mask keeps to the k - whole bytes that are left of the row.
            let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, a.add(i * lda + whole).cast()) };
            sums[i] = _mm512_add_epi64(sums[i], _mm512_sad_epu8(_mm512_xor_si512(bytes, flip), none));
        }
    }
    sums
}

/// The sums of 16 rows, in order, of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_avx512(rows: [__m512i; 16]) -> __m512i {
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

/// As [`add_avx512`].
///
/// # Safety
/// The CPU has AVX2. `a` is valid for `sums.len()` rows of `k` bytes, `lda` apart.
#[target_feature(enable = "avx2")]
pub unsafe fn add_avx2<const SIGNED: bool>(a: *const u8, lda: usize, k: usize, sums: &mut [i64]) {
    let less = if SIGNED { 128 * k as i64 } else { 0 };
    let (blocks, rest) = sums.as_chunks_mut::<8>();
    let done = 8 * blocks.len();
    for (b, block) in blocks.iter_mut().enumerate() {
        // SAFETY: the caller's promise: 8 rows of the matrix, 8 sums.
        unsafe {
            let rows = transpose_avx2(each_avx2::<8, SIGNED>(a.add(8 * b * lda), lda, k));
            let [low, high] = [_mm256_castsi256_si128(rows), _mm256_extracti128_si256::<1>(rows)];
            for (part, half) in [low, high].into_iter().enumerate() {
                let out = block.as_mut_ptr().add(4 * part).cast();
                let sum = _mm256_sub_epi64(_mm256_cvtepu32_epi64(half), _mm256_set1_epi64x(less));
                _mm256_storeu_si256(out, _mm256_add_epi64(_mm256_loadu_si256(out), sum));
            }
        }
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        // SAFETY: the caller's promise: a row of the matrix.
        let [row] = unsafe { each_avx2::<1, SIGNED>(a.add((done + i) * lda), lda, k) };
        let half = _mm_add_epi64(_mm256_castsi256_si128(row), _mm256_extracti128_si256::<1>(row));
        *sum += _mm_extract_epi64::<0>(half) + _mm_extract_epi64::<1>(half) - less;
    }
}

/// As [`each_avx512`], in four parts.
///
/// # Safety
/// The CPU has AVX2. `a` is valid for H rows of `k` bytes, `lda` apart.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn each_avx2<const H: usize, const SIGNED: bool>(a: *const u8, lda: usize, k: usize) -> [__m256i; H] {
    let none = _mm256_setzero_si256();
    let mut sums = [none; H];
    let whole = k & !31;
    let flip = _mm256_set1_epi8(flips(SIGNED));
    for at in (0..whole).step_by(32) {
        for i in 0..H {
            // SAFETY: at + 32 <= k: the caller's promise.
            let bytes = unsafe { _mm256_loadu_si256(a.add(i * lda + at).cast()) };
            sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(_mm256_xor_si256(bytes, flip), none));
        }
    }
    let left = k - whole;
    if left > 0 && whole > 0 {
        // The last 32 bytes of the row, of which those summed above are left out.
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
        // SAFETY: left <= 32.
        let mask = unsafe { _mm256_loadu_si256(LAST.as_ptr().add(left).cast()) };
        for i in 0..H {
            // SAFETY: k >= 32, so the row's last 32 bytes are its own: the caller's promise.
            let bytes = unsafe { _mm256_loadu_si256(a.add(i * lda + k - 32).cast()) };
            let bytes = _mm256_and_si256(_mm256_xor_si256(bytes, flip), mask);
            sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(bytes, none));
        }
    } else {
        for i in 0..H {
            // SAFETY: a row of k bytes: the caller's promise.
            let row = unsafe { core::slice::from_raw_parts(a.add(i * lda), left) };
            let sum: u32 = row.iter().map(|byte| u32::from(byte ^ flips(SIGNED) as u8)).sum();
            sums[i] = _mm256_add_epi64(sums[i], _mm256_setr_epi64x(sum.into(), 0, 0, 0));
        }
    }
    sums
}

/// The sums of 8 rows, in order, of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_avx2(rows: [__m256i; 8]) -> __m256i {
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
