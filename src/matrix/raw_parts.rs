//! Matrix views of memory that is no slice of the program's.

use crate::error::Error;
use crate::matrix::view::{MatMut, MatRef, layout_error};
use qgemm_kernels::{BlockMut, RawParts, RawPartsMut, raw_slice};

impl<'a, T> MatRef<'a, T> {
    /// The matrix at an address: of a foreign library, or a strided part of an array that its owner gives no slice of.
    /// [`RawParts::new`] is the unsafe step; this one checks what can be checked.
    ///
    /// ```
    /// use qgemm::{MatRef, RawParts};
    ///
    /// let numbers = [1u8, 2, 3, 4, 5, 6, 7, 8, 9];
    /// // Every second element, as of NumPy's x[::2, ::2] of a 3 x 3 array.
    /// // SAFETY: the elements and all between them are in `numbers`, which is borrowed for as long as `parts` is used.
    /// let parts = unsafe { RawParts::new(numbers.as_ptr(), 2, 2, 2 * 3, 2) };
    /// let view = MatRef::from_raw_parts(parts)?;
    /// assert_eq!((view.get(0, 1), view.get(1, 0)), (Some(&3), Some(&7)));
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the matrix reaches further than `isize::MAX` bytes or the number of its elements does not
    /// fit a `usize`, [`Error::Address`] if the address is null or not aligned. Without elements a matrix may have any
    /// address.
    pub fn from_raw_parts(parts: RawParts<'a, T>) -> Result<Self, Error> {
        let (shape, strides) = (parts.shape(), parts.strides());
        let data = raw_slice(&parts).map_err(|misfit| layout_error(misfit, "matrix", 0, shape, strides))?;
        Self::new(data, shape.0, shape.1, strides.0, strides.1)
    }
}

impl<'a, T> MatMut<'a, T> {
    /// The matrix at an address: of a foreign library, or a strided part of an array that its owner gives no slice of.
    /// [`RawPartsMut::new`] is the unsafe step; this one checks what can be checked.
    ///
    /// ```
    /// use qgemm::{Gemm, MatMut, MatRef, RawPartsMut};
    ///
    /// let mut sums = [0i32; 3 * 2];
    /// // SAFETY: the elements are in `sums`, which nothing else uses while `parts` or the view is in use.
    /// let parts = unsafe { RawPartsMut::new(sums.as_mut_ptr(), 3, 1, 2, 1) };
    /// let column = MatMut::from_raw_parts(parts)?;
    /// let (a, b) = (MatRef::row_major(&[1u8, 2, 3], 3, 1)?, MatRef::row_major(&[-2i8], 1, 1)?);
    /// Gemm::new(a, b).run_i32(column)?;
    /// assert_eq!(sums, [-2, 0, -4, 0, -6, 0]);
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the matrix reaches further than `isize::MAX` bytes or the number of its elements does not
    /// fit a `usize`, [`Error::Address`] if the address is null or not aligned, [`Error::Overlap`] if two elements
    /// coincide. Without elements a matrix may have any address.
    pub fn from_raw_parts(parts: RawPartsMut<'a, T>) -> Result<Self, Error> {
        let (shape, strides) = (parts.shape(), parts.strides());
        let block = BlockMut::from_raw_parts(parts);
        let block = block.map_err(|misfit| layout_error(misfit, "output", 0, shape, strides))?;
        Ok(Self { block })
    }
}
