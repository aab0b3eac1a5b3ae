//! Views of arrays of the crate ndarray, and results as such arrays.

use crate::buffer;
use crate::error::Error;
use crate::matrix::view::{MatMut, MatRef};
use ndarray::{Array2, ArrayBase, ArrayView2, ArrayViewMut2, Axis, Data, DataMut, Ix2, RawData};

/// The strides of an array.
///
/// # Errors
/// [`Error::Range`] if an axis runs backwards.
fn strides<S: RawData>(array: &ArrayBase<S, Ix2>) -> Result<(usize, usize), Error> {
    let stride = |axis: usize| match (array.shape()[axis], array.strides()[axis]) {
        // There is no next element.
        (0 | 1, _) => Ok(1),
        (_, stride) => usize::try_from(stride).map_err(|_| wrong_stride(array)),
    };
    Ok((stride(0)?, stride(1)?))
}

/// The error for an array whose elements, from the first to the last, are no slice.
fn wrong_stride<S: RawData>(array: &ArrayBase<S, Ix2>) -> Error {
    let (rows, cols) = array.dim();
    let (argument, got, need) = match (array.strides()[0], array.strides()[1]) {
        (row, _) if row < 0 => ("row stride", row, row.unsigned_abs()),
        (row, 0) => ("row stride", row, 1),
        (row, 1) => ("row stride", row, cols),
        (1, col) => ("column stride", col, rows),
        (_, col) => ("column stride", col, 1),
    };
    Error::Range { argument, got: got as i64, min: need as i64, max: need as i64 }
}

/// An array in place, row-major, column-major or transposed. Axes may be broadcast.
///
/// A view with gaps between its elements, as a slice of some columns has them, is refused: others may write to what lies in the
/// gaps. [`MatRef::submatrix`] makes it of the whole array, `to_owned` copies it, and [`RawParts`](crate::RawParts) takes it
/// with the promise that nobody writes there.
impl<'a, T> TryFrom<ArrayView2<'a, T>> for MatRef<'a, T> {
    type Error = Error;

    /// # Errors
    /// [`Error::Range`], naming the stride, if there are gaps between elements, or an axis runs backwards.
    fn try_from(array: ArrayView2<'a, T>) -> Result<Self, Error> {
        let ((rows, cols), strides) = (array.dim(), strides(&array)?);
        if array.is_empty() {
            return Self::row_major(&[], rows, cols);
        }
        let mut first = array;
        for axis in [Axis(0), Axis(1)] {
            if first.len_of(axis) > 1 && first.stride_of(axis) == 0 {
                first.collapse_axis(axis, 0);
            }
        }
        let data = first.to_slice_memory_order().ok_or_else(|| wrong_stride(&array))?;
        Self::new(data, rows, cols, strides.0, strides.1)
    }
}

impl<'a, T, S: Data<Elem = T>> TryFrom<&'a ArrayBase<S, Ix2>> for MatRef<'a, T> {
    type Error = Error;

    /// # Errors
    /// Those of its view.
    fn try_from(array: &'a ArrayBase<S, Ix2>) -> Result<Self, Error> {
        array.view().try_into()
    }
}

/// An array in place, to be written to: row-major, column-major or transposed.
impl<'a, T> TryFrom<ArrayViewMut2<'a, T>> for MatMut<'a, T> {
    type Error = Error;

    /// # Errors
    /// [`Error::Range`], naming the stride, if there are gaps between elements (see [`MatMut::submatrix`]), or an axis runs
    /// backwards.
    fn try_from(array: ArrayViewMut2<'a, T>) -> Result<Self, Error> {
        let ((rows, cols), strides) = (array.dim(), strides(&array)?);
        if array.is_empty() {
            return Self::row_major(&mut [], rows, cols);
        }
        let error = wrong_stride(&array);
        let data = array.into_slice_memory_order().ok_or(error)?;
        Self::new(data, rows, cols, strides.0, strides.1)
    }
}

impl<'a, T, S: DataMut<Elem = T>> TryFrom<&'a mut ArrayBase<S, Ix2>> for MatMut<'a, T> {
    type Error = Error;

    /// # Errors
    /// Those of its view.
    fn try_from(array: &'a mut ArrayBase<S, Ix2>) -> Result<Self, Error> {
        array.view_mut().try_into()
    }
}

/// A new row-major array of this shape that `fill` fills.
///
/// # Errors
/// [`Error::Memory`] if there is not enough, and those of `fill`.
pub(crate) fn filled<T: Copy + Default>(
    (rows, cols): (usize, usize),
    fill: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>,
) -> Result<Array2<T>, Error> {
    let mut values = Vec::new();
    buffer::refill(&mut values, rows.saturating_mul(cols), T::default(), "output")?;
    fill(MatMut::row_major(&mut values, rows, cols)?)?;
    // Arrays have a limit of their own where they hold nothing: 2^63 rows of no values, say.
    let too_large = |_| Error::TooLarge { argument: "output", shape: (rows, cols), strides: (cols, 1) };
    Array2::from_shape_vec((rows, cols), values).map_err(too_large)
}
