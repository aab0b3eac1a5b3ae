//! Arguments that are a number or a file of numbers: `--a-zero`, `--scale`, `--bias` and others.

use crate::input::bad;
use crate::npy::{self, Array};
use anyhow::Result;
use qgemm::ZeroPoint;
use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;

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

impl Values<i32> {
    pub fn as_argument(&self) -> ZeroPoint<'_> {
        match self {
            Values::One(zero) => ZeroPoint::PerTensor(*zero),
            Values::Each(zeros) => ZeroPoint::PerAxis(zeros),
        }
    }
}

impl<T: Copy> Values<T> {
    /// `len` values in any case.
    pub fn expand(self, len: usize) -> Vec<T> {
        match self {
            Values::One(value) => vec![value; len],
            Values::Each(values) => values,
        }
    }

    /// What `f` makes of each, or its first error.
    pub fn map<U, E>(self, f: impl Fn(T) -> Result<U, E>) -> Result<Values<U>, E> {
        Ok(match self {
            Values::One(value) => Values::One(f(value)?),
            Values::Each(values) => Values::Each(values.into_iter().map(f).collect::<Result<_, _>>()?),
        })
    }

    /// What `f` makes of pairs; where both have one value for each there are equally many.
    pub fn zip<U, E>(self, other: Self, f: impl Fn(T, T) -> Result<U, E>) -> Result<Values<U>, E> {
        match (self, other) {
            (Values::One(x), other) => other.map(|y| f(x, y)),
            (all, Values::One(y)) => all.map(|x| f(x, y)),
            (Values::Each(x), Values::Each(y)) => {
                Ok(Values::Each(x.into_iter().zip(y).map(|(x, y)| f(x, y)).collect::<Result<_, _>>()?))
            }
        }
    }

    fn of(values: Vec<T>) -> Self {
        if values.len() == 1 {
            Values::One(values.into_iter().next().expect("there is one"))
        } else {
            Values::Each(values)
        }
    }
}

const INTEGER_MUST: &str = "an integer that fits i32 or a .npy file";

/// An argument of integers: zero points, multipliers.
pub fn integers(argument: &'static str, given: &OsStr, per: Per) -> Result<Values<i32>> {
    if let Some(number) = as_number(given) {
        let value = number.parse().map_err(|_| bad(argument, number, INTEGER_MUST))?;
        return Ok(Values::One(value));
    }
    let array = npy::read(argument, Path::new(given), INTEGER_MUST)?;
    let values = array_of_i32(&array)?;
    per.check(&array, true)?;
    Ok(Values::of(values))
}

const SCALE_MUST: &str = "finite and not negative, a number or a .npy file of f32 or f64";

/// A scale argument: text as the type that is wanted, files through `convert`.
pub fn scales<T>(
    argument: &'static str,
    given: &OsStr,
    per: Per,
    convert: impl Fn(f64) -> T,
) -> Result<Values<T>>
where
    T: Copy + Into<f64> + FromStr,
{
    if let Some(number) = as_number(given) {
        let value = number.parse::<T>().ok().filter(|&value| (0.0..f64::INFINITY).contains(&value.into()));
        return value.map(Values::One).ok_or_else(|| bad(argument, number, SCALE_MUST));
    }
    let array = npy::read(argument, Path::new(given), SCALE_MUST)?;
    let values = npy::finite(&array)?;
    if let Some(at) = values.iter().position(|&x| x < 0.0) {
        return Err(array.refuse(format_args!("value {at} is {}", values[at])));
    }
    per.check(&array, true)?;
    Ok(Values::of(values.into_iter().map(convert).collect()))
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
        _ => Bias::Integers(array_of_i32(&array)?),
    };
    per.check(&array, false)?;
    Ok(values)
}

fn array_of_i32(array: &Array) -> Result<Vec<i32>> {
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
        assert_eq!(integers("--a-zero", OsStr::new("+7"), Per::RowOfA(2)).unwrap(), Values::One(7));
        let e = integers("--a-zero", OsStr::new("3.5"), Per::RowOfA(2)).unwrap_err();
        assert_eq!(e.to_string(), "--a-zero: was '3.5', must be an integer that fits i32 or a .npy file");
    }
}
