//! A strided output matrix that splits into blocks which share no element.
//!
//! With it threads write to one C without `unsafe` in the driver: a block is made from a mutable slice, which is
//! checked once, and from then on only split.

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

// SAFETY: a block borrows its elements exclusively, as `&mut [T]` does: `new` takes such a borrow, and splitting gives
// each element to one of the two parts.
unsafe impl<T: Send> Send for BlockMut<'_, T> {}

/// The reason why a slice cannot hold a strided matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The last element lies past the end of the slice, which needs this length.
    TooShort(usize),
    /// The needed length does not fit a `usize`.
    TooLarge,
    /// Two elements of the matrix are the same element of the slice.
    Overlap,
}

/// The least length of a slice that holds such a matrix; `None` where that overflows.
pub fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    rows.checked_mul(cols)?;
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let down = (rows - 1).checked_mul(row_stride)?;
    let right = (cols - 1).checked_mul(col_stride)?;
    down.checked_add(right)?.checked_add(1)
}

/// Whether two elements of a matrix coincide.
///
/// (i, j) and (i', j') coincide if (i - i')·rs = (j' - j)·cs. With g = gcd(rs, cs) the smallest such step is cs/g rows
/// against rs/g columns, so there are two such elements exactly if the matrix has more rows and more columns than that.
fn overlaps(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    if rows == 0 || cols == 0 || (col_stride == 1 && row_stride >= cols) {
        return false;
    }
    let (mut g, mut rest) = (row_stride, col_stride);
    while rest != 0 {
        (g, rest) = (rest, g % rest);
    }
    match (row_stride.checked_div(g), col_stride.checked_div(g)) {
        (Some(cols_apart), Some(rows_apart)) => rows_apart < rows && cols_apart < cols,
        _ => rows > 1 || cols > 1,
    }
}

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
        // SAFETY: (i, 0) is an element of the matrix; its row is contiguous and lies in the slice that `new` checked;
        // the block borrows all its elements exclusively.
        Some(unsafe { core::slice::from_raw_parts_mut(self.data.add(i * self.row_stride), self.cols) })
    }

    /// Element (i, j), if there is one.
    pub fn get_mut(&mut self, i: usize, j: usize) -> Option<&mut T> {
        if i >= self.rows || j >= self.cols {
            return None;
        }
        // SAFETY: (i, j) is an element of the matrix, which `new` checked to lie in the slice and to be distinct from
        // all others.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_exact() {
        for rows in 0..4 {
            for cols in 0..5 {
                for rs in 0..8 {
                    for cs in 0..8 {
                        let mut seen = [0u8; 64];
                        for i in 0..rows {
                            for j in 0..cols {
                                seen[i * rs + j * cs] += 1;
                            }
                        }
                        let want = seen.iter().any(|&s| s > 1);
                        assert_eq!(overlaps(rows, cols, rs, cs), want, "{rows}x{cols} {rs},{cs}");
                    }
                }
            }
        }
    }

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
}
