//! The tiles of the 512-bit kernels, 6x64, 12x32 and 12x16: loop nest and register budget. `dot` has the steps of the
//! loop.
//!
//! ```text
//!   panel, one k-group:  j0 (KR values of k) j1 .. j15 | j16 .. | ..       NR/16 zmm
//!   A, row i:            the 4 bytes of the group, in all lanes            vpbroadcastd
//! ```
//!
//! Registers, of 32: 24 accumulators (12 at NR = 16), NR/16 of B, 1 of A, 1 product where the instruction does not add
//! it itself. The accumulators start from the row and column terms. Beyond the naive loop:
//!
//! 1. Vectors of the last panel without columns that are stored are left out, and of a last vector with at most 8 only
//!    the lower half is multiplied and stored. Zen 4 does two halves in the time of a whole; other CPUs should do a
//!    half in no more than a whole. At N = 24 that is 10 to 30 % faster, at N = 8 up to 40 % (Zen 4, 2026-11-27).
//! 2. Few rows take two parts of a panel side by side, or two panels ([`TWO_PANELS_UP_TO_ROWS`]).
//! 3. Sums may be stored row by row, while other rows are still multiplied ([`row_by_row`]).

use crate::contract::args::{Args, Extensions, Out};
use crate::contract::kernel::{Instruction, Tile, several_tiles};
use crate::contract::with_const::with_const;
use crate::elements::Stored;
use crate::x86::k_group::KGroups;
use crate::x86::tile::dot::{Dot, a_group, b_group, last_step, last_step_of_row, start, step, streams};
use crate::x86::tile::each_row::{each_row, each_tile, reload};
use crate::x86::tile::epilogue::{finish, last_is_half, store_sums};
use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::ops::Range;

/// An instruction with the code of its tiles.
///
/// # Safety
/// [`tile`](Self::tile) and [`tiles`](Self::tiles) keep to the contract of [`Args`] for panels of 16·PANEL columns.
pub unsafe trait ZmmTiles: Instruction {
    /// A tile of H rows and V vectors, compiled for the instruction set. V > PANEL takes two panels. MORE says that there
    /// is another tile below.
    ///
    /// # Safety
    /// The contract of [`Args`], with H rows, V = ceil(cols / 16) and NR = 16·PANEL; the CPU has the instructions of
    /// [`Instruction::ISA`].
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize, const MORE: bool>(t: &Args<'_>);

    /// Tiles of H rows and V vectors, one below the other, compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`tile`](Self::tile), but for a multiple of H rows.
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>);
}

/// Up to this number of rows are multiplied by two panels in one call: two streams come faster from memory than one, and
/// end half as often. With one call for several panels that takes 1x768x3072 from 80 to 90 GMAC/s (with 8-bit outputs
/// from 72 to 84), and 1x4096x11008 from 54 to 57 (Zen 4, 2026-11-26).
const TWO_PANELS_UP_TO_ROWS: usize = 3;

const TWO_PANELS: Extensions =
    Extensions { two_panels_up_to_rows: TWO_PANELS_UP_TO_ROWS, ..Extensions::NONE };

/// The 6x64 tile of an instruction.
pub struct Tile6x64<I>(PhantomData<I>);

// SAFETY: `ZmmTiles` keeps to the contract, given the number of rows and the vectors that hold the columns.
unsafe impl<I: ZmmTiles> Tile for Tile6x64<I> {
    type Instruction = I;
    const MR: usize = 6;
    const NR: usize = 64;
    const PANEL_STEP: usize = 16;
    const FUSED: bool = true;
    const EXTENSIONS: Extensions = TWO_PANELS;

    unsafe fn tile(t: &Args<'_>) {
        const PANEL: usize = 4;
        const { assert!(Self::NR == 16 * PANEL) };
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise: there are 1..=MR rows, and columns for 1 to 4 vectors; or, for rows that take
        // two panels, for all 8 vectors of these.
        unsafe {
            if t.cols > Self::NR {
                return with_const!(H in [1, 2, 3] = t.rows, at most TWO_PANELS_UP_TO_ROWS =>
                    I::tile::<H, { 2 * PANEL }, PANEL, false>(t));
            }
            with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most Self::MR =>
                with_const!(V in [1, 2, 3, 4] = t.cols.div_ceil(16), at most PANEL =>
                    I::tile::<H, V, V, false>(t)))
        }
    }

    unsafe fn whole_tiles(t: &mut Args<'_>) {
        const PANEL: usize = 4;
        // SAFETY: the caller's promise: there are whole tiles, and columns of one panel.
        unsafe {
            with_const!(V in [1, 2, 3, 4] = t.cols.div_ceil(16), at most PANEL =>
                I::tiles::<6, V>(t))
        }
    }

    #[inline(always)]
    unsafe fn micro(t: &mut Args<'_>) {
        // SAFETY: the caller's promise. Up to 32 columns are a panel of the other tile too.
        unsafe {
            if t.rows <= Self::MR {
                Self::tile(t);
            } else if t.cols <= 32 {
                // Six sums of a vector are too few to hide the latency of their instruction.
                Tile12x32::<I>::micro(t);
            } else {
                several_tiles::<Self>(t);
            }
        }
    }
}

/// The 12x32 tile of an instruction.
pub struct Tile12x32<I>(PhantomData<I>);

// SAFETY: `ZmmTiles` keeps to the contract, given the number of rows and the vectors that hold the columns.
unsafe impl<I: ZmmTiles> Tile for Tile12x32<I> {
    type Instruction = I;
    const MR: usize = 12;
    const NR: usize = 32;
    const PANEL_STEP: usize = 16;
    const FUSED: bool = true;
    const EXTENSIONS: Extensions = TWO_PANELS;

    unsafe fn tile(t: &Args<'_>) {
        const PANEL: usize = 2;
        const { assert!(Self::NR == 16 * PANEL) };
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise: there are 1..=MR rows, and columns for 1 or 2 vectors; or, for rows that take
        // two panels, for all 4 vectors of these.
        unsafe {
            if t.cols > Self::NR {
                return with_const!(H in [1, 2, 3] = t.rows, at most TWO_PANELS_UP_TO_ROWS =>
                    I::tile::<H, { 2 * PANEL }, PANEL, false>(t));
            }
            with_const!(V in [1, 2] = t.cols.div_ceil(16), at most PANEL =>
                with_const!(H in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] = t.rows, at most Self::MR =>
                    I::tile::<H, V, V, false>(t)))
        }
    }

    unsafe fn whole_tiles(t: &mut Args<'_>) {
        const PANEL: usize = 2;
        // SAFETY: the caller's promise: there are whole tiles, and columns of one panel.
        unsafe {
            // Not `tiles`: inlined into a loop over tiles, 24 accumulators do not stay in registers.
            with_const!(V in [1, 2] = t.cols.div_ceil(16), at most PANEL =>
                each_tile::<12>(t, #[inline(always)] |t| I::tile::<12, V, V, true>(t)))
        }
    }
}

/// The 12x16 tile of an instruction.
pub struct Tile12x16<I>(PhantomData<I>);

// SAFETY: `ZmmTiles` keeps to the contract, given the number of rows and the vector that holds the columns.
unsafe impl<I: ZmmTiles> Tile for Tile12x16<I> {
    type Instruction = I;
    const MR: usize = 12;
    const NR: usize = 16;
    const PANEL_STEP: usize = 16;
    const FUSED: bool = true;

    unsafe fn tile(t: &Args<'_>) {
        const { assert!(Self::NR == 16) };
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise: there are 1..=MR rows.
        unsafe {
            with_const!(H in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] = t.rows, at most Self::MR =>
                I::tile::<H, 1, 1, false>(t))
        }
    }

    unsafe fn whole_tiles(t: &mut Args<'_>) {
        // SAFETY: the caller's promise: there are whole tiles, and columns of one panel.
        unsafe { I::tiles::<12, 1>(t) }
    }
}

/// From this number of k-groups on, tiles of up to 3 rows and one panel read both halves of it side by side, for the
/// reason given at [`TWO_PANELS_UP_TO_ROWS`]: 34 GB/s against 25 from memory, 80 against 77 from the third-level cache
/// (Zen 4, 2026-11-26).
const STREAMS_FROM: usize = 64;

/// From this number of k-groups on, a tile of sums or f32 prefetches its part of C before it multiplies, to have it
/// when it stores: 2 to 4 % where C lies beyond the second-level cache (Zen 4, 2026-11-26). Shorter tiles gain nothing.
const PREFETCH_FROM: usize = 128;

/// Tiles of H rows, one below the other.
///
/// # Safety
/// The contract of [`ZmmTiles::tiles`], and of [`Dot`].
#[inline(always)]
pub unsafe fn tiles<D: Dot<Vector = __m512i>, const H: usize, const V: usize>(
    t: &mut Args<'_>,
    flips: __m512i,
) {
    each_tile::<H>(
        t,
        #[inline(always)]
        // SAFETY: the caller's promise.
        |t| unsafe { tile::<D, H, V, V, true>(t, flips) },
    );
}

/// A tile of H rows and V vectors of columns of a panel that is PANEL vectors wide, or of two; `flips` is XORed with
/// each k-group of A.
///
/// # Safety
/// The contract of [`ZmmTiles::tile`], and of [`Dot`].
#[inline(always)]
pub unsafe fn tile<
    D: Dot<Vector = __m512i>,
    const H: usize,
    const V: usize,
    const PANEL: usize,
    const MORE: bool,
>(
    t: &Args<'_>,
    flips: __m512i,
) {
    t.debug_assert_tile(H, V, 16);
    // SAFETY: the caller's promise; steps are taken for the k-groups that there are, and `stores_row_by_row` is false
    // where they are too few for `row_by_row`.
    unsafe {
        let mut acc = start::<_, H, V>(t, 0);
        let groups = KGroups::new::<D>(t.k);
        let mut first = 0;
        if H <= 3 && V <= PANEL && groups.whole >= STREAMS_FROM && t.side_by_side {
            first = streams::<D, H, V, PANEL, 2>(t, groups.whole, flips, &mut acc);
        }
        if groups.whole >= PREFETCH_FROM {
            prefetch_output::<H, V>(t);
        }
        let half = V <= PANEL && last_is_half::<__m512i, V>(t.cols);
        let by_row = match t.out {
            Out::Sums { c, accumulate } if first == 0 && stores_row_by_row::<V>(t, groups.whole) => {
                Some((c, accumulate))
            }
            _ => None,
        };
        match (half, by_row) {
            (true, Some((c, accumulate))) if V.is_multiple_of(2) => {
                return row_by_row::<D, H, V, PANEL, true, MORE>(t, groups, flips, acc, c, accumulate);
            }
            (false, Some((c, accumulate))) => {
                return row_by_row::<D, H, V, PANEL, false, MORE>(t, groups, flips, acc, c, accumulate);
            }
            (true, _) => {
                steps::<D, H, V, PANEL, true, MORE>(t, first..groups.whole, flips, &mut acc);
            }
            (false, None) => {
                steps::<D, H, V, PANEL, false, MORE>(t, first..groups.whole, flips, &mut acc);
            }
        }
        if MORE {
            reload(t);
        }
        last_step::<D, H, V, PANEL>(t, groups, flips, &mut acc);
        finish(t, acc);
    }
}

/// Adds the products of some k-groups, and prefetches the rows of the next tile if the caller expects them in no cache:
/// a dozen rows read four bytes at a time are no stream that a CPU recognises. With that 65520x512x16 runs at 206
/// GMAC/s instead of 68 (Zen 4, 2026-11-29). They go to the second-level cache: in the first, rows a multiple of 4 KiB
/// apart evict each other.
///
/// # Safety
/// The contract of [`step`] for each of them.
#[inline(always)]
unsafe fn steps<
    D: Dot<Vector = __m512i>,
    const H: usize,
    const V: usize,
    const PANEL: usize,
    const HALF: bool,
    const MORE: bool,
>(
    t: &Args<'_>,
    groups: Range<usize>,
    flips: __m512i,
    acc: &mut [[__m512i; V]; H],
) {
    /// The k-groups of a cache line of a row.
    const LINE: usize = 16;
    if V == 4 && V == PANEL && !t.next_panel.is_null() {
        let per_group = H * t.next_per_row / 64;
        let mut next = t.next_panel.wrapping_add(groups.end * t.first_row * t.next_per_row / 64);
        for g in groups {
            // SAFETY: the caller's promise; a prefetch may have any address.
            unsafe {
                step::<D, H, V, PANEL, HALF>(t, g, flips, acc);
                _mm_prefetch::<_MM_HINT_T1>(next.cast());
                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(64).cast());
            }
            next = next.wrapping_add(per_group);
        }
        return;
    }
    // 16-bit A are copies, which are in a cache.
    if !MORE || D::A == Stored::I16 || !t.a_from_memory {
        for g in groups {
            // SAFETY: the caller's promise.
            unsafe { step::<D, H, V, PANEL, HALF>(t, g, flips, acc) };
        }
        return;
    }
    let mut from = groups.start;
    while from < groups.end {
        for i in 0..H {
            let line = t.a.wrapping_add((H + i) * t.lda + 4 * from);
            // SAFETY: a prefetch may have any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
        }
        let to = groups.end.min(from + LINE);
        for g in from..to {
            // SAFETY: the caller's promise.
            unsafe { step::<D, H, V, PANEL, HALF>(t, g, flips, acc) };
        }
        from = to;
    }
}

/// Prefetches the elements of C that a tile of sums or f32 will store.
#[inline(always)]
fn prefetch_output<const H: usize, const V: usize>(t: &Args<'_>) {
    let c = match t.out {
        Out::Sums { c, .. } => c,
        Out::Floats { c, .. } => c.cast(),
        Out::Bytes { .. } | Out::FixedBytes { .. } => return,
    };
    for i in 0..H {
        for v in 0..V {
            // SAFETY: a prefetch may have any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(i * t.ldc + 16 * v).cast()) };
        }
    }
}

/// The number of k-groups that [`row_by_row`] leaves to the rows: each row loads the vectors of the panel again, so
/// with few of them one group is best.
const fn groups_by_row(vectors: usize) -> usize {
    if vectors > 2 { 4 } else { 1 }
}

/// Whether [`row_by_row`] is faster: by 10 % at K = N = 64 and 7 % at K = N = 32 on Zen 4, whose stores are slow
/// (2026-11-27); it is 7 % slower on Zen 5. Never with less than [`groups_by_row`] groups. Slower on Zen 4 too where the
/// output is 8 bits or f32 (3 %), and where the last of an odd number of vectors is half of one (1 to 10 %).
#[inline(always)]
fn stores_row_by_row<const V: usize>(t: &Args<'_>, groups: usize) -> bool {
    t.slow_stores && t.outer.is_empty() && groups >= if V == 2 { 1 } else { 8 }
}

/// Multiplies the k-groups, the last few row by row, and stores each row's sums as soon as they are complete: a store
/// takes Zen 4 two cycles a vector, in which the products of the next row keep the multipliers busy.
///
/// # Safety
/// The contract of [`tile`]; there are [`groups_by_row`] whole k-groups at least, and `c` is the output's.
#[inline(always)]
unsafe fn row_by_row<
    D: Dot<Vector = __m512i>,
    const H: usize,
    const V: usize,
    const PANEL: usize,
    const HALF: bool,
    const MORE: bool,
>(
    t: &Args<'_>,
    groups: KGroups,
    flips: __m512i,
    mut acc: [[__m512i; V]; H],
    c: *mut i32,
    accumulate: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let together = groups.whole - groups_by_row(V);
        steps::<D, H, V, PANEL, HALF, MORE>(t, 0..together, flips, &mut acc);
        if MORE {
            reload(t);
        }
        each_row::<H>(
            #[inline(always)]
            |i| {
                for g in 0..groups_by_row(V) {
                    let a = a_group(t, together + g, i, flips);
                    for v in 0..V {
                        acc[i][v] = D::dot(acc[i][v], a, b_group::<D, PANEL>(t, together + g, v));
                    }
                }
                if groups.left > 0 {
                    last_step_of_row::<D, V, PANEL>(t, i, groups, flips, &mut acc[i]);
                }
                store_sums::<_, V, HALF>(t, c.add(i * t.ldc), accumulate, acc[i]);
            },
        );
    }
}
