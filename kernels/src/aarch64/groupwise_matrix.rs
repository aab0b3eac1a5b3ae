//! Group-wise products by `usmmla` of the 8-bit matrix extension: 2 columns of 8 codes times 2 rows of 8 values of A.
//!
//! Unlike the naive loop, rows go in pairs and columns too. 8 values of k are a step of codes of 4 bits, and two steps of those
//! of 8 bits. Registers, of 32: 16 accumulators, 4 of codes, 1 of A:
//!
//! ```text
//!   two k-groups:  c0 k0..k3 | c1 k0..k3 | c2 .. | c3 ..   and   c0 k4..k7 | c1 k4..k7 | c2 .. | c3 ..
//!   zipped:        c0 k0..k7 | c1 k0..k7                   and   c2 k0..k7 | c3 k0..k7
//!   A:             k0..k7 of row i | k0..k7 of row i + 1
//!   sums:          (c0, i) (c0, i + 1) (c1, i) (c1, i + 1)       and the same of c2 and c3
//! ```
//!
//! A single step that is left of codes of 8 bits goes by row.

use crate::groupwise::vector::{GroupVector, NextStep, add_products_by_row};
use core::arch::aarch64::*;
use core::arch::asm;

/// Whether tiles of so many rows take pairs. Zipping codes and sums costs as much as `usmmla` saves in 2 rows, and in a row
/// without another.
pub const fn pairs_pay(rows: usize) -> bool {
    rows >= 4 && rows.is_multiple_of(2)
}

/// Pairs of rows of the tallest tile.
const PAIRS: usize = 4;
/// Pairs of columns of the widest tile of so many rows.
const COLUMN_PAIRS: usize = 8;

/// Adds the products of 2 columns of 8 codes and 2 rows of 8 values of A.
///
/// # Safety
/// The CPU has the 8-bit matrix extension.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn usmmla(mut acc: int32x4_t, codes: uint8x16_t, a: uint8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        asm!("usmmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) codes, in(vreg) a,
             options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// Adds the products of steps, a pair of rows at a time.
///
/// # Safety
/// The contract of [`GroupVector::add_products`]; the CPU has the 8-bit matrix extension, and the caller is where this is
/// inlined.
#[inline(always)]
pub unsafe fn add_products_by_pairs<X, const H: usize, const V: usize, const EIGHT: bool>(
    next: &mut NextStep,
    count: usize,
    acc: &mut [[int32x4_t; V]; H],
) where
    X: GroupVector<Int = int32x4_t>,
{
    debug_assert!(pairs_pay(H) && H <= 2 * PAIRS && 2 * V <= COLUMN_PAIRS && X::LANES == 4 && !X::WORDS);
    // SAFETY: the caller's promise: `turns` times as many steps as a turn takes lie there, and perhaps one more.
    unsafe {
        let turns = if EIGHT { count / 2 } else { count };
        let mut sums = [[vdupq_n_s32(0); COLUMN_PAIRS]; PAIRS];
        for p in 0..H / 2 {
            for v in 0..V {
                sums[p][2 * v] = vzip1q_s32(acc[2 * p][v], acc[2 * p + 1][v]);
                sums[p][2 * v + 1] = vzip2q_s32(acc[2 * p][v], acc[2 * p + 1][v]);
            }
        }
        for _ in 0..turns {
            let mut b = [vdupq_n_u8(0); COLUMN_PAIRS];
            for v in 0..V {
                let from = next.codes.add(16 * v);
                let loaded = X::load_codes(from);
                let (first, second) = if EIGHT {
                    (loaded, X::load_codes(from.add(next.step_bytes)))
                } else {
                    X::nibbles(loaded)
                };
                b[2 * v] = vreinterpretq_u8_s32(vzip1q_s32(first, second));
                b[2 * v + 1] = vreinterpretq_u8_s32(vzip2q_s32(first, second));
            }
            for p in 0..H / 2 {
                let row = next.a.add(2 * p * next.a_stride);
                let rows = vcombine_u8(vld1_u8(row), vld1_u8(row.add(next.a_stride)));
                for c in 0..2 * V {
                    sums[p][c] = usmmla(sums[p][c], b[c], rows);
                }
            }
            next.a = next.a.add(8);
            next.codes = next.codes.add(if EIGHT { 2 * next.step_bytes } else { next.step_bytes });
        }
        for p in 0..H / 2 {
            for v in 0..V {
                acc[2 * p][v] = vuzp1q_s32(sums[p][2 * v], sums[p][2 * v + 1]);
                acc[2 * p + 1][v] = vuzp2q_s32(sums[p][2 * v], sums[p][2 * v + 1]);
            }
        }
        if EIGHT && !count.is_multiple_of(2) {
            add_products_by_row::<X, H, V, EIGHT>(next, 1, acc);
        }
    }
}
