//! A strided output matrix that splits into blocks which share no element.
//!
//! With it threads write to one C without `unsafe` in the driver: a block is made from a mutable slice, or from memory
//! that somebody promises to be like one. It is checked once, and from then on only split.

use crate::layout::{LayoutError, batch_extent, batch_is_distinct, extent, overlaps};
use crate::raw_parts::RawPartsMut;
use core::marker::PhantomData;

/// A mutable `rows` x `cols` matrix whose element (i, j) lies `i * row_stride + j * col_stride`
/// elements after the first. Its elements are distinct and belong to it alone.
pub struct BlockMut<'a, T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    life: PhantomData<&'a mut T>,
}

// SAFETY: a block borrows its elements exclusively, as `&mut [T]` does: `new` and `batch` take such a borrow,
// `from_raw_parts` a promise of one, and splitting gives each element to one of the two parts.
unsafe impl<T: Send> Send for BlockMut<'_, T> {}

impl<'a, T> BlockMut<'a, T> {
    /// The `rows` x `cols` matrix over `data`, if it fits and its elements are distinct.
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, LayoutError> {
        let need = extent(rows, cols, row_stride, col_stride).ok_or(LayoutError::TooLarge)?;
        if need > data.len() {
            return Err(LayoutError::TooShort(need));
        }
        if overlaps(rows, cols, row_stride, col_stride) {
            return Err(LayoutError::Overlap);
        }
        Ok(Self { data: data.as_mut_ptr(), rows, cols, row_stride, col_stride, life: PhantomData })
    }

    /// The matrix that somebody promises to be there, if it fits the address space, its first element has an aligned
    /// address that is not null, and its elements are distinct.
    ///
    /// # Errors
    /// [`LayoutError`], but not [`LayoutError::TooShort`].
    pub fn from_raw_parts(parts: RawPartsMut<'a, T>) -> Result<Self, LayoutError> {
        let data = parts.checked_first()?;
        let ((rows, cols), (row_stride, col_stride)) = (parts.shape(), parts.strides());
        if overlaps(rows, cols, row_stride, col_stride) {
            return Err(LayoutError::Overlap);
        }
        Ok(Self { data, rows, cols, row_stride, col_stride, life: PhantomData })
    }

    /// `count` matrices over `data`, of one shape (rows and columns) and the same strides (from row to row and from
    /// column to column), each of which begins `distance` elements after the one before it.
    ///
    /// # Errors
    /// [`LayoutError::Overlap`] if their elements are not known to be distinct: unless the stride of one dimension
    /// (matrices, rows, columns) is at least the extent of the other two, whose elements are distinct.
    /// [`LayoutError::TooShort`] and [`LayoutError::TooLarge`] where the last matrix does not fit.
    pub fn batch(
        data: &'a mut [T],
        count: usize,
        distance: usize,
        shape: (usize, usize),
        strides: (usize, usize),
    ) -> Result<Blocks<'a, T>, LayoutError> {
        let need = batch_extent(count, distance, shape, strides).ok_or(LayoutError::TooLarge)?;
        if need > data.len() {
            return Err(LayoutError::TooShort(need));
        }
        if !batch_is_distinct(count, distance, shape, strides) {
            return Err(LayoutError::Overlap);
        }
        let data = data.as_mut_ptr();
        Ok(Blocks { data, left: count, next: 0, distance, shape, strides, life: PhantomData })
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

    /// Whether every row is a slice, as kernels need it.
    #[inline]
    pub fn rows_are_slices(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }

    /// The address of the first element, from which only elements of the matrix may be reached.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.data
    }

    /// Borrows the block for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> BlockMut<'_, T> {
        BlockMut { life: PhantomData, ..*self }
    }

    /// Exchanges rows and columns.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Splits into the rows before `at` and those from `at` on.
    ///
    /// # Panics
    /// If `at` exceeds the number of rows.
    pub fn split_rows(self, at: usize) -> (Self, Self) {
        assert!(at <= self.rows, "split at row {at} of {}", self.rows);
        // The pointer of a part without elements stays where it is, since the offset could leave the slice.
        let offset = if at < self.rows && self.cols > 0 { at * self.row_stride } else { 0 };
        // SAFETY: the offset is that of an element of the matrix (row `at`, column 0), or 0.
        let below = unsafe { self.data.add(offset) };
        (Self { rows: at, ..self }, Self { data: below, rows: self.rows - at, ..self })
    }

    /// Splits into the columns before `at` and those from `at` on.
    ///
    /// # Panics
    /// If `at` exceeds the number of columns.
    pub fn split_cols(self, at: usize) -> (Self, Self) {
        let (left, right) = self.transposed().split_rows(at);
        (left.transposed(), right.transposed())
    }

    /// The `rows` x `cols` matrix whose upper left corner is (`row`, `col`).
    ///
    /// # Panics
    /// If it reaches past this one.
    #[inline]
    pub fn part(&mut self, row: usize, col: usize, rows: usize, cols: usize) -> BlockMut<'_, T> {
        let inside =
            row <= self.rows && rows <= self.rows - row && col <= self.cols && cols <= self.cols - col;
        assert!(inside, "{rows} x {cols} at ({row}, {col}) of {} x {}", self.rows, self.cols);
        // The pointer of a part without elements stays where it is, since the offset could leave the slice.
        let empty = rows == 0 || cols == 0;
        let offset = if empty { 0 } else { row * self.row_stride + col * self.col_stride };
        // SAFETY: the offset is that of an element of the matrix, or 0.
        let data = unsafe { self.data.add(offset) };
        BlockMut {
            data,
            rows,
            cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
            life: PhantomData,
        }
    }

    /// Row `i` as a slice; `None` if there is no such row or its elements are not contiguous.
    pub fn row_mut(&mut self, i: usize) -> Option<&mut [T]> {
        if i >= self.rows || !self.rows_are_slices() {
            return None;
        }
        if self.cols == 0 {
            return Some(&mut []);
        }
        // SAFETY: (i, 0) is an element of the matrix; its row is contiguous, so all of the slice are elements; the
        // block borrows all its elements exclusively.
        Some(unsafe { core::slice::from_raw_parts_mut(self.data.add(i * self.row_stride), self.cols) })
    }

    /// Element (i, j), if there is one.
    pub fn get_mut(&mut self, i: usize, j: usize) -> Option<&mut T> {
        if i >= self.rows || j >= self.cols {
            return None;
        }
        // SAFETY: (i, j) is an element of the matrix, which the constructor checked to be distinct from all others; the
        // block borrows it exclusively.
        Some(unsafe { &mut *self.data.add(i * self.row_stride + j * self.col_stride) })
    }
}

impl<'a, T: bytemuck::Pod> BlockMut<'a, T> {
    /// The bit patterns of a matrix of i8 or u8.
    pub fn into_bits(self) -> BlockMut<'a, u8> {
        const { assert!(size_of::<T>() == 1, "not a matrix of bytes") };
        let Self { data, rows, cols, row_stride, col_stride, .. } = self;
        BlockMut { data: data.cast(), rows, cols, row_stride, col_stride, life: PhantomData }
    }
}

/// Matrices of one shape at equal distances, from the first to the last. They share no element.
pub struct Blocks<'a, T> {
    /// The first element of the first matrix.
    data: *mut T,
    /// The number of matrices that are still to come.
    left: usize,
    /// The number of the next one.
    next: usize,
    /// Elements from one matrix to the next.
    distance: usize,
    shape: (usize, usize),
    strides: (usize, usize),
    life: PhantomData<&'a mut T>,
}

// SAFETY: it borrows the elements of all matrices that are still to come exclusively, as `&mut [T]` does: `batch` takes
// such a borrow, and each matrix is given away once.
unsafe impl<T: Send> Send for Blocks<'_, T> {}

impl<'a, T> Iterator for Blocks<'a, T> {
    type Item = BlockMut<'a, T>;

    fn next(&mut self) -> Option<BlockMut<'a, T>> {
        self.left = self.left.checked_sub(1)?;
        let ((rows, cols), (row_stride, col_stride)) = (self.shape, self.strides);
        // The pointer of a matrix without elements stays where it is, since the offset could leave the slice.
        let offset = if rows == 0 || cols == 0 { 0 } else { self.next * self.distance };
        self.next += 1;
        // SAFETY: the offset is that of the first element of one of the matrices, which `batch` checked to lie in the
        // slice, or 0. Their elements are distinct, as `batch` checked too, and no other block is made of this one's.
        let data = unsafe { self.data.add(offset) };
        Some(BlockMut { data, rows, cols, row_stride, col_stride, life: PhantomData })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Blocks<'_, T> {}

impl<T> core::iter::FusedIterator for Blocks<'_, T> {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn new_refuses_what_does_not_fit() {
        let mut data = [0u8; 10];
        assert!(BlockMut::new(&mut data, 2, 5, 5, 1).is_ok());
        assert_eq!(BlockMut::new(&mut data, 2, 5, 6, 1).err(), Some(LayoutError::TooShort(11)));
        assert_eq!(BlockMut::new(&mut data, 2, 5, 4, 1).err(), Some(LayoutError::Overlap));
        assert_eq!(BlockMut::new(&mut data, usize::MAX, 2, 1, 1).err(), Some(LayoutError::TooLarge));
        assert_eq!(BlockMut::new(&mut data, 3, 1, usize::MAX, 1).err(), Some(LayoutError::TooLarge));
        assert!(BlockMut::new(&mut data, 0, 5, usize::MAX, 1).is_ok());
    }

    /// The address of a part without elements is one of the matrix, however far its strides would lead.
    #[test]
    fn parts_without_elements_stay_where_they_are() {
        let mut data = [0u8; 12];
        let first = data.as_mut_ptr();
        let mut block = BlockMut::new(&mut data, 3, 4, 4, 1).unwrap();
        assert_eq!((block.row_stride(), block.col_stride()), (4, 1));
        assert_eq!(block.reborrow().transposed().col_stride(), 4);
        assert_eq!(block.reborrow().split_rows(3).1.as_mut_ptr(), first);
        assert_eq!(block.reborrow().split_cols(4).1.as_mut_ptr(), first);
        assert_eq!(block.part(3, 4, 0, 0).as_mut_ptr(), first);
        assert_eq!(block.reborrow().split_rows(2).1.as_mut_ptr(), first.wrapping_add(8));
        let mut none = BlockMut::new(&mut data[..0], 5, 0, usize::MAX, 1).unwrap();
        let empty = none.as_mut_ptr();
        assert_eq!(none.split_rows(4).1.as_mut_ptr(), empty);
    }

    #[test]
    fn parts_that_reach_beyond_are_refused() {
        let mut data = [0u8; 12];
        let mut block = BlockMut::new(&mut data, 3, 4, 4, 1).unwrap();
        let mut is_refused = |row, col, rows, cols| {
            let part = std::panic::AssertUnwindSafe(|| block.part(row, col, rows, cols).rows());
            std::panic::catch_unwind(part).is_err()
        };
        assert!(!is_refused(0, 0, 3, 4) && !is_refused(3, 4, 0, 0) && !is_refused(2, 3, 1, 1));
        for (at, len) in [(4, 0), (4, 1), (3, 1), (2, 2), (0, 4), (usize::MAX, 2), (1, usize::MAX)] {
            assert!(is_refused(at, 0, len, 1), "{len} rows at {at}");
            assert!(is_refused(0, at + usize::from(at < 5), 1, len), "{len} columns at {at}");
            assert!(
                is_refused(at, 4, len, 0) && is_refused(3, at + usize::from(at < 5), 0, len),
                "{at} {len}"
            );
        }
    }

    #[test]
    fn matrices_without_elements_are_distinct() {
        for shape in [(0, 3, 3), (3, 0, 3), (3, 3, 0)] {
            assert!(crate::layout::batch_is_distinct(shape.0, 1, (shape.1, shape.2), (1, 1)), "{shape:?}");
        }
        assert!(!crate::layout::batch_is_distinct(3, 1, (3, 3), (1, 1)));
    }

    #[test]
    fn parts_are_where_they_should_be() {
        let mut data: [usize; 60] = core::array::from_fn(|i| i);
        for (rs, cs) in [(10, 1), (1, 6), (10, 2)] {
            let mut block = BlockMut::new(&mut data, 5, 5, rs, cs).unwrap();
            let mut part = block.part(2, 1, 3, 2);
            assert_eq!((part.rows(), part.cols()), (3, 2));
            assert_eq!(part.get_mut(1, 1), Some(&mut (3 * rs + 2 * cs)));
            assert_eq!(part.get_mut(3, 0), None);
            assert_eq!(part.get_mut(0, 2), None);
            assert_eq!(part.row_mut(1).is_some(), cs == 1);
            assert_eq!(block.part(5, 5, 0, 0).rows(), 0);
        }
    }

    /// Writes to every element of every matrix: each is the matrix's own, and where it should be.
    #[test]
    fn matrices_of_a_batch_are_where_they_should_be_and_share_nothing() {
        for (count, distance, shape, strides) in [
            (3, 8, (2, 4), (4, 1)),
            (3, 4, (5, 4), (12, 1)),
            (4, 1, (2, 3), (12, 4)),
            (2, 30, (3, 2), (2, 3)),
            (3, 20, (2, 2), (1, 5)),
            (5, 0, (0, 3), (1, 1)),
            (5, usize::MAX, (3, 0), (1, 1)),
            (0, 7, (3, 4), (4, 1)),
        ] {
            let mut data = [0usize; 64];
            let mut blocks: std::vec::Vec<_> =
                BlockMut::batch(&mut data, count, distance, shape, strides).unwrap().collect();
            assert_eq!(blocks.len(), count);
            for (b, block) in blocks.iter_mut().enumerate() {
                assert_eq!((block.rows(), block.cols()), shape);
                for (i, j) in (0..shape.0).flat_map(|i| (0..shape.1).map(move |j| (i, j))) {
                    *block.get_mut(i, j).unwrap() += 1000 + b * distance + i * strides.0 + j * strides.1;
                }
            }
            let written = data.iter().enumerate().filter(|(at, value)| **value == 1000 + at).count();
            assert_eq!(written, count * shape.0 * shape.1, "{count} {distance} {shape:?} {strides:?}");
        }
        let mut data = [0u8; 20];
        let mut refused = |count, distance, shape, strides| {
            BlockMut::batch(&mut data, count, distance, shape, strides).err().unwrap()
        };
        assert_eq!(refused(3, 7, (2, 4), (4, 1)), LayoutError::TooShort(22));
        assert_eq!(refused(2, 7, (2, 4), (4, 1)), LayoutError::Overlap);
        assert_eq!(refused(2, 0, (1, 1), (0, 0)), LayoutError::Overlap);
        assert_eq!(refused(3, usize::MAX, (1, 1), (1, 1)), LayoutError::TooLarge);
        assert_eq!(refused(usize::MAX, 0, (1, 2), (0, 1)), LayoutError::TooLarge);
    }

    #[test]
    fn batches_say_how_many_matrices_are_left() {
        let mut data = [0u8; 20];
        let mut blocks = BlockMut::batch(&mut data, 3, 4, (2, 2), (2, 1)).unwrap();
        for left in [3, 2, 1] {
            assert_eq!(blocks.len(), left);
            assert!(blocks.next().is_some());
        }
        assert!(blocks.next().is_none() && blocks.next().is_none() && blocks.len() == 0);
    }

    #[test]
    fn raw_parts_are_checked() {
        let mut data = [0u32; 12];
        let first = data.as_mut_ptr();
        let make = |first: *mut u32, rows, cols, rs, cs| {
            // SAFETY: `data` lives longer than the block and is not used meanwhile. The layouts whose elements lie
            // outside it are those that are refused, as are the addresses that are null or misaligned.
            BlockMut::from_raw_parts(unsafe { RawPartsMut::new(first, rows, cols, rs, cs) })
        };
        let mut block = make(first, 3, 2, 4, 2).unwrap();
        *block.get_mut(2, 1).unwrap() = 7;
        assert_eq!(make(first, 3, 2, 1, 2).err(), Some(LayoutError::Overlap));
        assert_eq!(make(first, 2, 1, usize::MAX, 1).err(), Some(LayoutError::TooLarge));
        assert_eq!(make(first, 2, 1, isize::MAX as usize / 4, 1).err(), Some(LayoutError::TooLarge));
        let null = LayoutError::Address { got: 0, align: 4 };
        assert_eq!(make(core::ptr::null_mut(), 1, 1, 1, 1).err(), Some(null));
        let odd = first.wrapping_byte_add(2);
        assert_eq!(make(odd, 1, 1, 1, 1).err(), Some(LayoutError::Address { got: odd.addr(), align: 4 }));
        for (rows, cols) in [(0, 3), (3, 0)] {
            let mut empty = make(core::ptr::null_mut(), rows, cols, usize::MAX, usize::MAX).unwrap();
            assert_eq!((empty.rows(), empty.cols(), empty.get_mut(0, 0)), (rows, cols, None));
            let (top, bottom) = empty.split_rows(rows);
            assert_eq!((top.rows(), bottom.rows()), (rows, 0));
        }
        assert_eq!(data[10], 7);
    }
}
