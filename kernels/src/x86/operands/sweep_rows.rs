//! Sweeps of B by its rows, with AVX-512 VNNI, and the choice between this and `sweep_columns`.
//!
//! Four rows of 64 columns of B are interleaved within 128-bit lanes, which leaves columns in this order, a letter
//! for four of them:
//!
//! ```text
//!   a row of B     a b c d | e f g h | i j k l | m n o p       16 columns a lane
//!   vector 0       a | e | i | m       4 values of k of each
//!   vector 1       b | f | j | n
//!   vector 2       c | g | k | o
//!   vector 3       d | h | l | p
//! ```
//!
//! The sums stay in that order until the last values of k.
//!
//! The functions of this file and of `sweep_columns` share a contract, which [`sweep`] lists under "Safety".

use crate::contract::sweep_operands::{MAX_SWEEP_ROWS, SWEEP_WIDTH, SweepOperands, SweepSums};
use crate::elements::mask_to_u8;
use crate::x86::k_group::partial_group;
use crate::x86::operands::k_group_avx512::interleave_in_lanes;
use crate::x86::operands::sweep_columns::columns_of_b;
use crate::x86::operands::transpose::exchange_lanes;
use core::arch::x86_64::*;
use core::ops::Range;

/// Up to this many columns of B, each block of columns is summed over all of K at once.
const NARROW: usize = 256;
/// The rows of a wider B that are read side by side, as streams, before the next ones. With 4,096 columns that reads
/// 46 GB/s, and all of K at once 12 GB/s; with 256 columns or fewer all of K at once is twice as fast (Zen 4,
/// 2026-11-26).
const STREAMS: usize = 16;

/// Sums the products of `rows` rows of A with the columns of B, and the columns of B if `sums.of_b` is there.
///
/// # Safety
/// - The CPU has AVX-512 F, BW and VNNI.
/// - `rows` is 1 to [`MAX_SWEEP_ROWS`], and `operands.a` holds as many rows of `k` values.
/// - `operands.b` holds `k` rows of `cols` values, or `cols` rows of `k` values if `b_by_columns`.
/// - `sums.stride` is a multiple of [`SWEEP_WIDTH`] and at least `cols`.
/// - `sums.products` holds `rows` times `stride` values, and `sums.of_b`, if it is there, `stride` values.
pub unsafe fn sweep(rows: usize, operands: &SweepOperands<'_>, mut sums: SweepSums<'_>) {
    debug_assert!((1..=MAX_SWEEP_ROWS).contains(&rows));
    debug_assert!(sums.stride.is_multiple_of(SWEEP_WIDTH) && sums.stride >= operands.cols);
    debug_assert!(sums.products.len() >= rows * sums.stride);
    debug_assert!(sums.of_b.as_ref().is_none_or(|of_b| of_b.len() >= sums.stride));
    // SAFETY: the caller's promise.
    unsafe {
        match sums.of_b.take() {
            None => by_row_count::<false>(rows, operands, &mut sums, &mut []),
            Some(of_b) => by_row_count::<true>(rows, operands, &mut sums, of_b),
        }
    }
}

/// # Safety
/// - The contract of [`sweep`], apart from `sums.of_b`.
/// - `of_b` holds `sums.stride` values, if OF_B.
unsafe fn by_row_count<const OF_B: bool>(
    rows: usize,
    operands: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: the caller's promise; H is `rows`.
    unsafe {
        match rows {
            1 => by_layout::<1, OF_B>(operands, sums, of_b),
            2 => by_layout::<2, OF_B>(operands, sums, of_b),
            3 => by_layout::<3, OF_B>(operands, sums, of_b),
            _ => by_layout::<4, OF_B>(operands, sums, of_b),
        }
    }
}

/// # Safety
/// - The contract of [`sweep`] for H rows, apart from `sums.of_b`.
/// - `of_b` holds `sums.stride` values, if OF_B.
unsafe fn by_layout<const H: usize, const OF_B: bool>(
    operands: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: the caller's promise.
    unsafe {
        if operands.b_by_columns {
            columns_of_b::<H, OF_B>(operands, sums, of_b);
        } else {
            rows_of_b::<H, OF_B>(operands, sums, of_b);
        }
    }
}

/// Sweeps B by its rows.
///
/// # Safety
/// - The contract of [`sweep`] for H rows and B by rows, apart from `sums.of_b`.
/// - `of_b` holds `sums.stride` values, if OF_B.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn rows_of_b<const H: usize, const OF_B: bool>(
    operands: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    debug_assert!(!operands.b_by_columns);
    // SAFETY: j < cols and from <= to <= k.
    unsafe {
        let SweepOperands { k, cols, .. } = *operands;
        let step = if cols <= NARROW { k.max(1) } else { STREAMS };
        let mut from = 0;
        loop {
            let to = k.min(from + step);
            for j in (0..cols).step_by(SWEEP_WIDTH) {
                sum_64::<H, OF_B>(operands, from..to, j, sums, of_b);
            }
            from = to;
            if from == k {
                return;
            }
        }
    }
}

/// Adds the products of the values `ks` of k to the sums of 64 columns from `j` on, or of the columns that are left. If
/// `ks` starts at 0 the sums start at 0; if it ends at K they are put in the order of columns.
///
/// # Safety
/// - The contract of [`rows_of_b`].
/// - `j` is a multiple of [`SWEEP_WIDTH`] and less than `cols`; `ks` lies within 0..K.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sum_64<const H: usize, const OF_B: bool>(
    operands: &SweepOperands<'_>,
    ks: Range<usize>,
    j: usize,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    let Range { start: from, end: to } = ks;
    debug_assert!(j.is_multiple_of(SWEEP_WIDTH) && j < operands.cols && from <= to && to <= operands.k);
    // SAFETY:
    // - Sums: 64 from column j on, which a row of `stride` sums has because j and `stride` are multiples of 64.
    // - B: rows from..to, of which the mask keeps loads to the columns that are left.
    // - A: values from..to of each row, four at a time below `whole`; `partial_group` gets the others, `to - whole` of
    //   them, before which the row has `whole` values.
    unsafe {
        let SweepOperands { a, a_signed, k, b, cols, .. } = *operands;
        let (products, stride) = (sums.products.as_mut_ptr(), sums.stride);
        let mut acc = [[_mm512_setzero_si512(); 4]; H];
        let mut acc_b = [_mm512_setzero_si512(); 4];
        if from > 0 {
            for i in 0..H {
                acc[i] = load(products.add(i * stride + j));
            }
            if OF_B {
                acc_b = load(of_b.as_ptr().add(j));
            }
        }
        let flip = i32::from_ne_bytes([mask_to_u8(a_signed); 4]);
        let left = cols - j;
        let mask = if left < SWEEP_WIDTH { !0 >> (SWEEP_WIDTH - left) } else { !0 };
        let row = |l: usize| b.bits.as_ptr().wrapping_add(l * b.stride + j);
        // Multiplies four rows of B by four values of each row of A.
        let mut add = |rows: [__m512i; 4], of_a: [i32; H]| {
            let groups = interleave_in_lanes(rows);
            for i in 0..H {
                let a = _mm512_set1_epi32(of_a[i] ^ flip);
                for v in 0..4 {
                    acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], a, groups[v]);
                }
            }
            if OF_B {
                for v in 0..4 {
                    acc_b[v] = _mm512_dpbusd_epi32(acc_b[v], _mm512_set1_epi8(1), groups[v]);
                }
            }
        };
        let whole = from + (to - from) / 4 * 4;
        for l in (from..whole).step_by(4) {
            let load = |l: usize| {
                if left < SWEEP_WIDTH {
                    _mm512_maskz_loadu_epi8(mask, row(l).cast())
                } else {
                    _mm512_loadu_si512(row(l).cast())
                }
            };
            let of_a = core::array::from_fn(|i| {
                a.bits.as_ptr().add(i * a.stride + l).cast::<i32>().read_unaligned()
            });
            add([load(l), load(l + 1), load(l + 2), load(l + 3)], of_a);
        }
        if whole < to {
            // Missing rows of B are zeros, so that the bytes of A beyond K do not matter.
            let load = |l: usize| {
                if l < to { _mm512_maskz_loadu_epi8(mask, row(l).cast()) } else { _mm512_setzero_si512() }
            };
            let of_a = core::array::from_fn(|i| {
                partial_group(a.bits.as_ptr().add(i * a.stride + whole), to - whole, whole > 0)
            });
            add([load(whole), load(whole + 1), load(whole + 2), load(whole + 3)], of_a);
        }
        let last = to == k;
        for i in 0..H {
            store(products.add(i * stride + j), acc[i], last);
        }
        if OF_B {
            store(of_b.as_mut_ptr().add(j), acc_b, last);
        }
    }
}

/// # Safety
/// - The CPU has AVX-512 F.
/// - `from` is valid for reading 64 values.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(from: *const i32) -> [__m512i; 4] {
    // SAFETY: the last vector ends at value 64.
    unsafe { [0, 16, 32, 48].map(|at| _mm512_loadu_si512(from.add(at).cast())) }
}

/// Stores 64 sums, in the order of columns if `last`.
///
/// # Safety
/// - The CPU has AVX-512 F.
/// - `to` is valid for writing 64 values.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(to: *mut i32, sums: [__m512i; 4], last: bool) {
    // SAFETY: the last vector ends at value 64.
    unsafe {
        let sums = if last { exchange_lanes(sums) } else { sums };
        for v in 0..4 {
            _mm512_storeu_si512(to.add(16 * v).cast(), sums[v]);
        }
    }
}
