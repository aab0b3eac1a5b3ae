//! Memory that a thread keeps between calls, so that a repeated call allocates nothing.
//!
//! Each buffer is taken out of its thread's slot while in use: a task that rayon runs on this thread
//! meanwhile finds the slot empty and makes its own.

use crate::dynamic::Quantized;
use crate::epilogue::{AT_ONCE, Room};
use crate::packed::PackedB;
use crate::terms::{ColumnTerms, RowTerms};
use qgemm_kernels::Line;
use std::cell::Cell;
use std::thread::LocalKey;

/// What a block of work needs. The size is bounded by the plan, whatever M, N and K.
#[derive(Default)]
pub(crate) struct Scratch {
    /// What the rows of A contribute.
    pub(crate) row_terms: RowTerms,
    pub(crate) buffers: Buffers,
}

#[derive(Default)]
pub(crate) struct Buffers {
    /// A strip of A that is not read in place.
    pub(crate) strip: Vec<Line>,
    /// Panel rows that are widened.
    pub(crate) panel: Vec<Line>,
    /// What some columns contribute, and what their output is made with.
    pub(crate) column_terms: ColumnTerms,
    pub(crate) columns: ColumnRoom,
    /// Sums of K blocks.
    pub(crate) sums: Vec<i32>,
    /// The same in 64 bits.
    pub(crate) wide: Vec<i64>,
}

/// Room for what the output of some columns is made with.
pub(crate) struct ColumnRoom {
    scale: [f32; AT_ONCE],
    bias: [f32; AT_ONCE],
}

impl Default for ColumnRoom {
    fn default() -> Self {
        Self { scale: [0.0; AT_ONCE], bias: [0.0; AT_ONCE] }
    }
}

impl ColumnRoom {
    pub(crate) fn all(&mut self) -> Room<'_> {
        Room { scale: &mut self.scale, bias: &mut self.bias }
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    static QUANTIZED: Cell<Option<Box<Quantized>>> = const { Cell::new(None) };
    static PACKED: Cell<Option<Box<PackedB>>> = const { Cell::new(None) };
}

/// Takes what a slot holds, and puts it back after `f`. While a thread ends its slots are gone; then `f`
/// starts from nothing.
fn borrow<T, R>(
    slot: &'static LocalKey<Cell<Option<Box<T>>>>,
    f: impl FnOnce(&mut Option<Box<T>>) -> R,
) -> R {
    let mut value = slot.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut value);
    // In vain where there is no slot: the value is dropped.
    let _ = slot.try_with(|slot| slot.set(value));
    result
}

/// Calls `f` with this thread's buffers.
pub(crate) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    borrow(&SCRATCH, |scratch| f(scratch.get_or_insert_default()))
}

/// Calls `f` with the slot for a B that is packed by the call.
pub(crate) fn with_packed<R>(f: impl FnOnce(&mut Option<Box<PackedB>>) -> R) -> R {
    borrow(&PACKED, f)
}

/// Calls `f` with this thread's room for activations that are quantized by the call.
pub(crate) fn with_quantized<R>(f: impl FnOnce(&mut Quantized) -> R) -> R {
    borrow(&QUANTIZED, |quantized| f(quantized.get_or_insert_default()))
}

/// Frees the memory that the calling thread keeps for later calls: buffers of bounded size, the
/// largest B that this thread packed for a one-shot product, and the largest A that it quantized.
pub fn release_thread_memory() {
    borrow(&SCRATCH, |slot| *slot = None);
    borrow(&PACKED, |slot| *slot = None);
    borrow(&QUANTIZED, |slot| *slot = None);
}

#[cfg(test)]
mod tests {
    use crate::{Gemm, MatMut, MatRef};

    #[test]
    fn a_product_while_a_thread_ends_is_right() {
        struct Last;
        impl Drop for Last {
            fn drop(&mut self) {
                let (a, mut c) = ([3u8, 4], [0i32]);
                let a = (MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&a, 2, 1).unwrap());
                Gemm::new(a.0, a.1).run_i32(MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
                assert_eq!(c, [25]);
            }
        }
        thread_local!(static LAST: Last = const { Last });
        // A panic in a thread-local's destructor would end the process.
        let thread = std::thread::spawn(|| {
            LAST.with(|_| ());
            super::with(|_| ());
            super::with_packed(|_| ());
        });
        assert!(thread.join().is_ok());
    }
}
