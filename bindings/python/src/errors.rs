//! The library's errors as exceptions of Python.

use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::io;

/// `MemoryError` where memory was short, `TypeError` where elements have the wrong type, else `ValueError`; with the
/// text of the library, which begins with the name of the argument: that of Python.
pub fn raise(error: qgemm::Error) -> PyErr {
    raise_naming(error, &[])
}

/// [`raise`], where the library's arguments of some names are others in Python. The first part of a pair is the library's.
pub fn raise_naming(error: qgemm::Error, names: &[(&str, &str)]) -> PyErr {
    const NAMES: [(&str, &str); 8] = [
        ("output", "out"),
        ("output zero point", "out_zero"),
        ("residual scale", "residual_scale"),
        ("residual zero point", "residual_zero"),
        ("factor", "factors"),
        ("multiplier", "multipliers"),
        ("shift", "multipliers"),
        ("indices", "rows"),
    ];
    let (mut text, argument) = (error.to_string(), error.argument());
    if let Some((from, to)) = names.iter().chain(&NAMES).find(|(from, _)| *from == argument)
        && text.starts_with(from)
    {
        text.replace_range(..from.len(), to);
    }
    match error {
        qgemm::Error::Memory { .. } => PyMemoryError::new_err(text),
        qgemm::Error::Element { .. } => PyTypeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// A `ValueError` in the form of the library's.
pub fn value_error(argument: &str, problem: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("{argument}: {problem}"))
}

/// A `TypeError` in the form of the library's.
pub fn type_error(argument: &str, problem: impl std::fmt::Display) -> PyErr {
    PyTypeError::new_err(format!("{argument}: {problem}"))
}

/// The `OSError` of a file that an argument names.
pub fn file_error(argument: &str, error: io::Error) -> PyErr {
    io::Error::new(error.kind(), format!("{argument}: {error}")).into()
}

/// A vector with room for `len` values.
///
/// # Errors
/// `MemoryError` if there is not enough memory.
pub fn vector<T>(argument: &str, len: usize) -> PyResult<Vec<T>> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(len);
    reserved.map_err(|_| {
        PyMemoryError::new_err(format!("{argument}: {len} values need more memory than there is"))
    })?;
    Ok(values)
}
