//! Vectors that grow by a typed error instead of an abort.

use crate::error::Error;

/// Makes a vector hold `len` copies of `value`. Allocates only beyond its capacity.
///
/// # Errors
/// [`Error::Memory`], naming `purpose`, if there is not enough; the vector is then empty.
pub(crate) fn refill<T: Copy>(
    v: &mut Vec<T>,
    len: usize,
    value: T,
    purpose: &'static str,
) -> Result<(), Error> {
    reserve(v, len, purpose)?;
    v.resize(len, value);
    Ok(())
}

/// Empties a vector and makes room for `len` values.
///
/// # Errors
/// [`Error::Memory`], naming `purpose`, if there is not enough.
pub(crate) fn reserve<T>(v: &mut Vec<T>, len: usize, purpose: &'static str) -> Result<(), Error> {
    v.clear();
    let bytes = len.saturating_mul(size_of::<T>());
    v.try_reserve_exact(len).map_err(|_| Error::Memory { purpose, bytes })
}

/// A copy of a text for an error; empty if there is not enough memory for it.
pub(crate) fn text(of: &str) -> String {
    let mut copy = String::new();
    if copy.try_reserve_exact(of.len()).is_ok() {
        copy.push_str(of);
    }
    copy
}

/// Makes a vector able to hold `len` values without another allocation. It keeps its values.
///
/// # Errors
/// [`Error::Memory`], naming `purpose`, if there is not enough.
#[inline]
pub(crate) fn reserve_more<T>(v: &mut Vec<T>, len: usize, purpose: &'static str) -> Result<(), Error> {
    if v.capacity() >= len {
        return Ok(());
    }
    let bytes = len.saturating_mul(size_of::<T>());
    v.try_reserve_exact(len - v.len()).map_err(|_| Error::Memory { purpose, bytes })
}

/// Makes a vector `len` values long. The first ones keep their values, new ones have the default.
///
/// # Errors
/// [`Error::Memory`], naming `purpose`, if there is not enough.
pub(crate) fn resize<T: Copy + Default>(
    v: &mut Vec<T>,
    len: usize,
    purpose: &'static str,
) -> Result<(), Error> {
    let bytes = len.saturating_mul(size_of::<T>());
    let more = len.saturating_sub(v.len());
    v.try_reserve_exact(more).map_err(|_| Error::Memory { purpose, bytes })?;
    v.resize(len, T::default());
    Ok(())
}
