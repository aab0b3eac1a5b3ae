//! Matrix views: a slice, a shape and two strides, checked once.
//!
//! Element (i, j) of a view lies `i * row_stride + j * col_stride` elements after the slice's first.
//! Row-major is (cols, 1), column-major (1, rows); transposing exchanges the two.

use crate::element::Int8Element;
use crate::error::Error;
use qgemm_kernels::{BlockMut, LayoutError, extent};
use std::ops::Range;

/// A read-only matrix over a slice. Elements may coincide (a stride of 0 repeats a row or column). Strides are not
/// negative: an axis that runs backwards has no view.
pub struct MatRef<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for MatRef<'_, T> {}

impl<T> std::fmt::Debug for MatRef<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        debug_shape(f, "MatRef", [self.rows, self.cols, self.row_stride, self.col_stride])
    }
}

/// Shape and strides, without the elements, of which there may be millions.
fn debug_shape(f: &mut std::fmt::Formatter<'_>, name: &str, values: [usize; 4]) -> std::fmt::Result {
    let mut fields = f.debug_struct(name);
    for (name, value) in ["rows", "cols", "row_stride", "col_stride"].iter().zip(values) {
        fields.field(name, &value);
    }
    fields.finish_non_exhaustive()
}

impl<'a, T> MatRef<'a, T> {
    /// A `rows` x `cols` view with the given strides, in elements.
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` ends before the last element, [`Error::TooLarge`] if its offset or the number of
    /// elements does not fit a `usize`.
    pub fn new(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        match extent(rows, cols, row_stride, col_stride) {
            None => Err(Error::TooLarge {
                argument: "matrix",
                shape: (rows, cols),
                strides: (row_stride, col_stride),
            }),
            Some(need) if need > data.len() => {
                Err(Error::TooShort { argument: "matrix", shape: (rows, cols), got: data.len(), need })
            }
            Some(_) => Ok(Self { data, rows, cols, row_stride, col_stride }),
        }
    }

    /// A row-major view (C order): rows one after the other.
    ///
    /// # Errors
    /// Those of [`MatRef::new`].
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// A column-major view (Fortran order): columns one after the other.
    ///
    /// # Errors
    /// Those of [`MatRef::new`].
    pub fn col_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, 1, rows)
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[inline]
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Elements from one column to the next.
    #[inline]
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// Exchanges rows and columns; the elements stay where they are.
    #[must_use]
    pub fn transpose(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// The given rows and columns as a view of their own.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if a range is descending or reaches past the matrix.
    pub fn submatrix(self, rows: Range<usize>, cols: Range<usize>) -> Result<Self, Error> {
        check_ranges(&rows, &cols, (self.rows, self.cols))?;
        Ok(self.part(rows, cols))
    }

    /// [`submatrix`](Self::submatrix) of ranges that are known to lie in the matrix.
    pub(crate) fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let empty = rows.is_empty() || cols.is_empty();
        let start = if empty { 0 } else { rows.start * self.row_stride + cols.start * self.col_stride };
        Self { data: &self.data[start..], rows: rows.len(), cols: cols.len(), ..self }
    }

    /// The matrix of this shape and these strides that begins `offset` elements later in the slice.
    ///
    /// # Panics
    /// If the slice ends before `offset`.
    pub(crate) fn moved(self, offset: usize) -> Self {
        Self { data: &self.data[offset..], ..self }
    }

    /// Element (i, j), if there is one.
    pub fn get(&self, i: usize, j: usize) -> Option<&'a T> {
        if i < self.rows && j < self.cols {
            self.data.get(i * self.row_stride + j * self.col_stride)
        } else {
            None
        }
    }

    /// Row `i` as a slice; `None` if there is no such row or its elements are not contiguous.
    #[inline]
    pub fn row(&self, i: usize) -> Option<&'a [T]> {
        if i >= self.rows || !self.rows_are_slices() {
            return None;
        }
        if self.cols == 0 {
            return Some(&[]);
        }
        self.data.get(i * self.row_stride..)?.get(..self.cols)
    }

    /// Copies the values of row `i` from column `first` on.
    ///
    /// # Panics
    /// If the row has fewer than `first + out.len()` values.
    pub(crate) fn copy_row(&self, i: usize, first: usize, out: &mut [T])
    where
        T: Copy,
    {
        for (j, value) in (first..).zip(out) {
            *value = *self.get(i, j).expect("the row was checked");
        }
    }

    /// Whether the elements of every row are contiguous. An A with such rows is read in place, if the kernel takes its
    /// type as it is.
    #[inline]
    pub(crate) fn rows_are_slices(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }

    /// The slice from element (i, 0) on; empty where there is none.
    #[inline]
    pub(crate) fn data_from_row(&self, i: usize) -> &'a [T] {
        if i < self.rows && self.cols > 0 { &self.data[i * self.row_stride..] } else { &[] }
    }
}

impl<'a, T: Int8Element> MatRef<'a, T> {
    /// The elements' bit patterns.
    #[inline]
    pub(crate) fn as_bits(self) -> MatRef<'a, u8> {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        MatRef { data: bytemuck::cast_slice(data), rows, cols, row_stride, col_stride }
    }
}

fn check_ranges(rows: &Range<usize>, cols: &Range<usize>, shape: (usize, usize)) -> Result<(), Error> {
    let inside = |r: &Range<usize>, len| r.start <= r.end && r.end <= len;
    if inside(rows, shape.0) && inside(cols, shape.1) {
        return Ok(());
    }
    Err(Error::OutOfBounds { rows: (rows.start, rows.end), cols: (cols.start, cols.end), shape })
}

/// The error for a matrix that its memory, a slice of `got` elements or an address, cannot hold.
#[cold]
#[inline(never)]
pub(crate) fn layout_error(
    misfit: LayoutError,
    argument: &'static str,
    got: usize,
    shape: (usize, usize),
    strides: (usize, usize),
) -> Error {
    match misfit {
        LayoutError::TooShort(need) => Error::TooShort { argument, shape, got, need },
        LayoutError::TooLarge => Error::TooLarge { argument, shape, strides },
        LayoutError::Overlap => Error::Overlap { shape, strides },
        LayoutError::Address { got, align } => Error::Address { argument, got, align },
    }
}

/// A mutable matrix over a slice; its elements are distinct.
pub struct MatMut<'a, T> {
    pub(crate) block: BlockMut<'a, T>,
}

impl<T> std::fmt::Debug for MatMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let block = &self.block;
        debug_shape(f, "MatMut", [block.rows(), block.cols(), block.row_stride(), block.col_stride()])
    }
}

impl<'a, T> MatMut<'a, T> {
    /// A `rows` x `cols` view with the given strides, in elements.
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` ends before the last element, [`Error::TooLarge`] if its offset or the number of
    /// elements does not fit a `usize`, [`Error::Overlap`] if two elements coincide.
    #[inline]
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        let got = data.len();
        match BlockMut::new(data, rows, cols, row_stride, col_stride) {
            Ok(block) => Ok(Self { block }),
            Err(misfit) => Err(layout_error(misfit, "output", got, (rows, cols), (row_stride, col_stride))),
        }
    }

    /// A row-major view (C order): rows one after the other.
    ///
    /// # Errors
    /// Those of [`MatMut::new`].
    pub fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// A column-major view (Fortran order): columns one after the other.
    ///
    /// # Errors
    /// Those of [`MatMut::new`].
    pub fn col_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::new(data, rows, cols, 1, rows)
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.block.rows()
    }

    /// Number of columns.
    #[inline]
    pub fn cols(&self) -> usize {
        self.block.cols()
    }

    /// Borrows the view for a shorter time.
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { block: self.block.reborrow() }
    }

    /// Exchanges rows and columns; the elements stay where they are.
    #[must_use]
    pub fn transpose(self) -> Self {
        Self { block: self.block.transposed() }
    }

    /// The given rows and columns as a view of their own.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if a range is descending or reaches past the matrix.
    pub fn submatrix(&mut self, rows: Range<usize>, cols: Range<usize>) -> Result<MatMut<'_, T>, Error> {
        check_ranges(&rows, &cols, (self.rows(), self.cols()))?;
        Ok(MatMut { block: self.block.part(rows.start, cols.start, rows.len(), cols.len()) })
    }

    /// Element (i, j), if there is one.
    pub fn get_mut(&mut self, i: usize, j: usize) -> Option<&mut T> {
        self.block.get_mut(i, j)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_not_there_have_no_data() {
        // The last row ends where its elements do.
        let apart = MatRef::new(&[0u8; 11], 3, 3, 4, 1).unwrap();
        let none = MatRef::new(&[0u8; 0], 3, 0, 4, 1).unwrap();
        let lengths = |a: MatRef<'_, u8>| [0, 1, 2, 3, 4].map(|i| a.data_from_row(i).len());
        assert_eq!(lengths(apart), [11, 7, 3, 0, 0]);
        assert_eq!(lengths(none), [0; 5]);
    }
}
