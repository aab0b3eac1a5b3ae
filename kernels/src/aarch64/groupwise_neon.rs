//! Group-wise products by NEON alone, in tiles of 4 rows.
//!
//! A vector of codes is 4 columns of 4 values of k, and so are its products, in two vectors of i16. Unlike the naive
//! loop, products of codes of 4 bits are summed in 16 bits for 8 k-groups. The values of k of a column are added at the end:
//!
//! ```text
//!   codes:      c0 k0 k1 k2 k3 | c1 k0 k1 k2 k3 | c2 .. | c3 ..         16 bytes
//!   4 bits:     c0 k0 k1 k2 k3 c1 k0 k1 k2 k3 | c2 .. c3 ..             two vectors of i16: `smlal`, `smlal2`
//!   8 bits:     c0 k01 k23 c1 k01 k23 | c2 .. c3 ..                     two vectors of i32: `smull` and `sadalp`
//! ```

use crate::aarch64::groupwise_vector::{Products, Vector, four_bytes};
use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::layout::CodeBits;
use crate::groupwise::tile::{each_column, each_height};
use core::arch::aarch64::*;

pub static KERNEL: GroupKernel = GroupKernel {
    name: "neon-g4x8",
    isa: Isa::Neon,
    needs_fma: false,
    mr: MR,
    words: false,
    signed_codes: Widening::SIGNED_CODES,
    any_group: false,
    run,
};

/// The most rows of a tile.
const MR: usize = 4;

/// The vectors of a tile of so many rows.
const fn vectors(rows: usize) -> usize {
    if rows <= 2 { 4 } else { 2 }
}

/// # Safety
/// The contract of [`GroupArgs`].
unsafe fn run(t: &GroupArgs) {
    // SAFETY: the caller's promise: every CPU of this target has NEON.
    unsafe { each_height(t, MR, tiles) }
}

/// Runs the tiles of a panel, with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`each_column`], but for 1 to 4 rows.
unsafe fn tiles(t: &GroupArgs) {
    // SAFETY: the caller's promise: there are 1..=MR rows.
    unsafe {
        with_const!(H in [1, 2, 3, 4] = t.rows, at most MR => {
            each_column::<Vector<Widening>, H, { vectors(H) }>(t)
        });
    }
}

/// Products of bytes in 16 bits.
struct Widening;

/// The k-groups that are summed in 16 bits.
const RUN_4: usize = 8;

// The end adds two lanes of a run before it widens: that is 16 products of at most 15·128, in either direction.
const _: () = assert!(2 * RUN_4 * 15 * 128 <= i16::MAX as usize);

// SAFETY: 4 bytes of A are read.
unsafe impl Products for Widening {
    /// Columns 0 and 1, columns 2 and 3: i16 for codes of 4 bits, i32 for those of 8.
    type Partial = [int16x8_t; 2];
    const RUN_4: usize = RUN_4;
    const SIGNED_CODES: bool = true;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn begin(_: int32x4_t) -> [int16x8_t; 2] {
        [vdupq_n_s16(0); 2]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn begin_beside() -> [int16x8_t; 2] {
        [vdupq_n_s16(0); 2]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn join(x: [int16x8_t; 2], y: [int16x8_t; 2]) -> [int16x8_t; 2] {
        [vaddq_s16(x[0], y[0]), vaddq_s16(x[1], y[1])]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish(bits: CodeBits, acc: int32x4_t, [left, right]: [int16x8_t; 2]) -> int32x4_t {
        match bits {
            CodeBits::Four => vpadalq_s16(acc, vpaddq_s16(left, right)),
            CodeBits::Eight => {
                vaddq_s32(acc, vpaddq_s32(vreinterpretq_s32_s16(left), vreinterpretq_s32_s16(right)))
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn dot(
        bits: CodeBits,
        [left, right]: [int16x8_t; 2],
        codes: uint8x16_t,
        a: *const u8,
    ) -> [int16x8_t; 2] {
        let codes = vreinterpretq_s8_u8(codes);
        // SAFETY: the caller's promise.
        let a = vreinterpretq_s8_u32(vdupq_n_u32(unsafe { four_bytes(a) }));
        let (low, low_a) = (vget_low_s8(codes), vget_low_s8(a));
        match bits {
            CodeBits::Four => [vmlal_s8(left, low, low_a), vmlal_high_s8(right, codes, a)],
            // Two products of -128·-128 do not fit 16 bits together.
            CodeBits::Eight => {
                let left = vpadalq_s16(vreinterpretq_s32_s16(left), vmull_s8(low, low_a));
                let right = vpadalq_s16(vreinterpretq_s32_s16(right), vmull_high_s8(codes, a));
                [vreinterpretq_s16_s32(left), vreinterpretq_s16_s32(right)]
            }
        }
    }
}
