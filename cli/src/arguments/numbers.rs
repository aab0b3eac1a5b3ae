//! Arguments that are one number or two.

use crate::errors::invalid;
use anyhow::Result;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Reads a number within a range.
pub fn number<T>(argument: &str, text: &str, range: RangeInclusive<T>) -> Result<T>
where
    T: FromStr + PartialOrd + Display,
{
    let value = text.trim().parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| {
        invalid(argument, text, format_args!("a number from {} to {}", range.start(), range.end()))
    })
}

/// Reads an i32.
pub fn integer(argument: &str, text: &str) -> Result<i32> {
    text.trim().parse().map_err(|_| invalid(argument, text, "an integer that fits i32"))
}

/// Reads two values with a comma between them.
pub fn pair<T: FromStr, U: FromStr>(argument: &str, text: &str, must: &str) -> Result<(T, U)> {
    let parts = text.split_once(',');
    let found = parts.and_then(|(x, y)| Some((x.trim().parse().ok()?, y.trim().parse().ok()?)));
    found.ok_or_else(|| invalid(argument, text, must))
}

/// Reads a range of reals, `LO,HI`.
pub fn real_range(argument: &str, text: &str) -> Result<(f64, f64)> {
    let must = "LO,HI: two finite numbers, LO below HI";
    let (lo, hi) = pair::<f64, f64>(argument, text, must)?;
    if lo.is_finite() && hi.is_finite() && lo < hi {
        Ok((lo, hi))
    } else {
        Err(invalid(argument, text, must))
    }
}
