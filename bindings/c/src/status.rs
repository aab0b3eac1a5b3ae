//! Status codes, the text of the last error, and the guard around each function.

use rust::Error;
use std::cell::RefCell;
use std::ffi::c_char;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The result of a call: QGEMM_OK, or the reason that it was refused. See qgemm_last_error.
pub type qgemm_status = i32;

/// The call did what it was asked to.
pub const QGEMM_OK: qgemm_status = 0;
/// A pointer is null that must not be.
pub const QGEMM_NULL: qgemm_status = 1;
/// A pointer is not aligned for the values that it points to.
pub const QGEMM_MISALIGNED: qgemm_status = 2;
/// A size, a shape or a number of values does not fit the others; a stride is negative.
pub const QGEMM_SHAPE: qgemm_status = 3;
/// A size overflows the address space.
pub const QGEMM_TOO_LARGE: qgemm_status = 4;
/// An output overlaps an input or another output, or two of its elements coincide.
pub const QGEMM_OVERLAP: qgemm_status = 5;
/// A type or another choice is unknown, or not allowed here.
pub const QGEMM_TYPE: qgemm_status = 6;
/// A number is out of its range, or no number: a scale, a zero point, a clamp, an index, a code.
pub const QGEMM_RANGE: qgemm_status = 7;
/// A value of A, or of another matrix that is quantized, is infinite or NaN.
pub const QGEMM_NOT_FINITE: qgemm_status = 8;
/// Options do not go together, or one is missing.
pub const QGEMM_OPTIONS: qgemm_status = 9;
/// There is not enough memory.
pub const QGEMM_MEMORY: qgemm_status = 10;
/// A kernel does not exist or this CPU lacks it, or an environment variable of the library is wrong.
pub const QGEMM_KERNEL: qgemm_status = 11;
/// Bytes are no saved weights, or none that can be used here: cut off, changed, of another kind or for another kernel.
pub const QGEMM_SAVED: qgemm_status = 13;
/// A file cannot be opened, read, mapped or written.
pub const QGEMM_FILE: qgemm_status = 14;
/// The library failed. It is a mistake in the library, and outputs of the call may be written in part.
pub const QGEMM_INTERNAL: qgemm_status = 12;

/// The reason that a call was refused.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The number of the product, in a batch.
    product: Option<usize>,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// The library's own.
    Library(Error),
    /// One of this binding, with the name of an argument first.
    Argument { status: qgemm_status, argument: &'static str, problem: &'static str },
    /// A choice among some constants that is none of them.
    Choice { argument: &'static str, got: u32 },
    /// The operating system's, of a file.
    File { argument: &'static str, error: io::Error },
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { product: None, reason }
    }
}

impl Failure {
    pub(crate) fn new(status: qgemm_status, argument: &'static str, problem: &'static str) -> Self {
        Reason::Argument { status, argument, problem }.into()
    }

    pub(crate) fn choice(argument: &'static str, got: u32) -> Self {
        Reason::Choice { argument, got }.into()
    }

    pub(crate) fn file(argument: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Self::memory(),
            _ => Reason::File { argument, error }.into(),
        }
    }

    pub(crate) fn memory() -> Self {
        Self::new(QGEMM_MEMORY, "call", "there is not enough memory")
    }

    /// The failure as that of a product of a batch.
    pub(crate) fn in_batch(self, index: usize) -> Self {
        Self { product: Some(index), ..self }
    }

    pub(crate) fn null(argument: &'static str) -> Self {
        Self::new(QGEMM_NULL, argument, "is null")
    }

    pub(crate) fn options(argument: &'static str, problem: &'static str) -> Self {
        Self::new(QGEMM_OPTIONS, argument, problem)
    }

    fn status(&self) -> qgemm_status {
        match &self.reason {
            Reason::Argument { status, .. } => *status,
            Reason::Choice { .. } => QGEMM_TYPE,
            Reason::File { .. } => QGEMM_FILE,
            Reason::Library(error) => match error {
                Error::Address { got: 0, .. } => QGEMM_NULL,
                Error::Address { .. } => QGEMM_MISALIGNED,
                Error::TooLarge { .. } => QGEMM_TOO_LARGE,
                Error::Overlap { .. } | Error::BatchOverlap { .. } => QGEMM_OVERLAP,
                Error::TooShort { .. }
                | Error::Length { .. }
                | Error::Multiple { .. }
                | Error::OutOfBounds { .. }
                | Error::InnerDimension { .. }
                | Error::OutputShape { .. }
                | Error::Shape { .. }
                | Error::Group { .. } => QGEMM_SHAPE,
                Error::Element { .. } => QGEMM_TYPE,
                Error::Missing { .. }
                | Error::NotOwned { .. }
                | Error::FloatOnly { .. }
                | Error::ScaleOfA { .. } => QGEMM_OPTIONS,
                Error::NotFinite { .. } | Error::QuantizationRange { .. } => QGEMM_NOT_FINITE,
                Error::Memory { .. } => QGEMM_MEMORY,
                Error::Saved { .. } => QGEMM_SAVED,
                Error::Kernel { .. } | Error::Variable { .. } => QGEMM_KERNEL,
                // All others are numbers out of their range, also those that a later version adds.
                _ => QGEMM_RANGE,
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::InBatch { index, error } => Self { product: Some(index), reason: Reason::Library(*error) },
            error => Reason::Library(error).into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.product {
            write!(f, "products[{index}]: ")?;
        }
        match &self.reason {
            Reason::Library(error) => error.fmt(f),
            Reason::Argument { argument, problem, .. } => write!(f, "{argument}: {problem}"),
            Reason::Choice { argument, got } => write!(f, "{argument}: {got} is none of its constants"),
            Reason::File { argument, error } => write!(f, "{argument}: {error}"),
        }
    }
}

/// A text of bounded length that ends with a zero byte: to write one takes no memory that might be lacking.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Text {
    fn clear(&mut self) {
        self.len = 0;
        self.bytes[0] = 0;
    }
}

impl fmt::Write for Text {
    /// Appends what there is room for, in whole characters and without zero bytes.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.len;
        let fits = (0..=room.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
        let text = &text[..fits.unwrap_or(0)];
        for byte in text.bytes().filter(|&byte| byte != 0) {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        self.bytes[self.len] = 0;
        Ok(())
    }
}

thread_local! {
    /// It has no destructor, so that it can be read until the thread has ended.
    static LAST: RefCell<Text> = const { RefCell::new(Text { bytes: [0; 1024], len: 0 }) };
}

/// Keeps the text of a failure for `qgemm_last_error`.
fn remember(text: &dyn fmt::Display) {
    LAST.with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            last.clear();
            // Appending never fails; a message that cannot be formatted ends early.
            let _ = fmt::write(&mut *last, format_args!("{text}"));
        }
    });
}

/// Runs the body of an exported function. No panic leaves it.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> qgemm_status {
    // After a panic nothing of what the body borrowed is used again, but the outputs, which are plain numbers.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => QGEMM_OK,
        Ok(Err(failure)) => {
            remember(&failure);
            failure.status()
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or(panic.downcast_ref::<String>().map(String::as_str));
            remember(&format_args!("qgemm failed: {}", text.unwrap_or("unknown panic")));
            // The destructor of what was thrown could panic itself.
            std::mem::forget(panic);
            QGEMM_INTERNAL
        }
    }
}

/// The reason of this thread's last call that did not return QGEMM_OK, in English: the name of the argument, what it was
/// and what it has to be. Empty if there was none. Calls that succeed leave it as it is.
///
/// The text, of at most 1023 bytes of UTF-8, lies in memory of the calling thread, and stays until a later call on this
/// thread fails or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn qgemm_last_error() -> *const c_char {
    // The address only: the text is read when no call is running.
    LAST.with(|last| last.as_ptr().cast::<c_char>().cast_const())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last() -> String {
        // SAFETY: `write_str` and `clear` end the text with a zero byte; nothing fails meanwhile on this thread.
        unsafe { CStr::from_ptr(qgemm_last_error()) }.to_str().unwrap().to_string()
    }

    #[test]
    fn panics_become_a_status() {
        assert_eq!(guard(|| panic!("on purpose {}", 3)), QGEMM_INTERNAL);
        assert_eq!(last(), "qgemm failed: on purpose 3");
        assert_eq!(guard(|| panic!("on purpose")), QGEMM_INTERNAL);
        assert_eq!(last(), "qgemm failed: on purpose");
        assert_eq!(guard(|| std::panic::panic_any(3)), QGEMM_INTERNAL);
        assert_eq!(last(), "qgemm failed: unknown panic");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        remember(&"é\0".repeat(1000));
        assert_eq!(last(), "é".repeat(341));
        remember(&"x".repeat(2000));
        assert_eq!(last().len(), 1023);
        remember(&"");
        assert_eq!(last(), "");
    }

    #[test]
    fn success_leaves_the_text() {
        assert_eq!(guard(|| Err(Failure::null("a"))), QGEMM_NULL);
        assert_eq!(guard(|| Ok(())), QGEMM_OK);
        assert_eq!(last(), "a: is null");
    }
}
