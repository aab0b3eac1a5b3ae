//! Prepared rows times panels of group-wise weights, shared among threads.

use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work};
use crate::engine::groupwise::rows::{PreparedRows, row_stride, start, words};
use crate::engine::groupwise::stage::{activate, finish, suits_kernel};
use crate::engine::packed::BlocksToCut;
use crate::engine::plan::Needs;
use crate::output::dequantize::Dequantize;
use crate::output::destination::Axis;
use crate::output::region::Region;
use crate::output::scale::Scale;
use crate::product::groupwise::GroupProduct;
use qgemm_kernels::{BlockMut, GroupRows, GroupStage, PANEL, in_default_float_mode, word_place};
use std::ops::Range;

/// The state that all parts of a product share.
pub(super) struct Operation<'a> {
    pub(super) product: &'a GroupProduct<'a>,
    pub(super) rows: &'a PreparedRows,
    /// The row of the output that the first prepared row makes.
    pub(super) first_row: usize,
    /// The stage of the whole output.
    pub(super) dequant: Dequantize<'a>,
}

/// The scratch memory of a block.
#[derive(Clone, Copy)]
struct Layout {
    /// The rows of a block: as many as leave room for a panel in L2.
    mc: usize,
    /// The sums of a panel's codes, in i32.
    d: usize,
    /// A row of ones, in i32 of 4 bytes, and its starts.
    ones: usize,
    starts: usize,
    /// The sums of a block and a panel.
    tile: usize,
}

impl Layout {
    fn new(product: &GroupProduct<'_>, rows: usize) -> Self {
        let (b, groups) = (product.b, product.b.groups());
        let mr = b.kernel.mr;
        let fit = b.caches.l2 / 2 / row_stride(product).max(1) / mr * mr;
        let mc = fit.clamp(2 * mr, 256.max(2 * mr)).min(rows);
        let ones = b.shape.a_row_len(words(product)).div_ceil(4);
        Self { mc, d: groups * PANEL, ones, starts: groups, tile: mc * PANEL }
    }

    fn needs(&self) -> Needs {
        let Self { d, ones, starts, tile, .. } = *self;
        Needs { sums: d + ones + starts + tile, ..Needs::default() }
    }
}

/// The scratch memory that a thread needs for so many rows of a product.
pub(super) fn needs(product: &GroupProduct<'_>, rows: usize) -> Needs {
    Layout::new(product, rows).needs()
}

/// Some prepared rows and some panels, with their part of the output.
pub(super) struct Block<'a, 'c> {
    pub(super) operation: &'a Operation<'a>,
    /// Prepared rows.
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
    pub(super) c: BlockMut<'c, f32>,
}

impl Work for Block<'_, '_> {
    type Output = ();

    fn run(self, _: usize) -> Result<(), Undone<Self>> {
        let mut rest = Some(self);
        let needs =
            rest.as_ref().map(|block| needs(block.operation.product, block.rows.len())).unwrap_or_default();
        let done = buffers::with(&needs, |scratch| {
            let block = rest.take().expect("it is called once");
            let memory = &mut scratch.buffers.sums;
            memory.resize(memory.len().max(needs.sums), 0);
            let memory = &mut memory[..needs.sums];
            in_default_float_mode(|| block.multiply(memory));
        });
        done.map_err(|error| Undone { rest: rest.expect("it was not called"), error })
    }

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let Self { operation, rows, panels, c } = self;
        let (here, b) = (parts / 2, operation.product.b);
        let row_work = panels.len().saturating_mul(PANEL).saturating_mul(b.k());
        let blocks = BlocksToCut { rows: rows.len(), panels: panels.len(), row_work };
        let (first, second) = match blocks.cut(b.kernel.mr, parts) {
            None => return Err(Self { operation, rows, panels, c }),
            Some((Axis::Rows, at)) => {
                let (top, bottom) = c.split_rows(at);
                let middle = rows.start + at;
                (
                    Self { operation, rows: rows.start..middle, panels: panels.clone(), c: top },
                    Self { operation, rows: middle..rows.end, panels, c: bottom },
                )
            }
            Some((Axis::Columns, at)) => {
                let (left, right) = c.split_cols(at * PANEL);
                let middle = panels.start + at;
                (
                    Self { operation, rows: rows.clone(), panels: panels.start..middle, c: left },
                    Self { operation, rows, panels: middle..panels.end, c: right },
                )
            }
        };
        Ok(Halves { first: (first, here), second: (second, parts - here) })
    }
}

impl Block<'_, '_> {
    fn multiply(self, memory: &mut [i32]) {
        let Self { operation, rows, panels, mut c } = self;
        let Operation { product, rows: prepared, first_row, dequant } = operation;
        let b = product.b;
        let layout = Layout::new(product, rows.len());
        let (d, memory) = memory.split_at_mut(layout.d);
        let (ones, memory) = memory.split_at_mut(layout.ones);
        let (starts, tile) = memory.split_at_mut(layout.starts);
        let tile: &mut [f32] = bytemuck::cast_slice_mut(tile);
        let weights = &b.for_kernel();
        let has_zeros = prepared.has_zeros();
        if has_zeros {
            fill_ones(product, ones, starts);
        }
        let ones = GroupRows {
            rows: 1,
            codes: bytemuck::cast_slice(ones),
            stride: size_of_val(&*ones),
            starts,
            group_scales: &[],
            row_scales: &[],
            sums: &[],
            minus_zeros: &[],
        };
        let in_kernel = suits_kernel(dequant, &c);
        let plain = dequant.scale == Scale::PerTensor(1.0) && !product.a.finds_row_scales();
        for top in (0..rows.len()).step_by(layout.mc.max(1)) {
            let height = layout.mc.min(rows.len() - top);
            let block = rows.start + top..rows.start + top + height;
            let a = prepared.rows(block.clone(), in_kernel && !plain);
            for panel in panels.clone() {
                let cols = b.shape.panel_cols(panel);
                let region = Region {
                    rows: first_row + block.start..first_row + block.end,
                    columns: panel * PANEL..panel * PANEL + cols,
                    top,
                    left: (panel - panels.start) * PANEL,
                };
                if has_zeros {
                    b.kernel.sums(weights, panel, &ones, d);
                }
                if in_kernel {
                    let (lo, hi) = dequant.clamp;
                    let stage = GroupStage {
                        bias: dequant.bias.map_or(&[], |bias| &bias[region.columns.clone()]),
                        lo,
                        hi,
                    };
                    b.kernel.run(weights, panel, &a, d, &stage, &mut region.of(&mut c));
                } else {
                    let stage = GroupStage { bias: &[], lo: f32::NEG_INFINITY, hi: f32::INFINITY };
                    let mut sums =
                        BlockMut::new(tile, height, cols, PANEL, 1).expect("there is room for the block");
                    b.kernel.run(weights, panel, &a, d, &stage, &mut sums);
                    let row_scales = &prepared.row_scales()[block.clone()];
                    finish(tile, row_scales, dequant, &region, &mut c);
                }
                activate(dequant, &region, &mut c);
            }
        }
    }
}

/// A row of ones, and the starts of its sums.
fn fill_ones(product: &GroupProduct<'_>, ones: &mut [i32], starts: &mut [i32]) {
    let shape = &product.b.shape;
    ones.fill(0);
    let (words, k) = (words(product), shape.k());
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(ones);
    if words {
        let values: &mut [i16] = bytemuck::cast_slice_mut(bytes);
        (0..k).for_each(|k| values[word_place(k)] = 1);
    } else {
        bytes[..k].fill(1);
    }
    for (g, to) in starts.iter_mut().enumerate() {
        *to = start(product, i32::try_from(shape.group_len(g)).unwrap_or(i32::MAX));
    }
}
