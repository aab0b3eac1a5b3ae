//! Arguments that are a number or a file of numbers: `--a-zero`, `--b-zero`, `--scale`, `--bias`.

use crate::input::bad;
use crate::npy::{self, Array};
use anyhow::Result;
use std::ffi::OsStr;
use std::path::Path;

/// One value for all rows or columns, or one for each.
#[derive(Debug, PartialEq)]
pub enum Values<T> {
    One(T),
    Each(Vec<T>),
}

/// What a vector has one value per: the rows of A, or the columns of B.
#[derive(Clone, Copy)]
pub enum Per {
    RowOfA(usize),
    ColumnOfB(usize),
}

impl Per {
    fn describe(self) -> String {
        match self {
            Per::RowOfA(m) => format!("one per row of --a ({m})"),
            Per::ColumnOfB(n) => format!("one per column of --b ({n})"),
        }
    }

    /// The number of values in an array of this shape, if a vector of it can be one per row or column.
    fn length(self, shape: &[usize]) -> Option<usize> {
        match (self, shape) {
            (_, []) => Some(1),
            (_, &[len]) | (Per::RowOfA(_), &[len, 1]) | (Per::ColumnOfB(_), &[1, len]) => Some(len),
            _ => None,
        }
    }

    /// Checks that an array has one value or one for each (`one` says whether one will do for all).
    fn check(self, array: &Array, one: bool) -> Result<()> {
        let (Per::RowOfA(need) | Per::ColumnOfB(need)) = self;
        let either = if one { "one value or " } else { "" };
        match self.length(&array.shape) {
            Some(len) if len == need || (one && len == 1) => Ok(()),
            Some(len) => Err(array.refuse(format_args!("{len} values, not {either}{}", self.describe()))),
            None => {
                Err(array.refuse(format_args!("shape {:?}, not {either}{}", array.shape, self.describe())))
            }
        }
    }
}

impl<T> Values<T> {
    fn of(values: Vec<T>) -> Self {
        if values.len() == 1 {
            Values::One(values.into_iter().next().expect("there is one"))
        } else {
            Values::Each(values)
        }
    }
}

const ZERO_MUST: &str = "an integer that fits i32 or a .npy file";

/// A zero point argument.
pub fn zero_points(argument: &'static str, given: &OsStr, per: Per) -> Result<Values<i32>> {
    if let Some(number) = as_number(given) {
        let value = number.parse().map_err(|_| bad(argument, number, ZERO_MUST))?;
        return Ok(Values::One(value));
    }
    let array = npy::read(argument, Path::new(given), ZERO_MUST)?;
    let values = integers(&array)?;
    per.check(&array, true)?;
    Ok(Values::of(values))
}

const SCALE_MUST: &str = "finite and not negative, a number or a .npy file of f32 or f64";

/// A scale argument.
pub fn scales(argument: &'static str, given: &OsStr, per: Per) -> Result<Values<f32>> {
    if let Some(number) = as_number(given) {
        let value: f32 = number.parse().map_err(|_| bad(argument, number, SCALE_MUST))?;
        if !(value.is_finite() && value >= 0.0) {
            return Err(bad(argument, number, SCALE_MUST));
        }
        return Ok(Values::One(value));
    }
    let array = npy::read(argument, Path::new(given), SCALE_MUST)?;
    let values = npy::finite(&array)?;
    if let Some(at) = values.iter().position(|&x| x < 0.0) {
        return Err(array.refuse(format_args!("value {at} is {}", values[at])));
    }
    per.check(&array, true)?;
    Ok(Values::of(values.into_iter().map(|x| x as f32).collect()))
}

/// A bias: added to the sums, or to what was scaled.
pub enum Bias {
    Integers(Vec<i32>),
    Floats(Vec<f32>),
}

/// A bias argument, one value per column.
pub fn bias(argument: &'static str, path: &Path, per: Per) -> Result<Bias> {
    let array = npy::read(argument, path, "a .npy file of integers that fit i32, or of finite f32 or f64")?;
    let values = match array.kind() {
        "f4" | "f8" => Bias::Floats(npy::finite(&array)?.into_iter().map(|x| x as f32).collect()),
        _ => Bias::Integers(integers(&array)?),
    };
    per.check(&array, false)?;
    Ok(values)
}

fn integers(array: &Array) -> Result<Vec<i32>> {
    let all =
        array.integers().ok_or_else(|| array.refuse(format_args!("elements of type {}", array.descr)))?;
    let convert = |(at, value): (usize, i128)| {
        i32::try_from(value)
            .map_err(|_| array.refuse(format_args!("value {at} is {value}, which does not fit i32")))
    };
    all.into_iter().enumerate().map(convert).collect()
}

/// The argument's text if it is a number of any kind; else it is a file's name.
fn as_number(given: &OsStr) -> Option<&str> {
    let text = given.to_str()?.trim();
    text.parse::<f64>().is_ok().then_some(text)
}

/// An integer argument.
pub fn integer(argument: &str, text: &str) -> Result<i32> {
    text.trim().parse().map_err(|_| bad(argument, text, "an integer that fits i32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_files() {
        let number = |text: &str| as_number(OsStr::new(text)).map(str::to_string);
        assert_eq!(number(" -190 "), Some("-190".into()));
        assert_eq!(number("3.5"), Some("3.5".into()));
        assert_eq!(number("99999999999"), Some("99999999999".into()));
        assert_eq!(number("zero.npy"), None);
        assert_eq!(number(""), None);
        assert_eq!(zero_points("--a-zero", OsStr::new("+7"), Per::RowOfA(2)).unwrap(), Values::One(7));
        let e = zero_points("--a-zero", OsStr::new("3.5"), Per::RowOfA(2)).unwrap_err();
        assert_eq!(e.to_string(), "--a-zero: was '3.5', must be an integer that fits i32 or a .npy file");
    }
}
