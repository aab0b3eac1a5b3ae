//! Parameters: read from text in one manner, refused in one manner.

use anyhow::{Error, Result};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A parameter, or the file that it names, that cannot be used. The command then exits with 2.
#[derive(Debug)]
pub struct BadInput {
    argument: String,
    was: String,
    must: String,
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: was {}, must be {}", self.argument, self.was, self.must)
    }
}

impl std::error::Error for BadInput {}

/// The refusal of `argument`, which was `was`.
pub fn bad(argument: &str, was: impl fmt::Display, must: impl fmt::Display) -> Error {
    BadInput { argument: argument.into(), was: format!("'{was}'"), must: must.to_string() }.into()
}

/// [`bad`], with the reason why `was` will not do.
pub fn bad_because(
    argument: &str,
    was: impl fmt::Display,
    why: impl fmt::Display,
    must: impl fmt::Display,
) -> Error {
    BadInput { argument: argument.into(), was: format!("'{was}' ({why})"), must: must.to_string() }.into()
}

/// The refusal of an `argument` that was left out.
pub fn missing(argument: &str, must: impl fmt::Display) -> Error {
    BadInput { argument: argument.into(), was: "left out".into(), must: must.to_string() }.into()
}

/// A number within a range.
pub fn number<T>(argument: &str, text: &str, range: RangeInclusive<T>) -> Result<T>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let value = text.trim().parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| {
        bad(argument, text, format_args!("a number from {} to {}", range.start(), range.end()))
    })
}

/// Two values with a comma between.
pub fn pair<T: FromStr, U: FromStr>(argument: &str, text: &str, must: &str) -> Result<(T, U)> {
    let parts = text.split_once(',');
    let found = parts.and_then(|(x, y)| Some((x.trim().parse().ok()?, y.trim().parse().ok()?)));
    found.ok_or_else(|| bad(argument, text, must))
}

/// A range of reals, `LO,HI`.
pub fn real_range(argument: &str, text: &str) -> Result<(f64, f64)> {
    let must = "LO,HI: two finite numbers, LO below HI";
    let (lo, hi) = pair::<f64, f64>(argument, text, must)?;
    if lo.is_finite() && hi.is_finite() && lo < hi { Ok((lo, hi)) } else { Err(bad(argument, text, must)) }
}

/// The most threads that may be asked for.
const MAX_THREADS: usize = 1024;

/// A pool of `--threads` threads; without the option, of as many as rayon thinks fit.
pub fn pool(threads: Option<&str>) -> Result<rayon::ThreadPool> {
    let argument = "--threads";
    let count = threads.map(|text| number(argument, text, 1..=MAX_THREADS)).transpose()?;
    // 0 is rayon's word for "as many as there are cores".
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count.unwrap_or(0)).build();
    pool.map_err(|e| bad_because(argument, threads.unwrap_or("automatic"), e, "fewer threads"))
}

/// An error of the library, which names its own arguments (`a_zero`), in terms of the command's
/// (`--a-zero`). `names` lists both; what is not listed stays.
pub fn library(error: qgemm::Error, names: &[(&str, &str)]) -> Error {
    let text = error.to_string();
    let renamed = names.iter().find_map(|(from, to)| {
        let rest = text.strip_prefix(from)?.strip_prefix(':')?;
        Some(format!("{to}:{rest}"))
    });
    Error::msg(renamed.unwrap_or(text))
}

/// The kernels that `--kernel` names.
pub fn dispatch(name: &str) -> Result<qgemm::Dispatch> {
    qgemm::Dispatch::named(name).map_err(|e| library(e, &[("kernel", "--kernel")]))
}

/// The full names of the kernels that `--kernel` names, `all` being all that run here.
pub fn kernel_names(name: &str) -> Result<Vec<&'static str>> {
    let available = qgemm::Dispatch::available();
    if name == "all" {
        return Ok(available.iter().map(|kernel| kernel.name).collect());
    }
    Ok(dispatch(name)?.kernels().map(|kernel| kernel.name).collect())
}

/// Refuses `argument`, whose value `was` asks for `bytes` in all, if there is not as much memory; the
/// bytes are counted in f64, where they do not overflow.
pub fn check_memory(argument: &str, was: impl fmt::Display, bytes: f64) -> Result<()> {
    if bytes <= available_memory() as f64 {
        return Ok(());
    }
    let why = format!("it needs some {:.1} GiB", bytes / f64::from(1 << 30));
    Err(bad_because(argument, was, why, "small enough for memory"))
}

/// `len` zeros, or the refusal of `argument`, whose value `was` asks for more memory than there is. A
/// product of dimensions may have saturated.
pub fn zeros<T: Clone + Default>(argument: &str, was: impl fmt::Display, len: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    let bytes = len.checked_mul(size_of::<T>()).filter(|_| len < usize::MAX);
    // The allocator may promise what the machine does not have: ask the machine as well.
    let fits = bytes.is_some_and(|bytes| bytes <= available_memory()) && v.try_reserve_exact(len).is_ok();
    if !fits {
        let need = bytes.map_or("more bytes than an address has".into(), |bytes| format!("{bytes} bytes"));
        return Err(bad_because(argument, was, format_args!("it needs {need}"), "small enough for memory"));
    }
    v.resize(len, T::default());
    Ok(v)
}

/// What may still be allocated, where the system tells (Linux).
fn available_memory() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib.saturating_mul(1024))
}
