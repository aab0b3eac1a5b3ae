//! Memory that a thread keeps between calls, so that a repeated call allocates nothing.
//!
//! Each owner declares a thread-local slot of its own. A value is taken out of its slot while it is in use: a task that
//! rayon runs on the same thread meanwhile finds the slot empty and makes its own value.

use std::cell::Cell;
use std::thread::LocalKey;

/// A thread's place for a value that is kept between calls.
pub(crate) type Slot<T> = LocalKey<Cell<Option<Box<T>>>>;

/// Calls `f` with the contents of a slot, and keeps what `f` leaves. While a thread ends its slots are gone: then `f`
/// starts with nothing, and what it leaves is dropped.
pub(crate) fn borrow<T, R>(slot: &'static Slot<T>, f: impl FnOnce(&mut Option<Box<T>>) -> R) -> R {
    let mut value = slot.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut value);
    let _ = slot.try_with(|slot| slot.set(value));
    result
}

/// Frees the contents of a slot.
pub(crate) fn release<T>(slot: &'static Slot<T>) {
    borrow(slot, |value| *value = None);
}
