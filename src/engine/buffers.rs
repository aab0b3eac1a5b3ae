//! The scratch memory of a block of work.

use crate::engine::epilogue::column_stage::ColumnScratch;
use crate::engine::scratch;
use crate::engine::zero_points::{ColumnTerms, RowTerms};
use qgemm_kernels::Line;
use std::cell::Cell;

/// Scratch memory of a thread. The plan bounds its size, whatever M, N and K.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Terms of the rows of a block.
    pub(crate) row_terms: RowTerms,
    pub(crate) buffers: Buffers,
}

/// The part of the scratch memory that is written while row terms are read.
#[derive(Default)]
pub(crate) struct Buffers {
    /// Rows of A that are not read in place.
    pub(crate) a_rows: Vec<Line>,
    /// The rows of a panel, widened to i16.
    pub(crate) widened: Vec<Line>,
    /// Terms of some columns.
    pub(crate) column_terms: ColumnTerms,
    /// Scales and biases of some columns.
    pub(crate) columns: ColumnScratch,
    /// Sums of K blocks.
    pub(crate) sums: Vec<i32>,
    /// Sums of K blocks in 64 bits.
    pub(crate) sums_i64: Vec<i64>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Calls `f` with this thread's scratch memory.
pub(crate) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    scratch::borrow(&SCRATCH, |scratch| f(scratch.get_or_insert_default()))
}

/// Frees this thread's scratch memory.
pub(crate) fn release() {
    scratch::release(&SCRATCH);
}
