//! The loop over k of a tile: an instruction that multiplies k-groups, and the steps around it.
//!
//! The naive loop adds one product at a time. A step adds those of a k-group (KR values of k, 4 bytes of a row of A)
//! for H rows and V vectors of columns:
//!
//! ```text
//!   panel, k-group g:  j0 (KR values) j1 .. | .. | ..       4 bytes per column, V vectors
//!   A, row i:          the 4 bytes of the group             in all lanes, by vpbroadcastd
//!   acc[i][v] +=       for each lane, the products of its 4 bytes of both
//! ```

use crate::contract::args::Args;
use crate::contract::kernel::Instruction;
use crate::elements::Stored;
use crate::x86::k_group::{KGroups, partial_group};
use crate::x86::tile::each_row::each_row;
use crate::x86::tile::vector::Vector;

/// An instruction that multiplies the k-groups of two vectors, lane by lane.
///
/// # Safety
/// The contract of each method: the CPU has the instructions of [`Instruction::ISA`], and the method is inlined into
/// code that is compiled for them. Implementations access no memory.
pub unsafe trait Dot: Instruction {
    type Vector: Vector;

    /// Adds to each lane of `acc` the products of the lane's k-groups of A and of the panel.
    unsafe fn dot(acc: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// [`dot`](Self::dot) of the lower half of the lanes, where that is cheaper; the others are then lost.
    #[inline(always)]
    unsafe fn dot_low(acc: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the caller's promise.
        unsafe { Self::dot(acc, a, b) }
    }
}

/// The sums of H rows and V vectors before the first product: the terms of rows i..i + H and of the columns.
///
/// # Safety
/// The contract of [`Args`] for H rows from `i` on and V = ceil(cols / LANES) vectors; and that of [`Vector`].
#[inline(always)]
pub unsafe fn start<X: Vector, const H: usize, const V: usize>(t: &Args<'_>, i: usize) -> [[X; V]; H] {
    // SAFETY: `col` holds whole panels, of which V vectors are no more; `row` holds rows i..i + H.
    unsafe {
        let mut acc = [[X::zero(); V]; H];
        for v in 0..V {
            let col = X::load(t.col.add(X::LANES * v));
            for h in 0..H {
                acc[h][v] = X::add(col, X::splat(*t.row.add(i + h)));
            }
        }
        acc
    }
}

/// Adds the terms of the rows and columns to the sums of products. The tiles of 256 bits do it at the end: with the
/// terms in [`start`] the compiler runs out of their 16 registers and moves three accumulators to the stack for the
/// whole loop.
///
/// # Safety
/// The contract of [`start`], for rows from 0 on.
#[inline(always)]
pub unsafe fn add_terms<X: Vector, const H: usize, const V: usize>(
    t: &Args<'_>,
    mut acc: [[X; V]; H],
) -> [[X; V]; H] {
    // SAFETY: `col` holds whole panels, of which V vectors are no more; `row` holds H rows.
    unsafe {
        for v in 0..V {
            let col = X::load(t.col.add(X::LANES * v));
            for i in 0..H {
                acc[i][v] = acc[i][v].add(col.add(X::splat(*t.row.add(i))));
            }
        }
        acc
    }
}

/// Adds the products of k-group `g`. PANEL is the number of vectors of a panel; V > PANEL takes two panels. With HALF,
/// the upper half of the last vector is not multiplied. `flips` is XORed with A.
///
/// # Safety
/// The contract of [`Args`], with H rows and V vectors; there is a whole k-group `g`; and the contract of [`Dot`].
#[inline(always)]
pub unsafe fn step<D: Dot, const H: usize, const V: usize, const PANEL: usize, const HALF: bool>(
    t: &Args<'_>,
    g: usize,
    flips: D::Vector,
    acc: &mut [[D::Vector; V]; H],
) {
    // SAFETY: the caller's promise: rows 0..H of A and vectors 0..V of the panels have the k-group.
    unsafe {
        if V > PANEL {
            // One vector of B at a time: all of them and the accumulators would be too many registers.
            let mut a = [flips; H];
            for i in 0..H {
                a[i] = a_group::<D::Vector>(t, g, i, flips);
            }
            for v in 0..V {
                let b = b_group::<D, PANEL>(t, g, v);
                for i in 0..H {
                    acc[i][v] = D::dot(acc[i][v], a[i], b);
                }
            }
            return;
        }
        let mut b = [flips; V];
        for v in 0..V {
            b[v] = b_group::<D, PANEL>(t, g, v);
        }
        for i in 0..H {
            let a = a_group::<D::Vector>(t, g, i, flips);
            for v in 0..V {
                acc[i][v] = if HALF && v == V - 1 {
                    D::dot_low(acc[i][v], a, b[v])
                } else {
                    D::dot(acc[i][v], a, b[v])
                };
            }
        }
    }
}

/// Adds the products of all k-groups but the last few, read from S places side by side: a few rows have too few
/// accumulators to hide the latency of an instruction, and several streams come faster from memory than one. Returns
/// the number of k-groups that it did.
///
/// # Safety
/// The contract of [`step`]; there are `groups` whole k-groups.
#[inline(always)]
pub unsafe fn streams<D: Dot, const H: usize, const V: usize, const PANEL: usize, const S: usize>(
    t: &Args<'_>,
    groups: usize,
    flips: D::Vector,
    acc: &mut [[D::Vector; V]; H],
) -> usize {
    // SAFETY: s·part + g < S·part <= groups.
    unsafe {
        let part = groups / S;
        let mut sums = [[[D::Vector::zero(); V]; H]; S];
        sums[0] = *acc;
        for g in 0..part {
            for s in 0..S {
                step::<D, H, V, PANEL, false>(t, s * part + g, flips, &mut sums[s]);
            }
        }
        *acc = sums[0];
        for s in 1..S {
            for i in 0..H {
                for v in 0..V {
                    acc[i][v] = acc[i][v].add(sums[s][i][v]);
                }
            }
        }
        S * part
    }
}

/// Adds the products of the bytes that follow the whole k-groups, if there are any.
///
/// # Safety
/// The contract of [`step`], but for its k-group; `groups` are those of a row.
#[inline(always)]
pub unsafe fn last_step<D: Dot, const H: usize, const V: usize, const PANEL: usize>(
    t: &Args<'_>,
    groups: KGroups,
    flips: D::Vector,
    acc: &mut [[D::Vector; V]; H],
) {
    if groups.left > 0 {
        each_row::<H>(
            #[inline(always)]
            // SAFETY: the caller's promise.
            |i| unsafe { last_step_of_row::<D, V, PANEL>(t, i, groups, flips, &mut acc[i]) },
        );
    }
}

/// Adds the products of the bytes of row `i` that follow its whole k-groups: one at least.
///
/// # Safety
/// The contract of [`step`], but for its k-group, which is padded in the panel; `groups` are those of a row.
#[inline(always)]
pub unsafe fn last_step_of_row<D: Dot, const V: usize, const PANEL: usize>(
    t: &Args<'_>,
    i: usize,
    groups: KGroups,
    flips: D::Vector,
    acc: &mut [D::Vector; V],
) {
    // SAFETY: `left` bytes of the row are left, with a whole k-group before them if there is one.
    unsafe {
        let KGroups { whole, left } = groups;
        // The bytes that complete the group stay 0, by which any padding is multiplied.
        let flips = flips.first_lane() as u32 >> (8 * (4 - left));
        let bytes = partial_group(t.a.add(i * t.lda + 4 * whole), left, whole > 0);
        let a = D::Vector::splat(bytes ^ flips as i32);
        for v in 0..V {
            acc[v] = D::dot(acc[v], a, b_group::<D, PANEL>(t, whole, v));
        }
    }
}

/// K-group `g` of row `i` of A, in all lanes, XORed with `flips`.
///
/// # Safety
/// Row `i` may be read to the end of the k-group; and the contract of [`Vector`].
#[inline(always)]
pub unsafe fn a_group<X: Vector>(t: &Args<'_>, g: usize, i: usize, flips: X) -> X {
    // SAFETY: the caller's promise.
    unsafe { X::splat(i32::from_ne_bytes(*t.a.add(i * t.lda + 4 * g).cast())).xor(flips) }
}

/// Vector `v` of k-group `g` of a panel that is PANEL vectors wide, or from v = PANEL on of the panel after it. Panels
/// of i8 are widened for an instruction that multiplies i16.
///
/// # Safety
/// There is such a panel with such a k-group, padded or not; and the contract of [`Vector`].
#[inline(always)]
pub unsafe fn b_group<D: Dot, const PANEL: usize>(t: &Args<'_>, g: usize, v: usize) -> D::Vector {
    let panel_groups = if v < PANEL { 0 } else { (t.k * D::A.size()).div_ceil(4) };
    let at = ((panel_groups + g) * PANEL + v % PANEL) * 4 * D::Vector::LANES;
    // SAFETY: the caller's promise; a k-group is 4 bytes of each column as it is multiplied, and half of that before it
    // is widened.
    unsafe {
        if matches!((D::A, D::B), (Stored::I16, Stored::I8)) {
            D::Vector::load_i8_as_i16(t.b.add(at / 2))
        } else {
            D::Vector::load(t.b.add(at).cast())
        }
    }
}
