//! The sweep with AVX-512 VNNI, by rows of B; `sweep_columns` is by columns.
//!
//! Four values of k of 64 columns are interleaved within 128-bit lanes, which leaves columns in this order, a letter
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
//! SweepSums stay in that order until the last values of k.

use crate::contract::sweep_operands::{SWEEP_WIDTH, SweepOperands, SweepSums};
use crate::x86::k_group::partial_group;
use crate::x86::operands::k_group_avx512::interleave_in_lanes;
use crate::x86::operands::sweep_columns;
use core::arch::x86_64::*;

/// Columns of so narrow a B are summed over all of K at once.
const NARROW: usize = 256;
/// Values of k that are summed at a time where B is wider: so many rows are read side by side, as streams. With 4,096
/// columns that is 46 GB/s on Zen 4, with all of K 12; with 256 columns or fewer all of K is twice as fast.
const ROWS: usize = 16;

/// # Safety
/// The CPU has AVX-512 F, BW and VNNI. A has `rows` rows of k values, B k rows of `cols`, or its columns as rows if
/// `b_by_columns`; there are as many rows of sums, which are `sums.stride` long, a multiple of SWEEP_WIDTH and not less than
/// `cols`.
pub unsafe fn sweep(rows: usize, factors: &SweepOperands<'_>, mut sums: SweepSums<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match sums.of_b.take() {
            None => height::<false>(rows, factors, &mut sums, &mut []),
            Some(of_b) => height::<true>(rows, factors, &mut sums, of_b),
        }
    }
}

/// # Safety
/// As [`sweep`]; `of_b` is as long as a row of sums if OF_B.
unsafe fn height<const OF_B: bool>(
    rows: usize,
    factors: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => way::<1, OF_B>(factors, sums, of_b),
            2 => way::<2, OF_B>(factors, sums, of_b),
            3 => way::<3, OF_B>(factors, sums, of_b),
            _ => way::<4, OF_B>(factors, sums, of_b),
        }
    }
}

/// # Safety
/// As [`height`], with H rows.
unsafe fn way<const H: usize, const OF_B: bool>(
    factors: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match factors.b_by_columns {
            false => all::<H, OF_B>(factors, sums, of_b),
            true => sweep_columns::all::<H, OF_B>(factors, sums, of_b),
        }
    }
}

/// By rows of B.
///
/// # Safety
/// As [`height`], with H rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn all<const H: usize, const OF_B: bool>(
    factors: &SweepOperands<'_>,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: blocks of columns and values of k lie within B, of whose columns no more than there are is read.
    unsafe {
        let SweepOperands { k, cols, .. } = *factors;
        let step = if cols <= NARROW { k.max(1) } else { ROWS };
        let mut from = 0;
        loop {
            let to = k.min(from + step);
            for j in (0..cols).step_by(SWEEP_WIDTH) {
                block::<H, OF_B>(factors, (from, to), j, sums, of_b);
            }
            from = to;
            if from == k {
                return;
            }
        }
    }
}

/// Adds the products of values of k `from..to` to the sums of 64 columns, or of those that are left, from `j` on.
///
/// # Safety
/// As [`all`]; j < cols, `from..to` lies within K.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn block<const H: usize, const OF_B: bool>(
    factors: &SweepOperands<'_>,
    (from, to): (usize, usize),
    j: usize,
    sums: &mut SweepSums<'_>,
    of_b: &mut [i32],
) {
    // SAFETY: as in `all`; the mask keeps to the columns there are, and rows of sums hold whole LINEs.
    unsafe {
        let SweepOperands { a, a_signed, k, b, cols, .. } = *factors;
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
        let flip = if a_signed { i32::from_ne_bytes([0x80; 4]) } else { 0 };
        let left = cols - j;
        let mask = if left < SWEEP_WIDTH { !0 >> (SWEEP_WIDTH - left) } else { !0 };
        let row = |l: usize| b.bits.as_ptr().wrapping_add(l * b.stride + j);
        // Four rows of B, and as many values of each row of A.
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
            let load = |l: usize| match left < SWEEP_WIDTH {
                false => _mm512_loadu_si512(row(l).cast()),
                true => _mm512_maskz_loadu_epi8(mask, row(l).cast()),
            };
            let of_a = core::array::from_fn(|i| {
                a.bits.as_ptr().add(i * a.stride + l).cast::<i32>().read_unaligned()
            });
            add([load(l), load(l + 1), load(l + 2), load(l + 3)], of_a);
        }
        if whole < to {
            // StridedRows that there are not are zeros, by which anything may be multiplied.
            let load = |l: usize| match l < to {
                true => _mm512_maskz_loadu_epi8(mask, row(l).cast()),
                false => _mm512_setzero_si512(),
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
/// `from` is valid for 64 values.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(from: *const i32) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe { [0, 16, 32, 48].map(|at| _mm512_loadu_si512(from.add(at).cast())) }
}

/// Stores 64 sums, in the order of columns if `last`.
///
/// # Safety
/// `to` is valid for 64 values.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(to: *mut i32, sums: [__m512i; 4], last: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        let sums = if last { in_order(sums) } else { sums };
        for v in 0..4 {
            _mm512_storeu_si512(to.add(16 * v).cast(), sums[v]);
        }
    }
}

/// Lane l of vector v becomes lane v of vector l.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_order(x: [__m512i; 4]) -> [__m512i; 4] {
    // Lanes 0 and 1 of two vectors, and 2 and 3.
    let (a, b) = (_mm512_shuffle_i32x4::<0x44>(x[0], x[1]), _mm512_shuffle_i32x4::<0xee>(x[0], x[1]));
    let (c, d) = (_mm512_shuffle_i32x4::<0x44>(x[2], x[3]), _mm512_shuffle_i32x4::<0xee>(x[2], x[3]));
    [
        _mm512_shuffle_i32x4::<0x88>(a, c),
        _mm512_shuffle_i32x4::<0xdd>(a, c),
        _mm512_shuffle_i32x4::<0x88>(b, d),
        _mm512_shuffle_i32x4::<0xdd>(b, d),
    ]
}
