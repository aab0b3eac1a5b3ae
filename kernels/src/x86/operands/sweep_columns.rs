//! Sweeps of B by its columns, with AVX-512 VNNI. Four columns go at a time. A vector holds 64 values of k of one of
//! them; the lanes of its sums are added up at the end of the column.

use crate::contract::sweep_operands::{SweepOperands, SweepSums};
use crate::elements::mask_to_u8;
use crate::x86::tile::vector::Vector;
use core::arch::x86_64::*;

/// Sweeps B by its columns.
///
/// # Safety
/// - The contract of `sweep_rows::sweep` for H rows and B by columns, apart from `sums.of_b`.
/// - `of_b` holds `sums.stride` values, if OF_B.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn columns_of_b<const H: usize, const OF_B: bool>(
    operands: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    debug_assert!(operands.b_by_columns && sums.stride.is_multiple_of(4) && sums.stride >= operands.cols);
    // SAFETY:
    // - Columns of B and rows of A hold k values, and the masks keep loads to those.
    // - Four sums from column j on, a multiple of 4, lie within a row of sums, whose length is a multiple of
    //   SWEEP_WIDTH and at least `cols`.
    unsafe {
        let SweepOperands { a, a_signed, k, b, cols, .. } = *operands;
        let flips = _mm512_set1_epi8(mask_to_u8(a_signed) as i8);
        let products = sums.products.as_mut_ptr();
        for j in (0..cols).step_by(4) {
            let mut acc = [[_mm512_setzero_si512(); 4]; H];
            let mut acc_b = [_mm512_setzero_si512(); 4];
            // The last column stands in for those beyond it, whose sums nobody reads.
            let column = |c: usize| b.bits.as_ptr().add((j + c).min(cols - 1) * b.stride);
            for l in (0..k).step_by(64) {
                let mask = if k - l < 64 { !0 >> (64 - (k - l)) } else { !0 };
                // Values of B beyond K are 0, so that those of A do not matter.
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
                _mm_storeu_si128(products.add(i * sums.stride + j).cast(), Vector::sums_of_lanes(acc[i]));
            }
            if OF_B {
                _mm_storeu_si128(of_b.as_mut_ptr().add(j).cast(), Vector::sums_of_lanes(acc_b));
            }
        }
    }
}
