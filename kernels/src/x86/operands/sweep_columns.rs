//! The sweep with AVX-512 VNNI where the columns of B are slices: four of them at a time, 64 values of k to a vector,
//! whose sums are added up at the end.

use crate::contract::sweep_operands::{SweepOperands, SweepSums};
use core::arch::x86_64::*;

/// # Safety
/// As for `sweep::sweep` by columns, with H rows; `of_b` is as long as a row of sums if OF_B.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn all<const H: usize, const OF_B: bool>(
    factors: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: columns and rows hold k values, and masks keep to those. Four sums from column j on, a multiple of 4,
    // lie within a row of sums, whose length is a multiple of SWEEP_WIDTH and not less than `cols`.
    unsafe {
        let SweepOperands { a, a_signed, k, b, cols, .. } = *factors;
        let flips = _mm512_set1_epi8(if a_signed { i8::MIN } else { 0 });
        let products = sums.products.as_mut_ptr();
        for j in (0..cols).step_by(4) {
            let mut acc = [[_mm512_setzero_si512(); 4]; H];
            let mut acc_b = [_mm512_setzero_si512(); 4];
            // Beyond the last column that one again: its sums have room, and no use.
            let column = |c: usize| b.bits.as_ptr().add((j + c).min(cols - 1) * b.stride);
            for l in (0..k).step_by(64) {
                let mask = if k - l < 64 { !0 >> (64 - (k - l)) } else { !0 };
                // Values of A beyond K are multiplied by 0.
                let load = |from: *const u8| _mm512_maskz_loadu_epi8(mask, from.add(l).cast());
                let values = [load(column(0)), load(column(1)), load(column(2)), load(column(3))];
                for i in 0..H {
                    let a = _mm512_xor_si512(load(a.bits.as_ptr().add(i * a.stride)), flips);
                    for c in 0..4 {
                        acc[i][c] = _mm512_dpbusd_epi32(acc[i][c], a, values[c]);
                    }
                }
                if OF_B {
                    for c in 0..4 {
                        acc_b[c] = _mm512_dpbusd_epi32(acc_b[c], _mm512_set1_epi8(1), values[c]);
                    }
                }
            }
            for i in 0..H {
                _mm_storeu_si128(products.add(i * sums.stride + j).cast(), added_up(acc[i]));
            }
            if OF_B {
                _mm_storeu_si128(of_b.as_mut_ptr().add(j).cast(), added_up(acc_b));
            }
        }
    }
}

/// The sums of all lanes of each vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn added_up(x: [__m512i; 4]) -> __m128i {
    let pairs = |x, y| _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
    let (low, high) = (pairs(x[0], x[1]), pairs(x[2], x[3]));
    // In each 128-bit lane a sum of each vector's lane.
    let lanes = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}
