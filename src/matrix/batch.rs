//! Batches of matrix views: matrices of one shape at equal distances in a slice.

use crate::error::Error;
use crate::matrix::view::{MatMut, MatRef, layout_error};
use qgemm_kernels::{BlockMut, LayoutError, batch_extent};
use std::iter::FusedIterator;

impl<'a, T> MatRef<'a, T> {
    /// `count` matrices of one shape (rows and columns) and the same strides (from row to row and from column to
    /// column), of which number b begins `b * distance` elements after the slice's first. All numbers are in elements.
    /// The matrices may share elements: a distance of 0 repeats one of them.
    ///
    /// ```
    /// use qgemm::MatRef;
    ///
    /// let data: Vec<i8> = (0..24).collect();
    /// // [batch, rows, cols] = [2, 3, 4]
    /// let batch: Vec<_> = MatRef::batch(&data, 2, 3 * 4, (3, 4), (4, 1))?.collect();
    /// assert_eq!(batch[1].row(0), Some(&[12, 13, 14, 15][..]));
    /// // The heads of [seq, heads, d] = [3, 2, 4], each a matrix of seq x d.
    /// let heads: Vec<_> = MatRef::batch(&data, 2, 4, (3, 4), (2 * 4, 1))?.collect();
    /// assert_eq!(heads[1].row(0), Some(&[4, 5, 6, 7][..]));
    /// assert_eq!(heads[1].row(2), Some(&[20, 21, 22, 23][..]));
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` ends before the last element of the last matrix, [`Error::TooLarge`] if that
    /// element's offset, or the number of all elements, does not fit a `usize`.
    pub fn batch(
        data: &'a [T],
        count: usize,
        distance: usize,
        shape: (usize, usize),
        strides: (usize, usize),
    ) -> Result<impl ExactSizeIterator<Item = Self> + FusedIterator, Error> {
        let refused = |misfit| layout_error(misfit, "batch", data.len(), shape, strides);
        let need = batch_extent(count, distance, shape, strides);
        let need = need.ok_or_else(|| refused(LayoutError::TooLarge))?;
        if need > data.len() {
            return Err(refused(LayoutError::TooShort(need)));
        }
        // Without matrices none has to fit; matrices without elements all lie at the slice's begin.
        let shape_of_first = if count == 0 { (0, 0) } else { shape };
        let first = MatRef::new(data, shape_of_first.0, shape_of_first.1, strides.0, strides.1)?;
        let distance = if need == 0 { 0 } else { distance };
        Ok((0..count).map(move |b| first.moved(b * distance)))
    }
}

impl<'a, T> MatMut<'a, T> {
    /// `count` matrices of one shape (rows and columns) and the same strides (from row to row and from column to
    /// column), of which number b begins `b * distance` elements after the slice's first. All numbers are in elements.
    /// The matrices share none, so that all of them may be outputs at once:
    ///
    /// ```
    /// use qgemm::{Gemm, MatMut, MatRef, Task, run_batch};
    ///
    /// let a = MatRef::row_major(&[1u8, 2], 1, 2)?;
    /// let b = [1i8, 2, 3, 4, 5, 6, 7, 8];
    /// let mut c = [0i32; 2 * 2];
    /// let columns = MatRef::batch(&b, 2, 4, (2, 2), (2, 1))?;
    /// let outputs = MatMut::batch(&mut c, 2, 2, (1, 2), (2, 1))?;
    /// let tasks = columns.zip(outputs).map(|(b, c)| Task::i32(Gemm::new(a, b), c));
    /// run_batch(&mut tasks.collect::<Result<Vec<_>, _>>()?)?;
    /// assert_eq!(c, [7, 10, 19, 22]);
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// The elements are known to be distinct, and the batch is accepted, if the stride of one of the three dimensions
    /// (matrices, rows, columns) is at least the extent of the other two, and the elements of these are distinct. That
    /// holds for every part of a dense array of three dimensions, in whatever order: [batch, M, N], [M, batch, N], and
    /// those with columns or rows transposed. A batch that interleaves in another way is refused, even if by chance its
    /// elements are distinct.
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` ends before the last element of the last matrix, [`Error::TooLarge`] if that
    /// element's offset, or the number of all elements, does not fit a `usize`, [`Error::BatchOverlap`] if the elements
    /// are not known to be distinct.
    pub fn batch(
        data: &'a mut [T],
        count: usize,
        distance: usize,
        shape: (usize, usize),
        strides: (usize, usize),
    ) -> Result<impl ExactSizeIterator<Item = Self> + FusedIterator, Error> {
        let got = data.len();
        let blocks = BlockMut::batch(data, count, distance, shape, strides);
        let blocks = blocks.map_err(|misfit| match misfit {
            LayoutError::Overlap => Error::BatchOverlap { count, distance, shape, strides },
            misfit => layout_error(misfit, "output batch", got, shape, strides),
        })?;
        Ok(blocks.map(|block| MatMut { block }))
    }
}
