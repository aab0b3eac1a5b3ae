//! Arrays of Python as matrices of the library: held while a call uses them, copied only where the library has no view.
//!
//! The library reads and writes slices, which nobody else may write meanwhile. NumPy's arrays have no such owner, and a
//! call lets other Python threads run. So the promise that the unsafe blocks of this file pass on is in part that of the
//! Python program, as for every function of NumPy that lets other threads run: while a call runs, no other thread writes
//! to its arrays, reads or writes its `out`, or takes their memory away (`ndarray.resize` with `refcheck=False`). The
//! README says this to users. The rest is checked here: the memory is that of an array that the call holds, its elements
//! have the type of the view, and the output shares no memory with an input.

use crate::elements::{DType, Element};
use crate::errors::{raise, type_error, value_error};
use numpy::npyffi::PyArrayObject_fields;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use qgemm::{MatMut, MatRef, Operand, RawParts, RawPartsMut};
use std::ops::Range;

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
pub fn first(array: &Bound<'_, PyUntypedArray>) -> *mut u8 {
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

/// Rows, columns and strides in elements, if a view of the library can have them.
fn layout(array: &Bound<'_, PyUntypedArray>, itemsize: usize) -> Option<[usize; 4]> {
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
    Some([rows, cols, steps(rows, by_row, cols)?, steps(cols, by_column, 1)?])
}

fn itemsize(dtype: DType) -> usize {
    match dtype {
        DType::I8 | DType::U8 => 1,
        DType::F16 | DType::Bf16 => 2,
        DType::I32 | DType::F32 => 4,
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

/// An input of two dimensions.
pub struct Matrix<'py> {
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    layout: [usize; 4],
}

impl<'py> Matrix<'py> {
    /// The matrix that an argument gives. `out` is the caller's output, if there is one.
    ///
    /// It is copied where strides are negative or no multiples of an element, where elements are not aligned, and where
    /// elements of `out` lie between its own.
    ///
    /// # Errors
    /// `TypeError` if it is no array of one of the types `allowed`, `ValueError` if it has not two dimensions or shares
    /// elements with `out`.
    pub fn new(
        object: &Bound<'py, PyAny>,
        argument: &str,
        allowed: &[DType],
        out: Option<&CallersOut<'py>>,
    ) -> PyResult<Self> {
        let mut array = array_of(object, argument)?;
        let dtype = checked_dtype(&array, argument, allowed)?;
        check_two_dimensions(&array, argument)?;
        let size = itemsize(dtype);
        if let Some(out) = out
            && out.reaches_into(&span(&array, size))
        {
            out.check_distinct(&array, argument)?;
            array = copy(&array)?;
        }
        let layout = match layout(&array, size) {
            Some(layout) => layout,
            None => {
                array = copy(&array)?;
                layout(&array, size).ok_or_else(|| value_error(argument, "has strides of no matrix"))?
            }
        };
        Ok(Self { array, dtype, layout })
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.layout[0], self.layout[1])
    }

    /// Its elements.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn view<T: Element>(&self) -> PyResult<MatRef<'_, T>> {
        assert_eq!(T::DTYPE, self.dtype);
        let [rows, cols, by_row, by_column] = self.layout;
        // SAFETY: the elements, and the bytes between them, are of the array's one allocation, which lives for as long as
        // `self`, that is, for the lifetime of the view, holds the array. They are of type T (asserted; every pattern of
        // bits is a T). This library writes only to outputs, which `new` keeps apart from the whole span of the matrix; that
        // other threads do not write is the promise of the Python program at the head of this file.
        let parts = unsafe { RawParts::new(first(&self.array).cast::<T>(), rows, cols, by_row, by_column) };
        MatRef::from_raw_parts(parts).map_err(raise)
    }

    /// Its elements, of 8 bits.
    pub fn operand(&self) -> PyResult<Operand<'_>> {
        Ok(match self.dtype {
            DType::I8 => self.view::<i8>()?.into(),
            _ => self.view::<u8>()?.into(),
        })
    }
}

/// The array that the caller gave for the output.
pub struct CallersOut<'py> {
    /// The object, perhaps a tensor of another library, which is returned.
    object: Bound<'py, PyAny>,
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
}

impl<'py> CallersOut<'py> {
    /// # Errors
    /// `TypeError` if it is no array of one of the types `allowed`, `ValueError` if it is not writable or has not two
    /// dimensions.
    pub fn new(object: &Bound<'py, PyAny>, allowed: &[DType]) -> PyResult<Self> {
        let array = array_of(object, "out")?;
        let dtype = checked_dtype(&array, "out", allowed)?;
        check_two_dimensions(&array, "out")?;
        if fields(&array).flags & numpy::npyffi::NPY_ARRAY_WRITEABLE == 0 {
            return Err(value_error("out", "is read-only, must be writable"));
        }
        Ok(Self { object: object.clone(), array, dtype })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether an object is this output: the same one, or a view of the same elements.
    pub fn is_same(&self, object: &Bound<'py, PyAny>) -> bool {
        self.object.is(object)
            || object.cast::<PyUntypedArray>().is_ok_and(|other| {
                first(other) == first(&self.array)
                    && other.shape() == self.array.shape()
                    && other.strides() == self.array.strides()
                    && DType::of(other) == Some(self.dtype)
            })
    }

    /// Whether elements of this, or bytes between them, are among the bytes of another span.
    fn reaches_into(&self, other: &Range<usize>) -> bool {
        let own = span(&self.array, itemsize(self.dtype));
        !own.is_empty() && !other.is_empty() && own.start < other.end && other.start < own.end
    }

    /// # Errors
    /// `ValueError` if an element lies in an element of the input, or if that is too hard to find out.
    fn check_distinct(&self, input: &Bound<'py, PyUntypedArray>, argument: &str) -> PyResult<()> {
        /// Far more than rows and columns of usual arrays take.
        const MAX_WORK: usize = 1 << 20;
        let py = input.py();
        let shares = py.import("numpy")?.call_method1("shares_memory", (&self.array, input, MAX_WORK));
        if shares.and_then(|shares| shares.extract()).unwrap_or(true) {
            return Err(value_error("out", format!("overlaps {argument} in memory, must not")));
        }
        Ok(())
    }
}

/// The output of a call: a new array, or the caller's.
pub struct Output<'py> {
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    layout: [usize; 4],
    callers: Option<CallersOut<'py>>,
    /// Whether the array is a copy of the caller's, whose strides the library has no view for.
    is_copy: bool,
}

impl<'py> Output<'py> {
    /// # Errors
    /// `MemoryError` if there is not enough.
    pub fn new(
        py: Python<'py>,
        callers: Option<CallersOut<'py>>,
        dtype: DType,
        (rows, cols): (usize, usize),
    ) -> PyResult<Self> {
        let Some(out) = callers else {
            let array = zeros(py, dtype, &[rows, cols])?;
            return Ok(Self { array, dtype, layout: [rows, cols, cols, 1], callers: None, is_copy: false });
        };
        let (dtype, size) = (out.dtype, itemsize(out.dtype));
        let (array, found, is_copy) = match layout(&out.array, size) {
            Some(found) => (out.array.clone(), found, false),
            None => {
                let array = copy(&out.array)?;
                let found = layout(&array, size);
                (array, found.ok_or_else(|| value_error("out", "has strides of no matrix"))?, true)
            }
        };
        Ok(Self { array, dtype, layout: found, callers: Some(out), is_copy })
    }

    /// Its elements.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn view<T: Element>(&mut self) -> PyResult<MatMut<'_, T>> {
        assert_eq!(T::DTYPE, self.dtype);
        let [rows, cols, by_row, by_column] = self.layout;
        // SAFETY: the elements are of the array's one allocation, which lives for as long as `self`, which the view borrows.
        // They are writable (checked, or the array is new), of type T (asserted) and initialized: new arrays are filled with
        // zeros. No other view reaches them: `self` is borrowed mutably, and `Matrix::new` keeps inputs apart from the
        // caller's array; a new array is known to nobody else. That other threads do not use the caller's meanwhile is the
        // promise of the Python program at the head of this file.
        let parts =
            unsafe { RawPartsMut::new(first(&self.array).cast::<T>(), rows, cols, by_row, by_column) };
        MatMut::from_raw_parts(parts).map_err(raise)
    }

    /// The object to be returned, once the output is computed.
    pub fn finish(self) -> PyResult<Bound<'py, PyAny>> {
        let Some(out) = self.callers else { return Ok(self.array.into_any()) };
        if self.is_copy {
            let numpy = self.array.py().import("numpy")?;
            numpy.call_method1("copyto", (&out.array, &self.array))?;
        }
        Ok(out.object)
    }
}

/// A new array in C order, filled with zeros.
///
/// # Errors
/// `MemoryError` if there is not enough.
pub fn zeros<'py>(py: Python<'py>, dtype: DType, shape: &[usize]) -> PyResult<Bound<'py, PyUntypedArray>> {
    let descr = match dtype {
        DType::I8 => numpy::dtype::<i8>(py),
        DType::U8 => numpy::dtype::<u8>(py),
        DType::I32 => numpy::dtype::<i32>(py),
        DType::F32 => numpy::dtype::<f32>(py),
        DType::F16 | DType::Bf16 => return Err(type_error("out", "has no such type")),
    };
    let mut dims = Vec::with_capacity(shape.len());
    for &len in shape {
        dims.push(isize::try_from(len).map_err(|_| value_error("out", "has too many elements"))?);
    }
    // SAFETY: `dims` holds as many lengths as the call says, and the type is that of a number; the call takes the reference
    // to it. What it returns is a new reference, or null with an exception set.
    let array = unsafe {
        use numpy::PyArrayDescrMethods;
        let made = numpy::PY_ARRAY_API.PyArray_Zeros(
            py,
            dims.len() as _,
            dims.as_mut_ptr(),
            descr.into_dtype_ptr(),
            0,
        );
        Bound::from_owned_ptr_or_err(py, made)?
    };
    array.cast_into::<PyUntypedArray>().map_err(PyErr::from)
}

/// An array of any shape as the values of its memory in C order, copied if they do not lie so.
pub struct Values<'py> {
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
}

impl<'py> Values<'py> {
    /// # Errors
    /// `TypeError` if it is no array of one of the types `allowed`.
    pub fn new(object: &Bound<'py, PyAny>, argument: &str, allowed: &[DType]) -> PyResult<Self> {
        let mut array = array_of(object, argument)?;
        let dtype = checked_dtype(&array, argument, allowed)?;
        if !array.is_c_contiguous() || !array.is_aligned() {
            array = copy(&array)?;
        }
        Ok(Self { array, dtype })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        self.array.shape()
    }

    /// The values, one after the other.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn values<T: Element>(&self) -> PyResult<&[T]> {
        assert_eq!(T::DTYPE, self.dtype);
        self.memory()
    }

    /// The bytes of the values.
    pub fn bytes(&self) -> PyResult<&[u8]> {
        self.memory()
    }

    /// The memory of the array.
    ///
    /// # Panics
    /// If T is neither the type of the values nor `u8`.
    fn memory<T: Element>(&self) -> PyResult<&[T]> {
        assert!(T::DTYPE == self.dtype || T::DTYPE == DType::U8);
        let len = self.array.len() * itemsize(self.dtype) / size_of::<T>();
        // SAFETY: the array is contiguous (`new`), so that its values are one after the other in one allocation, which lives
        // for as long as `self` holds the array; `len` is their number, or that of their bytes. They are of type T or may be
        // read as bytes (asserted). Outputs of calls with `Values` are new arrays, which share no memory with this one; that
        // other threads do not write is the promise of the Python program at the head of this file.
        let parts = unsafe { RawParts::new(first(&self.array).cast::<T>(), 1, len, len, 1) };
        let row = MatRef::from_raw_parts(parts).map_err(raise)?.row(0);
        Ok(row.unwrap_or(&[]))
    }
}

/// An array that a call makes and fills, of any shape.
pub struct NewArray<'py> {
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
}

impl<'py> NewArray<'py> {
    /// # Errors
    /// `MemoryError` if there is not enough.
    pub fn new(py: Python<'py>, dtype: DType, shape: &[usize]) -> PyResult<Self> {
        Ok(Self { array: zeros(py, dtype, shape)?, dtype })
    }

    /// The values, in C order.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn values_mut<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(T::DTYPE, self.dtype);
        // SAFETY: `zeros` made the array, in C order, aligned, of this type (asserted) and filled with zeros. No one else
        // knows it before `finish`, and the borrow of `self` keeps other views away.
        unsafe { std::slice::from_raw_parts_mut(first(&self.array).cast::<T>(), self.array.len()) }
    }

    /// The array, once it is filled.
    pub fn finish(self) -> Bound<'py, PyAny> {
        self.array.into_any()
    }
}
