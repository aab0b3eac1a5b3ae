//! The proof that sums of 16 bits are exact: how many k-groups of a panel `vpmaddubsw` may add up.

use crate::contract::column_stats::ColumnStats;
use crate::contract::limits::{MAX_I16_GROUPS, MAX_NR};
use crate::contract::panel::{PackJob, Source};
use crate::contract::ready::Ready;
use crate::elements::Stored;
use crate::entry::pack::pack_panel;

/// The greatest sum of positive weights, and of magnitudes of negative ones, in a lane: with activations of at most
/// 255, 255·128 < 2^15.
const LIMIT: i32 = 128;

/// The sum of the positive weights in a lane, and of the magnitudes of the negative ones.
#[derive(Clone, Copy, Default)]
struct LaneSums {
    positive: i32,
    negative: i32,
}

/// How many k-groups of this panel a kernel may sum in 16 bits: the greatest of the counts 8, 4, 2 and 1 that kernels
/// have, or 0 if not even one.
///
/// `kernel` is one that sums in 16 bits. The condition is that in every 16-bit lane of every run of that many k-groups,
/// counted from the panel's first one, `Σ max(w, 0) <= 128` and `Σ max(-w, 0) <= 128` for the stored values w;
/// `x86::avx2_i16_sums` shows why that suffices.
pub fn provable_i16_groups(kernel: Ready, job: &PackJob<'_>) -> usize {
    let PackJob { source, rows: k_len, .. } = *job;
    let group = kernel.padded_columns(job.cols).expect("a panel's") * kernel.kr;
    let mut chunk = [0; MAX_I16_GROUPS * MAX_NR * 4];
    let mut ignored = ColumnStats::NONE;
    let mut provable = MAX_I16_GROUPS;
    for k in (0..k_len).step_by(MAX_I16_GROUPS * kernel.kr) {
        let rows = (k_len - k).min(MAX_I16_GROUPS * kernel.kr);
        let bytes = rows.div_ceil(kernel.kr) * group;
        let start = k.checked_mul(source.row_stride);
        let bits = start.and_then(|start| source.bits.get(start..)).unwrap_or(&[]);
        let part = PackJob { source: Source { bits, ..source }, rows, stored: Stored::I8, ..*job };
        chunk.fill(0);
        pack_panel(kernel, &part, &mut chunk[..bytes], &mut ignored);
        // A lane of 16 bits holds the sums of two neighbouring values of k.
        for lane in (0..group).step_by(2) {
            let sums = core::array::from_fn(|g| {
                let [x, y] = [0, 1].map(|l| i32::from(chunk[g * group + lane + l] as i8));
                LaneSums { positive: x.max(0) + y.max(0), negative: (-x).max(0) + (-y).max(0) }
            });
            provable = provable_in_lane(sums, provable);
            if provable == 0 {
                return 0;
            }
        }
    }
    provable
}

/// The greatest power of two, at most `most`, such that no run of as many k-groups exceeds the limit; 0 if none.
fn provable_in_lane(mut sums: [LaneSums; MAX_I16_GROUPS], most: usize) -> usize {
    let (mut provable, mut run) = (0, 1);
    while run <= most {
        let runs = &mut sums[..MAX_I16_GROUPS / run];
        if runs.iter().any(|sum| sum.positive > LIMIT || sum.negative > LIMIT) {
            break;
        }
        provable = run;
        for r in 0..runs.len() / 2 {
            let (x, y) = (runs[2 * r], runs[2 * r + 1]);
            runs[r] = LaneSums { positive: x.positive + y.positive, negative: x.negative + y.negative };
        }
        run *= 2;
    }
    provable
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::contract::args::Args;
    use crate::contract::kernel::{Instruction, Kernel, Tile, Variant};
    use crate::detect::{Features, Isa};
    use std::{vec, vec::Vec};

    /// A kernel that sums k-groups in 16 bits, on any target: only its layout matters here.
    static KERNEL: Kernel = Kernel::new("layout-6x16c4s1", &[Variant::of::<Layout>()]);

    struct Layout;

    impl Instruction for Layout {
        const ISA: Isa = Isa::Scalar;
        const A: Stored = Stored::U8;
        const B: Stored = Stored::I8;
        const KR: usize = 4;
        const I16_GROUPS: usize = 1;
    }

    // SAFETY: it accesses nothing.
    unsafe impl Tile for Layout {
        type Instruction = Self;
        const MR: usize = 6;
        const NR: usize = 16;

        unsafe fn tile(_: &Args<'_>) {}
    }

    fn provable(b: &[i8], k: usize, n: usize) -> usize {
        let source = Source { bits: bytemuck::cast_slice(b), row_stride: n, col_stride: 1 };
        let ready = KERNEL.ready(&Features::detect()).expect("it needs nothing");
        provable_i16_groups(ready, &PackJob { source, rows: k, cols: n, signed: true, stored: Stored::I8 })
    }

    /// The definition, for every lane of every run.
    fn spec(b: &[i8], k: usize, n: usize) -> usize {
        let holds = |groups: usize| {
            (0..n).all(|j| {
                (0..2).all(|pair| {
                    (0..k.div_ceil(4 * groups)).all(|run| {
                        let ks =
                            (4 * groups * run..k.min(4 * groups * (run + 1))).filter(|k| k % 4 / 2 == pair);
                        let lane: Vec<i32> = ks.map(|k| i32::from(b[k * n + j])).collect();
                        let sum = |sign: i32| lane.iter().map(|w| (sign * w).max(0)).sum::<i32>();
                        sum(1) <= 128 && sum(-1) <= 128
                    })
                })
            })
        };
        [8, 4, 2, 1].into_iter().find(|&groups| holds(groups)).unwrap_or(0)
    }

    /// Whether all partial sums of a lane of some k-groups fit 16 bits with activations of 255.
    fn fits_16_bits(b: &[i8], groups: usize) -> bool {
        let mut total = 0;
        (0..2 * groups).all(|l| {
            total += 255 * i32::from(b[l / 2 * 4 + l % 2]);
            i16::try_from(total).is_ok()
        })
    }

    #[test]
    fn the_bound_is_128_in_every_lane_of_every_run() {
        for groups in [1, 2, 4, 8] {
            for pair in 0..2 {
                for sign in [1i8, -1] {
                    // A column whose lane sums to the limit over these groups and is 0 after them.
                    let k = 4 * groups;
                    let mut b = vec![0i8; 64];
                    let lane: Vec<usize> = (0..k).filter(|k| k % 4 / 2 == pair).collect();
                    for &l in &lane {
                        b[l] = sign * (128 / lane.len()) as i8;
                    }
                    let allowed = provable(&b, 64, 1);
                    assert!(allowed >= groups, "{groups} groups at the bound");
                    assert!(fits_16_bits(&b[2 * pair..], groups));
                    b[lane[0]] += sign;
                    assert_eq!(provable(&b, 64, 1), spec(&b, 64, 1));
                    assert!(provable(&b, 64, 1) < groups, "{groups} groups past the bound");
                    assert!(!fits_16_bits(&b[2 * pair..], groups), "the bound is tight");
                }
            }
        }
    }

    #[test]
    fn provable_i16_groups_are_those_of_the_definition() {
        let mut state = 1u32;
        let mut next = |limit: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as i32 % (2 * limit + 1) - limit) as i8
        };
        let mut seen = [0; 9];
        for limit in [0, 1, 4, 8, 9, 12, 16, 17, 24, 32, 33, 48, 64, 65, 80, 127] {
            for k in [0, 1, 3, 4, 5, 31, 32, 33, 64, 100] {
                for n in [1, 2, 15, 16] {
                    let b: Vec<i8> = (0..k * n).map(|_| next(limit)).collect();
                    let got = provable(&b, k, n);
                    assert_eq!(got, spec(&b, k, n), "|w| <= {limit}, {k}x{n}");
                    seen[got] += 1;
                }
            }
        }
        assert!([0, 1, 2, 4, 8].iter().all(|&groups| seen[groups] > 3), "{seen:?}");
    }

    #[test]
    fn minus_128_counts_as_128() {
        assert_eq!(provable(&[-128, 0, 0, 0], 4, 1), 8);
        assert_eq!(provable(&[-128, -1, 0, 0], 4, 1), 0);
        assert_eq!(provable(&[-128, 127, -128, 127], 4, 1), 8);
    }
}
