//! A rectangle of the output.

use qgemm_kernels::BlockMut;
use std::ops::Range;

/// The part of C that a call computes: some rows and some columns, not none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// A rectangle of C: its place in the whole matrix, and in the block that a thread writes to.
#[derive(Clone)]
pub(crate) struct Region {
    /// Rows of C.
    pub(crate) rows: Range<usize>,
    /// Columns of C.
    pub(crate) columns: Range<usize>,
    /// The first row, counted from the block's first.
    pub(crate) top: usize,
    /// The first column, counted from the block's first.
    pub(crate) left: usize,
}

impl Region {
    /// The region's elements of a block.
    pub(crate) fn of<'b, T>(&self, block: &'b mut BlockMut<'_, T>) -> BlockMut<'b, T> {
        block.part(self.top, self.left, self.rows.len(), self.columns.len())
    }
}
