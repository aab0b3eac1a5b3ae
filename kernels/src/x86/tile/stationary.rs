//! Many rows and few values of k, for the 512-bit kernels: a panel's vectors stay in registers, two columns of them
//! at a time, while the rows of A go by.
//!
//! ```text
//!   B:  up to 10 k-groups x 32 columns        20 zmm, loaded once
//!   A:  2 rows a time (4 where 16 columns or fewer are left)   4 accumulators, and 4 of the rows before
//! ```
//!
//! A tile of `zmm` ends with 24 stores, during which its multipliers wait for the first products of the next; here a
//! store follows every few products. And a block's products come before the rows before it are finished, though they
//! are stored later: the finishing does not wait for them, so both are under way together. In the other order it would
//! fill the processor's schedulers with what waits for products.
//!
//! Against tiles, on Zen 4 (2026-11-27): sums of 240 rows 35 to 40 % faster at K = 16 to 24, 25 % at 28, 9 % at 32, even
//! at 40 and slower beyond (of 32 columns 20 % at K = 32, of 16 25 to 50 %); 8 bits 3 to 12 % at K = 20 to 40.

use crate::contract::args::{Args, Out};
use crate::x86::tile::zmm::{Tiles, dot_8, group_of, start};
use crate::x86::tile::zmm_epilogue::{bytes, half, store_sums, take_off};
use core::arch::x86_64::*;

/// Up to this K, sums of 17 to 24 columns take longer with products of 8 lanes: by 4 % at 24, 8 % at 16.
const HALF_K: usize = 24;

/// The most k-groups.
pub const MAX_GROUPS: usize = 10;

/// An instruction set with a pair of stored types.
pub trait Stationary: Tiles {
    /// Calls [`rows`] in a function that has the instructions.
    ///
    /// # Safety
    /// As for [`rows`], and the CPU has the instructions.
    unsafe fn rows<const G: usize, const H: usize, const V: usize, const HALF: bool>(
        t: &Args<'_>,
        panel: usize,
    );
}

/// All rows of a panel PANEL vectors wide.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn) of tall products, with at most [`MAX_GROUPS`] k-groups.
pub unsafe fn micro<T: Stationary, const PANEL: usize>(t: &Args<'_>) {
    for j in (0..t.cols).step_by(32) {
        let cols = (t.cols - j).min(32);
        // SAFETY: the caller's promise: columns j..j + cols are columns of the panel, of the terms and of the output.
        unsafe {
            let (b, col) = (t.b.add(4 * j), t.col.add(j));
            let part = Args { b, cols, col, left: t.left + j, out: t.out.at(j), ..*t };
            match cols {
                ..=8 => groups::<T, 4, 1, true>(&part, PANEL),
                9..=16 => groups::<T, 4, 1, false>(&part, PANEL),
                17..=24 if t.k > HALF_K || !matches!(t.out, Out::Sums { .. }) => {
                    groups::<T, 2, 2, true>(&part, PANEL)
                }
                _ => groups::<T, 2, 2, false>(&part, PANEL),
            }
        }
    }
}

/// # Safety
/// As for [`rows`].
#[inline]
unsafe fn groups<T: Stationary, const H: usize, const V: usize, const HALF: bool>(
    t: &Args<'_>,
    panel: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match t.k.div_ceil(4) {
            1 => T::rows::<1, H, V, HALF>(t, panel),
            2 => T::rows::<2, H, V, HALF>(t, panel),
            3 => T::rows::<3, H, V, HALF>(t, panel),
            4 => T::rows::<4, H, V, HALF>(t, panel),
            5 => T::rows::<5, H, V, HALF>(t, panel),
            6 => T::rows::<6, H, V, HALF>(t, panel),
            7 => T::rows::<7, H, V, HALF>(t, panel),
            8 => T::rows::<8, H, V, HALF>(t, panel),
            9 => T::rows::<9, H, V, HALF>(t, panel),
            _ => T::rows::<MAX_GROUPS, H, V, HALF>(t, panel),
        }
    }
}

/// All rows, H at a time, and V vectors of columns of a panel that is `panel` vectors wide, with G = ceil(k / 4)
/// k-groups of bytes; `flips` is as in [`zmm::tile`](super::zmm::tile). HALF says that the last vector has 8 columns at most,
/// and that no more of it are multiplied.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn) of tall products, with V = ceil(cols / 16), and H of 1, 2 or 4; the caller
/// has the instructions of T, AVX-512 F, BW and VL among them, and is where this is inlined.
#[inline(always)]
pub unsafe fn rows<T: Tiles, const G: usize, const H: usize, const V: usize, const HALF: bool>(
    t: &Args<'_>,
    panel: usize,
    flips: __m512i,
) {
    // SAFETY: the panel has G k-groups; terms, scales and C are as long as the rows and columns, to which the masks of
    // stores keep.
    unsafe {
        let mut b = [[_mm512_setzero_si512(); V]; G];
        for g in 0..G {
            for v in 0..V {
                b[g][v] = _mm512_loadu_si512(t.b.add((g * panel + v) * 64).cast());
            }
        }
        let left = t.k % 4;
        if left > 0 {
            // What is read of A to complete the last k-group counts for nothing.
            let mask = _mm512_set1_epi32((1 << (8 * left)) - 1);
            for v in 0..V {
                b[G - 1][v] = _mm512_and_si512(b[G - 1][v], mask);
            }
        }
        match t.out {
            Out::Sums { c, .. } => blocks::<T, G, H, V, HALF>(
                t,
                &b,
                flips,
                #[inline(always)]
                |i, sums| {
                    for h in 0..H {
                        let c = c.add((i + h) * t.ldc);
                        match HALF || half::<V>(t.cols) {
                            true => store_sums::<V, true>(t, c, false, sums[h]),
                            false => store_sums::<V, false>(t, c, false, sums[h]),
                        }
                    }
                },
            ),
            Out::Bytes { c, stage } => blocks::<T, G, H, V, HALF>(
                t,
                &b,
                flips,
                #[inline(always)]
                |i, sums| bytes(t, sums, c.add(i * t.ldc), stage),
            ),
            // Never asked for.
            Out::FixedBytes { .. } | Out::Floats { .. } => (),
        }
    }
}

/// Calls `store` with the sums of rows i..i + H for every H rows.
///
/// # Safety
/// As for [`rows`].
#[inline(always)]
unsafe fn blocks<T: Tiles, const G: usize, const H: usize, const V: usize, const HALF: bool>(
    t: &Args<'_>,
    b: &[[__m512i; V]; G],
    flips: __m512i,
    store: impl Fn(usize, [[__m512i; V]; H]),
) {
    // SAFETY: the caller's promise; i + H <= rows throughout.
    unsafe {
        let mut sums = block::<T, G, H, V, HALF>(t, 0, b, flips);
        for i in (0..t.rows).step_by(H) {
            let before = sums;
            if i + H < t.rows {
                sums = block::<T, G, H, V, HALF>(t, i + H, b, flips);
            }
            store(i, take_off(t, t.top + i, before));
        }
    }
}

/// The sums of rows i..i + H.
///
/// # Safety
/// As for [`rows`]; there are such rows.
#[inline(always)]
unsafe fn block<T: Tiles, const G: usize, const H: usize, const V: usize, const HALF: bool>(
    t: &Args<'_>,
    i: usize,
    b: &[[__m512i; V]; G],
    flips: __m512i,
) -> [[__m512i; V]; H] {
    // SAFETY: the caller's promise: rows i..i + H of A may be read to the end of their last k-group.
    unsafe {
        let mut sums = start::<H, V>(t, i);
        for g in 0..G {
            for h in 0..H {
                let a = group_of(t, g, i + h, flips);
                for v in 0..V {
                    sums[h][v] = match HALF && v == V - 1 {
                        true => dot_8::<T>(sums[h][v], a, b[g][v]),
                        false => T::dot(sums[h][v], a, b[g][v]),
                    };
                }
            }
        }
        sums
    }
}
