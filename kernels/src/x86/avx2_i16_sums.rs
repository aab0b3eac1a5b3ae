//! AVX2 for weights that are proven to be small: `vpmaddubsw`, which saturates, where it cannot.
//!
//! Tile 6x16, KR = 4, u8 x i8. `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs of products
//! in 16 bits; S k-groups are summed there by `vpaddw` before `vpmaddwd` by ones widens them to 32:
//!
//! ```text
//!   16-bit lane 2j     a0·w0 + a1·w1  of k-group 0, + the same of k-group 1, .. S - 1
//!   16-bit lane 2j+1   a2·w2 + a3·w3  ..
//! ```
//!
//! A lane thus sums 2·S products in 16 bits. With 0 <= a <= 255 every sum of some of them lies in
//! [-255·Σ max(-w, 0), 255·Σ max(w, 0)]; where both Σ are at most 128, that is within ±32,640, and nothing
//! saturates or wraps, whatever A is. `proven::provable_i16_groups` finds the most S for which this holds in all
//! lanes of a panel. i8 activations are flipped to u8 first, which the zero point takes up.
//!
//! The panel is read from L1 for every row, so that the registers hold 12 accumulators, 2 sums of 16
//! bits, 1 of A and the ones.

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::partial_group;
use crate::x86::tile::ymm;
use crate::x86::tile::ymm::{MR, NR, Tiles};
use crate::x86::tile::ymm_epilogue::finish;
use core::arch::x86_64::*;

/// For 1, 2, 4 and 8 steps.
pub static STEPS: [Kernel; 4] = [
    kernel("avx2-6x16c4s1", 1, &[variant(ymm::micro_6x16::<Steps<1>>)]),
    kernel("avx2-6x16c4s2", 2, &[variant(ymm::micro_6x16::<Steps<2>>)]),
    kernel("avx2-6x16c4s4", 4, &[variant(ymm::micro_6x16::<Steps<4>>)]),
    kernel("avx2-6x16c4s8", 8, &[variant(ymm::micro_6x16::<Steps<8>>)]),
];

const fn kernel(name: &'static str, i16_groups: usize, variants: &'static [Variant]) -> Kernel {
    Kernel {
        name,
        isa: Isa::Avx2,
        mr: MR,
        nr: NR,
        kr: 4,
        i16_groups,
        fused: true,
        takes: Takes::TILES,
        variants,
    }
}

const fn variant(micro: crate::contract::args::MicroFn) -> Variant {
    Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro }
}

struct Steps<const S: usize>;

impl<const S: usize> Tiles for Steps<S> {
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        let ones = _mm256_set1_epi16(1);
        let mut acc = [[_mm256_setzero_si256(); V]; H];
        let whole = t.k / (4 * S) * S;
        // SAFETY: throughout, row i of A has k bytes and the panel all its k-groups, the last one padded;
        // the terms and C are as the caller promises.
        unsafe {
            for g in (0..whole).step_by(S) {
                for i in 0..H {
                    let mut sum = [_mm256_setzero_si256(); V];
                    for s in g..g + S {
                        let four = t.a.add(i * t.lda + 4 * s).cast::<i32>().read_unaligned();
                        add_products(&mut sum, four, t.b.add(s * 4 * NR));
                    }
                    widen(&mut acc[i], &sum, ones);
                }
            }
            // Fewer groups than S, the last of them perhaps not whole: a part of sums that were proven.
            for i in 0..H {
                let mut sum = [_mm256_setzero_si256(); V];
                for s in whole..t.k.div_ceil(4) {
                    let rest = t.a.add(i * t.lda + 4 * s);
                    let four = match t.k - 4 * s {
                        left @ 1..4 => partial_group(rest, left, s > 0),
                        _ => rest.cast::<i32>().read_unaligned(),
                    };
                    add_products(&mut sum, four, t.b.add(s * 4 * NR));
                }
                widen(&mut acc[i], &sum, ones);
            }
            finish(t, acc);
        }
    }
}

/// sum += pairs of products of four bytes of A and a k-group of the panel, in 16 bits.
///
/// # Safety
/// The k-group lies at `group`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_products<const V: usize>(sum: &mut [__m256i; V], four: i32, group: *const u8) {
    let a = _mm256_set1_epi32(four);
    for v in 0..V {
        // SAFETY: V <= 2 vectors make up at most the k-group.
        let b = unsafe { _mm256_loadu_si256(group.add(32 * v).cast()) };
        sum[v] = _mm256_add_epi16(sum[v], _mm256_maddubs_epi16(a, b));
    }
}

/// acc += the two halves of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn widen<const V: usize>(acc: &mut [__m256i; V], sum: &[__m256i; V], ones: __m256i) {
    for v in 0..V {
        acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(sum[v], ones));
    }
}
