//! MKL's functions have no status: refusals go to the standard error stream, as those of `xerbla` do.

use qgemm::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The reason that a call was refused.
pub(super) enum Refusal {
    /// The argument of this name is wrong.
    Argument(&'static str),
    /// The library's reason.
    Library(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Library(error)
    }
}

/// A function as its callers know it.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// The names of its parameters, in their order.
    pub(super) parameters: &'static [&'static str],
}

impl Function {
    /// Runs the function's body; no panic leaves it. `None` if it was refused, which is reported.
    pub(super) fn guard<T>(&self, body: impl FnOnce() -> Result<T, Refusal>) -> Option<T> {
        // After a panic nothing of what was borrowed is used again, but outputs, which hold plain numbers.
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(refusal)) => {
                self.report(&refusal);
                None
            }
            Err(panic) => {
                // The destructor of what was thrown could panic itself.
                std::mem::forget(panic);
                self.write(format_args!("qgemm ERROR: internal error in {}", self.name));
                None
            }
        }
    }

    fn report(&self, refusal: &Refusal) {
        let name = self.name;
        match refusal {
            Refusal::Argument(argument) => {
                let at = self.parameters.iter().position(|parameter| parameter == argument);
                let number = at.map_or(0, |at| at + 1);
                self.write(format_args!(
                    "qgemm ERROR: Parameter {number} ({argument}) was incorrect on entry to {name}."
                ));
            }
            Refusal::Library(error) => self.write(format_args!("qgemm ERROR: {name}: {error}")),
        }
    }

    fn write(&self, line: std::fmt::Arguments<'_>) {
        // A program may have closed the stream, which is no reason to fail.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
