//! AVX2, exact: `vpmaddwd` on 16-bit operands.
//!
//! Tile 6x16, KR = 2. `vpmaddwd` multiplies pairs of i16 and adds them in 32 bits; operands are
//! widened bytes, so nothing saturates (unlike `vpmaddubsw`, which adds in 16 bits). Registers:
//! 12 accumulators, 2 of B, 1 of A, 1 product: all 16. Each k-group takes a pair of k from each row:
//!
//! ```text
//!   panel, one k-group:  j0k0 j0k1 j1k0 j1k1 .. j7k1 | j8k0 .. j15k1     two ymm
//!   A, row i:            a0 a1 a0 a1 ..                                  vpbroadcastd
//! ```
//!
//! Where the panel has 8 columns or fewer that are stored, its second half is left out.

use crate::{Args, Isa, Kernel, Stored, Variant};
use core::arch::x86_64::*;

const NR: usize = 16;

pub static KERNEL: Kernel = Kernel {
    name: "avx2-6x16c2",
    isa: Isa::Avx2,
    mr: 6,
    nr: NR,
    kr: 2,
    variants: &[Variant { a: Stored::I16, b: Stored::I16, micro }],
};

/// # Safety
/// As for every [`MicroFn`](crate::MicroFn).
unsafe fn micro(t: &Args) {
    type Pair = [crate::MicroFn; 2];
    const TILES: [Pair; 6] = [
        [tile::<1, 1>, tile::<1, 2>],
        [tile::<2, 1>, tile::<2, 2>],
        [tile::<3, 1>, tile::<3, 2>],
        [tile::<4, 1>, tile::<4, 2>],
        [tile::<5, 1>, tile::<5, 2>],
        [tile::<6, 1>, tile::<6, 2>],
    ];
    // SAFETY: the caller's promise; the tile has as many rows and at least as many columns.
    unsafe { TILES[t.rows - 1][(t.cols - 1) / 8](t) }
}

/// H rows and 8·V columns.
///
/// # Safety
/// As for every [`MicroFn`](crate::MicroFn), with H rows and at most 8·V columns.
#[target_feature(enable = "avx2")]
unsafe fn tile<const H: usize, const V: usize>(t: &Args) {
    let mut acc = [[_mm256_setzero_si256(); V]; H];
    let groups = t.k / 2;
    for g in 0..groups {
        // SAFETY: k-group g of the panel and of row i of A are whole.
        unsafe {
            let b: [__m256i; V] = load_group(t.b.add(g * NR * 4));
            for i in 0..H {
                let pair = t.a.add(i * t.lda + g * 4).cast::<i32>().read_unaligned();
                step(&mut acc[i], pair, &b);
            }
        }
    }
    if t.k % 2 == 1 {
        // SAFETY: the panel's last group is padded; of A only the one element that is left is read.
        unsafe {
            let b: [__m256i; V] = load_group(t.b.add(groups * NR * 4));
            for i in 0..H {
                let last = t.a.add(i * t.lda + groups * 4).cast::<u16>().read_unaligned();
                step(&mut acc[i], i32::from(last), &b);
            }
        }
    }
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for i in 0..H {
        for v in 0..V {
            let left = t.cols.saturating_sub(8 * v) as i32;
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), lanes);
            // SAFETY: `col` has NR values and `row` one per row; the mask keeps loads and stores to the
            // `cols` elements of row i of C.
            unsafe {
                let c = t.c.add(i * t.ldc).wrapping_add(8 * v);
                let mut sum = _mm256_add_epi32(acc[i][v], _mm256_loadu_si256(t.col.add(8 * v).cast()));
                sum = _mm256_add_epi32(sum, _mm256_set1_epi32(*t.row.add(i)));
                if t.accumulate {
                    sum = _mm256_add_epi32(sum, _mm256_maskload_epi32(c, mask));
                }
                _mm256_maskstore_epi32(c, mask, sum);
            }
        }
    }
}

/// # Safety
/// A whole k-group of a panel lies at `group`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_group<const V: usize>(group: *const u8) -> [__m256i; V] {
    let mut b = [_mm256_setzero_si256(); V];
    for (v, b) in b.iter_mut().enumerate() {
        // SAFETY: V <= 2 vectors of 32 bytes make up at most the k-group's 64.
        *b = unsafe { _mm256_loadu_si256(group.add(32 * v).cast()) };
    }
    b
}

/// acc += the pair of row i times the k-group of B.
#[inline]
#[target_feature(enable = "avx2")]
fn step<const V: usize>(acc: &mut [__m256i; V], pair: i32, b: &[__m256i; V]) {
    let a = _mm256_set1_epi32(pair);
    for v in 0..V {
        acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(a, b[v]));
    }
}
