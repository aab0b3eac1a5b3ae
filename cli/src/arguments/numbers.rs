//! Arguments that are one number or two.

use crate::errors::{invalid, invalid_because};
use anyhow::{Error, Result};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// f32 or f64, as which real numbers are read.
pub trait Real: Copy + FromStr + PartialOrd + Into<f64> {
    const NAME: &'static str;

    /// The number of this type that is nearest to `x`.
    fn nearest(x: f64) -> Self;
}

impl Real for f32 {
    const NAME: &'static str = "f32";

    fn nearest(x: f64) -> Self {
        x as f32
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";

    fn nearest(x: f64) -> Self {
        x
    }
}

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

/// Reads a factor (see [`parse_factor`]).
pub fn factor<T: Real>(argument: &str, text: &str, must: &str) -> Result<T> {
    parse_factor(text).map_err(|why| refusal(argument, text, why, must))
}

/// Reads a factor: finite, not negative, and not so small that it becomes 0. A factor of 0 makes all outputs equal, and
/// only one that is written as 0 is meant to do that. The error has a reason if it cannot be seen in the text.
pub fn parse_factor<T: Real>(text: &str) -> Result<T, Option<String>> {
    let value = text.trim().parse::<T>().map_err(|_| None)?;
    let is_negative = value.into().is_sign_negative() && is_nonzero(text);
    match value.into() {
        x if is_negative || x.is_nan() => Err(None),
        0.0 if is_nonzero(text) => Err(Some(rounded_to_zero::<T>())),
        f64::INFINITY => Err(too_large(text, value)),
        _ => Ok(value),
    }
}

/// The error of an `argument` whose `text` must be `must`, for a reason if it has one.
pub fn refusal(argument: &str, text: &str, why: Option<String>, must: &str) -> Error {
    match why {
        Some(why) => invalid_because(argument, text, why, must),
        None => invalid(argument, text, must),
    }
}

/// The reason to refuse a factor that became 0.
pub fn rounded_to_zero<T: Real>() -> String {
    format!("{} rounds it to 0", T::NAME)
}

/// The reason to refuse `value`, read from `text`, if it is infinite because the number in the text is too large.
pub fn too_large<T: Real>(text: &str, value: T) -> Option<String> {
    let has_digits = text.bytes().any(|c| c.is_ascii_digit());
    (has_digits && value.into().is_infinite()).then(|| format!("too large for {}", T::NAME))
}

/// Whether the number in a text is not 0, however near to it.
fn is_nonzero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    !mantissa.bytes().any(|c| c.is_ascii_digit()) || mantissa.bytes().any(|c| matches!(c, b'1'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        for (text, value) in [("0", 0.0), ("-0.0", 0.0), ("0e9", 0.0), (" 1.5 ", 1.5), ("1e-45", 1e-45f32)] {
            assert_eq!(factor::<f32>("--scale", text, "right").unwrap(), value, "{text}");
        }
        let refused = |text| factor::<f32>("--scale", text, "right").unwrap_err().to_string();
        for text in ["-1", "-1e-50", "-inf", "inf", "nan", "x", ""] {
            assert_eq!(refused(text), format!("--scale: was '{text}', must be right"));
        }
        assert_eq!(refused("1e-50"), "--scale: was '1e-50' (f32 rounds it to 0), must be right");
        assert_eq!(refused("1e39"), "--scale: was '1e39' (too large for f32), must be right");
        assert_eq!(factor::<f64>("--scale", "1e-50", "right").unwrap(), 1e-50);
        let e = factor::<f64>("--scale", "1e-400", "right").unwrap_err().to_string();
        assert_eq!(e, "--scale: was '1e-400' (f64 rounds it to 0), must be right");
    }
}
