//! The 8-bit matrix extension.
//!
//! Two kernels. `i8mm-8x8c4`: `usdot` and `sudot` by element, the dot product of mixed signs (see
//! `lanes`). `i8mm-8x8c8`: `smmla`, `ummla` and `usmmla`, which multiply 2x8 by 8x2 bytes into 2x2 sums,
//! twice the work of a dot product; KR = 8. Its registers, of 32: 16 accumulators, 4 of A, 4 of B:
//!
//! ```text
//!   panel, one k-group:  j0 (8 k) j1 | j2 j3 | j4 j5 | j6 j7       four q registers
//!   A, rows i, i + 1:    k0..k7 of row i | k0..k7 of row i + 1     one q register
//!   sums:                (i, j) (i, j+1) (i+1, j) (i+1, j+1)
//! ```
//!
//! With i8 activations and u8 panels `usmmla` takes the panel first, so that the sums come transposed:
//! (i, j) (i+1, j) (i, j+1) (i+1, j+1).

use crate::aarch64::lanes::Dot;
use crate::aarch64::tile::{Acc, MR, NR, Tiles};
use crate::aarch64::{lanes, tile};
use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use core::arch::aarch64::*;
use core::arch::asm;

pub static DOT: Kernel = Kernel {
    name: "i8mm-8x8c4",
    isa: Isa::I8mm,
    mr: MR,
    nr: NR,
    kr: 4,
    i16_groups: 0,
    fused: false,
    takes: Takes::TILES,
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: tile::micro_8x8::<Unsigned> },
        Variant { a: Stored::I8, b: Stored::U8, a_shift: 0, micro: tile::micro_8x8::<Signed> },
    ],
};

pub static MATRIX: Kernel = Kernel {
    name: "i8mm-8x8c8",
    isa: Isa::I8mm,
    mr: MR,
    nr: NR,
    kr: 8,
    i16_groups: 0,
    fused: false,
    takes: Takes::TILES,
    variants: &[
        Variant {
            a: Stored::U8,
            b: Stored::I8,
            a_shift: 0,
            micro: tile::micro_8x8::<Matrix<UnsignedSigned>>,
        },
        Variant { a: Stored::I8, b: Stored::I8, a_shift: 0, micro: tile::micro_8x8::<Matrix<SignedSigned>> },
        Variant {
            a: Stored::U8,
            b: Stored::U8,
            a_shift: 0,
            micro: tile::micro_8x8::<Matrix<UnsignedUnsigned>>,
        },
        Variant {
            a: Stored::I8,
            b: Stored::U8,
            a_shift: 0,
            micro: tile::micro_8x8::<Matrix<SignedUnsigned>>,
        },
    ],
};

/// u8 activations, i8 panels.
struct Unsigned;

impl Tiles for Unsigned {
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { lanes::tile::<H, Self>(t) }
    }
}

impl Dot for Unsigned {
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn dot<const L: i32>(mut acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only. The element is the unsigned operand of `sudot`.
        unsafe {
            asm!("sudot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                 const L, options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}

/// i8 activations, u8 panels.
struct Signed;

impl Tiles for Signed {
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { lanes::tile::<H, Self>(t) }
    }
}

impl Dot for Signed {
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn dot<const L: i32>(mut acc: int32x4_t, b: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only. The element is the signed operand of `usdot`.
        unsafe {
            asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) acc, in(vreg) b, in(vreg) a,
                 const L, options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}

/// A matrix instruction for a pair of stored types.
trait Multiply {
    /// Whether the sums come transposed.
    const TRANSPOSED: bool = false;
    /// # Safety
    /// The CPU has the instruction.
    unsafe fn multiply(acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t;
}

struct UnsignedSigned;

impl Multiply for UnsignedSigned {
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn multiply(mut acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only.
        unsafe {
            asm!("usmmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) a, in(vreg) b,
                 options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}

struct SignedUnsigned;

impl Multiply for SignedUnsigned {
    const TRANSPOSED: bool = true;
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn multiply(acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { UnsignedSigned::multiply(acc, b, a) }
    }
}

struct SignedSigned;

impl Multiply for SignedSigned {
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn multiply(mut acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only.
        unsafe {
            asm!("smmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) a, in(vreg) b,
                 options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}

struct UnsignedUnsigned;

impl Multiply for UnsignedUnsigned {
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn multiply(mut acc: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
        // SAFETY: registers only.
        unsafe {
            asm!("ummla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) acc, in(vreg) a, in(vreg) b,
                 options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}

struct Matrix<M>(core::marker::PhantomData<M>);

impl<M: Multiply> Tiles for Matrix<M> {
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn tile<const H: usize>(t: &Args<'_>) {
        // Pairs of rows; with H odd the last pair's second row is 0 and its sums are dropped.
        let mut acc = [[vdupq_n_s32(0); 4]; MR / 2];
        let pairs = H.div_ceil(2);
        // SAFETY: throughout, row i of A has k bytes, the panel all its k-groups; the terms and C are as
        // the caller promises.
        unsafe {
            let whole = t.k / 8 * 8;
            for k in (0..whole).step_by(8) {
                let b = load_b(t.b.add(k * NR));
                for p in 0..pairs {
                    let top = vld1_u8(t.a.add(2 * p * t.lda + k));
                    let bottom = match 2 * p + 1 < H {
                        true => vld1_u8(t.a.add((2 * p + 1) * t.lda + k)),
                        false => vdup_n_u8(0),
                    };
                    let a = vcombine_u8(top, bottom);
                    for v in 0..4 {
                        acc[p][v] = M::multiply(acc[p][v], a, b[v]);
                    }
                }
            }
            let left = t.k - whole;
            if left > 0 {
                let b = load_b(t.b.add(whole * NR));
                for p in 0..pairs {
                    let row = |i: usize| vget_low_u8(tile::partial(t.a.add(i * t.lda + whole), left));
                    let bottom = if 2 * p + 1 < H { row(2 * p + 1) } else { vdup_n_u8(0) };
                    let a = vcombine_u8(row(2 * p), bottom);
                    for v in 0..4 {
                        acc[p][v] = M::multiply(acc[p][v], a, b[v]);
                    }
                }
            }
            let mut sums: Acc<H> = tile::start(t);
            for i in 0..H {
                for v in 0..2 {
                    let row = row_of::<M>(acc[i / 2][2 * v], acc[i / 2][2 * v + 1], i % 2 == 1);
                    sums[i][v] = vaddq_s32(sums[i][v], row);
                }
            }
            tile::store(t, sums);
        }
    }
}

/// # Safety
/// A whole k-group lies at `group`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_b(group: *const u8) -> [uint8x16_t; 4] {
    // SAFETY: the caller's promise: 8 columns of 8 bytes.
    unsafe { [vld1q_u8(group), vld1q_u8(group.add(16)), vld1q_u8(group.add(32)), vld1q_u8(group.add(48))] }
}

/// One row, 4 columns, of two 2x2 sums.
#[inline]
#[target_feature(enable = "neon")]
fn row_of<M: Multiply>(left: int32x4_t, right: int32x4_t, second: bool) -> int32x4_t {
    if M::TRANSPOSED {
        // (i, j) (i+1, j) (i, j+1) (i+1, j+1): even lanes are the first row.
        return if second { vuzp2q_s32(left, right) } else { vuzp1q_s32(left, right) };
    }
    let (left, right) = (vreinterpretq_s64_s32(left), vreinterpretq_s64_s32(right));
    vreinterpretq_s32_s64(if second { vzip2q_s64(left, right) } else { vzip1q_s64(left, right) })
}
