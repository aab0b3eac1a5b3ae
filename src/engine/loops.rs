//! The loop nest of a product with packed columns, on one thread.
//!
//! ```text
//! ic  MC rows of C                           a block of A in L2; its row sums
//!   jc  NC panels (all of them, if K <= KC)  sums of K blocks in L2
//!     pc  KC values of k (all, if K <= KC)   rows of A widened or flipped, if they must be
//!       jr  a panel of B                     KC x NR in L2, read once per tile
//!         ir  a tile of C, MR x NR           sums in registers, rows of A in L1
//! ```
//!
//! `ir` is the loop in the kernel's call, here only where sums are kept in 64 bits.

use crate::engine::a_rows::ARows;
use crate::engine::buffers::{Buffers, Scratch};
use crate::engine::epilogue::column_stage::ColumnStage;
use crate::engine::epilogue::in_kernel::{panel_stored_by_kernel, stored_by_kernel, with_output};
use crate::engine::epilogue::scalar;
use crate::engine::operation::{Operation, StoredPair};
use crate::engine::plan::MAX_FUSED_COLUMNS;
use crate::engine::wide_terms::{F64ColumnTerms, I64ColumnTerms};
use crate::engine::zero_points::{KernelTerms, NO_TERMS, RowTerms};
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::product::accumulator::Accumulator;
use crate::weights::packed_columns::Panel;
use qgemm_kernels::{
    BlockMut, Convert, F64Terms, Line, MAX_MR, MAX_NR, OuterProduct, Output, PanelProduct, Ready, Variant,
    tile_height, widen,
};
use std::iter::successors;
use std::ops::Range;

/// Computes some rows and panels of C. `destination` holds these rows and columns only.
pub(crate) fn run(
    operation: &Operation<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
    destination: &mut Destination<'_, '_>,
    scratch: &mut Scratch,
) {
    let mut ic = rows.start;
    while ic < rows.end {
        let block = ic..rows.end.min(ic + operation.plan.mc);
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

/// At most MC rows, with those of the panels whose kernels multiply one pair of types.
struct RowBlock<'a> {
    operation: &'a Operation<'a>,
    pair: &'a StoredPair,
    /// Rows of A and of C.
    rows: Range<usize>,
    /// The first of them, counted from the destination's first row.
    top: usize,
    /// All panels of the destination, also those of another pair.
    panels: Range<usize>,
    row_terms: &'a RowTerms,
}

/// Tiles whose sums are finished together where they go through scratch: their sums stay in the first-level cache, and
/// calls are few.
const TILES_TOGETHER: usize = 8;

/// The columns of one panel or several.
struct ColumnRange {
    /// Columns of B.
    range: Range<usize>,
    /// The first of them, counted from the destination's first column.
    left: usize,
}

/// Some k-groups of a panel, or all of several panels, as they are multiplied.
#[derive(Clone, Copy)]
struct PanelRows<'a> {
    kernel: Ready,
    variant: &'static Variant,
    bytes: &'a [u8],
}

/// The place of exact sums between the kernel and the output.
enum Sums<'a> {
    /// The kernel makes the output from registers, with these terms in f64 if there are any.
    InKernel(Option<F64Terms<'a>>),
    /// The kernel stores sums to scratch, and plain loops make the output.
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
        let Buffers { a_rows, widened, column_terms, columns: room, sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), operation.nr);
        let a = self.a_rows(0..operation.k, a_rows);
        let i32_sums = operation.accumulator == Accumulator::I32;
        // A widened panel comes alone, so that it stays in the first-level cache.
        let several = i32_sums
            && self.pair.widened.is_none()
            && stored_by_kernel(destination, operation.b.kernel().fused);
        for (jr, panels) in self.same_kernel_runs(if several { MAX_FUSED_COLUMNS / nr } else { 1 }) {
            let columns = self.columns(jr..jr + panels.len());
            let panel = &panels[0];
            let b = self.widen_if(panel, operation.b.whole_panels(panels), widened);
            let stage = ColumnStage::new(destination, columns.range.clone(), nr, room.room());
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
            if let Sums::InKernel(in_f64) = place
                && panel_stored_by_kernel(destination, &stage, panel.kernel.fused, in_f64.is_some())
            {
                let region = &self.region(0..m, &columns);
                with_output(destination, &stage, region, in_f64, |output| {
                    self.multiply(0..m, a, b, terms, output);
                });
                continue;
            }
            let step = m.min(TILES_TOGETHER * operation.mr);
            sums.resize(sums.len().max(step * nr), 0);
            for start in (0..m).step_by(step) {
                let rows = start..m.min(start + step);
                let c = &mut tile(sums, rows.len(), columns.range.len(), nr);
                self.multiply(rows.clone(), a, b, terms, Output::Sums { c, accumulate: false });
                self.store(sums, &stage, f64_terms.as_ref(), rows, &columns, destination);
            }
        }
    }

    /// K in several blocks. The sums of some panels wait meanwhile: in C itself, if it can hold them, else in scratch.
    // Not inlined, like `split_k_i64`: with it `run` would save more registers, 100 instructions a call.
    #[inline(never)]
    fn split_k(&self, panels: Range<usize>, destination: &mut Destination<'_, '_>, buffers: &mut Buffers) {
        let operation = self.operation;
        let Buffers { a_rows, widened, column_terms, columns: room, sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), operation.nr);
        let i32_sums = operation.accumulator == Accumulator::I32;
        sums.resize(m * nr * panels.len(), 0);
        for ks in self.k_blocks() {
            let first = ks.start == 0;
            let a = self.a_rows(ks.clone(), a_rows);
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
            }
        }
        for (jr, _) in self.panels_of_pair(panels.clone()) {
            let sums = &sums[(jr - panels.start) * m * nr..][..m * nr];
            let columns = self.columns(jr..jr + 1);
            if self.c_as_accumulators(destination, &columns).is_none() {
                let stage = ColumnStage::new(destination, columns.range.clone(), nr, room.room());
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
        let Buffers { a_rows, widened, columns: room, sums_i64: sums, .. } = buffers;
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
            let stage = ColumnStage::new(destination, columns.range.clone(), nr, room.room());
            scalar::store_i64(sums, nr, &stage, destination, &self.region(0..m, &columns));
        }
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

    /// Runs the kernel on the given rows of the block.
    #[inline(always)]
    fn multiply(
        &self,
        rows: Range<usize>,
        a: ARows<'_>,
        b: PanelRows<'_>,
        terms: KernelTerms<'_>,
        output: Output<'_, '_>,
    ) {
        let outer = terms.outer.map(|o| o.map(|o| OuterProduct { row: &o.row[rows.clone()], col: o.col }));
        let outer = match outer {
            [None, None] => &[][..],
            [Some(one), None] | [None, Some(one)] => &[one],
            [Some(one), Some(other)] => &[one, other],
        };
        let product = PanelProduct {
            k: a.k,
            a: a.bytes.get(rows.start * a.lda..).unwrap_or(&[]),
            lda: a.lda,
            panels: b.bytes,
            col: terms.col,
            row: &terms.row[rows.clone()],
            outer,
        };
        b.kernel.run(b.variant, &product, output);
    }

    /// Panel rows as they are multiplied: in place, or widened to i16 in `lines`.
    #[inline]
    fn widen_if<'p>(&self, panel: &Panel, bytes: &'p [u8], lines: &'p mut Vec<Line>) -> PanelRows<'p> {
        let kernel = panel.kernel;
        let Some(variant) = self.pair.widened else {
            return PanelRows { kernel, variant: panel.variant, bytes };
        };
        let need = (bytes.len() * variant.b.size()).div_ceil(64);
        lines.resize(lines.len().max(need), Line([0; 64]));
        let elements = &mut bytemuck::cast_slice_mut(lines)[..bytes.len()];
        widen(bytes, Convert::Extend, elements);
        PanelRows { kernel, variant, bytes: bytemuck::cast_slice(elements) }
    }

    /// The block's part of C, if sums can wait there because C is i32 with contiguous rows; and whether they are added
    /// to what it holds.
    fn c_as_accumulators<'s>(
        &self,
        destination: &'s mut Destination<'_, '_>,
        columns: &ColumnRange,
    ) -> Option<(BlockMut<'s, i32>, bool)> {
        match destination {
            Destination::I32 { c, accumulate } if c.rows_are_slices() => {
                let c = c.part(self.top, columns.left, self.rows.len(), columns.range.len());
                Some((c, *accumulate))
            }
            _ => None,
        }
    }

    /// The place of some rows of the block and some columns.
    fn region(&self, rows: Range<usize>, columns: &ColumnRange) -> Region {
        Region {
            rows: self.rows.start + rows.start..self.rows.start + rows.end,
            columns: columns.range.clone(),
            top: self.top + rows.start,
            left: columns.left,
        }
    }

    /// The panels of `range` that the block is for, with their indices.
    fn panels_of_pair(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &Panel)> {
        let panels = &self.operation.b.panels()[range.clone()];
        range.zip(panels).filter(|(_, panel)| self.pair.serves(panel))
    }

    /// The panels that the block is for, in runs of at most `most` consecutive ones of the same kernel, with the index
    /// of each run's first.
    fn same_kernel_runs(&self, most: usize) -> impl Iterator<Item = (usize, &[Panel])> {
        let mut rest = self.panels.clone();
        std::iter::from_fn(move || {
            loop {
                let panels = &self.operation.b.panels()[rest.clone()];
                let first = panels.first()?;
                let run = panels.iter().take(most).take_while(|panel| first.same_kernel(panel)).count();
                let at = rest.start;
                rest.start += run;
                if self.pair.serves(first) {
                    return Some((at, &panels[..run]));
                }
            }
        })
    }

    fn columns(&self, panels: Range<usize>) -> ColumnRange {
        let nr = self.operation.nr;
        let all = self.operation.b.range();
        let range = all.start + panels.start * nr..all.end.min(all.start + panels.end * nr);
        ColumnRange { range, left: (panels.start - self.panels.start) * nr }
    }

    fn k_blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (k, kc) = (self.operation.k, self.operation.plan.kc);
        (0..k).step_by(kc).map(move |pc| pc..k.min(pc + kc))
    }

    /// The rows of the block, a tile at a time, of even height.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let (m, mr) = (self.rows.len(), self.operation.mr);
        let tile = move |start| start..start + tile_height(m - start, mr);
        successors(Some(tile(0)), move |last| (last.end < m).then(|| tile(last.end)))
    }

    /// Values `ks` of the block's rows of A.
    #[inline]
    fn a_rows<'s>(&'s self, ks: Range<usize>, lines: &'s mut Vec<Line>) -> ARows<'s> {
        ARows::new(self.operation, self.pair, self.rows.clone(), ks, lines)
    }
}

/// `sums` as rows of `nr`.
fn tile(sums: &mut [i32], rows: usize, cols: usize, nr: usize) -> BlockMut<'_, i32> {
    BlockMut::new(sums, rows, cols, nr, 1).expect("the buffer holds a tile")
}
