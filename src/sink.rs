//! Where a product goes: an output block, and what its values are made with.

use crate::output::{Dequantize, Residual, Scaling};
use qgemm_kernels::BlockMut;
use std::ops::Range;

/// The output stage of 8-bit results; `lo..=hi` lies within the output type.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    pub(crate) scaling: Scaling<'a>,
    pub(crate) zero_point: i32,
    pub(crate) lo: i32,
    pub(crate) hi: i32,
    pub(crate) residual: Option<Residual<'a>>,
    /// From the bits of a clamped value to those that are stored.
    pub(crate) table: Option<&'a [u8; 256]>,
}

impl<'a> Bytes<'a> {
    /// The scales of a part's rows, if they have any.
    pub(crate) fn row_scale(&self, part: &Part) -> Option<&'a [f32]> {
        match self.scaling {
            Scaling::Float(scale) => scale.rows(part.rows.clone()),
            Scaling::Fixed(..) | Scaling::Real(_) => None,
        }
    }
}

/// An output block with its stage. Scales and biases are those of the whole matrix.
pub(crate) enum Sink<'c, 'o> {
    I32 { c: BlockMut<'c, i32>, accumulate: bool },
    Bytes { c: BlockMut<'c, u8>, output: Bytes<'o> },
    F32 { c: BlockMut<'c, f32>, output: Dequantize<'o> },
}

/// A part of the output: where it lies in the whole matrix, and where in a sink.
pub(crate) struct Part {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// The first row, as one of the sink.
    pub(crate) top: usize,
    /// The first column, as one of the sink.
    pub(crate) left: usize,
}

impl Part {
    /// Its elements, of a sink's block.
    pub(crate) fn of<'b, T>(&self, block: &'b mut BlockMut<'_, T>) -> BlockMut<'b, T> {
        block.part(self.top, self.left, self.rows.len(), self.columns.len())
    }
}

impl<'c, 'o> Sink<'c, 'o> {
    /// The same for a shorter time.
    #[cfg(feature = "rayon")]
    pub(crate) fn reborrow(&mut self) -> Sink<'_, 'o> {
        match self {
            Sink::I32 { c, accumulate } => Sink::I32 { c: c.reborrow(), accumulate: *accumulate },
            Sink::Bytes { c, output } => Sink::Bytes { c: c.reborrow(), output: *output },
            Sink::F32 { c, output } => Sink::F32 { c: c.reborrow(), output: *output },
        }
    }

    /// Some of its columns, for a shorter time.
    pub(crate) fn columns(&mut self, range: Range<usize>) -> Sink<'_, 'o> {
        let (left, cols) = (range.start, range.len());
        match self {
            Sink::I32 { c, accumulate } => {
                Sink::I32 { c: c.part(0, left, c.rows(), cols), accumulate: *accumulate }
            }
            Sink::Bytes { c, output } => Sink::Bytes { c: c.part(0, left, c.rows(), cols), output: *output },
            Sink::F32 { c, output } => Sink::F32 { c: c.part(0, left, c.rows(), cols), output: *output },
        }
    }

    /// The rows before `at`, and those from it on.
    #[cfg(feature = "rayon")]
    pub(crate) fn split_rows(self, at: usize) -> (Self, Self) {
        match self {
            Sink::I32 { c, accumulate } => {
                let (c, d) = c.split_rows(at);
                (Sink::I32 { c, accumulate }, Sink::I32 { c: d, accumulate })
            }
            Sink::Bytes { c, output } => {
                let (c, d) = c.split_rows(at);
                (Sink::Bytes { c, output }, Sink::Bytes { c: d, output })
            }
            Sink::F32 { c, output } => {
                let (c, d) = c.split_rows(at);
                (Sink::F32 { c, output }, Sink::F32 { c: d, output })
            }
        }
    }

    /// The columns before `at`, and those from it on.
    #[cfg(feature = "rayon")]
    pub(crate) fn split_cols(self, at: usize) -> (Self, Self) {
        match self {
            Sink::I32 { c, accumulate } => {
                let (c, d) = c.split_cols(at);
                (Sink::I32 { c, accumulate }, Sink::I32 { c: d, accumulate })
            }
            Sink::Bytes { c, output } => {
                let (c, d) = c.split_cols(at);
                (Sink::Bytes { c, output }, Sink::Bytes { c: d, output })
            }
            Sink::F32 { c, output } => {
                let (c, d) = c.split_cols(at);
                (Sink::F32 { c, output }, Sink::F32 { c: d, output })
            }
        }
    }
}
