//! The 6x16 tile of the 256-bit kernels: loop nest and register budget. `dot` has the steps of the loop.
//!
//! ```text
//!   panel, one k-group:  j0 (KR values of k) j1 .. j7 | j8 .. j15       two ymm
//!   A, row i:            the 4 bytes of the group, in all lanes         vpbroadcastd
//! ```
//!
//! Registers, all 16: 12 accumulators, 2 of B, 1 of A, 1 product where the instruction does not add it itself. Where at
//! most 8 columns of a panel are stored, its second half is left out.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Tile};
use crate::contract::with_const::with_const;
use crate::x86::k_group::KGroups;
use crate::x86::tile::dot::{Dot, add_terms, last_step, step, streams};
use crate::x86::tile::each_row::{each_tile, reload};
use crate::x86::tile::epilogue::finish;
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// Columns of a panel.
pub const NR: usize = 16;

/// An instruction with the code of its tiles.
///
/// # Safety
/// [`tile`](Self::tile) and [`tiles`](Self::tiles) keep to the contract of [`Args`] for a panel of [`NR`] columns.
pub unsafe trait YmmTiles: Instruction {
    /// A tile of H rows and V vectors, compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`Args`], with H rows and V = ceil(cols / 8); the CPU has the instructions of
    /// [`Instruction::ISA`].
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>);

    /// Tiles of H rows and V vectors, one below the other, compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`tile`](Self::tile), but for a multiple of H rows.
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>);
}

/// The 6x16 tile of an instruction.
pub struct Tile6x16<I>(PhantomData<I>);

// SAFETY: `YmmTiles` keeps to the contract, given the number of rows and the vectors that hold the columns.
unsafe impl<I: YmmTiles> Tile for Tile6x16<I> {
    type Instruction = I;
    const MR: usize = 6;
    const NR: usize = NR;
    const PANEL_STEP: usize = 8;
    const FUSED: bool = true;

    unsafe fn tile(t: &Args<'_>) {
        const { assert!(Self::NR == 2 * 8) };
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise: there are 1..=MR rows, and columns for one vector or two.
        unsafe {
            if t.cols > 8 {
                with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most Self::MR => I::tile::<H, 2>(t))
            } else {
                with_const!(H in [1, 2, 3, 4, 5, 6] = t.rows, at most Self::MR => I::tile::<H, 1>(t))
            }
        }
    }

    unsafe fn whole_tiles(t: &mut Args<'_>) {
        const { assert!(Self::MR == 6) };
        // SAFETY: the caller's promise: there are whole tiles, and columns for one vector or two.
        unsafe { if t.cols > 8 { I::tiles::<6, 2>(t) } else { I::tiles::<6, 1>(t) } }
    }
}

/// From this number of k-groups on, tiles of up to 3 rows read several parts of the panel side by side.
const STREAMS_FROM: usize = 64;

/// Tiles of H rows, one below the other.
///
/// # Safety
/// The contract of [`YmmTiles::tiles`], and of [`Dot`].
#[inline(always)]
pub unsafe fn tiles<D: Dot<Vector = __m256i>, const H: usize, const V: usize>(t: &mut Args<'_>) {
    each_tile::<H>(
        t,
        #[inline(always)]
        // SAFETY: the caller's promise.
        |t| unsafe { tile::<D, H, V>(t) },
    );
}

/// A tile of H rows and V vectors of columns.
///
/// # Safety
/// The contract of [`YmmTiles::tile`], and of [`Dot`].
#[inline(always)]
pub unsafe fn tile<D: Dot<Vector = __m256i>, const H: usize, const V: usize>(t: &Args<'_>) {
    t.debug_assert_tile(H, V, 8);
    // SAFETY: the caller's promise; steps are taken for the k-groups that there are.
    unsafe {
        let no_flips = _mm256_setzero_si256();
        let mut acc = [[no_flips; V]; H];
        let groups = KGroups::new::<D>(t.k);
        let mut first = 0;
        if groups.whole >= STREAMS_FROM {
            first = match H {
                1 => streams::<D, H, V, V, 4>(t, groups.whole, no_flips, &mut acc),
                2 | 3 => streams::<D, H, V, V, 2>(t, groups.whole, no_flips, &mut acc),
                _ => 0,
            };
        }
        for g in first..groups.whole {
            step::<D, H, V, V, false>(t, g, no_flips, &mut acc);
        }
        reload(t);
        last_step::<D, H, V, V>(t, groups, no_flips, &mut acc);
        finish(t, add_terms(t, acc));
    }
}
