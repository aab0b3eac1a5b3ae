//! The fast path of small products: A read in place, no row sums, one kernel call, no blocking.

use crate::engine::buffers::{self, Buffers};
use crate::engine::epilogue::column_stage::{ColumnStage, PadBuffers};
use crate::engine::epilogue::in_kernel::{stored_by_kernel, with_output};
use crate::engine::operation::StoredPair;
use crate::engine::plan::{MAX_FUSED_COLUMNS, MAX_MC, Needs};
use crate::engine::zero_points::{NO_TERMS, OneZeroEach, column_terms};
use crate::error::Error;
use crate::matrix::view::MatRef;
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::product::Product;
use crate::product::accumulator;
use crate::product::operands::Lhs;
use crate::product::zero_point::ZeroPoint;
use crate::weights::packed_columns::PackedColumns;
use qgemm_kernels::{Convert, MAX_NR, Output, PanelProduct, in_default_float_mode};

/// The most multiply-adds of a small product: some microseconds.
const MAX_WORK: usize = 1 << 19;

/// A product that one kernel call computes.
#[derive(Clone, Copy)]
pub(crate) struct Small<'a> {
    product: &'a Product<'a>,
    b: &'a PackedColumns,
    pair: &'a StoredPair,
    a: MatRef<'a, u8>,
    zeros: OneZeroEach,
}

/// Computes one panel to 8 bits or f32. Not inlined: its stack frame would slow products to i32.
#[inline(never)]
fn run_panel(small: Small<'_>, destination: &mut Destination<'_, '_>) {
    let (mut terms, mut scale, mut bias) = ([0; MAX_NR], [0.0; MAX_NR], [0.0; MAX_NR]);
    small.run_with(&mut terms, PadBuffers { scale: &mut scale, bias: &mut bias }, destination);
}

/// Computes several panels. Not inlined: its caller would hold three copies of it.
#[inline(never)]
fn run_panels(small: Small<'_>, destination: &mut Destination<'_, '_>) -> Result<(), Error> {
    buffers::with(&Needs::default(), |scratch| {
        let Buffers { column_terms, columns, .. } = &mut scratch.buffers;
        small.run_with(column_terms.buffer(), columns.pad_buffers(), destination);
    })
}

impl<'a> Small<'a> {
    /// The product as one kernel call; `None` if it takes more. `pair` is the pair of types of all panels.
    #[inline(always)]
    pub(crate) fn new(
        product: &'a Product<'a>,
        b: &'a PackedColumns,
        pair: &'a StoredPair,
        destination: &Destination<'_, '_>,
    ) -> Option<Self> {
        let Product { m, k, .. } = *product;
        let few = m <= MAX_MC && m.saturating_mul(b.n()).saturating_mul(k) <= MAX_WORK;
        let (Lhs::Matrix(a), true) = (&product.a, few) else { return None };
        let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (product.a_zero, product.b_zero)
        else {
            return None;
        };
        let panel = &b.panels()[0];
        let in_place = a.bits.rows_are_slices() && pair.convert == Convert::Copy && !pair.row_sums;
        let one_call = b.n() <= MAX_FUSED_COLUMNS && b.panels().iter().all(|other| panel.same_kernel(other));
        if !in_place || !one_call || !stored_by_kernel(destination, panel.kernel.fused) {
            return None;
        }
        if !matches!(destination, Destination::I32 { .. }) && !accumulator::fits_i32(product, b) {
            return None;
        }
        let zeros = OneZeroEach { a: a_zero, b: b_zero };
        Some(Self { product, b, pair, a: a.bits, zeros })
    }

    /// Computes the product.
    #[inline(always)]
    pub(crate) fn run(self, destination: &mut Destination<'_, '_>) -> Result<(), Error> {
        let panel = &self.b.panels()[0];
        match destination {
            // Terms lie on the stack: taking the thread's buffers would be a tenth of 16x16x16.
            Destination::I32 { c, accumulate } if self.b.panels().len() == 1 => {
                let mut terms = [0; MAX_NR];
                let call = self.kernel_call(&mut terms);
                panel.kernel.run(panel.variant, &call, Output::Sums { c, accumulate: *accumulate });
            }
            _ if self.b.panels().len() == 1 => in_default_float_mode(|| run_panel(self, destination)),
            _ => return destination.in_its_float_mode(|destination| run_panels(self, destination)),
        }
        Ok(())
    }

    /// The arguments of the kernel, with the column terms in `terms` if there are any.
    #[inline(always)]
    fn kernel_call<'t>(&'t self, terms: &'t mut [i32]) -> PanelProduct<'t> {
        let Self { product, b, pair, a, zeros } = *self;
        PanelProduct {
            k: b.k(),
            a: a.data_from_row(0),
            lda: a.row_stride(),
            a_from_memory: false,
            b_exceeds_l2: b.k() * b.n() > b.caches().l2,
            panels: b.whole_panels(b.panels()),
            col: column_terms(product, b, pair, zeros, b.range(), terms),
            row: NO_TERMS.row,
            outer: &[],
        }
    }

    /// Computes the product, with memory for column terms and for padded scales and biases.
    #[inline(always)]
    fn run_with(&self, terms: &mut [i32], pad: PadBuffers<'_>, destination: &mut Destination<'_, '_>) {
        let (b, panel) = (self.b, &self.b.panels()[0]);
        let call = self.kernel_call(terms);
        let region = Region { rows: 0..self.product.m, columns: b.range(), top: 0, left: 0 };
        let stage = ColumnStage::new(destination, b.range(), b.padded_values(b.n()), pad);
        with_output(destination, &stage, &region, None, |output| {
            panel.kernel.run(panel.variant, &call, output);
        });
    }
}
