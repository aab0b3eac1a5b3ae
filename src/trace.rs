//! Calls, told when they end: a line each on standard error if the environment variable `QGEMM_VERBOSE` is 1, and an event each
//! for the crate `tracing`, with the feature of that name.

use crate::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

/// The environment variable that asks for lines.
const VARIABLE: &str = "QGEMM_VERBOSE";
/// The target of events.
#[cfg(feature = "tracing")]
const TARGET: &str = "qgemm";

/// Whether lines are asked for.
static LINES: AtomicU8 = AtomicU8::new(UNREAD);
const UNREAD: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// A call in words.
pub(crate) struct Call {
    pub(crate) kind: &'static str,
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) c: String,
    /// Zero points, bias and output stage.
    pub(crate) stage: String,
    pub(crate) kernel: &'static str,
    pub(crate) blocks: String,
    /// The threads that it is cut for; `None` if that is not told.
    pub(crate) threads: Option<usize>,
}

/// Whether nobody wants to hear of calls, as far as is known: else [`is_heard`] finds out. Small products ask this and
/// nothing else: 1x1x1 took 72 ns instead of 64 when it passed something on to its end (Intel Emerald Rapids, 2026-12-01).
#[inline(always)]
pub(crate) fn is_silent() -> bool {
    LINES.load(Relaxed) == OFF && !has_subscriber()
}

#[cfg(feature = "tracing")]
#[inline(always)]
fn has_subscriber() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::DEBUG)
}

#[cfg(not(feature = "tracing"))]
#[inline(always)]
fn has_subscriber() -> bool {
    false
}

/// Whether someone wants to hear of calls.
///
/// # Errors
/// [`Error::Variable`] if `QGEMM_VERBOSE` is wrong.
#[cold]
pub(crate) fn is_heard() -> Result<bool, Error> {
    let lines = match LINES.load(Relaxed) {
        UNREAD => read()?,
        state => state == ON,
    };
    Ok(lines || has_subscriber())
}

/// Makes a call, and tells of it if it succeeds.
///
/// # Errors
/// Those of the call.
pub(crate) fn tell<R>(told: Call, call: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    let start = Instant::now();
    let done = call()?;
    publish(&told, start.elapsed().as_nanos() as f64 / 1e3);
    Ok(done)
}

/// Reads the environment, and heads the lines.
fn read() -> Result<bool, Error> {
    let on = match std::env::var_os(VARIABLE) {
        None => false,
        Some(text) => parse(&text.to_string_lossy())?,
    };
    let before = LINES.swap(if on { ON } else { OFF }, Relaxed);
    if on && before == UNREAD {
        line(format_args!("qgemm,call,a,b,c,stage,kernel,blocks,threads,microseconds"));
    }
    Ok(on)
}

fn parse(text: &str) -> Result<bool, Error> {
    match text.trim() {
        "" | "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Error::Variable { name: VARIABLE, got: text.to_string(), need: "0 or 1" }),
    }
}

fn publish(call: &Call, microseconds: f64) {
    let Call { kind, a, b, c, stage, kernel, blocks, threads } = call;
    if LINES.load(Relaxed) == ON {
        let threads = threads.map_or(String::new(), |threads| threads.to_string());
        line(format_args!("qgemm,{kind},{a},{b},{c},{stage},{kernel},{blocks},{threads},{microseconds:.3}"));
    }
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: TARGET,
        call = kind,
        a = a.as_str(),
        b = b.as_str(),
        c = c.as_str(),
        stage = stage.as_str(),
        kernel,
        blocks = blocks.as_str(),
        threads,
        microseconds,
    );
}

/// Writes a line at once, so that those of several threads do not mix.
fn line(text: std::fmt::Arguments<'_>) {
    // Standard error may be closed: that is no error of the call.
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_variable() {
        for (text, on) in [("", false), ("0", false), (" 1 ", true)] {
            assert_eq!(parse(text), Ok(on));
        }
        for text in ["2", "yes", "-1", "true"] {
            let said = parse(text).unwrap_err().to_string();
            assert_eq!(said, format!("QGEMM_VERBOSE: was '{text}', must be 0 or 1"));
        }
    }
}
