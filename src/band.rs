//! The loop nest `ic jc pc jr ir` on one thread; see `driver` for what each loop keeps where.

use crate::driver::{Call, Way};
use crate::epilogue::{self, AT_ONCE, Stage};
use crate::packed::Panel;
use crate::scratch::{Buffers, Scratch};
use crate::sink::{Part, Sink};
use crate::store;
use crate::strip::Strip;
use crate::terms::{Added, NOTHING, RealTerms, RowTerms, WideTerms};
use crate::width::Width;
use qgemm_kernels::{
    BlockMut, Convert, Line, MAX_MR, MAX_NR, OuterProduct, Output, PanelProduct, Ready, Variant, tile_height,
    widen,
};
use std::iter::successors;
use std::ops::Range;

/// Computes some rows and panels of C; `sink` is that part of the output.
pub(crate) fn region(
    call: &Call<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
    sink: &mut Sink<'_, '_>,
    scratch: &mut Scratch,
) {
    let mut ic = rows.start;
    while ic < rows.end {
        let block = ic..rows.end.min(ic + call.plan.mc);
        for way in call.ways.iter().flatten() {
            let some = &call.b.panels()[panels.clone()];
            if call.ways[1].is_some() && !some.iter().any(|panel| way.serves(panel)) {
                continue;
            }
            scratch.row_terms.fill(call, way, block.clone());
            let terms = &scratch.row_terms;
            let (rows, top) = (block.clone(), ic - rows.start);
            let band = Band { call, way, rows, top, panels: panels.clone(), terms };
            let buffers = &mut scratch.buffers;
            if call.width != Width::Wide && call.plan.kc >= call.k {
                band.whole_k(sink, buffers);
                continue;
            }
            for jc in panels.clone().step_by(call.plan.nc) {
                let some = jc..panels.end.min(jc + call.plan.nc);
                match call.width {
                    Width::Wide => band.split_k_wide(some, sink, buffers),
                    _ => band.split_k(some, sink, buffers),
                }
            }
        }
        ic = block.end;
    }
}

/// At most MC rows of a region, and those of its panels for which A is read one way.
struct Band<'a> {
    call: &'a Call<'a>,
    way: &'a Way,
    /// Rows of A.
    rows: Range<usize>,
    /// The first of them, as a row of the sink.
    top: usize,
    /// The region's panels.
    panels: Range<usize>,
    terms: &'a RowTerms,
}

/// Tiles whose sums are finished together where they go through scratch: they stay in the first-level cache, and
/// calls are few.
const TILES: usize = 8;

/// The columns of one panel or several.
struct Columns {
    /// In B.
    range: Range<usize>,
    /// The first of them, as a column of the sink.
    left: usize,
}

/// The k-groups of a panel that go with a strip, or all of several panels.
#[derive(Clone, Copy)]
struct PanelRows<'a> {
    kernel: Ready,
    variant: &'static Variant,
    bytes: &'a [u8],
}

impl Band<'_> {
    /// K in one block: tiles are finished as soon as they are summed.
    fn whole_k(&self, sink: &mut Sink<'_, '_>, buffers: &mut Buffers) {
        let call = self.call;
        let Buffers { strip, panel: widened, column_terms: terms, columns: room, sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), call.nr);
        let a = self.strip(0..call.k, strip);
        let step = m.min(TILES * call.mr);
        let narrow = call.width == Width::Narrow;
        // A panel that is widened is alone, so that it stays in the first-level cache.
        let several =
            narrow && self.way.widened.is_none() && epilogue::stored_by_kernel(sink, call.b.ready().fused);
        for (jr, panels) in self.runs(if several { AT_ONCE / nr } else { 1 }) {
            let columns = self.columns(jr..jr + panels.len());
            let panel = &panels[0];
            let b = self.panel_rows(panel, call.b.whole_panels(panels), widened);
            let stage = Stage::new(sink, columns.range.clone(), nr, room.all());
            let added = match narrow {
                true => terms.added(call, self.way, columns.range.clone(), self.terms),
                false => NOTHING,
            };
            // Not together with `added`: as a pair they would be copied, which takes a small product 10 %.
            let real = (!narrow).then(|| RealTerms::new(call, self.way, columns.range.clone(), self.terms));
            let (all, fused) = (&self.part(0..m, &columns), panel.kernel.fused);
            let in_kernel = match &real {
                None => Some(None),
                Some(terms) => terms.added().map(Some),
            };
            if let Some(real) = in_kernel
                && epilogue::with_output(sink, &stage, all, real, fused, |output| {
                    self.multiply(0..m, a, b, added, output);
                })
            {
                continue;
            }
            sums.resize(sums.len().max(step * nr), 0);
            for start in (0..m).step_by(step) {
                let rows = start..m.min(start + step);
                let c = &mut tile(sums, rows.len(), columns.range.len(), nr);
                self.multiply(rows.clone(), a, b, added, Output::Sums { c, accumulate: false });
                self.store(sums, &stage, real.as_ref(), rows, &columns, sink);
            }
        }
    }

    /// Finishes the sums of some rows and a panel.
    fn store(
        &self,
        sums: &[i32],
        stage: &Stage<'_>,
        real: Option<&RealTerms<'_>>,
        rows: Range<usize>,
        columns: &Columns,
        sink: &mut Sink<'_, '_>,
    ) {
        let part = self.part(rows.clone(), columns);
        match real {
            Some(terms) => {
                store::store_corrected(sums, self.call.nr, (terms, rows.start), stage, sink, &part);
            }
            None => store::store(sums, self.call.nr, stage, sink, &part),
        }
    }

    /// K in several blocks, the sums of some panels kept meanwhile: in C itself, if that can be.
    fn split_k(&self, panels: Range<usize>, sink: &mut Sink<'_, '_>, buffers: &mut Buffers) {
        let call = self.call;
        let Buffers { strip, panel: widened, column_terms: terms, columns: room, sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), call.nr);
        sums.resize(m * nr * panels.len(), 0);
        for ks in self.k_blocks() {
            let first = ks.start == 0;
            let a = self.strip(ks.clone(), strip);
            for (jr, panel) in self.panels(panels.clone()) {
                let sums = &mut sums[(jr - panels.start) * m * nr..][..m * nr];
                let columns = self.columns(jr..jr + 1);
                let added = match call.width {
                    Width::Narrow if first => terms.added(call, self.way, columns.range.clone(), self.terms),
                    _ => NOTHING,
                };
                let b = self.panel_rows(panel, call.b.panel_rows(panel, ks.clone()), widened);
                let (mut c, accumulate) = match self.direct(sink, &columns) {
                    Some((c, accumulate)) => (c, accumulate || !first),
                    None => (tile(sums, m, columns.range.len(), nr), !first),
                };
                self.multiply(0..m, a, b, added, Output::Sums { c: &mut c, accumulate });
            }
        }
        for (jr, _) in self.panels(panels.clone()) {
            let sums = &sums[(jr - panels.start) * m * nr..][..m * nr];
            let columns = self.columns(jr..jr + 1);
            if self.direct(sink, &columns).is_none() {
                let stage = Stage::new(sink, columns.range.clone(), nr, room.all());
                let real = (call.width == Width::Corrected)
                    .then(|| RealTerms::new(call, self.way, columns.range.clone(), self.terms));
                self.store(sums, &stage, real.as_ref(), 0..m, &columns, sink);
            }
        }
    }

    /// The same with 64-bit sums and terms; a K block's own sums fit 32 bits.
    fn split_k_wide(&self, panels: Range<usize>, sink: &mut Sink<'_, '_>, buffers: &mut Buffers) {
        let call = self.call;
        let Buffers { strip, panel: widened, columns: room, wide: sums, .. } = buffers;
        let (m, nr) = (self.rows.len(), call.nr);
        sums.clear();
        sums.resize(m * nr * panels.len(), 0);
        for ks in self.k_blocks() {
            let a = self.strip(ks.clone(), strip);
            for (jr, panel) in self.panels(panels.clone()) {
                let sums = &mut sums[(jr - panels.start) * m * nr..][..m * nr];
                let columns = self.columns(jr..jr + 1);
                let b = self.panel_rows(panel, call.b.panel_rows(panel, ks.clone()), widened);
                let mut part = [0; MAX_MR * MAX_NR];
                for ir in self.tiles() {
                    let c = &mut tile(&mut part, ir.len(), columns.range.len(), nr);
                    self.multiply(ir.clone(), a, b, NOTHING, Output::Sums { c, accumulate: false });
                    let sums = &mut sums[ir.start * nr..ir.end * nr];
                    sums.iter_mut().zip(&part).for_each(|(sum, part)| *sum += i64::from(*part));
                }
            }
        }
        for (jr, _) in self.panels(panels.clone()) {
            let sums = &mut sums[(jr - panels.start) * m * nr..][..m * nr];
            let columns = self.columns(jr..jr + 1);
            WideTerms::new(call, self.way, columns.range.clone()).add(self.terms, 0..m, sums, nr);
            let stage = Stage::new(sink, columns.range.clone(), nr, room.all());
            store::store_wide(sums, nr, &stage, sink, &self.part(0..m, &columns));
        }
    }

    /// Runs the kernel on the given rows of the band.
    #[inline(always)]
    fn multiply(
        &self,
        rows: Range<usize>,
        a: Strip<'_>,
        b: PanelRows<'_>,
        added: Added<'_>,
        output: Output<'_, '_>,
    ) {
        let outer = added.outer.map(|o| o.map(|o| OuterProduct { row: &o.row[rows.clone()], col: o.col }));
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
            col: added.col,
            row: &added.row[rows.clone()],
            outer,
        };
        b.kernel.run(b.variant, &product, output);
    }

    /// Rows of a panel, or all of several, as they are multiplied: in place, or widened into `room`.
    #[inline]
    fn panel_rows<'p>(&self, panel: &Panel, bytes: &'p [u8], room: &'p mut Vec<Line>) -> PanelRows<'p> {
        let kernel = panel.kernel;
        let Some(variant) = self.way.widened else {
            return PanelRows { kernel, variant: panel.variant, bytes };
        };
        let lines = (bytes.len() * variant.b.size()).div_ceil(64);
        room.resize(room.len().max(lines), Line([0; 64]));
        let elements = &mut bytemuck::cast_slice_mut(room)[..bytes.len()];
        widen(bytes, Convert::Extend, elements);
        PanelRows { kernel, variant, bytes: bytemuck::cast_slice(elements) }
    }

    /// The output itself, where the kernel can store to it; and whether to add to what it holds.
    fn direct<'s>(&self, sink: &'s mut Sink<'_, '_>, columns: &Columns) -> Option<(BlockMut<'s, i32>, bool)> {
        match sink {
            Sink::I32 { c, accumulate } if c.rows_are_slices() => {
                Some((c.part(self.top, columns.left, self.rows.len(), columns.range.len()), *accumulate))
            }
            _ => None,
        }
    }

    /// Where some rows of the band and some columns lie.
    fn part(&self, rows: Range<usize>, columns: &Columns) -> Part {
        Part {
            rows: self.rows.start + rows.start..self.rows.start + rows.end,
            columns: columns.range.clone(),
            top: self.top + rows.start,
            left: columns.left,
        }
    }

    /// The panels of the range that this band is for.
    fn panels(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &Panel)> {
        let panels = &self.call.b.panels()[range.clone()];
        range.zip(panels).filter(|(_, panel)| self.way.serves(panel))
    }

    /// The band's panels, by at most so many that follow each other and are multiplied in the same way.
    fn runs(&self, most: usize) -> impl Iterator<Item = (usize, &[Panel])> {
        let mut rest = self.panels.clone();
        std::iter::from_fn(move || {
            loop {
                let panels = &self.call.b.panels()[rest.clone()];
                let first = panels.first()?;
                let like = panels.iter().take(most).take_while(|panel| first.is_like(panel)).count();
                let at = rest.start;
                rest.start += like;
                if self.way.serves(first) {
                    return Some((at, &panels[..like]));
                }
            }
        })
    }

    fn columns(&self, panels: Range<usize>) -> Columns {
        let nr = self.call.nr;
        let all = self.call.b.range();
        let range = all.start + panels.start * nr..all.end.min(all.start + panels.end * nr);
        Columns { range, left: (panels.start - self.panels.start) * nr }
    }

    fn k_blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (k, kc) = (self.call.k, self.call.plan.kc);
        (0..k).step_by(kc).map(move |pc| pc..k.min(pc + kc))
    }

    /// The rows of the band, a tile at a time, of even height.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let (m, mr) = (self.rows.len(), self.call.mr);
        let tile = move |start| start..start + tile_height(m - start, mr);
        successors(Some(tile(0)), move |last| (last.end < m).then(|| tile(last.end)))
    }

    /// Values `ks` of the band's rows.
    #[inline]
    fn strip<'s>(&'s self, ks: Range<usize>, lines: &'s mut Vec<Line>) -> Strip<'s> {
        Strip::new(self.call, self.way, self.rows.clone(), ks, lines)
    }
}

/// `sums` as rows of `nr`.
fn tile(sums: &mut [i32], rows: usize, cols: usize, nr: usize) -> BlockMut<'_, i32> {
    BlockMut::new(sums, rows, cols, nr, 1).expect("the buffer holds a tile")
}
