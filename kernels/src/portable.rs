//! 128-bit vectors on every target, through `wide`: SSE2, NEON, wasm simd128, or plain Rust.
//!
//! Tile 4x8, 16-bit operands, KR = 2. `i16x8::dot` multiplies pairs and adds them in 32 bits
//! (`pmaddwd`); operands are widened bytes, so no sum of two products overflows. Registers on SSE2:
//! 8 accumulators, 2 of B, 1 of A, 1 product, of 16. Each step takes a pair of k from every row:
//!
//! ```text
//!   panel, one k-group:  j0k0 j0k1 j1k0 j1k1 .. j3k1 | j4k0 .. j7k1      two i16x8
//!   A, row i:            a0 a1 a0 a1 a0 a1 a0 a1                         one pair, repeated
//! ```

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use wide::{i16x8, i32x4};

const MR: usize = 4;
const NR: usize = 8;

pub static KERNEL: Kernel = Kernel {
    name: "portable-4x8c2",
    isa: Isa::Portable,
    mr: MR,
    nr: NR,
    kr: 2,
    i16_groups: 0,
    fused: false,
    takes: Takes::TILES,
    variants: &[Variant { a: Stored::I16, b: Stored::I16, a_shift: 0, micro }],
};

/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn).
unsafe fn micro(t: &Args<'_>) {
    // SAFETY: the caller's promise; H is the number of rows.
    unsafe {
        match t.rows {
            1 => tile::<1>(t),
            2 => tile::<2>(t),
            3 => tile::<3>(t),
            _ => tile::<4>(t),
        }
    }
}

/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn), with H rows.
unsafe fn tile<const H: usize>(t: &Args<'_>) {
    let mut acc = [[i32x4::ZERO; 2]; H];
    for k in (0..t.k).step_by(2) {
        // SAFETY: the panel has NR values for each of the k-groups of 2, the last one padded.
        let b: [i16x8; 2] = unsafe {
            let group = t.b.cast::<i16>().add(k * NR).cast::<[i16; 8]>();
            [i16x8::new(group.read_unaligned()), i16x8::new(group.add(1).read_unaligned())]
        };
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: row i of A has K elements; past an odd K a 0 takes the place of the second.
            let (a0, a1) = unsafe {
                let pair = t.a.add(i * t.lda).cast::<i16>().add(k);
                (pair.read_unaligned(), if k + 1 < t.k { pair.add(1).read_unaligned() } else { 0 })
            };
            let a = i16x8::new([a0, a1, a0, a1, a0, a1, a0, a1]);
            acc[0] += a.dot(b[0]);
            acc[1] += a.dot(b[1]);
        }
    }
    let (c, accumulate) = t.sums();
    for (i, acc) in acc.iter().enumerate() {
        let sums: [[i32; 4]; 2] = acc.map(|v| v.to_array());
        // SAFETY: i < rows and j < cols <= NR: elements of C, `col` and `row`; C is exclusive.
        unsafe {
            for j in 0..t.cols {
                let c = c.add(i * t.ldc + j);
                let start = (*t.col.add(j)).wrapping_add(*t.row.add(i));
                let start = if accumulate { start.wrapping_add(*c) } else { start };
                *c = start.wrapping_add(sums[j / 4][j % 4]);
            }
        }
    }
}
