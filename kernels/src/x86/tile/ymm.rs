//! The 6x16 tiles of the 256-bit kernels. Their files give the dot product; everything else is here.
//!
//! A k-group is 4 bytes of a row of A (4 bytes or 2 words, KR of them) and 8 times 4 bytes of the panel
//! per vector:
//!
//! ```text
//!   panel, one k-group:  j0 (KR values) j1 .. j7 | j8 .. j15        two ymm
//!   A, row i:            the 4 bytes of the group, in all lanes     vpbroadcastd
//! ```
//!
//! Registers, all 16: 12 accumulators, 2 of B, 1 of A, 1 product where the instruction does not add it
//! itself. Where 8 columns of a panel or fewer are stored, its second half is left out.

use crate::contract::args::Args;
use crate::x86::k_group::{Elements, partial_group};
use crate::x86::tile::ymm_epilogue::finish;
use core::arch::x86_64::*;

/// Rows of a tile.
pub const MR: usize = 6;
/// Columns of a panel.
pub const NR: usize = 16;

/// An instruction set with a pair of stored types.
pub trait Tiles {
    /// Calls [`tile`] with the dot product, in a function that has the instructions.
    ///
    /// # Safety
    /// As for [`tile`], and the CPU has the instructions.
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>);
}

/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn).
pub unsafe fn micro_6x16<T: Tiles>(t: &Args<'_>) {
    // SAFETY: the caller's promise; the tile has as many vectors as hold the columns.
    unsafe {
        match (t.rows, t.cols > 8) {
            (1, false) => T::tile::<1, 1>(t),
            (2, false) => T::tile::<2, 1>(t),
            (3, false) => T::tile::<3, 1>(t),
            (4, false) => T::tile::<4, 1>(t),
            (5, false) => T::tile::<5, 1>(t),
            (_, false) => T::tile::<6, 1>(t),
            (1, true) => T::tile::<1, 2>(t),
            (2, true) => T::tile::<2, 2>(t),
            (3, true) => T::tile::<3, 2>(t),
            (4, true) => T::tile::<4, 2>(t),
            (5, true) => T::tile::<5, 2>(t),
            (_, true) => T::tile::<6, 2>(t),
        }
    }
}

/// From so many k-groups on, tiles of few rows read several parts of the panel side by side.
const STREAMS: usize = 64;

/// H rows and V vectors of columns; `dot(acc, a, b)` adds to
/// each lane the products of the lane's groups.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn), with H rows and V = ceil(cols / 8); the caller has AVX2,
/// and is where this is inlined.
#[inline(always)]
pub unsafe fn tile<const H: usize, const V: usize>(
    t: &Args,
    elements: Elements,
    dot: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
) {
    // SAFETY: throughout, the CPU has the instructions. C, `row` and A have H rows, `col` NR values; the
    // masks keep loads and stores to the `cols` elements of a row of C; the panel has all its k-groups,
    // the last one padded; of A no more is read than the bytes of its rows.
    unsafe {
        let mut acc = [[_mm256_setzero_si256(); V]; H];
        let (groups, left) = (t.k * elements.size / 4, t.k * elements.size % 4);
        let mut first = 0;
        if groups >= STREAMS {
            first = match H {
                1 => streams::<H, V, 4>(t, groups, (elements, &dot), &mut acc),
                2 | 3 => streams::<H, V, 2>(t, groups, (elements, &dot), &mut acc),
                _ => 0,
            };
        }
        for g in first..groups {
            step::<H, V>(t, g, (elements, &dot), &mut acc);
        }
        if left > 0 {
            for i in 0..H {
                let rest = t.a.add(i * t.lda + 4 * groups);
                let a = _mm256_set1_epi32(partial_group(rest, left, groups > 0));
                for v in 0..V {
                    acc[i][v] = dot(acc[i][v], a, load(t, elements, groups, v));
                }
            }
        }
        finish(t, acc);
    }
}

/// Adds the products of all k-groups but the last few, read from S places side by side: a few rows are too few
/// accumulators to wait for each other, and several streams come faster from memory than one. Returns how many
/// k-groups those were.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn streams<const H: usize, const V: usize, const S: usize>(
    t: &Args<'_>,
    groups: usize,
    (elements, dot): (Elements, &impl Fn(__m256i, __m256i, __m256i) -> __m256i),
    acc: &mut [[__m256i; V]; H],
) -> usize {
    // SAFETY: as in `tile`.
    unsafe {
        let part = groups / S;
        let mut sums = [[[_mm256_setzero_si256(); V]; H]; S];
        for g in 0..part {
            for s in 0..S {
                step::<H, V>(t, s * part + g, (elements, dot), &mut sums[s]);
            }
        }
        for s in 0..S {
            for i in 0..H {
                for v in 0..V {
                    acc[i][v] = _mm256_add_epi32(acc[i][v], sums[s][i][v]);
                }
            }
        }
        S * part
    }
}

/// Adds the products of k-group `g`, which must exist.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn step<const H: usize, const V: usize>(
    t: &Args<'_>,
    g: usize,
    (elements, dot): (Elements, &impl Fn(__m256i, __m256i, __m256i) -> __m256i),
    acc: &mut [[__m256i; V]; H],
) {
    // SAFETY: as in `tile`.
    unsafe {
        let mut b = [_mm256_setzero_si256(); V];
        for v in 0..V {
            b[v] = load(t, elements, g, v);
        }
        for i in 0..H {
            let a = _mm256_set1_epi32(t.a.add(i * t.lda + 4 * g).cast::<i32>().read_unaligned());
            for v in 0..V {
                acc[i][v] = dot(acc[i][v], a, b[v]);
            }
        }
    }
}

/// Vector `v` of k-group `g`.
///
/// # Safety
/// As for [`tile`]; there is such a group.
#[inline(always)]
unsafe fn load(t: &Args<'_>, elements: Elements, g: usize, v: usize) -> __m256i {
    let at = 4 * NR * g + 32 * v;
    // SAFETY: the caller's promise; of bytes the panel has half as many.
    unsafe {
        match elements.widen {
            true => _mm256_cvtepi8_epi16(_mm_loadu_si128(t.b.add(at / 2).cast())),
            false => _mm256_loadu_si256(t.b.add(at).cast()),
        }
    }
}
