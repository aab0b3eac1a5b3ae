//! The 8x8 tile of the dot products by element, KR = 4: their files give the instruction.
//!
//! `sdot`, `udot`, `usdot` and `sudot` add four products of bytes to each i32; the second operand is one group of 4
//! bytes for all. Unlike the naive loop, a turn takes 16 values of k, loaded once for each row. Registers, of 32: 16
//! accumulators, 8 of A (16 values of k of each row), 2 of B:
//!
//! ```text
//!   panel, one k-group:  j0 (4 k) j1 j2 j3 | j4 j5 j6 j7       two q registers
//!   A, row i:            k0..k3 | k4..k7 | k8..k11 | k12..k15  one q register, used by element
//! ```

use crate::aarch64::tile;
use crate::aarch64::tile::NR;
use crate::contract::args::Args;
use crate::contract::kernel::Instruction;
use core::arch::aarch64::*;

/// A dot product: `acc += b[lane group] · a[element L]` in each lane.
///
/// # Safety
/// [`dot`](Self::dot) accesses no memory.
pub unsafe trait DotByElement: Instruction {
    /// # Safety
    /// The CPU has the instructions of [`Instruction::ISA`].
    unsafe fn dot<const L: i32>(acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t;
}

/// A tile of H rows.
///
/// # Safety
/// The contract of [`Args`], with H rows; the caller has the instructions of D, and is where this is inlined.
#[inline(always)]
pub unsafe fn tile<const H: usize, D: DotByElement>(t: &Args<'_>) {
    const { assert!(D::KR == 4 && D::A.size() == 1) };
    t.debug_assert_tile(H, 1, NR);
    // SAFETY: row i of A has k bytes; the panel has all its k-groups, the last one padded.
    unsafe {
        let mut acc = tile::start::<H>(t);
        let whole = t.k / 16 * 16;
        let mut a = [vdupq_n_u8(0); H];
        for k in (0..whole).step_by(16) {
            tile::each_row::<H>(
                #[inline(always)]
                |i| a[i] = vld1q_u8(t.a.add(i * t.lda + k)),
            );
            let b = t.b.add(k * NR);
            step::<H, 0, D>(&mut acc, &a, b);
            step::<H, 1, D>(&mut acc, &a, b);
            step::<H, 2, D>(&mut acc, &a, b);
            step::<H, 3, D>(&mut acc, &a, b);
        }
        let left = t.k - whole;
        if left > 0 {
            tile::each_row::<H>(
                #[inline(always)]
                |i| a[i] = tile::partial(t.a.add(i * t.lda + whole), left),
            );
            let b = t.b.add(whole * NR);
            step::<H, 0, D>(&mut acc, &a, b);
            if left > 4 {
                step::<H, 1, D>(&mut acc, &a, b);
            }
            if left > 8 {
                step::<H, 2, D>(&mut acc, &a, b);
            }
            if left > 12 {
                step::<H, 3, D>(&mut acc, &a, b);
            }
        }
        tile::store(t, acc);
    }
}

/// acc += group L of each row times k-group L of the panel from `b` on.
///
/// # Safety
/// The panel has that k-group, and the CPU the instructions of D.
#[inline(always)]
unsafe fn step<const H: usize, const L: i32, D: DotByElement>(
    acc: &mut tile::Acc<H>,
    a: &[uint8x16_t; H],
    b: *const u8,
) {
    // SAFETY: the caller's promise: a k-group is 4·NR bytes.
    unsafe {
        let group = b.add(L as usize * 4 * NR);
        let b = [vld1q_u8(group), vld1q_u8(group.add(16))];
        tile::each_row::<H>(
            #[inline(always)]
            |i| {
                acc[i][0] = D::dot::<L>(acc[i][0], b[0], a[i]);
                acc[i][1] = D::dot::<L>(acc[i][1], b[1], a[i]);
            },
        );
    }
}
