//! The loop nest of a product with packed columns, on one thread.
//!
//! ```text
//! ic  MC rows of C                           a block of A in L2; its row sums
//!   jc  NC panels (all, if K is one block)   sums of K blocks in L2
//!     pc  KC values of k (all, if K <= KC)   rows of A widened or flipped, if they must be
//!       jr  a panel of B                     KC x NR in L2, read once per tile
//!         ir  a tile of C, MR x NR           sums in registers, rows of A in L1
//! ```
//!
//! `ir` is the loop in the kernel's call, here only where sums are kept in 64 bits.

use crate::engine::buffers::{Buffers, Scratch};
use crate::engine::epilogue::by_columns;
use crate::engine::epilogue::column_stage::{ColumnStage, PadBuffers};
use crate::engine::epilogue::in_kernel::{panel_stored_by_kernel, stored_by_kernel, with_output};
use crate::engine::epilogue::scalar;
use crate::engine::operation::Operation;
use crate::engine::plan::{MAX_FUSED_COLUMNS, rows_together, rows_within_pages};
use crate::engine::row_block::{ColumnRange, RowBlock};
use crate::engine::wide_terms::{F64ColumnTerms, I64ColumnTerms};
use crate::engine::zero_points::NO_TERMS;
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::product::accumulator::Accumulator;
use qgemm_kernels::{BlockMut, F64Terms, MAX_MR, MAX_NR, Output};
use std::ops::Range;

/// Computes some rows and panels of C. `destination` holds these rows and columns only.
pub(crate) fn run(
    operation: &Operation<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
    destination: &mut Destination<'_, '_>,
    scratch: &mut Scratch,
) {
    destination.in_its_float_mode(|destination| run_blocks(operation, rows, panels, destination, scratch));
}

/// [`run`], in the floating-point mode that the thread is in.
fn run_blocks(
    operation: &Operation<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
    destination: &mut Destination<'_, '_>,
    scratch: &mut Scratch,
) {
    let slow_stores = operation.b.kernel().slow_stores();
    let near = rows_within_pages(operation.k, destination.row_distance(), slow_stores);
    let mc = operation.plan.mc.min(near);
    let mut ic = rows.start;
    while ic < rows.end {
        let block = ic..rows.end.min(ic + mc);
        for pair in operation.pairs {
            let some = &operation.b.panels()[panels.clone()];
            if operation.pairs.len() > 1 && !some.iter().any(|panel| pair.serves(panel)) {
                continue;
            }
            scratch.row_terms.fill(operation, pair, block.clone());
            let row_terms = &scratch.row_terms;
            let (rows, top) = (block.clone(), ic - rows.start);
            let block = RowBlock { operation, pair, rows, top, panels: panels.clone(), row_terms };
            block.run(destination, &mut scratch.buffers);
        }
        ic = block.end;
    }
}

/// The place where the sums of tiles become the output.
enum Sums<'a> {
    /// The kernel, if it has the stage: it makes the output from registers, with these terms in f64 if there are any.
    InKernel(Option<F64Terms<'a>>),
    /// Plain loops, which read the sums from scratch.
    ThroughScratch,
}

impl RowBlock<'_> {
    fn run(&self, destination: &mut Destination<'_, '_>, buffers: &mut Buffers) {
        let Operation { accumulator, ref plan, k, .. } = *self.operation;
        if accumulator != Accumulator::I64 && plan.kc >= k {
            return self.whole_k(destination, buffers);
        }
        for jc in self.panels.clone().step_by(plan.nc) {
            let some = jc..self.panels.end.min(jc + plan.nc);
            if accumulator == Accumulator::I64 {
                self.split_k_i64(some, destination, buffers);
            } else {
                self.split_k(some, destination, buffers);
            }
        }
    }

    /// K in one block: tiles are finished as soon as they are summed.
    fn whole_k(&self, destination: &mut Destination<'_, '_>, buffers: &mut Buffers) {
        let operation = self.operation;
        let Buffers { a_rows, widened, column_terms, columns: scratch_of_columns, sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), operation.nr);
        let mut a = self.a_rows(0..operation.k, a_rows);
        let i32_sums = operation.accumulator == Accumulator::I32;
        // A widened panel comes alone, so that it stays in the first-level cache.
        let several = i32_sums
            && self.pair.widened.is_none()
            && stored_by_kernel(destination, operation.b.kernel().fused);
        for (jr, panels) in self.same_kernel_runs(if several { MAX_FUSED_COLUMNS / nr } else { 1 }) {
            let columns = self.columns(jr..jr + panels.len());
            let panel = &panels[0];
            let b = self.widen_if(panel, operation.b.whole_panels(panels), widened);
            let stage = self.column_stage(destination, &columns, scratch_of_columns.pad_buffers());
            let terms = if i32_sums {
                column_terms.with_rows(operation, self.pair, columns.range.clone(), self.row_terms)
            } else {
                NO_TERMS
            };
            // Not together with `terms`: as a pair they would be copied, which takes a small product 10 % longer.
            let f64_terms = (!i32_sums)
                .then(|| F64ColumnTerms::new(operation, self.pair, columns.range.clone(), self.row_terms));
            let place = match &f64_terms {
                None => Sums::InKernel(None),
                Some(terms) => {
                    terms.for_kernel().map_or(Sums::ThroughScratch, |terms| Sums::InKernel(Some(terms)))
                }
            };
            if let Sums::InKernel(in_f64) = &place
                && panel_stored_by_kernel(destination, &stage, panel.kernel.fused, in_f64.is_some())
            {
                let region = &self.region(0..m, &columns);
                with_output(destination, &stage, region, *in_f64, |output| {
                    self.multiply(0..m, a, b, terms, output);
                });
                a.from_memory = false;
                continue;
            }
            let step = m.min(rows_together(operation.mr));
            sums.resize(sums.len().max(2 * step * nr), 0);
            let (tile_memory, other) = sums.split_at_mut(step * nr);
            for start in (0..m).step_by(step) {
                let rows = start..m.min(start + step);
                let shape = (rows.len(), columns.range.len(), nr);
                if let (Sums::InKernel(in_f64), Some(mut c)) =
                    (&place, by_columns::in_scratch(destination, tile_memory, shape))
                    && panel_stored_by_kernel(&c, &stage, panel.kernel.fused, in_f64.is_some())
                {
                    let region = self.region(rows.clone(), &columns);
                    let in_tile = Region { top: 0, left: 0, ..region.clone() };
                    let in_f64 = in_f64.map(|terms| {
                        let row = terms.row.map(|row| &row[rows.clone()]);
                        F64Terms { row, ..terms }
                    });
                    with_output(&mut c, &stage, &in_tile, in_f64, |output| {
                        self.multiply(rows.clone(), a, b, terms, output);
                    });
                    by_columns::store(destination, tile_memory, nr, other, &region);
                    continue;
                }
                let c = &mut tile(tile_memory, rows.len(), columns.range.len(), nr);
                self.multiply(rows.clone(), a, b, terms, Output::Sums { c, accumulate: false });
                self.store(tile_memory, &stage, f64_terms.as_ref(), rows, &columns, destination);
            }
            a.from_memory = false;
        }
    }

    /// K in several blocks. The sums of some panels wait meanwhile: in C itself, if it can hold them, else in scratch.
    // Not inlined, like `split_k_i64`: with it `run` would save more registers, 100 instructions a call.
    #[inline(never)]
    fn split_k(&self, panels: Range<usize>, destination: &mut Destination<'_, '_>, buffers: &mut Buffers) {
        let operation = self.operation;
        let Buffers { a_rows, widened, column_terms, columns: scratch_of_columns, sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), operation.nr);
        let i32_sums = operation.accumulator == Accumulator::I32;
        sums.resize(m * nr * panels.len(), 0);
        for ks in self.k_blocks() {
            let first = ks.start == 0;
            let mut a = self.a_rows(ks.clone(), a_rows);
            for (jr, panel) in self.panels_of_pair(panels.clone()) {
                let sums = &mut sums[(jr - panels.start) * m * nr..][..m * nr];
                let columns = self.columns(jr..jr + 1);
                let terms = if first && i32_sums {
                    column_terms.with_rows(operation, self.pair, columns.range.clone(), self.row_terms)
                } else {
                    NO_TERMS
                };
                let b = self.widen_if(panel, operation.b.panel_rows(panel, ks.clone()), widened);
                let (mut c, accumulate) = match self.c_as_accumulators(destination, &columns) {
                    Some((c, accumulate)) => (c, accumulate || !first),
                    None => (tile(sums, m, columns.range.len(), nr), !first),
                };
                self.multiply(0..m, a, b, terms, Output::Sums { c: &mut c, accumulate });
                a.from_memory = false;
            }
        }
        for (jr, _) in self.panels_of_pair(panels.clone()) {
            let sums = &sums[(jr - panels.start) * m * nr..][..m * nr];
            let columns = self.columns(jr..jr + 1);
            if self.c_as_accumulators(destination, &columns).is_none() {
                let stage = self.column_stage(destination, &columns, scratch_of_columns.pad_buffers());
                let f64_terms = (operation.accumulator == Accumulator::I32WithF64Terms).then(|| {
                    F64ColumnTerms::new(operation, self.pair, columns.range.clone(), self.row_terms)
                });
                self.store(sums, &stage, f64_terms.as_ref(), 0..m, &columns, destination);
            }
        }
    }

    /// K in several blocks whose own sums fit 32 bits, added up in 64 bits.
    #[inline(never)]
    fn split_k_i64(
        &self,
        panels: Range<usize>,
        destination: &mut Destination<'_, '_>,
        buffers: &mut Buffers,
    ) {
        let operation = self.operation;
        let Buffers { a_rows, widened, columns: scratch_of_columns, sums_i64: sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), operation.nr);
        sums.clear();
        sums.resize(m * nr * panels.len(), 0);
        for ks in self.k_blocks() {
            let a = self.a_rows(ks.clone(), a_rows);
            for (jr, panel) in self.panels_of_pair(panels.clone()) {
                let sums = &mut sums[(jr - panels.start) * m * nr..][..m * nr];
                let columns = self.columns(jr..jr + 1);
                let b = self.widen_if(panel, operation.b.panel_rows(panel, ks.clone()), widened);
                let mut block_sums = [0; MAX_MR * MAX_NR];
                for ir in self.tiles() {
                    let c = &mut tile(&mut block_sums, ir.len(), columns.range.len(), nr);
                    self.multiply(ir.clone(), a, b, NO_TERMS, Output::Sums { c, accumulate: false });
                    let sums = &mut sums[ir.start * nr..ir.end * nr];
                    sums.iter_mut().zip(&block_sums).for_each(|(sum, more)| *sum += i64::from(*more));
                }
            }
        }
        for (jr, _) in self.panels_of_pair(panels.clone()) {
            let sums = &mut sums[(jr - panels.start) * m * nr..][..m * nr];
            let columns = self.columns(jr..jr + 1);
            let terms = I64ColumnTerms::new(operation, self.pair, columns.range.clone());
            terms.add_to(sums, nr, self.row_terms, 0..m);
            let stage = self.column_stage(destination, &columns, scratch_of_columns.pad_buffers());
            scalar::store_i64(sums, nr, &stage, destination, &self.region(0..m, &columns));
        }
    }

    /// The output stage of some columns.
    #[inline]
    fn column_stage<'s>(
        &self,
        destination: &Destination<'_, 's>,
        columns: &ColumnRange,
        pad: PadBuffers<'s>,
    ) -> ColumnStage<'s> {
        let values = self.operation.b.padded_values(columns.range.len());
        ColumnStage::new(destination, columns.range.clone(), values, pad)
    }

    /// Stores the sums of some rows and a panel, with the terms in f64 if there are any.
    fn store(
        &self,
        sums: &[i32],
        stage: &ColumnStage<'_>,
        f64_terms: Option<&F64ColumnTerms<'_>>,
        rows: Range<usize>,
        columns: &ColumnRange,
        destination: &mut Destination<'_, '_>,
    ) {
        let (ld, region) = (self.operation.nr, self.region(rows.clone(), columns));
        match f64_terms {
            Some(terms) => {
                scalar::store_with_terms(sums, ld, (terms, rows.start), stage, destination, &region);
            }
            None => scalar::store(sums, ld, stage, destination, &region),
        }
    }
}

/// `sums` as rows of `nr`.
fn tile(sums: &mut [i32], rows: usize, cols: usize, nr: usize) -> BlockMut<'_, i32> {
    BlockMut::new(sums, rows, cols, nr, 1).expect("the buffer holds a tile")
}
