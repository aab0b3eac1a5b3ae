//! AVX-512 VNNI: `vpdpbusd`, four products of an unsigned and a signed byte added to each i32.
//!
//! Tiles 6x64, 12x32 and 12x16, KR = 4, over 8-bit operands: A is read in place, 4 bytes of a row at
//! a time, repeated in all lanes; a k-group of the panel is NR x 4 bytes. The instruction does not
//! saturate (`vpdpbusds` would). Which operand is unsigned is free: for u8 activations the panel
//! holds i8, for i8 activations u8, and no sign is changed in the loop.
//!
//! ```text
//!   panel, one k-group:  j0k0..j0k3 j1k0..j1k3 ..  j15k3 | j16k0 .. | ..     NR/16 zmm
//!   A, row i:            a0 a1 a2 a3 a0 a1 a2 a3 ..                          vpbroadcastd
//! ```
//!
//! Registers: 24 (12 at NR = 16) accumulators, NR/16 of B, 1 of A, of 32. The accumulators start
//! from the row and column terms (and C), so that nothing is left to add at the end. Where the last
//! panel has fewer columns that are stored, vectors without any are left out.

use crate::{Args, Isa, Kernel, MicroFn, Stored, Variant};
use core::arch::x86_64::*;

/// A row of the table; the tiles for each sign of A come from the two functions.
const fn kernel(name: &'static str, mr: usize, nr: usize, variants: &'static [Variant]) -> Kernel {
    Kernel { name, isa: Isa::Avx512Vnni, mr, nr, kr: 4, variants }
}

const fn variant(a: Stored, b: Stored, micro: MicroFn) -> Variant {
    Variant { a, b, micro }
}

pub static K6X64: Kernel = kernel(
    "avx512vnni-6x64c4",
    6,
    64,
    &[
        variant(Stored::U8, Stored::I8, micro_6x64::<false>),
        variant(Stored::I8, Stored::U8, micro_6x64::<true>),
    ],
);

pub static K12X32: Kernel = kernel(
    "avx512vnni-12x32c4",
    12,
    32,
    &[
        variant(Stored::U8, Stored::I8, micro_12x32::<false>),
        variant(Stored::I8, Stored::U8, micro_12x32::<true>),
    ],
);

pub static K12X16: Kernel = kernel(
    "avx512vnni-12x16c4",
    12,
    16,
    &[
        variant(Stored::U8, Stored::I8, micro_12x16::<false>),
        variant(Stored::I8, Stored::U8, micro_12x16::<true>),
    ],
);

/// # Safety
/// As for every [`MicroFn`].
unsafe fn micro_6x64<const A_SIGNED: bool>(t: &Args) {
    // SAFETY: the caller's promise; the tile has as many rows and at least as many columns.
    unsafe {
        match t.rows {
            1 => width_64::<1, A_SIGNED>(t),
            2 => width_64::<2, A_SIGNED>(t),
            3 => width_64::<3, A_SIGNED>(t),
            4 => width_64::<4, A_SIGNED>(t),
            5 => width_64::<5, A_SIGNED>(t),
            _ => width_64::<6, A_SIGNED>(t),
        }
    }
}

/// # Safety
/// As for every [`MicroFn`], with H rows.
#[inline]
unsafe fn width_64<const H: usize, const A_SIGNED: bool>(t: &Args) {
    // SAFETY: as above.
    unsafe {
        match t.cols.div_ceil(16) {
            1 => tile::<H, 1, 4, A_SIGNED>(t),
            2 => tile::<H, 2, 4, A_SIGNED>(t),
            3 => tile::<H, 3, 4, A_SIGNED>(t),
            _ => tile::<H, 4, 4, A_SIGNED>(t),
        }
    }
}

/// # Safety
/// As for every [`MicroFn`].
unsafe fn micro_12x32<const A_SIGNED: bool>(t: &Args) {
    // SAFETY: the caller's promise; the tile has as many rows and at least as many columns.
    unsafe {
        match (t.rows, t.cols > 16) {
            (rows, false) => height_12::<1, 2, A_SIGNED>(t, rows),
            (rows, true) => height_12::<2, 2, A_SIGNED>(t, rows),
        }
    }
}

/// # Safety
/// As for every [`MicroFn`].
unsafe fn micro_12x16<const A_SIGNED: bool>(t: &Args) {
    // SAFETY: the caller's promise.
    unsafe { height_12::<1, 1, A_SIGNED>(t, t.rows) }
}

/// # Safety
/// As for every [`MicroFn`], with `rows` rows and at most 16·V columns.
#[inline]
unsafe fn height_12<const V: usize, const PANEL: usize, const A_SIGNED: bool>(t: &Args, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => tile::<1, V, PANEL, A_SIGNED>(t),
            2 => tile::<2, V, PANEL, A_SIGNED>(t),
            3 => tile::<3, V, PANEL, A_SIGNED>(t),
            4 => tile::<4, V, PANEL, A_SIGNED>(t),
            5 => tile::<5, V, PANEL, A_SIGNED>(t),
            6 => tile::<6, V, PANEL, A_SIGNED>(t),
            7 => tile::<7, V, PANEL, A_SIGNED>(t),
            8 => tile::<8, V, PANEL, A_SIGNED>(t),
            9 => tile::<9, V, PANEL, A_SIGNED>(t),
            10 => tile::<10, V, PANEL, A_SIGNED>(t),
            11 => tile::<11, V, PANEL, A_SIGNED>(t),
            _ => tile::<12, V, PANEL, A_SIGNED>(t),
        }
    }
}

/// H rows and 16·V columns of a panel that is 16·PANEL wide.
///
/// # Safety
/// As for every [`MicroFn`], with H rows and at most 16·V columns, V <= PANEL.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const H: usize, const V: usize, const PANEL: usize, const A_SIGNED: bool>(t: &Args) {
    let mut mask = [!0; V];
    mask[V - 1] = !0u16 >> (16 * V - t.cols);
    let mut acc = [[_mm512_setzero_si512(); V]; H];
    for i in 0..H {
        for v in 0..V {
            // SAFETY: `col` has NR values, `row` one per row; the mask keeps the load to the `cols`
            // elements of row i of C.
            unsafe {
                let col = _mm512_loadu_si512(t.col.add(16 * v).cast());
                acc[i][v] = _mm512_add_epi32(col, _mm512_set1_epi32(*t.row.add(i)));
                if t.accumulate {
                    let c = t.c.add(i * t.ldc).wrapping_add(16 * v);
                    acc[i][v] = _mm512_add_epi32(acc[i][v], _mm512_maskz_loadu_epi32(mask[v], c));
                }
            }
        }
    }
    let groups = t.k / 4;
    for g in 0..groups {
        // SAFETY: k-group g of the panel and of row i of A are whole.
        unsafe {
            let b: [__m512i; V] = load_group(t.b.add(g * 64 * PANEL));
            for i in 0..H {
                let four = t.a.add(i * t.lda + 4 * g).cast::<i32>().read_unaligned();
                step::<V, A_SIGNED>(&mut acc[i], four, &b);
            }
        }
    }
    let left = t.k % 4;
    if left > 0 {
        // SAFETY: the panel's last group is padded; of A only the `left` bytes that remain are read.
        unsafe {
            let b: [__m512i; V] = load_group(t.b.add(groups * 64 * PANEL));
            for i in 0..H {
                let rest = t.a.add(i * t.lda + 4 * groups);
                let mut four = [0u8; 4];
                for (l, byte) in four.iter_mut().enumerate().take(left) {
                    *byte = *rest.add(l);
                }
                step::<V, A_SIGNED>(&mut acc[i], i32::from_le_bytes(four), &b);
            }
        }
    }
    for i in 0..H {
        for v in 0..V {
            // SAFETY: the mask keeps the store to the `cols` elements of row i of C.
            unsafe {
                _mm512_mask_storeu_epi32(t.c.add(i * t.ldc).wrapping_add(16 * v), mask[v], acc[i][v]);
            }
        }
    }
}

/// # Safety
/// A k-group of at least V vectors lies at `group`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_group<const V: usize>(group: *const u8) -> [__m512i; V] {
    let mut b = [_mm512_setzero_si512(); V];
    for (v, b) in b.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *b = unsafe { _mm512_loadu_si512(group.add(64 * v).cast()) };
    }
    b
}

/// acc += the four bytes of row i times the k-group of B.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn step<const V: usize, const A_SIGNED: bool>(acc: &mut [__m512i; V], four: i32, b: &[__m512i; V]) {
    let a = _mm512_set1_epi32(four);
    for v in 0..V {
        acc[v] = match A_SIGNED {
            false => _mm512_dpbusd_epi32(acc[v], a, b[v]),
            true => _mm512_dpbusd_epi32(acc[v], b[v], a),
        };
    }
}
