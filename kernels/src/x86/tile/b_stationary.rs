//! Many rows and few values of k, for the 512-bit kernels: the vectors of a panel stay in registers, 32 columns of them
//! at a time, while the rows of A go by.
//!
//! ```text
//!   B:  up to 10 k-groups x 32 columns                         20 zmm, loaded once
//!   A:  2 rows at a time (4 for a rest of at most 16 columns)  4 accumulators, and 4 of the rows before
//! ```
//!
//! A tile of `zmm` ends with 24 stores, during which its multipliers wait for the first products of the next; here a
//! store follows every few products. The products of a block of rows are issued before the previous block is finished
//! and stored: finishing that block does not wait for them, so both are under way together. In the other order the
//! processor's schedulers would fill with operations that wait for products.
//!
//! Against tiles, for 240 rows (Zen 4, 2026-11-27): sums are 35 to 40 % faster at K = 16 to 24, 25 % at 28, 9 % at 32,
//! even at 40 and slower beyond (for 32 columns 20 % at K = 32, for 16 25 to 50 %); 8 bits are 3 to 12 % faster at K =
//! 20 to 40.

use crate::contract::args::{Args, Extensions, Out};
use crate::contract::kernel::{Suits, Tile};
use crate::contract::stage::TileRequantize;
use crate::contract::with_const::with_const;
use crate::x86::tile::dot::{Dot, a_group, start};
use crate::x86::tile::epilogue::{last_is_half, store_bytes, store_sums, subtract_outer_products};
use crate::x86::tile::vector::Vector;
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// Up to this K, sums of 17 to 24 columns take longer with products of half vectors: by 4 % at 24, 8 % at 16 (Zen 4,
/// 2026-11-27).
const NO_HALVES_UP_TO_K: usize = 24;

/// The most k-groups of 4 bytes whose vectors fit the registers.
const MAX_GROUPS: usize = 10;

/// The rows with a stationary panel are a multiple of this.
const ROW_STEP: usize = 4;

/// The least number of rows of any output: the lowest of [`min_rows`].
const MIN_ROWS: usize = 24;

/// The number of rows from which on a stationary panel is faster than tiles, which have less to do before the first
/// product and more after the last (24 for sums, 48 for bytes: Zen 4, 2026-11-27). `None` for outputs that are not made
/// with a stationary panel.
fn min_rows(out: &Out<'_>) -> Option<usize> {
    match out {
        Out::Sums { accumulate: false, .. } => Some(MIN_ROWS),
        Out::Bytes {
            stage: TileRequantize { f64_terms: None, residual: None, row_scale: None, .. }, ..
        } => Some(48),
        _ => None,
    }
}

/// The number of rows, from the first on, that are multiplied by a stationary panel: a multiple of [`ROW_STEP`], or 0.
/// Each of them may be read to the end of its last k-group.
#[inline(never)]
fn stationary_rows(t: &Args<'_>) -> usize {
    let Args { k, rows, .. } = *t;
    if k > 4 * MAX_GROUPS || k == 0 || min_rows(&t.out).is_none_or(|min| rows < min) {
        return 0;
    }
    if k.is_multiple_of(4) {
        rows / ROW_STEP * ROW_STEP
    } else if t.lda >= 4 {
        // The last k-group of the last row may lie beyond A, so that row is left to a tile. Those of other rows do not:
        // the row after it ends at least a whole k-group later.
        (rows - 1) / ROW_STEP * ROW_STEP
    } else {
        0
    }
}

/// An instruction with the code for stationary panels.
///
/// # Safety
/// [`rows`](Self::rows) keeps to the contract of [`Args`].
pub unsafe trait BStationaryRows: Dot<Vector = __m512i> {
    /// Calls [`rows`] in a function that is compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`rows`]; the CPU has the instructions of
    /// [`Instruction::ISA`](crate::contract::kernel::Instruction::ISA).
    unsafe fn rows<const G: usize, const H: usize, const V: usize, const HALF: bool>(
        t: &Args<'_>,
        panel: usize,
    );
}

/// A tile that also takes many rows with a stationary panel.
pub struct BStationary<T>(PhantomData<T>);

// SAFETY: tiles are the other's; `all_columns` keeps to the contract for its NR.
unsafe impl<T: Tile> Tile for BStationary<T>
where
    T::Instruction: BStationaryRows,
{
    type Instruction = T::Instruction;
    const MR: usize = T::MR;
    const NR: usize = T::NR;
    const PANEL_STEP: usize = T::PANEL_STEP;
    const LANES: usize = T::LANES;
    const SUITS: Suits = T::SUITS;
    const FUSED: bool = T::FUSED;
    const EXTENSIONS: Extensions = Extensions { b_stationary_up_to_k: 4 * MAX_GROUPS, ..T::EXTENSIONS };

    unsafe fn tile(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { T::tile(t) }
    }

    unsafe fn micro(t: &mut Args<'_>) {
        const { assert!(T::PANEL_STEP == 16) };
        // SAFETY: the caller's promise.
        unsafe { if t.rows < MIN_ROWS { T::micro(t) } else { many_rows::<T>(t) } }
    }
}

/// [`Tile::micro`] for rows that may be enough for a stationary panel. Not inlined: a few rows would save its registers.
///
/// # Safety
/// The contract of [`Tile::micro`].
#[inline(never)]
unsafe fn many_rows<T: Tile>(t: &mut Args<'_>)
where
    T::Instruction: BStationaryRows,
{
    let (rows, stationary) = (t.rows, stationary_rows(t));
    // SAFETY: the caller's promise. More than MR rows come with one panel; those with a stationary panel may be read to the
    // end of their last k-group.
    unsafe {
        if stationary > 0 {
            t.rows = stationary;
            all_columns::<T::Instruction>(t);
            if stationary == rows {
                return;
            }
            t.move_down(stationary);
            t.rows = rows - stationary;
        }
        T::micro(t);
    }
}

/// All rows and columns of a panel.
///
/// # Safety
/// The contract of [`Args`] for one panel, which grows by vectors; K is 1..=4·[`MAX_GROUPS`], `rows` a multiple of
/// [`ROW_STEP`], and all rows may be read to the end of their last k-group; the CPU has the instructions of T.
unsafe fn all_columns<T: BStationaryRows>(t: &Args<'_>) {
    let panel = t.cols.div_ceil(16);
    for j in (0..t.cols).step_by(32) {
        let cols = (t.cols - j).min(32);
        let no_halves = t.k <= NO_HALVES_UP_TO_K && matches!(t.out, Out::Sums { .. });
        // SAFETY: the caller's promise: columns j..j + cols are columns of the panel, of the terms and of the output.
        // The vectors of the part are ceil(cols / 16).
        unsafe {
            let part = t.columns(j, cols, t.b.add(4 * j));
            match cols {
                ..=8 => all_rows::<T, 4, 1, true>(&part, panel),
                9..=16 => all_rows::<T, 4, 1, false>(&part, panel),
                17..=24 if !no_halves => all_rows::<T, 2, 2, true>(&part, panel),
                _ => all_rows::<T, 2, 2, false>(&part, panel),
            }
        }
    }
}

/// [`rows`], for the k-groups that there are.
///
/// # Safety
/// The contract of [`rows`], but for G; the CPU has the instructions of T.
#[inline]
unsafe fn all_rows<T: BStationaryRows, const H: usize, const V: usize, const HALF: bool>(
    t: &Args<'_>,
    panel: usize,
) {
    const { assert!(T::KR == 4 && T::A.size() == 1) };
    // SAFETY: the caller's promise: K is 1..=4·MAX_GROUPS.
    unsafe {
        with_const!(G in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] = t.k.div_ceil(4), at most MAX_GROUPS =>
            T::rows::<G, H, V, HALF>(t, panel))
    }
}

/// All rows, H at a time, and V vectors of columns of a panel that is `panel` vectors wide, with G k-groups of bytes;
/// `flips` is XORed with each k-group of A. HALF says that the last vector has at most 8 columns, and that no more of
/// it are multiplied.
///
/// # Safety
/// The contract of [`all_columns`], with V = ceil(cols / 16) and G = ceil(k / 4); and of [`Dot`].
#[inline(always)]
pub unsafe fn rows<
    T: Dot<Vector = __m512i>,
    const G: usize,
    const H: usize,
    const V: usize,
    const HALF: bool,
>(
    t: &Args<'_>,
    panel: usize,
    flips: __m512i,
) {
    const { assert!(ROW_STEP.is_multiple_of(H)) };
    debug_assert!(t.cols.div_ceil(16) == V && t.k.div_ceil(4) == G && t.rows.is_multiple_of(H));
    // SAFETY: the panel has G k-groups of `panel` vectors, V at least. `c` is the output's, of which blocks are H rows
    // from i on.
    unsafe {
        let mut b = [[_mm512_setzero_si512(); V]; G];
        for g in 0..G {
            for v in 0..V {
                b[g][v] = __m512i::load(t.b.add((g * panel + v) * 64).cast());
            }
        }
        let left = t.k % 4;
        if left > 0 {
            // The bytes of A beyond its rows, which complete the last k-group, are multiplied by 0.
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
                        if HALF || last_is_half::<__m512i, V>(t.cols) {
                            store_sums::<_, V, true>(t, c, false, sums[h]);
                        } else {
                            store_sums::<_, V, false>(t, c, false, sums[h]);
                        }
                    }
                },
            ),
            Out::Bytes { c, stage } => blocks::<T, G, H, V, HALF>(
                t,
                &b,
                flips,
                #[inline(always)]
                |i, sums| store_bytes(t, sums, c.add(i * t.ldc), stage),
            ),
            // These outputs have no `min_rows`.
            Out::FixedBytes { .. } | Out::Floats { .. } => (),
        }
    }
}

/// Calls `store` with the sums of rows i..i + H for every H rows.
///
/// # Safety
/// The contract of [`rows`].
#[inline(always)]
unsafe fn blocks<
    T: Dot<Vector = __m512i>,
    const G: usize,
    const H: usize,
    const V: usize,
    const HALF: bool,
>(
    t: &Args<'_>,
    b: &[[__m512i; V]; G],
    flips: __m512i,
    store: impl Fn(usize, [[__m512i; V]; H]),
) {
    // SAFETY: the caller's promise; H divides the number of rows, so i + H <= rows throughout.
    unsafe {
        let mut sums = block::<T, G, H, V, HALF>(t, 0, b, flips);
        for i in (0..t.rows).step_by(H) {
            let before = sums;
            if i + H < t.rows {
                sums = block::<T, G, H, V, HALF>(t, i + H, b, flips);
            }
            store(i, subtract_outer_products(t, t.first_row + i, before));
        }
    }
}

/// The sums of rows i..i + H.
///
/// # Safety
/// The contract of [`rows`]; there are such rows.
#[inline(always)]
unsafe fn block<
    T: Dot<Vector = __m512i>,
    const G: usize,
    const H: usize,
    const V: usize,
    const HALF: bool,
>(
    t: &Args<'_>,
    i: usize,
    b: &[[__m512i; V]; G],
    flips: __m512i,
) -> [[__m512i; V]; H] {
    // SAFETY: the caller's promise: rows i..i + H of A may be read to the end of their last k-group.
    unsafe {
        let mut sums = start::<_, H, V>(t, i);
        for g in 0..G {
            for h in 0..H {
                let a = a_group(t, g, i + h, flips);
                for v in 0..V {
                    sums[h][v] = if HALF && v == V - 1 {
                        T::dot_low(sums[h][v], a, b[g][v])
                    } else {
                        T::dot(sums[h][v], a, b[g][v])
                    };
                }
            }
        }
        sums
    }
}
