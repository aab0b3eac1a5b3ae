//! Inputs of two dimensions.

use crate::arrays::output::Outs;
use crate::arrays::{Layout, array_of, check_two_dimensions, checked_dtype, copied, itemsize, layout, span};
use crate::elements::{DType, Element};
use crate::errors::raise;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use qgemm::{MatRef, Operand, RawParts};

/// An input of two dimensions.
pub struct Matrix<'py> {
    /// It is held so that its memory stays.
    _array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    layout: Layout,
}

impl<'py> Matrix<'py> {
    /// The matrix that an argument gives.
    ///
    /// It is copied where strides are negative or no multiples of an element, where elements are not aligned, and where
    /// elements of an output of the caller's lie between its own.
    ///
    /// # Errors
    /// `TypeError` if it is no array of one of the types `allowed`, `ValueError` if it has not two dimensions or shares
    /// elements with such an output.
    pub fn new(
        object: &Bound<'py, PyAny>,
        argument: &str,
        allowed: &[DType],
        outs: Outs<'_, 'py>,
    ) -> PyResult<Self> {
        let array = array_of(object, argument)?;
        let dtype = checked_dtype(&array, argument, allowed)?;
        check_two_dimensions(&array, argument)?;
        let size = itemsize(dtype);
        let span = span(&array, size);
        let mut is_entangled = false;
        for out in outs.all.iter().filter(|out| out.reaches_into(&span)) {
            out.check_distinct(&array, argument)?;
            is_entangled = true;
        }
        let (array, layout) = match layout(&array, size) {
            Some(layout) if !is_entangled => (array, layout),
            _ => copied(&array, argument, size)?,
        };
        Ok(Self { _array: array, dtype, layout })
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.layout.rows, self.layout.cols)
    }

    /// Its elements.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn view<T: Element>(&self) -> PyResult<MatRef<'_, T>> {
        assert_eq!(T::DTYPE, self.dtype);
        let Layout { first, rows, cols, row_stride, col_stride } = self.layout;
        // SAFETY: the elements, and the bytes between them, are of the array's one allocation, which lives for as long as
        // `self`, that is, for the lifetime of the view, holds the array. They are of type T (asserted; every pattern of
        // bits is a T). This library writes only to outputs, which `new` keeps apart from the whole span of the matrix; that
        // other threads do not write is the promise of the Python program at the head of `arrays`.
        let parts = unsafe { RawParts::new(first.cast::<T>(), rows, cols, row_stride, col_stride) };
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
