//! Files that are read where they are mapped.

use crate::errors::file_error;
use memmap2::Mmap;
use pyo3::prelude::*;
use std::fs::File;
use std::path::Path;

/// Maps a file for reading.
///
/// # Errors
/// `OSError` if it cannot be opened or mapped.
pub fn map(path: &Path) -> PyResult<Mmap> {
    let file = File::open(path).map_err(|error| file_error("path", error))?;
    // SAFETY: that nobody changes or truncates the file while it is mapped is the promise of the Python program, as it is for
    // numpy.memmap: the docstrings of what calls this say so.
    unsafe { Mmap::map(&file) }.map_err(|error| file_error("path", error))
}
