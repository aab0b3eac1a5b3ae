//! Files: replaced as a whole, and mapped.

use crate::status::Failure;
use memmap2::Mmap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

/// Creates a file beside `path`. Its name is written to `beside`, which has room for it.
fn create_beside(path: &str, beside: &mut String) -> io::Result<File> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        beside.clear();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A string takes any text.
        let _ = write!(beside, "{path}.{}-{number}.tmp", std::process::id());
        match File::create_new(&*beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => return made,
        }
    }
}

/// Writes the file at `path`: a new one beside it first, which takes its place once it is whole.
pub(crate) fn replace(
    argument: &'static str,
    path: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    /// Two numbers of 32 bits, and what stands around them.
    const MORE: usize = 32;
    let mut beside = String::new();
    beside.try_reserve_exact(path.len().saturating_add(MORE)).map_err(|_| Failure::memory())?;
    let mut file = create_beside(path, &mut beside).map_err(|error| Failure::file(argument, error))?;
    let written = write(&mut file);
    // Windows does not rename files that are open.
    drop(file);
    written.and_then(|()| fs::rename(&beside, path)).map_err(|error| {
        // If it cannot be removed either, the first error is the one to report.
        let _ = fs::remove_file(&beside);
        Failure::file(argument, error)
    })
}

/// Maps a file for reading.
///
/// # Safety
/// Nobody changes or truncates the file as long as it is mapped.
pub(crate) unsafe fn map(argument: &'static str, path: &str) -> Result<Mmap, Failure> {
    let file = File::open(path).map_err(|error| Failure::file(argument, error))?;
    // SAFETY: the caller's promise is the same.
    unsafe { Mmap::map(&file) }.map_err(|error| Failure::file(argument, error))
}
