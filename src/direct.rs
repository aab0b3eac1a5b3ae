//! Products of which the walk through the loop nest would be a good part: small ones, whose A is read in place and
//! whose rows need no sums. What is left of `band` is one call.

use crate::driver::Way;
use crate::epilogue::{self, AT_ONCE, Room, Stage};
use crate::gather::Lhs;
use crate::gemm::{Gemm, ZeroPoint};
use crate::matrix::MatRef;
use crate::packed::PackedB;
use crate::plan::MAX_MC;
use crate::scratch::{self, Buffers};
use crate::sink::{Part, Sink};
use crate::terms::{self, NOTHING};
use crate::width;
use qgemm_kernels::{Convert, MAX_NR, Output, PanelProduct};

/// At most that many multiply-adds: some microseconds.
const WORK: usize = 1 << 19;

/// Whether this was such a product, which is then done; else C is as it was.
#[inline]
pub(crate) fn run(gemm: &Gemm<'_>, b: &PackedB, way: &Way, sink: &mut Sink<'_, '_>) -> bool {
    let ((m, _, k), all) = (gemm.shape(), b.range());
    let small = m <= MAX_MC && m.saturating_mul(all.len()).saturating_mul(k) <= WORK;
    let (Lhs::Matrix(a), true) = (&gemm.a, small) else { return false };
    let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (gemm.a_zero, gemm.b_zero) else {
        return false;
    };
    let (panels, panel) = (b.panels(), &b.panels()[0]);
    let in_place = a.bits.rows_are_slices() && way.convert == Convert::Copy && !way.row_sums;
    let together = all.len() <= AT_ONCE && panels.iter().all(|other| panel.is_like(other));
    if !in_place || !together || !epilogue::stored_by_kernel(sink, panel.kernel.fused) {
        return false;
    }
    if !matches!(sink, Sink::I32 { .. }) && !width::all_fit(gemm, b) {
        return false;
    }
    let product = (gemm, b, way, (a_zero, b_zero));
    match sink {
        // On the stack: the thread's buffers would be a tenth of 16x16x16.
        Sink::I32 { c, accumulate } if panels.len() == 1 => {
            let mut terms = [0; MAX_NR];
            let product = whole(product, a.bits, &mut terms);
            panel.kernel.run(panel.variant, &product, Output::Sums { c, accumulate: *accumulate });
            true
        }
        _ if panels.len() == 1 => one(product, a.bits, sink),
        _ => scratch::with(|scratch| {
            let Buffers { column_terms, columns, .. } = &mut scratch.buffers;
            run_into((gemm, b), &whole(product, a.bits, column_terms.room()), sink, columns.all())
        }),
    }
}

/// A product whose A has one zero point, as its B has.
type Plain<'a, 'g, 'w> = (&'g Gemm<'g>, &'a PackedB, &'w Way, (i32, i32));

/// Of one panel, to 8 bits or f32. Apart from sums, whose way its stack would lengthen.
#[inline(never)]
fn one(product: Plain<'_, '_, '_>, a: MatRef<'_, u8>, sink: &mut Sink<'_, '_>) -> bool {
    let (mut terms, mut scale, mut bias) = ([0; MAX_NR], [0.0; MAX_NR], [0.0; MAX_NR]);
    let room = Room { scale: &mut scale, bias: &mut bias };
    run_into((product.0, product.1), &whole(product, a, &mut terms), sink, room)
}

/// Whether the kernel of all panels can make such an output, which is then made.
#[inline(always)]
fn run_into(
    (gemm, b): (&Gemm<'_>, &PackedB),
    product: &PanelProduct<'_>,
    sink: &mut Sink<'_, '_>,
    room: Room<'_>,
) -> bool {
    let (panel, rows) = (&b.panels()[0], gemm.shape().0);
    let part = Part { rows: 0..rows, columns: b.range(), top: 0, left: 0 };
    let stage = Stage::new(sink, b.range(), panel.kernel.nr, room);
    epilogue::with_output(sink, &stage, &part, None, panel.kernel.fused, |output| {
        panel.kernel.run(panel.variant, product, output);
    })
}

/// All of a product, whose A is read in place, with what is added to columns in `terms`.
#[inline(always)]
fn whole<'a>(
    (gemm, b, way, zeros): Plain<'a, '_, '_>,
    a: MatRef<'a, u8>,
    terms: &'a mut [i32],
) -> PanelProduct<'a> {
    PanelProduct {
        k: b.k(),
        a: a.data_from_row(0),
        lda: a.row_stride(),
        panels: b.whole_panels(b.panels()),
        col: terms::added_to_columns((gemm, b, way), zeros, b.range(), terms),
        row: NOTHING.row,
        outer: &[],
    }
}
