//! The proof that sums of 16 bits are exact: how many k-groups of a panel `vpmaddubsw` may add up.

use crate::contract::column_stats::ColumnStats;
use crate::contract::limits::{MAX_I16_GROUPS, MAX_NR};
use crate::contract::panel::{PackJob, Source};
use crate::contract::ready::Ready;
use crate::elements::Stored;
use crate::entry::pack::pack_panel;

/// How many k-groups of this panel a kernel may sum in 16 bits, of the counts that kernels have: 8, 4, 2
/// or 1; 0 if not even one.
///
/// `kernel` is one with steps. In every 16-bit lane of every run of that many k-groups (counted from
/// the panel's first) `Σ max(w, 0) <= 128` and `Σ max(-w, 0) <= 128` for the stored values w: see
/// `avx2_i16_sums` for why that suffices.
pub fn provable_i16_groups(kernel: Ready, job: &PackJob<'_>) -> usize {
    let PackJob { source, rows: k_len, .. } = *job;
    const LIMIT: i32 = 128;
    /// Sums over pairs of k-groups: half as many.
    fn pair_up<const N: usize>(sums: &mut [(i32, i32); N], len: usize) {
        for g in 0..len / 2 {
            let (x, y) = (sums[2 * g], sums[2 * g + 1]);
            sums[g] = (x.0 + y.0, x.1 + y.1);
        }
    }
    let group = kernel.nr * kernel.kr;
    let mut chunk = [0; MAX_I16_GROUPS * MAX_NR * 4];
    let mut steps = MAX_I16_GROUPS;
    for k in (0..k_len).step_by(MAX_I16_GROUPS * kernel.kr) {
        let rows = (k_len - k).min(MAX_I16_GROUPS * kernel.kr);
        let bytes = rows.div_ceil(kernel.kr) * group;
        let bits = source.bits.get(k * source.row_stride..).unwrap_or(&[]);
        let part = PackJob { source: Source { bits, ..source }, rows, stored: Stored::I8, ..*job };
        chunk.fill(0);
        let mut ignored = ColumnStats::NONE;
        pack_panel(kernel, &part, &mut chunk[..bytes], &mut ignored);
        // A lane of 16 bits holds the sums of two neighbours.
        for lane in (0..group).step_by(2) {
            let mut sums: [(i32, i32); MAX_I16_GROUPS] = core::array::from_fn(|g| {
                let [x, y] = [0, 1].map(|l| i32::from(chunk[g * group + lane + l] as i8));
                (x.max(0) + y.max(0), (-x).max(0) + (-y).max(0))
            });
            let mut allowed = 0;
            let mut run = 1;
            while run <= steps {
                let runs = &sums[..MAX_I16_GROUPS / run];
                if runs.iter().any(|sum| sum.0 > LIMIT || sum.1 > LIMIT) {
                    break;
                }
                allowed = run;
                pair_up(&mut sums, MAX_I16_GROUPS / run);
                run *= 2;
            }
            steps = allowed;
            if steps == 0 {
                return 0;
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::contract::args::Args;
    use crate::contract::kernel::{Instruction, Kernel, Tile, Variant};
    use std::{vec, vec::Vec};

    /// A kernel that sums k-groups in 16 bits, on any target: only its layout matters here.
    static KERNEL: Kernel = Kernel::new("layout-6x16c4s1", &[Variant::of::<Layout>()]);

    struct Layout;

    impl Instruction for Layout {
        const ISA: crate::Isa = crate::Isa::Scalar;
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

        unsafe fn micro(_: &Args<'_>) {}
    }

    fn steps(b: &[i8], k: usize, n: usize) -> usize {
        let source = Source { bits: bytemuck::cast_slice(b), row_stride: n, col_stride: 1 };
        let ready = KERNEL.ready(&crate::Features::detect()).expect("it needs nothing");
        provable_i16_groups(ready, &PackJob { source, rows: k, cols: n, signed: true, stored: Stored::I8 })
    }

    /// The definition: every lane of every run.
    fn spec(b: &[i8], k: usize, n: usize) -> usize {
        let holds = |steps: usize| {
            (0..n).all(|j| {
                (0..2).all(|pair| {
                    (0..k.div_ceil(4 * steps)).all(|run| {
                        let ks =
                            (4 * steps * run..k.min(4 * steps * (run + 1))).filter(|k| k % 4 / 2 == pair);
                        let lane: Vec<i32> = ks.map(|k| i32::from(b[k * n + j])).collect();
                        let sum = |sign: i32| lane.iter().map(|w| (sign * w).max(0)).sum::<i32>();
                        sum(1) <= 128 && sum(-1) <= 128
                    })
                })
            })
        };
        [8, 4, 2, 1].into_iter().find(|&steps| holds(steps)).unwrap_or(0)
    }

    /// In 16 bits, the sums that a lane of `steps` k-groups goes through with activations of 255.
    fn fits_16_bits(b: &[i8], steps: usize) -> bool {
        let mut total = 0;
        (0..2 * steps).all(|l| {
            total += 255 * i32::from(b[l / 2 * 4 + l % 2]);
            i16::try_from(total).is_ok()
        })
    }

    #[test]
    fn the_bound_is_128_in_every_lane_of_every_run() {
        for steps_wanted in [1, 2, 4, 8] {
            for pair in 0..2 {
                for sign in [1i8, -1] {
                    // A column whose first lane sums to the limit over `steps_wanted` groups, then 0.
                    let k = 4 * steps_wanted;
                    let mut b = vec![0i8; 64];
                    let lane: Vec<usize> = (0..k).filter(|k| k % 4 / 2 == pair).collect();
                    for &l in &lane {
                        b[l] = sign * (128 / lane.len()) as i8;
                    }
                    let allowed = steps(&b, 64, 1);
                    assert!(allowed >= steps_wanted, "{steps_wanted} steps at the bound");
                    assert!(fits_16_bits(&b[2 * pair..], steps_wanted));
                    b[lane[0]] += sign;
                    assert_eq!(steps(&b, 64, 1), spec(&b, 64, 1));
                    assert!(steps(&b, 64, 1) < steps_wanted, "{steps_wanted} steps past the bound");
                    assert!(!fits_16_bits(&b[2 * pair..], steps_wanted), "the bound is tight");
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
                    let got = steps(&b, k, n);
                    assert_eq!(got, spec(&b, k, n), "|w| <= {limit}, {k}x{n}");
                    seen[got] += 1;
                }
            }
        }
        assert!([0, 1, 2, 4, 8].iter().all(|&steps| seen[steps] > 3), "{seen:?}");
    }

    #[test]
    fn minus_128_counts_as_128() {
        assert_eq!(steps(&[-128, 0, 0, 0], 4, 1), 8);
        assert_eq!(steps(&[-128, -1, 0, 0], 4, 1), 0);
        assert_eq!(steps(&[-128, 127, -128, 127], 4, 1), 8);
    }
}
