//! Arrays of Python as matrices of the library: held while a call uses them, copied only where the library has no view.
//!
//! The library reads and writes slices, which nobody else may write meanwhile. NumPy's arrays have no such owner, and a
//! call lets other Python threads run. So the promise that the unsafe blocks of this folder pass on is in part that of the
//! Python program, as for every function of NumPy that lets other threads run: while a call runs, no other thread writes
//! to its arrays, reads or writes its `out`, or takes their memory away (`ndarray.resize` with `refcheck=False`). The
//! README says this to users. The rest is checked here: the memory is that of an array that the call holds, its elements
//! have the type of the view, and the output shares no memory with an input.

use crate::elements::DType;
use crate::errors::{type_error, value_error};
use numpy::npyffi::PyArrayObject_fields;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use std::ops::Range;

pub mod file;
pub mod matrix;
pub mod output;
pub mod values;

/// The array behind an object: an array itself, or the memory of a tensor (DLPack) or a buffer.
pub fn array_of<'py>(object: &Bound<'py, PyAny>, argument: &str) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    let py = object.py();
    let numpy = py.import(intern!(py, "numpy"))?;
    let array = if object.hasattr(intern!(py, "__dlpack__"))? {
        numpy.call_method1(intern!(py, "from_dlpack"), (object,))?
    } else if object.hasattr(intern!(py, "__array__"))? {
        numpy.call_method1(intern!(py, "asarray"), (object,))?
    } else {
        let buffer = py
            .import("builtins")?
            .call_method1("memoryview", (object,))
            .map_err(|_| type_error(argument, format!("is of {}, must be an array", object.get_type())))?;
        numpy.call_method1(intern!(py, "asarray"), (buffer,))?
    };
    array.cast_into::<PyUntypedArray>().map_err(PyErr::from)
}

/// The fields of an array's object.
fn fields<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a PyArrayObject_fields {
    // SAFETY: the object is an array, which `cast` has checked, and `array` holds a reference to it. NumPy writes to the
    // fields only in methods of the array, which do not run while this thread is attached to the interpreter.
    unsafe { &(*array.as_array_ptr()).fields }
}

/// The address of the first element.
fn first(array: &Bound<'_, PyUntypedArray>) -> *mut u8 {
    fields(array).data.cast()
}

/// The addresses from the first to the last byte of any element; empty if there are no elements.
fn span(array: &Bound<'_, PyUntypedArray>, itemsize: usize) -> Range<usize> {
    let first = first(array).addr();
    let (mut start, mut end) = (first, first.wrapping_add(itemsize));
    for (&len, &stride) in array.shape().iter().zip(array.strides()) {
        if len == 0 {
            return first..first;
        }
        let reach = stride.unsigned_abs().wrapping_mul(len - 1);
        if stride < 0 { start = start.wrapping_sub(reach) } else { end = end.wrapping_add(reach) }
    }
    start..end
}

/// A matrix as the library has views: found once, since Python code that a call runs later (of an argument of another class,
/// say) may give the array another shape.
#[derive(Clone, Copy)]
struct Layout {
    first: *mut u8,
    rows: usize,
    cols: usize,
    /// In elements, as the next.
    row_stride: usize,
    col_stride: usize,
}

/// The layout of an array of two dimensions; `None` if the library has no view for its strides, or elements are not aligned.
fn layout(array: &Bound<'_, PyUntypedArray>, itemsize: usize) -> Option<Layout> {
    let (&[rows, cols], &[by_row, by_column]) = (array.shape(), array.strides()) else { return None };
    if !array.is_aligned() {
        return None;
    }
    let steps = |len: usize, stride: isize, other: usize| {
        // The stride of an axis of one element says nothing, and may be negative.
        if len <= 1 {
            return Some(other);
        }
        usize::try_from(stride).ok().filter(|stride| stride % itemsize == 0).map(|stride| stride / itemsize)
    };
    let (row_stride, col_stride) = (steps(rows, by_row, cols)?, steps(cols, by_column, 1)?);
    Some(Layout { first: first(array), rows, cols, row_stride, col_stride })
}

/// A copy in C order, with its layout.
fn copied<'py>(
    array: &Bound<'py, PyUntypedArray>,
    argument: &str,
    itemsize: usize,
) -> PyResult<(Bound<'py, PyUntypedArray>, Layout)> {
    let copy = copy(array)?;
    let layout = layout(&copy, itemsize);
    Ok((copy, layout.ok_or_else(|| value_error(argument, "has strides of no matrix"))?))
}

fn itemsize(dtype: DType) -> usize {
    match dtype {
        DType::I8 | DType::U8 => 1,
        DType::F16 | DType::Bf16 => 2,
        DType::I32 | DType::F32 => 4,
        DType::F64 => 8,
    }
}

/// The type of an array, one of `allowed`.
fn checked_dtype(array: &Bound<'_, PyUntypedArray>, argument: &str, allowed: &[DType]) -> PyResult<DType> {
    let found = DType::of(array).filter(|dtype| allowed.contains(dtype));
    found.ok_or_else(|| {
        let need = DType::list(allowed);
        type_error(argument, format!("has elements of {}, must be of {need}", array.dtype()))
    })
}

fn check_two_dimensions(array: &Bound<'_, PyUntypedArray>, argument: &str) -> PyResult<()> {
    match array.ndim() {
        2 => Ok(()),
        got => Err(value_error(argument, format!("has {got} dimensions, must have 2"))),
    }
}

/// A copy in C order.
fn copy<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let copy = array.call_method1(intern!(array.py(), "copy"), ("C",))?;
    copy.cast_into::<PyUntypedArray>().map_err(PyErr::from)
}
