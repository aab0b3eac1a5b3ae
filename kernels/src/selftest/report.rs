//! The report on a kernel: its wrong elements, and the number of cases.

use core::fmt::{self, Write};

/// A wrong element of the result.
pub(super) struct Wrong {
    pub(super) i: usize,
    pub(super) j: usize,
    pub(super) got: u32,
    pub(super) want: u32,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element ({}, {}) is {:#x}, must be {:#x}", self.i, self.j, self.got, self.want)
    }
}

/// The number of cases of a kernel that passed, and that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Cases whose result was right in every element.
    pub passed: u32,
    /// Cases with a wrong element; each is a line of the report.
    pub failed: u32,
}

impl Outcome {
    /// Counts a case, and writes a line to `out` if it failed.
    pub(super) fn count(&mut self, result: Result<(), Wrong>, name: fmt::Arguments<'_>, out: &mut dyn Write) {
        match result {
            Ok(()) => self.passed += 1,
            Err(wrong) => {
                self.failed += 1;
                // A report that cannot be written still counts as failed.
                let _ = writeln!(out, "FAIL {name}: {wrong}");
            }
        }
    }
}
