//! The library's errors as exceptions of Python.

use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;

/// `MemoryError` where memory was short, `TypeError` where elements have the wrong type, else `ValueError`; with the
/// text of the library, which begins with the name of the argument.
pub fn raise(error: qgemm::Error) -> PyErr {
    let text = error.to_string();
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
