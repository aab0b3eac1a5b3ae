//! One value for a whole matrix, or one for each of its rows or columns.

use crate::error::{Error, check_length};

/// One value for a whole matrix, or one for each index of an axis.
///
/// The axis follows from the argument: multipliers and f64 factors are per column of the output. Made by `into()` from a
/// `T` or an `&[T]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneOrEach<'a, T> {
    /// One value for all.
    PerTensor(T),
    /// One value per row, or per column.
    PerAxis(&'a [T]),
}

impl<T> From<T> for OneOrEach<'_, T> {
    fn from(value: T) -> Self {
        OneOrEach::PerTensor(value)
    }
}

impl<'a, T> From<&'a [T]> for OneOrEach<'a, T> {
    fn from(values: &'a [T]) -> Self {
        OneOrEach::PerAxis(values)
    }
}

impl<'a, T> From<&'a Vec<T>> for OneOrEach<'a, T> {
    fn from(values: &'a Vec<T>) -> Self {
        OneOrEach::PerAxis(values)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for OneOrEach<'a, T> {
    fn from(values: &'a [T; N]) -> Self {
        OneOrEach::PerAxis(values)
    }
}

impl<'a, T: Copy> OneOrEach<'a, T> {
    /// The value of row or column `i`.
    ///
    /// # Panics
    /// If there is none: lengths are checked by [`check_len`](Self::check_len) first.
    pub(crate) fn at(&self, i: usize) -> T {
        match self {
            OneOrEach::PerTensor(value) => *value,
            OneOrEach::PerAxis(values) => values[i],
        }
    }

    /// All values: one, or those of the axis.
    pub(crate) fn values(&self) -> &[T] {
        match self {
            OneOrEach::PerTensor(value) => std::slice::from_ref(value),
            OneOrEach::PerAxis(values) => values,
        }
    }

    /// # Errors
    /// [`Error::Length`] if there is a value for each index of an axis, and not `need` of them.
    pub(crate) fn check_len(&self, argument: &'static str, need: usize) -> Result<(), Error> {
        match self {
            OneOrEach::PerTensor(_) => Ok(()),
            OneOrEach::PerAxis(values) => check_length(argument, values.len(), need),
        }
    }
}
