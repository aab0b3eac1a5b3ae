//! A block of rows of C on one thread: its rows of A, its panels, its parts of C, and the call of the kernel.

use crate::engine::a_rows::ARows;
use crate::engine::operation::{Operation, StoredPair};
use crate::engine::zero_points::{KernelTerms, RowTerms};
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::weights::packed_columns::Panel;
use qgemm_kernels::{
    BlockMut, Convert, Line, OuterProduct, Output, PanelProduct, Ready, Variant, tile_height, widen,
};
use std::iter::successors;
use std::ops::Range;

/// At most MC rows, with those of the panels whose kernels multiply one pair of types.
pub(super) struct RowBlock<'a> {
    pub(super) operation: &'a Operation<'a>,
    pub(super) pair: &'a StoredPair,
    /// Rows of A and of C.
    pub(super) rows: Range<usize>,
    /// The first of them, counted from the destination's first row.
    pub(super) top: usize,
    /// All panels of the destination, also those of another pair.
    pub(super) panels: Range<usize>,
    pub(super) row_terms: &'a RowTerms,
}

/// The columns of one panel or several.
pub(super) struct ColumnRange {
    /// Columns of B.
    pub(super) range: Range<usize>,
    /// The first of them, counted from the destination's first column.
    pub(super) left: usize,
}

/// Some k-groups of a panel, or all of several panels, as they are multiplied.
#[derive(Clone, Copy)]
pub(super) struct PanelRows<'a> {
    pub(super) kernel: Ready,
    pub(super) variant: &'static Variant,
    pub(super) bytes: &'a [u8],
}

impl RowBlock<'_> {
    /// Runs the kernel on the given rows of the block.
    #[inline(always)]
    pub(super) fn multiply(
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
            a_from_memory: a.from_memory,
            b_exceeds_l2: self.operation.b_exceeds_l2,
            panels: b.bytes,
            col: terms.col,
            row: &terms.row[rows.clone()],
            outer,
        };
        b.kernel.run(b.variant, &product, output);
    }

    /// Panel rows as they are multiplied: in place, or widened to i16 in `lines`.
    #[inline]
    pub(super) fn widen_if<'p>(
        &self,
        panel: &Panel,
        bytes: &'p [u8],
        lines: &'p mut Vec<Line>,
    ) -> PanelRows<'p> {
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
    pub(super) fn c_as_accumulators<'s>(
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
    pub(super) fn region(&self, rows: Range<usize>, columns: &ColumnRange) -> Region {
        Region {
            rows: self.rows.start + rows.start..self.rows.start + rows.end,
            columns: columns.range.clone(),
            top: self.top + rows.start,
            left: columns.left,
        }
    }

    /// The panels of `range` that the block is for, with their indices.
    pub(super) fn panels_of_pair(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &Panel)> {
        let panels = &self.operation.b.panels()[range.clone()];
        range.zip(panels).filter(|(_, panel)| self.pair.serves(panel))
    }

    /// The panels that the block is for, in runs of at most `most` consecutive ones of the same kernel, with the index
    /// of each run's first.
    pub(super) fn same_kernel_runs(&self, most: usize) -> impl Iterator<Item = (usize, &[Panel])> {
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

    pub(super) fn columns(&self, panels: Range<usize>) -> ColumnRange {
        let nr = self.operation.nr;
        let all = self.operation.b.range();
        let range = all.start + panels.start * nr..all.end.min(all.start + panels.end * nr);
        ColumnRange { range, left: (panels.start - self.panels.start) * nr }
    }

    pub(super) fn k_blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (k, kc) = (self.operation.k, self.operation.plan.kc);
        (0..k).step_by(kc).map(move |pc| pc..k.min(pc + kc))
    }

    /// The rows of the block, a tile at a time, of even height.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let (m, mr) = (self.rows.len(), self.operation.mr);
        let tile = move |start| start..start + tile_height(m - start, mr);
        successors(Some(tile(0)), move |last| (last.end < m).then(|| tile(last.end)))
    }

    /// Values `ks` of the block's rows of A.
    #[inline]
    pub(super) fn a_rows<'s>(&'s self, ks: Range<usize>, lines: &'s mut Vec<Line>) -> ARows<'s> {
        ARows::new(self.operation, self.pair, self.rows.clone(), ks, lines)
    }
}
