//! The matrix products of the 8-bit matrix extension: `smmla`, `ummla` and `usmmla`, tile 8x8, KR = 8.
//!
//! Each multiplies 2x8 by 8x2 bytes into 2x2 sums, twice the work of a dot product. Unlike the naive loop, a step takes
//! two rows and two columns at a time. Registers, of 32: 16 accumulators, 4 of A, 4 of B:
//!
//! ```text
//!   panel, one k-group:  j0 (8 k) j1 | j2 j3 | j4 j5 | j6 j7       four q registers
//!   A, rows i, i + 1:    k0..k7 of row i | k0..k7 of row i + 1     one q register
//!   sums:                (i, j) (i, j+1) (i+1, j) (i+1, j+1)
//! ```
//!
//! With i8 activations and u8 panels `usmmla` takes the panel first, so that the sums come transposed:
//! (i, j) (i+1, j) (i, j+1) (i+1, j+1).

use crate::aarch64::tile;
use crate::aarch64::tile::{Acc, MR, NR, NeonTiles, Tile8x8};
use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::Stored;
use core::arch::aarch64::*;
use core::arch::asm;

pub static KERNEL: Kernel = Kernel::new(
    "i8mm-8x8c8",
    &[
        Variant::of::<Tile8x8<Matrix<false, true>>>(),
        Variant::of::<Tile8x8<Matrix<true, true>>>(),
        Variant::of::<Tile8x8<Matrix<false, false>>>(),
        Variant::of::<Tile8x8<Matrix<true, false>>>(),
    ],
);

/// The matrix product of bytes with or without signs.
struct Matrix<const A_SIGNED: bool, const B_SIGNED: bool>;

impl<const A_SIGNED: bool, const B_SIGNED: bool> Instruction for Matrix<A_SIGNED, B_SIGNED> {
    const ISA: Isa = Isa::I8mm;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = byte_type(B_SIGNED);
    const KR: usize = 8;
}

impl<const A_SIGNED: bool, const B_SIGNED: bool> Matrix<A_SIGNED, B_SIGNED> {
    /// Whether the sums come transposed: `usmmla` takes the unsigned operand first.
    const TRANSPOSED: bool = A_SIGNED && !B_SIGNED;

    /// Adds the products of 2 rows and 2 columns of 8 bytes.
    ///
    /// # Safety
    /// The CPU has the extension.
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn multiply(mut acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        let (first, second) = if Self::TRANSPOSED { (b, a) } else { (a, b) };
        // SAFETY: the caller's promise; registers only.
        unsafe {
            match (A_SIGNED, B_SIGNED) {
                (true, true) => {
                    asm!("smmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) first,
                         in(vreg) second, options(pure, nomem, nostack, preserves_flags));
                }
                (false, false) => {
                    asm!("ummla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) first,
                         in(vreg) second, options(pure, nomem, nostack, preserves_flags));
                }
                _ => {
                    asm!("usmmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) first,
                         in(vreg) second, options(pure, nomem, nostack, preserves_flags));
                }
            }
        }
        acc
    }

    /// Adds the products of a k-group of all pairs of rows. `row(i)` loads 8 bytes of row i, below H.
    ///
    /// # Safety
    /// The k-group of the panel lies at `b`; the CPU has the extension, and the caller is where this is inlined.
    #[inline(always)]
    unsafe fn step<const H: usize>(
        acc: &mut [[int32x4_t; 4]; MR / 2],
        b: *const u8,
        row: impl Fn(usize) -> uint8x8_t,
    ) {
        // SAFETY: the caller's promise: 8 columns of 8 bytes.
        unsafe {
            let b = [vld1q_u8(b), vld1q_u8(b.add(16)), vld1q_u8(b.add(32)), vld1q_u8(b.add(48))];
            for p in 0..H.div_ceil(2) {
                let bottom = if 2 * p + 1 < H { row(2 * p + 1) } else { vdup_n_u8(0) };
                let a = vcombine_u8(row(2 * p), bottom);
                for v in 0..4 {
                    acc[p][v] = Self::multiply(acc[p][v], a, b[v]);
                }
            }
        }
    }

    /// One row, 4 columns, of two times 2x2 sums: the first row, or the second.
    #[inline]
    #[target_feature(enable = "neon")]
    fn row_of(left: int32x4_t, right: int32x4_t, second: bool) -> int32x4_t {
        if Self::TRANSPOSED {
            // (i, j) (i+1, j) (i, j+1) (i+1, j+1): even lanes are the first row.
            return if second { vuzp2q_s32(left, right) } else { vuzp1q_s32(left, right) };
        }
        let (left, right) = (vreinterpretq_s64_s32(left), vreinterpretq_s64_s32(right));
        vreinterpretq_s32_s64(if second { vzip2q_s64(left, right) } else { vzip1q_s64(left, right) })
    }
}

// SAFETY: 8 bytes of a row of A are read where it has a whole k-group, else those that are left.
unsafe impl<const A_SIGNED: bool, const B_SIGNED: bool> NeonTiles for Matrix<A_SIGNED, B_SIGNED> {
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        const { assert!(Self::KR == 8 && NR == 8) };
        t.debug_assert_tile(H, 1, NR);
        // Pairs of rows; with H odd the last pair's second row is 0 and its sums are dropped.
        let mut acc = [[vdupq_n_s32(0); 4]; MR / 2];
        // SAFETY: row i of A has k bytes; the panel has all its k-groups, the last one padded.
        unsafe {
            let whole = t.k / 8 * 8;
            for k in (0..whole).step_by(8) {
                Self::step::<H>(
                    &mut acc,
                    t.b.add(k * NR),
                    #[inline(always)]
                    |i| vld1_u8(t.a.add(i * t.lda + k)),
                );
            }
            let left = t.k - whole;
            if left > 0 {
                Self::step::<H>(
                    &mut acc,
                    t.b.add(whole * NR),
                    #[inline(always)]
                    |i| vget_low_u8(tile::partial(t.a.add(i * t.lda + whole), left)),
                );
            }
            let mut sums: Acc<H> = tile::start(t);
            for i in 0..H {
                for v in 0..2 {
                    let row = Self::row_of(acc[i / 2][2 * v], acc[i / 2][2 * v + 1], i % 2 == 1);
                    sums[i][v] = vaddq_s32(sums[i][v], row);
                }
            }
            tile::store(t, sums);
        }
    }
}
