//! The scratch memory of a block of work.

use crate::buffer;
use crate::engine::epilogue::column_stage::ColumnScratch;
use crate::engine::plan::Needs;
use crate::engine::scratch::{self, Kept};
use crate::engine::zero_points::{ColumnTerms, RowTerms};
use crate::error::Error;
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

/// The purpose that errors name.
pub(crate) const PURPOSE: &str = "scratch";

thread_local! {
    static SCRATCH: Cell<Kept<Scratch>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with this thread's scratch memory, of which `needs` is reserved: `f` allocates nothing.
///
/// # Errors
/// [`Error::Memory`] if there is not enough; `f` is not called then.
pub(crate) fn with<R>(needs: &Needs, f: impl FnOnce(&mut Scratch) -> R) -> Result<R, Error> {
    scratch::borrow(&SCRATCH, Scratch::default, |scratch| {
        scratch.reserve(needs)?;
        Ok(f(scratch))
    })?
}

/// Reserves this thread's scratch memory.
///
/// # Errors
/// [`Error::Memory`] if there is not enough.
pub(crate) fn reserve(needs: &Needs) -> Result<(), Error> {
    with(needs, |_| ())
}

impl Scratch {
    #[inline]
    fn reserve(&mut self, needs: &Needs) -> Result<(), Error> {
        let Needs { rows, a_lines, widened_lines, sums, sums_i64 } = *needs;
        self.row_terms.reserve(rows)?;
        let buffers = &mut self.buffers;
        buffers.column_terms.reserve()?;
        buffers.columns.reserve()?;
        buffer::reserve_more(&mut buffers.a_rows, a_lines, PURPOSE)?;
        buffer::reserve_more(&mut buffers.widened, widened_lines, PURPOSE)?;
        buffer::reserve_more(&mut buffers.sums, sums, PURPOSE)?;
        buffer::reserve_more(&mut buffers.sums_i64, sums_i64, PURPOSE)
    }
}

/// Frees this thread's scratch memory.
pub(crate) fn release() {
    scratch::release(&SCRATCH);
}
