//! Arrays of any shape as the values of their memory.

use crate::arrays::{array_of, checked_dtype, copy, first, itemsize};
use crate::elements::{DType, Element};
use crate::errors::{raise, type_error, value_error};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use qgemm::{MatRef, RawParts};

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
        DType::F64 | DType::F16 | DType::Bf16 => return Err(type_error("out", "has no such type")),
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
    /// It is held so that its memory stays.
    _array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    first: *const u8,
    len: usize,
    shape: Vec<usize>,
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
        // Found once, as a `Layout` is.
        let (first, len, shape) = (first(&array).cast_const(), array.len(), array.shape().to_vec());
        Ok(Self { _array: array, dtype, first, len, shape })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
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
        let len = self.len * itemsize(self.dtype) / size_of::<T>();
        // SAFETY: the array is contiguous (`new`), so that its values are one after the other in one allocation, which lives
        // for as long as `self` holds the array; `len` is their number, or that of their bytes. They are of type T or may be
        // read as bytes (asserted). Outputs of calls with `Values` are new arrays, which share no memory with this one; that
        // other threads do not write is the promise of the Python program at the head of `arrays`.
        let parts = unsafe { RawParts::new(self.first.cast::<T>(), 1, len, len, 1) };
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
