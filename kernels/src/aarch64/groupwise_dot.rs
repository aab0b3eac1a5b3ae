//! Group-wise kernels of the dot products by element: `sdot`, and `usdot` of the 8-bit matrix extension, which has `usmmla` for
//! pairs of rows too (see `groupwise_matrix`).
//!
//! A lane is a column, to which an instruction adds the products of 4 codes and the 4 values of a row of A. Codes of 4 bits
//! are i8 and u8 alike; `sdot` takes those of 8 bits less 128. Registers of the tallest tile, of 32: 16 sums, 4 of codes, 2 of A.

use crate::aarch64::groupwise_matrix::{add_products_by_pairs, pairs_pay};
use crate::aarch64::groupwise_vector::{Products, Vector, four_bytes};
use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::groupwise::args::GroupArgs;
use crate::groupwise::kernel::{GroupFn, GroupKernel};
use crate::groupwise::layout::CodeBits;
use crate::groupwise::tile::{each_column, each_height};
use crate::groupwise::vector::{NextStep, add_products_by_row};
use core::arch::aarch64::*;
use core::arch::asm;

pub static DOTPROD: GroupKernel = kernel::<Dot<false>>("dotprod-g8x8", Isa::Dotprod, dotprod);
pub static I8MM: GroupKernel = kernel::<Dot<true>>("i8mm-g8x8", Isa::I8mm, i8mm);

const fn kernel<P: Products>(name: &'static str, isa: Isa, run: GroupFn) -> GroupKernel {
    GroupKernel {
        name,
        isa,
        needs_fma: false,
        mr: MR,
        words: false,
        signed_codes: P::SIGNED_CODES,
        any_group: false,
        run,
    }
}

/// The most rows of a tile.
const MR: usize = 8;

/// The vectors of a tile of so many rows.
const fn vectors(rows: usize) -> usize {
    match rows {
        1 => 8,
        2..=4 => 4,
        _ => 2,
    }
}

/// Runs the tiles of a panel, with the height and the code size of the arguments.
///
/// # Safety
/// The contract of [`each_column`], but for 1 to 8 rows.
#[inline(always)]
unsafe fn tiles<P: Products>(t: &GroupArgs) {
    // SAFETY: the caller's promise: there are 1..=MR rows.
    unsafe {
        with_const!(H in [1, 2, 3, 4, 5, 6, 7, 8] = t.rows, at most MR => {
            each_column::<Vector<P>, H, { vectors(H) }>(t)
        });
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn dotprod(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`tiles`]; the CPU has the instructions.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dotprod_tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise.
        unsafe { tiles::<Dot<false>>(t) }
    }
    // SAFETY: the caller's promise.
    unsafe { each_height(t, MR, dotprod_tiles) }
}

/// # Safety
/// The contract of [`GroupArgs`]; the CPU has the instructions.
unsafe fn i8mm(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`tiles`]; the CPU has the instructions.
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn i8mm_tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise.
        unsafe { tiles::<Dot<true>>(t) }
    }
    // SAFETY: the caller's promise.
    unsafe { each_height(t, MR, i8mm_tiles) }
}

/// The instructions of the 8-bit matrix extension, or `sdot`.
struct Dot<const I8MM: bool>;

/// # Safety
/// The CPU has the dot product extension.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn sdot(mut acc: int32x4_t, codes: uint8x16_t, a: uint32x4_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[0]", inout(vreg) acc, in(vreg) codes, in(vreg) a,
             options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// # Safety
/// The CPU has the 8-bit matrix extension.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn usdot(mut acc: int32x4_t, codes: uint8x16_t, a: uint32x4_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.4b[0]", inout(vreg) acc, in(vreg) codes, in(vreg) a,
             options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

// SAFETY: of A, 4 bytes are read for a product.
unsafe impl<const I8MM: bool> Products for Dot<I8MM> {
    type Partial = int32x4_t;
    const RUN_4: usize = usize::MAX - 1;
    const SIGNED_CODES: bool = !I8MM;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn begin(acc: int32x4_t) -> int32x4_t {
        acc
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn begin_beside() -> int32x4_t {
        vdupq_n_s32(0)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn join(x: int32x4_t, y: int32x4_t) -> int32x4_t {
        vaddq_s32(x, y)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish(_: CodeBits, _: int32x4_t, partial: int32x4_t) -> int32x4_t {
        partial
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn dot(_: CodeBits, partial: int32x4_t, codes: uint8x16_t, a: *const u8) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe {
            let a = vsetq_lane_u32::<0>(four_bytes(a), vdupq_n_u32(0));
            if I8MM { usdot(partial, codes, a) } else { sdot(partial, codes, a) }
        }
    }

    #[inline(always)]
    unsafe fn add_products<const H: usize, const V: usize, const EIGHT: bool>(
        next: &mut NextStep,
        count: usize,
        acc: &mut [[int32x4_t; V]; H],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if I8MM && pairs_pay(H) {
                add_products_by_pairs::<Vector<Self>, H, V, EIGHT>(next, count, acc);
            } else {
                add_products_by_row::<Vector<Self>, H, V, EIGHT>(next, count, acc);
            }
        }
    }
}
