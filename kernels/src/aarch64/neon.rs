//! NEON alone: `smlal` of 16-bit operands by an element, tile 8x8, KR = 1.
//!
//! Operands are widened bytes; `smlal` adds the 32-bit product of two i16 to an i32. Unlike the naive loop, a turn
//! takes 8 values of k, loaded once for each row. Registers, of 32: 16 accumulators, 8 of A (8 values of k of each
//! row), 1 of B:
//!
//! ```text
//!   panel, one k:   j0 j1 j2 j3 | j4 j5 j6 j7        one q register
//!   A, row i:       k0 k1 k2 k3 k4 k5 k6 k7          one q register, used by element
//! ```

use crate::aarch64::tile;
use crate::aarch64::tile::{NR, NeonTiles, Tile8x8};
use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use core::arch::aarch64::*;

pub static KERNEL: Kernel = Kernel::new("neon-8x8c1", &[Variant::of::<Tile8x8<Words>>()]);

/// `smlal` by element.
struct Words;

impl Instruction for Words {
    const ISA: Isa = Isa::Neon;
    const A: Stored = Stored::I16;
    const B: Stored = Stored::I16;
    const KR: usize = 1;
}

// SAFETY: 8 values of a row of A are read where it has as many, else one; of the panel one row of NR at a time.
unsafe impl NeonTiles for Words {
    #[target_feature(enable = "neon")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        t.debug_assert_tile(H, 1, NR);
        // SAFETY: row i of A has k elements, and the panel NR for each of them.
        unsafe {
            let mut acc = tile::start::<H>(t);
            let whole = t.k / 8 * 8;
            let mut a = [vdupq_n_s16(0); H];
            for k in (0..whole).step_by(8) {
                tile::each_row::<H>(
                    #[inline(always)]
                    |i| a[i] = vld1q_s16(t.a.add(i * t.lda).cast::<i16>().add(k)),
                );
                let b = t.b.cast::<i16>().add(k * NR);
                step::<H, 0>(&mut acc, &a, b);
                step::<H, 1>(&mut acc, &a, b);
                step::<H, 2>(&mut acc, &a, b);
                step::<H, 3>(&mut acc, &a, b);
                step::<H, 4>(&mut acc, &a, b);
                step::<H, 5>(&mut acc, &a, b);
                step::<H, 6>(&mut acc, &a, b);
                step::<H, 7>(&mut acc, &a, b);
            }
            for k in whole..t.k {
                let b = t.b.cast::<i16>().add(k * NR);
                tile::each_row::<H>(
                    #[inline(always)]
                    |i| a[i] = vdupq_n_s16(t.a.add(i * t.lda).cast::<i16>().add(k).read_unaligned()),
                );
                step::<H, 0>(&mut acc, &a, b);
            }
            tile::store(t, acc);
        }
    }
}

/// acc += element L of each row times row L of the panel from `b` on.
///
/// # Safety
/// The panel has that row of NR values.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const H: usize, const L: i32>(acc: &mut tile::Acc<H>, a: &[int16x8_t; H], b: *const i16) {
    // SAFETY: the caller's promise.
    let b = unsafe { vld1q_s16(b.add(L as usize * NR)) };
    tile::each_row::<H>(
        #[inline(always)]
        |i| {
            acc[i][0] = vmlal_laneq_s16::<L>(acc[i][0], vget_low_s16(b), a[i]);
            acc[i][1] = vmlal_high_laneq_s16::<L>(acc[i][1], b, a[i]);
        },
    );
}
