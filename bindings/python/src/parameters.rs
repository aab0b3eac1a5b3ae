//! Small arguments of a call (zero points, biases, scales, clamps) as values of its own: they are copied at the door.

use crate::arrays::array_of;
use crate::arrays::values::Values;
use crate::elements::{DType, Element};
use crate::errors::{raise, type_error, value_error, vector};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyTuple};
use qgemm::{Gather, GatherF32, MatRef, Operand, Rounding, Scale, ZeroPoint};

/// The array of an argument that may be a list of numbers as well.
fn array_or_list<'py>(object: &Bound<'py, PyAny>, argument: &str) -> PyResult<Bound<'py, PyUntypedArray>> {
    array_of(object, argument).or_else(|_| {
        let numpy = object.py().import(intern!(object.py(), "numpy"))?;
        let array = numpy.call_method1(intern!(object.py(), "asarray"), (object,))?;
        Ok(array.cast_into::<PyUntypedArray>()?)
    })
}

/// The values of an array of numbers, row by row, converted by NumPy if they are of another type than T.
fn values<T: Element>(array: &Bound<'_, PyUntypedArray>, argument: &str) -> PyResult<Vec<T>> {
    let (name, py) = (T::DTYPE.name(), array.py());
    let converted = if DType::of(array) == Some(T::DTYPE) {
        array.clone().into_any()
    } else {
        array.call_method1(intern!(py, "astype"), (name, "C", "same_kind")).map_err(|_| {
            type_error(argument, format!("has elements of {}, must be numbers for {name}", array.dtype()))
        })?
    };
    let given = Values::new(&converted, argument, &[T::DTYPE])?;
    let given = given.values::<T>()?;
    let mut copy = vector(argument, given.len())?;
    copy.extend_from_slice(given);
    Ok(copy)
}

/// The integers of an array, each of which has to fit i32.
fn integers(array: &Bound<'_, PyUntypedArray>, argument: &str) -> PyResult<Vec<i32>> {
    let descr = array.dtype();
    if !matches!(descr.kind(), b'i' | b'u') {
        return Err(type_error(argument, format!("has elements of {descr}, must be integers")));
    }
    if descr.itemsize() > 4 || (descr.kind(), descr.itemsize()) == (b'u', 4) {
        let outside = |method, limit: i32| -> PyResult<bool> {
            let most: i128 = array.call_method0(method)?.extract()?;
            Ok(if limit < 0 { most < limit.into() } else { most > limit.into() })
        };
        if array.len() > 0 && (outside("min", i32::MIN)? || outside("max", i32::MAX)?) {
            return Err(value_error(
                argument,
                format!("has values that do not fit i32, must be in {}..={}", i32::MIN, i32::MAX),
            ));
        }
    }
    values(array, argument)
}

/// An array of one dimension.
fn check_one_dimension(array: &Bound<'_, PyUntypedArray>, argument: &str) -> PyResult<()> {
    match array.ndim() {
        1 => Ok(()),
        got => Err(value_error(argument, format!("has {got} dimensions, must have 1"))),
    }
}

/// An integer that has to fit i32.
pub fn integer(object: &Bound<'_, PyAny>, argument: &str) -> PyResult<i32> {
    if object.cast::<PyFloat>().is_ok() {
        return Err(type_error(argument, format!("was {object}, must be an integer")));
    }
    let number: Result<i64, PyErr> = object.extract();
    let py = object.py();
    let number =
        number.map_err(|error| match error.is_instance_of::<pyo3::exceptions::PyOverflowError>(py) {
            true => value_error(argument, format!("was {object}, must be in {}..={}", i32::MIN, i32::MAX)),
            false => type_error(argument, format!("is of {}, must be an integer", object.get_type())),
        })?;
    i32::try_from(number)
        .map_err(|_| value_error(argument, format!("was {number}, must be in {}..={}", i32::MIN, i32::MAX)))
}

/// A number of things.
pub fn count(object: &Bound<'_, PyAny>, argument: &str) -> PyResult<usize> {
    object.extract().map_err(|error: PyErr| {
        match error.is_instance_of::<pyo3::exceptions::PyOverflowError>(object.py()) {
            true => value_error(argument, format!("was {object}, must be in 0..={}", usize::MAX)),
            false => type_error(argument, format!("is of {}, must be an integer", object.get_type())),
        }
    })
}

/// A real number.
pub fn real(object: &Bound<'_, PyAny>, argument: &str) -> PyResult<f64> {
    object
        .extract()
        .map_err(|_| type_error(argument, format!("is of {}, must be a number", object.get_type())))
}

/// Whether an object is one number and no array of them.
pub fn is_number(object: &Bound<'_, PyAny>) -> bool {
    if object.cast::<PyInt>().is_ok() || object.cast::<PyFloat>().is_ok() {
        return true;
    }
    // An array or tensor of no dimensions is a number; one of a single value is none, though it converts to one.
    let is_scalar = match object.getattr(intern!(object.py(), "ndim")) {
        Ok(ndim) => ndim.extract::<usize>().is_ok_and(|ndim| ndim == 0),
        Err(_) => !object.hasattr(intern!(object.py(), "__len__")).unwrap_or(false),
    };
    is_scalar && object.extract::<f64>().is_ok()
}

/// One value, or one per row or column.
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// The zero points of an argument: an integer, or an array of one dimension.
pub fn zero_points(object: Option<&Bound<'_, PyAny>>, argument: &str) -> PyResult<OneOrMany<i32>> {
    let Some(object) = object else { return Ok(OneOrMany::One(0)) };
    if is_number(object) {
        return Ok(OneOrMany::One(integer(object, argument)?));
    }
    let array = array_or_list(object, argument)?;
    let zeros = integers(&array, argument)?;
    check_one_dimension(&array, argument)?;
    Ok(OneOrMany::Many(zeros))
}

impl OneOrMany<i32> {
    pub fn view(&self) -> ZeroPoint<'_> {
        match self {
            OneOrMany::One(zero) => ZeroPoint::PerTensor(*zero),
            OneOrMany::Many(zeros) => ZeroPoint::PerAxis(zeros),
        }
    }
}

/// Rows of A that are picked by index.
pub struct Rows {
    indices: Vec<u32>,
    /// Rows of the source in each row of A.
    taps: usize,
}

impl Rows {
    /// The rows of an array of M indices, or of M x taps. -1 is no row of the source.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let array = array_or_list(object, "rows")?;
        let taps = match *array.shape() {
            [_] => 1,
            [_, taps] => taps,
            ref other => {
                return Err(value_error("rows", format!("has {} dimensions, must have 1 or 2", other.len())));
            }
        };
        let given = integers(&array, "rows")?;
        let mut indices = vector("rows", given.len())?;
        for (i, index) in given.into_iter().enumerate() {
            indices.push(match index {
                -1 => Gather::PADDING,
                _ => u32::try_from(index).map_err(|_| {
                    value_error("rows", format!("value {i} was {index}, must be a row of the array, or -1"))
                })?,
            });
        }
        Ok(Self { indices, taps })
    }

    /// Rows of A.
    pub fn len(&self) -> usize {
        self.indices.len() / self.taps.max(1)
    }

    pub fn of<'a>(&'a self, source: impl Into<Operand<'a>>) -> PyResult<Gather<'a>> {
        Gather::new(source, &self.indices, self.taps).map_err(raise)
    }

    pub fn of_floats<'a>(&'a self, source: MatRef<'a, f32>) -> PyResult<GatherF32<'a>> {
        GatherF32::new(source, &self.indices, self.taps).map_err(raise)
    }
}

/// A bias: integers in the scale of the sums, or real numbers in that of the output.
pub enum Bias {
    Integers(Vec<i32>),
    Reals(Vec<f32>),
}

impl Bias {
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let array = array_or_list(object, "bias")?;
        check_one_dimension(&array, "bias")?;
        Ok(match array.dtype().kind() {
            b'i' | b'u' => Bias::Integers(integers(&array, "bias")?),
            _ => Bias::Reals(values(&array, "bias")?),
        })
    }

    /// A bias that real numbers are meant by, whatever their type.
    pub fn reals(object: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
        let array = array_or_list(object, "bias")?;
        check_one_dimension(&array, "bias")?;
        values(&array, "bias")
    }
}

/// Float scales.
pub enum Scales {
    One(f32),
    Columns(Vec<f32>),
    Rows(Vec<f32>),
    Both(Vec<f32>, Vec<f32>),
}

impl Scales {
    /// A number; an array of one dimension, or of 1xN, for columns; of Mx1, for rows; a tuple of two arrays, for rows and
    /// columns.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if is_number(object) {
            return Ok(Scales::One(real(object, "scale")? as f32));
        }
        if let Ok(pair) = object.cast::<PyTuple>()
            && pair.len() == 2
        {
            let (rows, columns) = (pair.get_item(0)?, pair.get_item(1)?);
            if !is_number(&rows) && !is_number(&columns) {
                let all = |part, argument| values(&array_or_list(part, argument)?, argument);
                return Ok(Scales::Both(all(&rows, "scale.rows")?, all(&columns, "scale.columns")?));
            }
        }
        let array = array_or_list(object, "scale")?;
        let scales = values(&array, "scale")?;
        match array.shape() {
            // Whether rows or columns are meant does not matter.
            [1, 1] => Ok(Scales::One(scales[0])),
            [_] | [1, _] => Ok(Scales::Columns(scales)),
            [_, 1] => Ok(Scales::Rows(scales)),
            other => {
                let problem =
                    format!("has the shape {other:?}, must be a number, N, Mx1, or a pair of M and N");
                Err(value_error("scale", problem))
            }
        }
    }

    pub fn view(&self) -> Scale<'_> {
        match self {
            Scales::One(scale) => Scale::PerTensor(*scale),
            Scales::Columns(columns) => Scale::PerColumn(columns),
            Scales::Rows(rows) => Scale::PerRow(rows),
            Scales::Both(rows, columns) => Scale::RowsByColumns { rows, columns },
        }
    }
}

/// Integer multipliers as numbers m and shift, from a pair of two numbers or of two arrays.
pub fn multipliers(object: &Bound<'_, PyAny>) -> PyResult<OneOrMany<qgemm::Multiplier>> {
    let pair = object.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
    let pair = pair.ok_or_else(|| type_error("multipliers", "must be a pair (m, shift)"))?;
    let m = zero_points(Some(&pair.get_item(0)?), "multipliers")?;
    let shift = zero_points(Some(&pair.get_item(1)?), "multipliers")?;
    let one = |m, shift| qgemm::Multiplier::new(m, shift).map_err(raise);
    match (m, shift) {
        (OneOrMany::One(m), OneOrMany::One(shift)) => Ok(OneOrMany::One(one(m, shift)?)),
        (OneOrMany::Many(m), OneOrMany::Many(shift)) if m.len() == shift.len() => {
            let mut all = vector("multipliers", m.len())?;
            for (m, shift) in m.into_iter().zip(shift) {
                all.push(one(m, shift)?);
            }
            Ok(OneOrMany::Many(all))
        }
        _ => Err(value_error("multipliers", "must be two numbers, or two arrays of the same length")),
    }
}

/// Factors in f64: a number, or an array of one dimension.
pub fn factors(object: &Bound<'_, PyAny>) -> PyResult<OneOrMany<f64>> {
    if is_number(object) {
        return Ok(OneOrMany::One(real(object, "factors")?));
    }
    let array = array_or_list(object, "factors")?;
    check_one_dimension(&array, "factors")?;
    Ok(OneOrMany::Many(values(&array, "factors")?))
}

/// The rounding of multipliers by its name.
pub fn rounding(name: &str) -> PyResult<Rounding> {
    Ok(match name {
        "gemmlowp" => Rounding::Gemmlowp,
        "ruy" => Rounding::Ruy,
        "single" => Rounding::Single,
        "reference" => Rounding::Reference,
        _ => {
            let must = "must be gemmlowp, ruy, single or reference";
            return Err(value_error("rounding", format!("was {name}, {must}")));
        }
    })
}

/// Two limits, of which `None` is no limit.
pub fn limits<'py>(object: &Bound<'py, PyAny>) -> PyResult<[Option<Bound<'py, PyAny>>; 2]> {
    let (lo, hi): (Bound<'py, PyAny>, Bound<'py, PyAny>) =
        object.extract().map_err(|_| type_error("clamp", "must be a pair (lo, hi)"))?;
    Ok([lo, hi].map(|limit| (!limit.is_none()).then_some(limit)))
}
