//! Outputs: new arrays, or those that the caller gives.

use crate::arrays::values::zeros;
use crate::arrays::{
    Layout, array_of, check_two_dimensions, checked_dtype, copied, fields, first, itemsize, layout, span,
};
use crate::elements::{DType, Element};
use crate::errors::{raise, value_error};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use qgemm::{MatMut, RawPartsMut};
use std::ops::Range;

/// The array that the caller gave for the output.
#[derive(Clone)]
pub struct CallersOut<'py> {
    /// The object, perhaps a tensor of another library, which is returned.
    object: Bound<'py, PyAny>,
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    /// `None` if the library has no view for its strides.
    layout: Option<Layout>,
    /// The addresses of its bytes.
    span: Range<usize>,
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
        let size = itemsize(dtype);
        let (layout, span) = (layout(&array, size), span(&array, size));
        Ok(Self { object: object.clone(), array, dtype, layout, span })
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
    pub(super) fn reaches_into(&self, other: &Range<usize>) -> bool {
        let own = &self.span;
        !own.is_empty() && !other.is_empty() && own.start < other.end && other.start < own.end
    }

    /// # Errors
    /// `ValueError` if it shares elements with another output, or if that is too hard to find out.
    pub fn check_apart(&self, other: &Self) -> PyResult<()> {
        if self.reaches_into(&other.span) { self.check_distinct(&other.array, "another out") } else { Ok(()) }
    }

    /// # Errors
    /// `ValueError` if an element lies in an element of the input, or if that is too hard to find out.
    pub(super) fn check_distinct(&self, input: &Bound<'py, PyUntypedArray>, argument: &str) -> PyResult<()> {
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

/// The caller's outputs that are written while an input is read.
#[derive(Clone, Copy)]
pub struct Outs<'a, 'py> {
    /// That of the product itself.
    pub own: Option<&'a CallersOut<'py>>,
    /// Those of all products of the call.
    pub all: &'a [CallersOut<'py>],
}

impl<'a, 'py> Outs<'a, 'py> {
    pub const NONE: Self = Self { own: None, all: &[] };

    /// That of a call of one product.
    pub fn of(own: &'a Option<CallersOut<'py>>) -> Self {
        Self { own: own.as_ref(), all: own.as_slice() }
    }
}

/// The output of a call: a new array, or the caller's.
pub struct Output<'py> {
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    layout: Layout,
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
            let layout = Layout { first: first(&array), rows, cols, row_stride: cols, col_stride: 1 };
            return Ok(Self { array, dtype, layout, callers: None, is_copy: false });
        };
        let dtype = out.dtype;
        let (array, layout, is_copy) = match out.layout {
            Some(layout) => (out.array.clone(), layout, false),
            None => {
                let (array, layout) = copied(&out.array, "out", itemsize(dtype))?;
                (array, layout, true)
            }
        };
        Ok(Self { array, dtype, layout, callers: Some(out), is_copy })
    }

    /// Its elements.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn view<T: Element>(&mut self) -> PyResult<MatMut<'_, T>> {
        assert_eq!(T::DTYPE, self.dtype);
        let Layout { first, rows, cols, row_stride, col_stride } = self.layout;
        // SAFETY: the elements are of the array's one allocation, which lives for as long as `self`, which the view borrows.
        // They are writable (checked, or the array is new), of type T (asserted) and initialized: new arrays are filled with
        // zeros. No other view reaches them: `self` is borrowed mutably, and `Matrix::new` keeps inputs apart from the
        // caller's array; a new array is known to nobody else. That other threads do not use the caller's meanwhile is the
        // promise of the Python program at the head of `arrays`.
        let parts = unsafe { RawPartsMut::new(first.cast::<T>(), rows, cols, row_stride, col_stride) };
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
