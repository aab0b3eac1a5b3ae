//! The destination of a product: an output block with the stage that makes its values.

use crate::error::Error;
use crate::output::dequantize::Dequantize;
use crate::output::requant::{Requant, Scaling};
use crate::output::scale::Scale;
use qgemm_kernels::{BlockMut, in_default_float_mode};
use std::ops::Range;

/// An output block with its stage. Scales and biases are those of the whole output, not of the block.
pub(crate) enum Destination<'c, 'o> {
    /// The sums modulo 2^32, stored or added to the block.
    I32 { c: BlockMut<'c, i32>, accumulate: bool },
    /// The bits of 8-bit values.
    Bytes { c: BlockMut<'c, u8>, requant: Requant<'o> },
    /// f32 values.
    F32 { c: BlockMut<'c, f32>, dequant: Dequantize<'o> },
}

/// The direction in which a block is split.
#[derive(Clone, Copy)]
pub(crate) enum Axis {
    Rows,
    Columns,
}

impl Axis {
    fn split<T>(self, block: BlockMut<'_, T>, at: usize) -> (BlockMut<'_, T>, BlockMut<'_, T>) {
        match self {
            Axis::Rows => block.split_rows(at),
            Axis::Columns => block.split_cols(at),
        }
    }
}

impl<'c, 'o> Destination<'c, 'o> {
    /// Borrows the destination for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Destination<'_, 'o> {
        match self {
            Destination::I32 { c, accumulate } => {
                Destination::I32 { c: c.reborrow(), accumulate: *accumulate }
            }
            Destination::Bytes { c, requant } => Destination::Bytes { c: c.reborrow(), requant: *requant },
            Destination::F32 { c, dequant } => Destination::F32 { c: c.reborrow(), dequant: *dequant },
        }
    }

    /// The float scale of its stage.
    ///
    /// # Panics
    /// If it has none: `ScaleOfA::Found` comes with float scales only.
    pub(crate) fn scale(&self) -> Scale<'o> {
        match self {
            Destination::F32 { dequant, .. } => dequant.scale,
            Destination::Bytes { requant: Requant { scaling: Scaling::Float(scale), .. }, .. } => *scale,
            Destination::I32 { .. } | Destination::Bytes { .. } => {
                unreachable!("the stage of a product that finds scales has such")
            }
        }
    }

    /// The destination as that of an output of its own, which consists of `rows`, with another float scale. It holds
    /// these rows only.
    pub(crate) fn with_scale<'s>(
        &'s mut self,
        scale: Scale<'s>,
        rows: Range<usize>,
    ) -> Result<Destination<'s, 's>, Error> {
        Ok(match self.reborrow() {
            Destination::I32 { c, accumulate } => Destination::I32 { c, accumulate },
            Destination::Bytes { c, requant } => {
                let residual = match requant.residual {
                    None => None,
                    Some(residual) => Some(residual.of_rows(rows)?),
                };
                Destination::Bytes {
                    c,
                    requant: Requant { scaling: Scaling::Float(scale), residual, ..requant },
                }
            }
            Destination::F32 { c, dequant } => {
                let residual = match dequant.residual {
                    None => None,
                    Some(residual) => Some(residual.of_rows(rows)?),
                };
                Destination::F32 { c, dequant: Dequantize { scale, residual, ..dequant } }
            }
        })
    }

    /// Calls `f` with the destination: in the default floating-point mode if its values are made from real numbers, which
    /// those of i32 are not.
    #[inline(always)]
    pub(crate) fn in_its_float_mode<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        match self {
            Destination::I32 { .. } => f(self),
            Destination::Bytes { .. } | Destination::F32 { .. } => in_default_float_mode(|| f(self)),
        }
    }

    /// The rows (or columns) before `at`, and those from it on.
    pub(crate) fn split(self, axis: Axis, at: usize) -> (Self, Self) {
        match self {
            Destination::I32 { c, accumulate } => {
                let (c, rest) = axis.split(c, at);
                (Destination::I32 { c, accumulate }, Destination::I32 { c: rest, accumulate })
            }
            Destination::Bytes { c, requant } => {
                let (c, rest) = axis.split(c, at);
                (Destination::Bytes { c, requant }, Destination::Bytes { c: rest, requant })
            }
            Destination::F32 { c, dequant } => {
                let (c, rest) = axis.split(c, at);
                (Destination::F32 { c, dequant }, Destination::F32 { c: rest, dequant })
            }
        }
    }

    /// Bytes from one row to the next, where rows are slices; else 0.
    pub(crate) fn row_distance(&self) -> usize {
        fn distance<T>(c: &BlockMut<'_, T>) -> usize {
            if c.rows_are_slices() { c.row_stride().saturating_mul(size_of::<T>()) } else { 0 }
        }
        match self {
            Destination::I32 { c, .. } => distance(c),
            Destination::Bytes { c, .. } => distance(c),
            Destination::F32 { c, .. } => distance(c),
        }
    }

    /// Some of the block's columns, for a shorter time.
    pub(crate) fn columns(&mut self, range: Range<usize>) -> Destination<'_, 'o> {
        let (columns, _) = self.reborrow().split(Axis::Columns, range.end);
        let (_, columns) = columns.split(Axis::Columns, range.start);
        columns
    }
}
