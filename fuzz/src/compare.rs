//! The same call by the library and by the reference: equal outputs, or the same error and nothing written.

use crate::place::Place;
use qgemm::{Error, MatMut};
use std::fmt::Debug;

/// An element of an output.
pub trait Element: Copy + Debug {
    /// The bits to compare by. All NaNs are one: which of its operands' bits a sum of two NaNs has is not promised.
    fn key(self) -> u64;
}

impl Element for i32 {
    fn key(self) -> u64 {
        self as u64
    }
}

impl Element for i8 {
    fn key(self) -> u64 {
        self as u64
    }
}

impl Element for u8 {
    fn key(self) -> u64 {
        self.into()
    }
}

impl Element for f32 {
    fn key(self) -> u64 {
        if self.is_nan() { u64::MAX } else { self.to_bits().into() }
    }
}

/// Panics unless two buffers are equal.
pub fn assert_equal<T: Element>(what: &str, got: &[T], expected: &[T]) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    let differs = |at: &usize| got[*at].key() != expected[*at].key();
    if let Some(at) = (0..got.len()).find(differs) {
        let count = (0..got.len()).filter(differs).count();
        panic!("{what}: element {at} was {:?}, must be {:?}; {count} differ", got[at], expected[at]);
    }
}

/// Panics unless two errors are the same. NaNs in them are.
pub fn assert_same_error(what: &str, got: &Error, expected: &Error) {
    assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{what}");
}

/// Runs a call by the library and by the reference, on the same output, and returns that of both if they succeeded.
///
/// # Panics
/// If one fails and the other does not, or with another error; if an output of one that fails was written to; if outputs
/// differ in any element of the buffer, those between the elements of the matrix included.
pub fn compare<T: Element>(
    what: &str,
    place: &Place,
    before: &[T],
    library: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>,
    reference: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>,
) -> Option<Vec<T>> {
    let (mut got, mut expected) = (before.to_vec(), before.to_vec());
    // An output that is refused is refused to both.
    let (Ok(got_view), Ok(expected_view)) = (place.view_mut(&mut got), place.view_mut(&mut expected)) else {
        return None;
    };
    let outcomes = (library(got_view), reference(expected_view));
    match outcomes {
        (Ok(()), Ok(())) => {
            assert_equal(what, &got, &expected);
            Some(got)
        }
        (Err(got_error), Err(expected_error)) => {
            assert_same_error(what, &got_error, &expected_error);
            assert_equal(&format!("{what}, refused"), &got, before);
            assert_equal(&format!("{what}, refused by the reference"), &expected, before);
            None
        }
        (got, expected) => panic!("{what}: the library {got:?}, the reference {expected:?}"),
    }
}
