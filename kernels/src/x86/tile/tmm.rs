//! The tile of AMX: 32 rows times 32 columns of a panel, in the eight tile registers.
//!
//! A tile register holds up to 16 rows of 64 bytes. A product of two adds 16 x 64 bytes of A times 64 x 16 bytes of B
//! to 16 x 16 sums. Two by two of them take a load for each product:
//!
//! ```text
//!                      tmm6: 64 values of k    tmm7
//!                      of columns 0 .. 15      16 .. 31        a row is a k-group of the panel
//!   tmm4: rows 0 .. 15      tmm0                tmm1
//!   tmm5: rows 16 .. 31     tmm2                tmm3
//! ```
//!
//! A is read in place, and so is the panel: a row of its tile is the k-group of 16 columns, wherever the next one
//! begins. What does not fill a tile:
//!
//! - Rows: a configuration with as many rows in tmm0 .. tmm5.
//! - Values of k after the last 64: both sides are copied and filled up with zeros ([`Scratch`]), so that no byte is
//!   read beyond them. Another configuration would set the sums to 0.
//! - Columns: with 16 or fewer tmm1, tmm3 and tmm7 are left out. The lanes of columns beyond are not stored.
//!
//! Cycles of the loop, by Intel's manual of optimization: a product takes 16, a load 8, so that 64 values of k take 64
//! for the products, beside which loads have no part while they come from the first-level cache. From K = 700 or so on
//! neither 32 rows of A nor the panel stay there, and both come from the second: 64 bytes a cycle, which is its limit.
//! Each 32 x 32 sums then take 64 for four stores to scratch, and the epilogue, which reads them from the first-level
//! cache, some 200 instructions. Those are independent of the products of the next rows, of which there are 12
//! instructions for 64 cycles: the CPU has both under way together. That is why a call configures the tiles once and
//! not for each 32 rows, which would take 204 cycles and end what is under way.

use crate::contract::args::Args;
use crate::x86::tile::dot::start;
use crate::x86::tile::each_row::each_row;
use crate::x86::tile::epilogue::finish;
use crate::x86::tile::tile_registers::{Configured, DEPTH, MAX_ROWS, ROWS};
use crate::x86::tile::vector::Vector;
use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::{MaybeUninit, offset_of};

/// The most columns of a tile: two registers of 16 sums.
const MAX_COLUMNS: usize = 32;
/// The most columns of a panel.
pub const PANEL: usize = 64;
/// The memory between the products and the epilogue, and that of the values of k after the last 64.
#[repr(C, align(64))]
struct Scratch {
    sums: [[i32; MAX_COLUMNS]; MAX_ROWS],
    a: [[u8; DEPTH]; MAX_ROWS],
    b: [[u8; 4 * PANEL]; DEPTH / 4],
}

/// All rows of A times a panel; SIGNED says that A is i8, else it is u8. Afterwards `t` is the rows below.
///
/// # Safety
/// The contract of [`Args`] for one panel of at most [`PANEL`] columns, which grows by 16; the CPU has AMX-TILE and
/// AMX-INT8, and AVX-512 F, BW and VL, and the operating system lets this thread use them.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn rows_times_panel<const SIGNED: bool>(t: &mut Args<'_>) {
    debug_assert!(t.cols <= PANEL);
    let mut scratch = MaybeUninit::<Scratch>::uninit();
    let scratch = scratch.as_mut_ptr();
    // SAFETY: the caller's promise; a part of at most 32 rows is as high as the configuration says. The epilogue gets
    // the rows of a tile, whose sums `multiply` has stored. Columns j..j + cols are columns of the panel, of the
    // terms and of the output.
    unsafe {
        copy_last_of_b(t, scratch);
        let mut left = t.rows;
        let mut height = left.min(MAX_ROWS);
        let mut configured = Configured::for_rows(height);
        while left > 0 {
            if left < height {
                height = left;
                drop(configured);
                configured = Configured::for_rows(height);
            }
            copy_last_of_a(t, height, scratch);
            for j in (0..t.cols).step_by(MAX_COLUMNS) {
                let cols = (t.cols - j).min(MAX_COLUMNS);
                let sums = (&raw const (*scratch).sums).cast();
                // The panel's weights are addressed by `j`, not by those of the part.
                let part = &mut t.columns(j, cols, t.b);
                match (height > ROWS, cols > 16) {
                    (true, true) => multiply::<SIGNED, 2, 2>(t, j, scratch),
                    (true, false) => multiply::<SIGNED, 2, 1>(t, j, scratch),
                    (false, true) => multiply::<SIGNED, 1, 2>(t, j, scratch),
                    (false, false) => multiply::<SIGNED, 1, 1>(t, j, scratch),
                }
                if cols > 16 {
                    finish_rows::<2>(part, height, sums);
                } else {
                    finish_rows::<1>(part, height, sums);
                }
            }
            t.move_down(height);
            left -= height;
        }
        drop(configured);
    }
}

/// Bytes from one k-group of the panel to the next.
fn group_bytes(t: &Args<'_>) -> usize {
    4 * t.cols.next_multiple_of(16)
}

/// Copies the k-groups after the last whole 64 values of k, and zeros after them.
///
/// # Safety
/// The contract of [`rows_times_panel`]; `scratch` can be written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn copy_last_of_b(t: &Args<'_>, scratch: *mut Scratch) {
    let (whole, left) = (t.k / DEPTH, t.k % DEPTH);
    if left == 0 {
        return;
    }
    let group_bytes = group_bytes(t);
    // SAFETY: there are ceil(left / 4) k-groups after those of `whole` tiles; the scratch has 16 rows of four
    // vectors, which a group does not exceed.
    unsafe {
        let from = t.b.add(whole * (DEPTH / 4) * group_bytes);
        for g in 0..DEPTH / 4 {
            for at in (0..group_bytes).step_by(64) {
                let group = if 4 * g < left {
                    __m512i::load(from.add(g * group_bytes + at).cast())
                } else {
                    _mm512_setzero_si512()
                };
                group.store((&raw mut (*scratch).b[g]).cast::<u8>().add(at).cast());
            }
        }
    }
}

/// Copies the values of some rows after the last whole 64 values of k, and zeros after them.
///
/// # Safety
/// The contract of [`rows_times_panel`], which has so many rows; `scratch` can be written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn copy_last_of_a(t: &Args<'_>, rows: usize, scratch: *mut Scratch) {
    let (whole, left) = (t.k / DEPTH, t.k % DEPTH);
    if left == 0 {
        return;
    }
    let mask = (1 << left) - 1;
    // SAFETY: row i has `left` values after `whole` times 64, and the mask lets no others through; the scratch has as
    // many rows of 64 bytes.
    unsafe {
        for i in 0..rows {
            let from = t.a.add(i * t.lda + whole * DEPTH);
            let last = _mm512_maskz_loadu_epi8(mask, from.cast());
            _mm512_store_si512((&raw mut (*scratch).a[i]).cast(), last);
        }
    }
}

/// The sums of products of a tile, to scratch: H registers of rows, V of columns from `j` on.
///
/// # Safety
/// The contract of [`rows_times_panel`]; the tile registers are configured for the rows of a tile, of which H registers
/// hold 16 or those that are left; the panel has V vectors from `j` on; `scratch` holds the values of k after the
/// last 64.
#[inline(always)]
unsafe fn multiply<const SIGNED: bool, const H: usize, const V: usize>(
    t: &Args<'_>,
    j: usize,
    scratch: *mut Scratch,
) {
    let group_bytes = group_bytes(t);
    // SAFETY: registers of A read 64 bytes of each row, `k / 64` times, or of the copies; those of B 16 k-groups as
    // often. Registers of sums are stored to scratch, whose rows hold two vectors. What is changed is declared.
    unsafe {
        asm!(
            ".macro product sums, a, b",
            ".if {SIGNED}",
            "tdpbssd \\sums, \\a, \\b",
            ".else",
            "tdpbusd \\sums, \\a, \\b",
            ".endif",
            ".endm",
            "tilezero tmm0",
            ".if {V} > 1",
            "tilezero tmm1",
            ".endif",
            ".if {H} > 1",
            "tilezero tmm2",
            "tilezero tmm3",
            ".endif",
            "test {steps}, {steps}",
            "jz 3f",
            "2:",
            "tileloadd tmm4, [{a} + {lda}]",
            "tileloadd tmm6, [{b} + {ldb}]",
            "product tmm0, tmm4, tmm6",
            ".if {V} > 1",
            "tileloadd tmm7, [{b} + {ldb} + 64]",
            "product tmm1, tmm4, tmm7",
            ".endif",
            ".if {H} > 1",
            "tileloadd tmm5, [{a2} + {lda}]",
            "product tmm2, tmm5, tmm6",
            ".if {V} > 1",
            "product tmm3, tmm5, tmm7",
            ".endif",
            ".endif",
            "add {a}, 64",
            "add {a2}, 64",
            "add {b}, {ldb_16}",
            "dec {steps}",
            "jnz 2b",
            "3:",
            "test {left}, {left}",
            "jz 4f",
            "tileloadd tmm4, [{scratch} + {x64} + {A}]",
            "tileloadd tmm6, [{last_b} + 4*{x64}]",
            "product tmm0, tmm4, tmm6",
            ".if {V} > 1",
            "tileloadd tmm7, [{last_b} + 4*{x64} + 64]",
            "product tmm1, tmm4, tmm7",
            ".endif",
            ".if {H} > 1",
            "tileloadd tmm5, [{scratch} + {x64} + {A} + 16*64]",
            "product tmm2, tmm5, tmm6",
            ".if {V} > 1",
            "product tmm3, tmm5, tmm7",
            ".endif",
            ".endif",
            "4:",
            "tilestored [{scratch} + 2*{x64}], tmm0",
            ".if {V} > 1",
            "tilestored [{scratch} + 2*{x64} + 64], tmm1",
            ".endif",
            ".if {H} > 1",
            "tilestored [{scratch} + 2*{x64} + 16*128], tmm2",
            ".if {V} > 1",
            "tilestored [{scratch} + 2*{x64} + 16*128 + 64], tmm3",
            ".endif",
            ".endif",
            ".purgem product",
            SIGNED = const SIGNED as usize,
            V = const V,
            H = const H,
            A = const offset_of!(Scratch, a),
            a = inout(reg) t.a => _,
            a2 = inout(reg) t.a.wrapping_add(ROWS * t.lda) => _,
            lda = in(reg) t.lda,
            b = inout(reg) t.b.wrapping_add(4 * j) => _,
            ldb = in(reg) group_bytes,
            ldb_16 = in(reg) DEPTH / 4 * group_bytes,
            steps = inout(reg) t.k / DEPTH => _,
            left = in(reg) t.k % DEPTH,
            scratch = in(reg) scratch,
            last_b = in(reg) (&raw const (*scratch).b).cast::<u8>().add(4 * j),
            x64 = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Adds the terms to the sums of `height` rows, and stores what `t.out` asks for. Afterwards `t` is the rows below.
///
/// # Safety
/// The contract of [`rows_times_panel`], which has so many rows; `sums` holds as many rows of [`MAX_COLUMNS`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn finish_rows<const V: usize>(t: &mut Args<'_>, height: usize, sums: *const i32) {
    let mut done = 0;
    // SAFETY: the parts are rows done..done + H, and end at `height`.
    unsafe {
        while done + 8 <= height {
            finish_some::<8, V>(t, sums.add(done * MAX_COLUMNS));
            done += 8;
        }
        if height - done >= 4 {
            finish_some::<4, V>(t, sums.add(done * MAX_COLUMNS));
            done += 4;
        }
        if height - done >= 2 {
            finish_some::<2, V>(t, sums.add(done * MAX_COLUMNS));
            done += 2;
        }
        if height > done {
            finish_some::<1, V>(t, sums.add(done * MAX_COLUMNS));
        }
    }
}

/// [`finish_rows`] of H rows.
///
/// # Safety
/// The contract of [`finish_rows`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn finish_some<const H: usize, const V: usize>(t: &mut Args<'_>, sums: *const i32) {
    t.rows = H;
    // SAFETY: the caller's promise: there are H rows, and V vectors of columns.
    unsafe {
        let mut acc = start::<__m512i, H, V>(t, 0);
        each_row::<H>(
            #[inline(always)]
            |i| {
                for v in 0..V {
                    let sum = __m512i::load(sums.add(i * MAX_COLUMNS + 16 * v));
                    acc[i][v] = acc[i][v].add(sum);
                }
            },
        );
        finish(t, acc);
    }
    t.move_down(H);
}
