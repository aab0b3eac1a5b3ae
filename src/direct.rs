//! Products of which the walk through the loop nest would be a good part: small ones, whose A is read in place and
//! whose rows need no sums. What is left of `band` is one loop over panels.

use crate::driver::Way;
use crate::epilogue::{self, Stage};
use crate::gather::Lhs;
use crate::gemm::{Gemm, ZeroPoint};
use crate::output::Scaling;
use crate::packed::{PackedB, Panel};
use crate::plan::MAX_MC;
use crate::sink::{Part, Sink};
use crate::terms::{self, NOTHING};
use crate::width;
use qgemm_kernels::finish::Output;
use qgemm_kernels::pack::Convert;
use qgemm_kernels::{MAX_NR, Product};

/// At most that many multiply-adds: some microseconds.
const WORK: usize = 1 << 19;

/// Whether this was such a product, which is then done; else C is as it was.
#[inline]
pub(crate) fn run(gemm: &Gemm<'_>, b: &PackedB, way: &Way, sink: &mut Sink<'_, '_>) -> bool {
    let ((m, _, k), all) = (gemm.shape(), b.range());
    let small = m <= MAX_MC && m.saturating_mul(all.len()).saturating_mul(k) <= WORK;
    let (Lhs::Plain(a), true) = (&gemm.a, small) else { return false };
    let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (gemm.a_zero, gemm.b_zero) else {
        return false;
    };
    let in_place = a.bits.rows_are_slices() && way.convert == Convert::Copy && !way.row_sums;
    if !in_place {
        return false;
    }
    // What is known to be the same for all panels.
    let kernels_can = match sink {
        Sink::I32 { c, .. } => c.rows_are_slices(),
        // Multipliers decide by panel.
        Sink::Bytes { output, .. } => matches!(output.scaling, Scaling::Float(_)) && width::all_fit(gemm, b),
        Sink::F32 { .. } => width::all_fit(gemm, b),
    };
    if !kernels_can {
        return false;
    }
    let nr = b.ready().nr;
    for (panel, j) in b.panels().iter().zip(all.clone().step_by(nr)) {
        let (columns, left) = (j..all.end.min(j + nr), j - all.start);
        let mut room = [0; MAX_NR];
        let product = Product {
            k,
            a: a.bits.data_from_row(0),
            lda: a.bits.row_stride(),
            panel: b.panel_rows(panel, 0..k),
            col: terms::added_to_columns((gemm, b, way), (a_zero, b_zero), columns.clone(), &mut room),
            row: NOTHING.row,
            outer: &[],
        };
        if let Sink::I32 { c, accumulate } = sink {
            let mut c = c.part(0, left, m, columns.len());
            panel.kernel.run(panel.variant, &product, Output::Sums { c: &mut c, accumulate: *accumulate });
            continue;
        }
        let part = Part { rows: 0..m, columns, top: 0, left };
        if !finished(panel, &product, sink, &part) {
            return false;
        }
    }
    true
}

/// Whether the panel's kernel can make such an output, which is then made. Apart from sums, whose way its stack
/// would lengthen.
#[inline(never)]
fn finished(panel: &Panel, product: &Product<'_>, sink: &mut Sink<'_, '_>, part: &Part) -> bool {
    let stage = Stage::new(sink, part.columns.clone());
    epilogue::with_output(sink, &stage, part, None, panel.kernel.fused, |output| {
        panel.kernel.run(panel.variant, product, output);
    })
}
