//! Allocations whose size comes from the user: refused with an error where memory does not suffice.

use crate::errors::invalid_because;
use anyhow::Result;
use std::fmt::Display;

/// Refuses `argument`, whose value `was` needs `bytes` in all, if less memory is available. The bytes are
/// counted in f64, which does not overflow.
pub fn check_available(argument: &str, was: impl Display, bytes: f64) -> Result<()> {
    if bytes <= available_bytes() as f64 {
        return Ok(());
    }
    let why = format!("it needs some {:.1} GiB", bytes / f64::from(1 << 30));
    Err(invalid_because(argument, was, why, "small enough for memory"))
}

/// Room for `len` values, or an error that names `argument` and its value `was` if memory does not suffice. A `len` of
/// `usize::MAX` stands for a product of dimensions that saturated.
pub fn room<T>(argument: &str, was: impl Display, len: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    let bytes = len.checked_mul(size_of::<T>()).filter(|_| len < usize::MAX);
    // An allocator that overcommits grants memory that the machine does not have, so the machine is asked as well.
    let fits = bytes.is_some_and(|bytes| bytes <= available_bytes()) && v.try_reserve_exact(len).is_ok();
    if !fits {
        let need = bytes.map_or("more bytes than an address has".into(), |bytes| format!("{bytes} bytes"));
        return Err(invalid_because(
            argument,
            was,
            format_args!("it needs {need}"),
            "small enough for memory",
        ));
    }
    Ok(v)
}

/// `len` zeros, or the error of [`room`].
pub fn zeros<T: Clone + Default>(argument: &str, was: impl Display, len: usize) -> Result<Vec<T>> {
    let mut v = room(argument, was, len)?;
    v.resize(len, T::default());
    Ok(v)
}

/// Bytes that can still be allocated, as Linux reports them; `usize::MAX` on other systems.
fn available_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib.saturating_mul(1024))
}
