//! Group-wise kernels against their definition, computed from the weights before they are packed.

mod case;
mod expected;
mod operands;

use crate::block::BlockMut;
use crate::entry::groupwise::{GroupRows, GroupStage, GroupWeights};
use crate::groupwise::kernel::GroupReady;
use crate::groupwise::layout::{CodeBits, GroupShape, PANEL};
use crate::selftest::groupwise::case::{Case, Kinds, Random};
use crate::selftest::groupwise::operands::{GAP, Operands, SENTINEL, scales};
use crate::selftest::report::{Outcome, Wrong};
use core::fmt::Write;

/// Runs all group-wise cases on a kernel and writes a line to `out` for each that fails. `arena` is as for
/// [`run`](crate::selftest::run).
///
/// # Panics
/// If the arena is too small or not aligned.
pub fn run_groupwise(kernel: GroupReady, arena: &mut [u8], out: &mut dyn Write) -> Outcome {
    let mut outcome = Outcome::default();
    let mut seed = 0;
    let mut check = |m, k, n, group| {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            seed += 1;
            let shape = GroupShape::new(k, n, group, bits).expect("groups are whole steps");
            let case = Case { m, shape, seed };
            outcome.count(run_case(kernel, case, arena), format_args!("{} {case}", kernel.name), out);
        }
    };
    for m in 1..=kernel.mr + 2 {
        for n in (1..=PANEL + 2).step_by(1 + m % 3) {
            check(m, 33 + (m + n) % 8, n, 16);
        }
    }
    for k in 0..=50 {
        check(1 + k % 3, k, PANEL + 1 + k % 32, 16);
        check(kernel.mr, k, 1 + k * 11 % 96, 32);
        check(1, k, 20, 64);
    }
    check(4 * kernel.mr + 2, 40, PANEL + 1, 16);
    for group in [16, 24, 32, 40, 64, 72, 128, 256, 300, 1024] {
        for m in [1, 2, kernel.mr, 2 * kernel.mr + 1] {
            check(m, 600, PANEL + 5, if group % 8 == 0 { group } else { 600 });
            check(m, group, PANEL, group);
            check(m, group + 7, PANEL / 2, if group % 8 == 0 { group } else { group + 7 });
        }
    }
    outcome
}

fn run_case(kernel: GroupReady, case: Case, arena: &mut [u8]) -> Result<(), Wrong> {
    let mut random = Random::new(case.seed);
    let kinds = Kinds::new(case.shape.bits(), &mut random);
    let mut x = Operands::new(kernel, case, kinds, arena, &mut random);
    x.fill(kernel, case, kinds, &mut random);
    multiply(kernel, case, kinds, &mut x);
    expected::compare(case, kinds, &x)
}

/// Fills C by the kernel, panel by panel.
fn multiply(kernel: GroupReady, case: Case, kinds: Kinds, x: &mut Operands<'_>) {
    let Case { m, shape, .. } = case;
    let n = shape.n();
    let weights = GroupWeights {
        shape,
        codes: x.codes,
        scales: scales(x.scales, kinds),
        minimums: kinds.minimums.then(|| scales(x.minimums, kinds)),
        zeros: (kinds.zeros > 0).then_some(&*x.zeros),
    };
    let mut rows = GroupRows {
        rows: m,
        codes: x.a,
        stride: x.ones.len(),
        starts: x.starts,
        group_scales: if kinds.group_scales { x.group_scales } else { &[] },
        row_scales: if kinds.group_scales { &[] } else { x.row_scales },
        sums: x.sums,
        minus_zeros: if kinds.a_zeros { x.minus_a_zeros } else { &[] },
    };
    let ones = GroupRows {
        rows: 1,
        codes: x.ones,
        starts: x.ones_starts,
        group_scales: &[],
        row_scales: &[],
        sums: &[],
        minus_zeros: &[],
        ..rows
    };
    x.c.fill(f32::from_ne_bytes([SENTINEL; 4]));
    for panel in 0..shape.panels() {
        let cols = panel * PANEL..panel * PANEL + shape.panel_cols(panel);
        if kinds.a_zeros {
            kernel.sums(&weights, panel, &ones, x.d);
        } else {
            rows.minus_zeros = &[];
        }
        let bias = if kinds.bias { &x.bias[cols.clone()] } else { &[] };
        let (lo, hi) = kinds.clamp();
        let stage = GroupStage { bias, lo, hi };
        let mut block =
            BlockMut::new(&mut x.c[cols.start..], m, cols.len(), n + GAP, 1).expect("C has such rows");
        kernel.run(&weights, panel, &rows, x.d, &stage, &mut block);
    }
}
