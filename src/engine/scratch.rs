//! Memory that a thread keeps between calls, so that a repeated call allocates nothing.
//!
//! Each owner declares a thread-local slot of its own. A value is taken out of its slot while it is in use: a task that
//! rayon runs on the same thread meanwhile finds the slot empty and makes its own value.

use crate::buffer;
use crate::error::Error;
use std::cell::Cell;
use std::thread::LocalKey;

/// A value on the heap. It is a vector of one value because vectors can be asked for without an abort.
pub(crate) type Kept<T> = Vec<T>;

/// A thread's place for a value that is kept between calls.
pub(crate) type Slot<T> = LocalKey<Cell<Kept<T>>>;

/// Calls `f` with the value of a slot, which `new` makes if there is none, and keeps what `f` leaves. While a thread ends
/// its slots are gone: then `f` gets a new value, which is dropped afterwards.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for a new value.
pub(crate) fn borrow<T, R>(
    slot: &'static Slot<T>,
    new: impl FnOnce() -> T,
    f: impl FnOnce(&mut T) -> R,
) -> Result<R, Error> {
    let mut kept = slot.try_with(Cell::take).unwrap_or_default();
    if kept.is_empty() {
        buffer::reserve(&mut kept, 1, "scratch")?;
        kept.push(new());
    }
    let result = f(&mut kept[0]);
    let _ = slot.try_with(|slot| slot.set(kept));
    Ok(result)
}

/// Frees the value of a slot.
pub(crate) fn release<T>(slot: &'static Slot<T>) {
    let _ = slot.try_with(Cell::take);
}
