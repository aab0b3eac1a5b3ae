//! AVX2 for weights that are proven to be small: `vpmaddubsw`, a saturating instruction, where no sum can saturate.
//!
//! Tile 6x16, KR = 4, u8 x i8 (`tile::ymm` has the panel). `vpmaddubsw` multiplies unsigned by signed bytes and adds
//! pairs of products in 16 bits; unlike the other 6x16 tiles this one sums G k-groups there, by `vpaddw`, before
//! `vpmaddwd` by ones widens them to 32:
//!
//! ```text
//!   16-bit lane 2j     a0·w0 + a1·w1  of k-group 0, + that of k-group 1, .. G - 1
//!   16-bit lane 2j+1   a2·w2 + a3·w3  of k-group 0, + ..
//! ```
//!
//! A lane thus sums 2·G products in 16 bits. With 0 <= a <= 255 every sum of some of them lies in [-255·Σ max(-w, 0),
//! 255·Σ max(w, 0)]; where both Σ are at most 128, that is within ±32,640, and nothing saturates or wraps, whatever A
//! is. `entry::proof::provable_i16_groups` finds the largest G for which this holds in all lanes of a panel. i8
//! activations are flipped to u8 first, for which the zero point makes up.
//!
//! Registers, all 16: 12 accumulators, 2 sums of 16 bits, 1 of A, and the ones. The panel is read from the first-level
//! cache for every row.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Variant};
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::k_group::{KGroups, partial_group};
use crate::x86::tile::dot::start;
use crate::x86::tile::each_row::each_tile;
use crate::x86::tile::epilogue::finish;
use crate::x86::tile::vector::Vector;
use crate::x86::tile::ymm::{Tile6x16, YmmTiles};
use core::arch::x86_64::*;

/// The kernels that sum 1, 2, 4 and 8 k-groups in 16 bits.
pub static BY_GROUPS: [Kernel; 4] = [
    Kernel::new("avx2-6x16c4s1", &[Variant::of::<Tile6x16<Bytes<1>>>()]),
    Kernel::new("avx2-6x16c4s2", &[Variant::of::<Tile6x16<Bytes<2>>>()]),
    Kernel::new("avx2-6x16c4s4", &[Variant::of::<Tile6x16<Bytes<4>>>()]),
    Kernel::new("avx2-6x16c4s8", &[Variant::of::<Tile6x16<Bytes<8>>>()]),
];

/// `vpmaddubsw`, with G k-groups summed in 16 bits.
struct Bytes<const G: usize>;

impl<const G: usize> Instruction for Bytes<G> {
    const ISA: Isa = Isa::Avx2;
    const A: Stored = Stored::U8;
    const B: Stored = Stored::I8;
    const KR: usize = 4;
    const I16_GROUPS: usize = G;
}

// SAFETY: the k-groups that are read of A and of the panel are those that they have.
unsafe impl<const G: usize> YmmTiles for Bytes<G> {
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const H: usize, const V: usize>(t: &Args<'_>) {
        t.debug_assert_tile(H, V, 8);
        let ones = _mm256_set1_epi16(1);
        let groups = KGroups::new::<Self>(t.k);
        let runs_end = groups.whole / G * G;
        // SAFETY: the caller's promise: row i of A has the whole k-groups and `left` bytes more, the panel all
        // k-groups, the last one padded.
        unsafe {
            let mut acc = start::<_, H, V>(t, 0);
            for first in (0..runs_end).step_by(G) {
                for i in 0..H {
                    let mut sum = [_mm256_setzero_si256(); V];
                    for g in first..first + G {
                        let a = i32::from_ne_bytes(*t.a.add(i * t.lda + 4 * g).cast());
                        add_products(&mut sum, a, t.b.add(g * 32 * V));
                    }
                    add_widened(&mut acc[i], &sum, ones);
                }
            }
            // Fewer groups than G, the last of them perhaps not whole: a part of sums that were proven.
            for i in 0..H {
                let mut sum = [_mm256_setzero_si256(); V];
                for g in runs_end..t.k.div_ceil(4) {
                    let rest = t.a.add(i * t.lda + 4 * g);
                    let a = if g < groups.whole {
                        i32::from_ne_bytes(*rest.cast())
                    } else {
                        partial_group(rest, groups.left, g > 0)
                    };
                    add_products(&mut sum, a, t.b.add(g * 32 * V));
                }
                add_widened(&mut acc[i], &sum, ones);
            }
            finish(t, acc);
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        each_tile::<H>(
            t,
            #[inline(always)]
            // SAFETY: the caller's promise.
            |t| unsafe { Self::tile::<H, V>(t) },
        );
    }
}

/// Adds to each 16-bit lane of `sum` the products of a pair of bytes, of the k-group `a` of A and of that of the panel.
///
/// # Safety
/// The panel's k-group lies at `b`: 4 bytes for each column of V vectors.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_products<const V: usize>(sum: &mut [__m256i; V], a: i32, b: *const u8) {
    let a = _mm256_set1_epi32(a);
    for v in 0..V {
        // SAFETY: the caller's promise.
        let b = unsafe { __m256i::load(b.add(32 * v).cast()) };
        sum[v] = _mm256_add_epi16(sum[v], _mm256_maddubs_epi16(a, b));
    }
}

/// Adds to each lane of `acc` both 16-bit halves of the lane of `sum`.
#[inline]
#[target_feature(enable = "avx2")]
fn add_widened<const V: usize>(acc: &mut [__m256i; V], sum: &[__m256i; V], ones: __m256i) {
    for v in 0..V {
        acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(sum[v], ones));
    }
}
