//! Arguments that are an integer or a file of numbers: `--a-zero`, `--multiplier`, `--bias` and others.

use crate::errors::invalid;
use crate::files::npy::Array;
use crate::memory::room;
use anyhow::Result;
use qgemm::OneOrEach;
use std::ffi::OsStr;
use std::path::Path;

/// One value for all rows or columns, or one for each; a [`OneOrEach`] that owns its values.
#[derive(Debug, PartialEq)]
pub enum Values<T> {
    PerTensor(T),
    PerAxis(Vec<T>),
}

impl<T: Copy> Values<T> {
    pub fn borrow(&self) -> OneOrEach<'_, T> {
        match self {
            Values::PerTensor(value) => OneOrEach::PerTensor(*value),
            Values::PerAxis(values) => OneOrEach::PerAxis(values),
        }
    }

    /// The values of all rows or columns. A file without elements may claim more of them than memory holds.
    pub fn expand(self, axis: Axis) -> Result<Vec<T>> {
        let (argument, len, what) = match axis {
            Axis::RowsOfA(m) => ("--a", m, "rows"),
            Axis::ColumnsOfB(n) => ("--b", n, "columns"),
        };
        match self {
            Values::PerTensor(value) => {
                let mut values = room(argument, format_args!("{len} {what}"), len)?;
                values.resize(len, value);
                Ok(values)
            }
            Values::PerAxis(values) => Ok(values),
        }
    }

    /// The results of `f` for each value, or the first error.
    pub fn try_map<U, E>(self, f: impl Fn(T) -> Result<U, E>) -> Result<Values<U>, E> {
        Ok(match self {
            Values::PerTensor(value) => Values::PerTensor(f(value)?),
            Values::PerAxis(values) => Values::PerAxis(values.into_iter().map(f).collect::<Result<_, _>>()?),
        })
    }

    /// The results of `f` for pairs of values, or the first error. If both have values per row or column, they
    /// have equally many.
    pub fn try_zip<U, E>(self, other: Self, f: impl Fn(T, T) -> Result<U, E>) -> Result<Values<U>, E> {
        match (self, other) {
            (Values::PerTensor(x), other) => other.try_map(|y| f(x, y)),
            (each, Values::PerTensor(y)) => each.try_map(|x| f(x, y)),
            (Values::PerAxis(x), Values::PerAxis(y)) => {
                debug_assert_eq!(x.len(), y.len());
                let pairs = x.into_iter().zip(y);
                Ok(Values::PerAxis(pairs.map(|(x, y)| f(x, y)).collect::<Result<_, _>>()?))
            }
        }
    }

    /// The values of a file: a file of one value has it for all rows or columns.
    pub(super) fn from_file(values: Vec<T>) -> Self {
        if values.len() == 1 { Values::PerTensor(values[0]) } else { Values::PerAxis(values) }
    }
}

/// The rows or columns for each of which a vector has a value.
#[derive(Clone, Copy)]
pub enum Axis {
    /// The rows of A, and their number.
    RowsOfA(usize),
    /// The columns of B, and their number.
    ColumnsOfB(usize),
}

impl Axis {
    fn describe(self) -> String {
        match self {
            Axis::RowsOfA(m) => format!("one per row of --a ({m})"),
            Axis::ColumnsOfB(n) => format!("one per column of --b ({n})"),
        }
    }

    /// The number of values in an array of this shape; `None` if it is no vector along this axis.
    fn vector_length(self, shape: &[usize]) -> Option<usize> {
        match (self, shape) {
            (_, []) => Some(1),
            (_, &[len]) | (Axis::RowsOfA(_), &[len, 1]) | (Axis::ColumnsOfB(_), &[1, len]) => Some(len),
            _ => None,
        }
    }

    /// Refuses an array that has neither one value for all rows or columns nor one for each.
    pub(super) fn check_one_or_each(self, array: &Array) -> Result<()> {
        if self.vector_length(array.shape()) == Some(1) {
            return Ok(());
        }
        self.check(array, "one value or ")
    }

    /// Refuses an array that does not have one value for each row or column.
    fn check_each(self, array: &Array) -> Result<()> {
        self.check(array, "")
    }

    /// Refuses an array that does not have one value for each row or column. In the error, `alternative` stands
    /// before the description of such an array.
    fn check(self, array: &Array, alternative: &str) -> Result<()> {
        let (Axis::RowsOfA(need) | Axis::ColumnsOfB(need)) = self;
        match self.vector_length(array.shape()) {
            Some(len) if len == need => Ok(()),
            Some(len) => {
                Err(array.refuse(format_args!("{len} values, not {alternative}{}", self.describe())))
            }
            None => Err(array.refuse(format_args!(
                "shape {:?}, not {alternative}{}",
                array.shape(),
                self.describe()
            ))),
        }
    }
}

const INTEGER_MUST: &str = "an integer that fits i32 or a .npy file";

/// Reads an argument of integers: zero points, multipliers, shifts.
pub fn integers(argument: &'static str, given: &OsStr, axis: Axis) -> Result<Values<i32>> {
    if let Some(number) = as_number(given) {
        let value = number.parse().map_err(|_| invalid(argument, number, INTEGER_MUST))?;
        return Ok(Values::PerTensor(value));
    }
    let array = Array::read(argument, Path::new(given), INTEGER_MUST)?;
    let values = array.i32_values()?;
    axis.check_one_or_each(&array)?;
    Ok(Values::from_file(values))
}

/// A bias, one value per column.
pub enum Bias {
    /// Added to the i32 sums.
    Integers(Vec<i32>),
    /// Added to the scaled f32 output.
    Floats(Vec<f32>),
}

impl Bias {
    pub fn floats(&self) -> Option<&[f32]> {
        match self {
            Bias::Integers(_) => None,
            Bias::Floats(floats) => Some(floats),
        }
    }
}

/// Reads a bias.
pub fn bias(argument: &'static str, path: &Path, axis: Axis) -> Result<Bias> {
    let must = "a .npy file of integers that fit i32, or of finite float32 or float64";
    let array = Array::read(argument, path, must)?;
    let values = match array.kind() {
        "f4" | "f8" => Bias::Floats(array.finite_values()?.into_iter().map(|x| x as f32).collect()),
        _ => Bias::Integers(array.i32_values()?),
    };
    axis.check_each(&array)?;
    Ok(values)
}

/// The text of an argument that is a number of any type; `None` for the name of a file.
pub(super) fn as_number(given: &OsStr) -> Option<&str> {
    let text = given.to_str()?.trim();
    text.parse::<f64>().is_ok().then_some(text)
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
        let zero = integers("--a-zero", OsStr::new("+7"), Axis::RowsOfA(2)).unwrap();
        assert_eq!(zero, Values::PerTensor(7));
        let e = integers("--a-zero", OsStr::new("3.5"), Axis::RowsOfA(2)).unwrap_err();
        assert_eq!(e.to_string(), "--a-zero: was '3.5', must be an integer that fits i32 or a .npy file");
    }
}
