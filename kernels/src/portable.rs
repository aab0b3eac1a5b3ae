//! 128-bit vectors on every target, through the `wide` crate: SSE2, NEON, wasm simd128, or plain Rust.
//!
//! Tile 4x8, 16-bit operands, KR = 2. `i16x8::dot` multiplies pairs and adds them in 32 bits (`pmaddwd`); the operands
//! are widened bytes, so no sum of two products overflows. Unlike the naive loop it takes two values of k of all
//! columns at a time, one pair of each row against two vectors of the panel. Registers, of SSE2's 16: 8 accumulators, 2
//! of B, 1 of A, 1 product.
//!
//! ```text
//!   panel, one k-group:  j0k0 j0k1 j1k0 j1k1 .. j3k1 | j4k0 .. j7k1      two i16x8
//!   A, row i:            a0 a1 a0 a1 a0 a1 a0 a1                         one pair, repeated
//! ```

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Tile, Variant};
use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::elements::Stored;
use wide::{i16x8, i32x4};

pub static KERNEL: Kernel = Kernel::new("portable-4x8c2", &[Variant::of::<Words>()]);

/// `i16x8::dot`.
struct Words;

impl Instruction for Words {
    const ISA: Isa = Isa::Portable;
    const A: Stored = Stored::I16;
    const B: Stored = Stored::I16;
    const KR: usize = 2;
}

const NR: usize = 8;

// SAFETY: `tile` reads 2·NR words of the panel per pair of k, and stores rows of at most NR columns.
unsafe impl Tile for Words {
    type Instruction = Self;
    const MR: usize = 4;
    const NR: usize = NR;

    unsafe fn tile(t: &Args<'_>) {
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise; there are 1..=MR rows.
        unsafe { with_const!(H in [1, 2, 3, 4] = t.rows, at most Self::MR => tile::<H>(t)) }
    }
}

/// # Safety
/// The contract of [`Args`], with H rows.
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
        // SAFETY: i < rows and j < cols <= NR: elements of C, `col` and `row`; nobody else accesses C.
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
