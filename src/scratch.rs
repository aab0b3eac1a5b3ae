//! Memory that a thread keeps between calls, so that a repeated call allocates nothing.
//!
//! Each buffer is taken out of its thread's slot while in use: a task that rayon runs on this thread
//! meanwhile finds the slot empty and makes its own.

use crate::packed::PackedB;
use qgemm_kernels::pack::Line;
use std::cell::Cell;

/// The buffers of one block of work. Their size is bounded by the plan, whatever M, N and K.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A strip of A that is not read in place.
    pub(crate) strip: Vec<Line>,
    /// Sums of K blocks.
    pub(crate) sums: Vec<i32>,
    /// The same in 64 bits.
    pub(crate) wide: Vec<i64>,
    /// The zero point of each row of A, as stored.
    pub(crate) row_zeros: Vec<i64>,
    /// Σ of the stored values of each row of A.
    pub(crate) row_sums: Vec<i64>,
    /// A value to add to each row.
    pub(crate) row_terms: Vec<i32>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    static PACKED: Cell<Option<Box<PackedB>>> = const { Cell::new(None) };
}

/// Calls `f` with this thread's buffers.
pub(crate) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = f(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// Calls `f` with the slot for a B that is packed by the call.
pub(crate) fn with_packed<R>(f: impl FnOnce(&mut Option<Box<PackedB>>) -> R) -> R {
    let mut packed = PACKED.take();
    let result = f(&mut packed);
    PACKED.set(packed);
    result
}

/// Frees the memory that the calling thread keeps for later calls: buffers of bounded size, and the
/// largest B that this thread packed for a one-shot product.
pub fn release_thread_memory() {
    SCRATCH.take();
    PACKED.take();
}
