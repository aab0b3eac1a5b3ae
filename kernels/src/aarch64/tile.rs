//! The 8x8 tile of the 64-bit Arm kernels: 16 accumulators of 4 columns, started from the terms and stored at the end.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Tile};
use crate::contract::with_const::with_const;
use core::arch::aarch64::*;
use core::marker::PhantomData;

/// Rows of a tile.
pub const MR: usize = 8;
/// Columns of a panel.
pub const NR: usize = 8;

/// Accumulators of H rows: columns 0..4 and 4..8.
pub type Acc<const H: usize> = [[int32x4_t; 2]; H];

/// An instruction with the code of its tiles.
///
/// # Safety
/// [`tile`](Self::tile) keeps to the contract of [`Args`] for a panel of [`NR`] columns.
pub unsafe trait NeonTiles: Instruction {
    /// A tile of H rows, compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`Args`], with H rows; the CPU has the instructions of [`Instruction::ISA`].
    unsafe fn tile<const H: usize>(t: &Args<'_>);
}

/// The 8x8 tile of an instruction.
pub struct Tile8x8<I>(PhantomData<I>);

// SAFETY: `NeonTiles::tile` keeps to the contract, given the number of rows.
unsafe impl<I: NeonTiles> Tile for Tile8x8<I> {
    type Instruction = I;
    const MR: usize = MR;
    const NR: usize = NR;

    unsafe fn tile(t: &Args<'_>) {
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise: there are 1..=MR rows.
        unsafe { with_const!(H in [1, 2, 3, 4, 5, 6, 7, 8] = t.rows, at most Self::MR => I::tile::<H>(t)) }
    }
}

/// The sums of H rows before the first product: the terms of the rows and columns.
///
/// # Safety
/// The contract of [`Args`], with H rows.
#[inline]
#[target_feature(enable = "neon")]
pub unsafe fn start<const H: usize>(t: &Args<'_>) -> Acc<H> {
    let mut acc = [[vdupq_n_s32(0); 2]; H];
    each_row::<H>(
        #[inline(always)]
        |i| {
            for v in 0..2 {
                // SAFETY: `col` has NR values and `row` H.
                acc[i][v] = unsafe { vaddq_s32(vld1q_s32(t.col.add(4 * v)), vdupq_n_s32(*t.row.add(i))) };
            }
        },
    );
    acc
}

/// Calls `f` with 0..H, in two loops short enough to be unrolled by the compiler: in a loop that is not, the
/// accumulators would be memory, here and in the loop over k.
#[inline(always)]
pub fn each_row<const H: usize>(mut f: impl FnMut(usize)) {
    for i in 0..H.min(4) {
        f(i);
    }
    for i in 4..H {
        f(i);
    }
}

/// Stores the sums, or adds them to the values that are there. It takes them by value: accumulators whose address is
/// known to a function that is not inlined would be memory throughout.
///
/// # Safety
/// The contract of [`Args`], with H rows.
#[inline]
#[target_feature(enable = "neon")]
pub unsafe fn store<const H: usize>(t: &Args<'_>, acc: Acc<H>) {
    let (c, accumulate) = t.sums();
    for i in 0..H {
        // SAFETY: row i of C has `cols` elements, all 8 of them in the first case.
        unsafe {
            let c = c.add(i * t.ldc);
            if t.cols == NR {
                for v in 0..2 {
                    let c = c.add(4 * v);
                    let sum = if accumulate { vaddq_s32(acc[i][v], vld1q_s32(c)) } else { acc[i][v] };
                    vst1q_s32(c, sum);
                }
                continue;
            }
            let mut sums = [0; NR];
            vst1q_s32(sums.as_mut_ptr(), acc[i][0]);
            vst1q_s32(sums.as_mut_ptr().add(4), acc[i][1]);
            for (j, sum) in sums.iter().enumerate().take(t.cols) {
                let c = c.add(j);
                *c = if accumulate { sum.wrapping_add(*c) } else { *sum };
            }
        }
    }
}

/// The `left` (fewer than 16) bytes that remain of a row, completed with zeros.
///
/// # Safety
/// `left` bytes are readable at `rest`.
#[inline]
#[target_feature(enable = "neon")]
pub unsafe fn partial(rest: *const u8, left: usize) -> uint8x16_t {
    debug_assert!(left < 16);
    let mut bytes = [0; 16];
    // SAFETY: `left` bytes are there, and fit.
    unsafe {
        core::ptr::copy_nonoverlapping(rest, bytes.as_mut_ptr(), left);
        vld1q_u8(bytes.as_ptr())
    }
}
