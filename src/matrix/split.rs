//! Matrix views cut between rows or columns.

use crate::error::Error;
use crate::matrix::view::{MatMut, MatRef};
use std::iter::FusedIterator;

impl<'a, T> MatRef<'a, T> {
    /// The rows before `row`, and those from it on.
    ///
    /// # Errors
    /// [`Error::Range`] if there are less than `row` rows.
    pub fn split_at_row(self, row: usize) -> Result<(Self, Self), Error> {
        check_cut("row", row, self.rows())?;
        Ok(between_rows(self, row))
    }

    /// The columns before `col`, and those from it on.
    ///
    /// # Errors
    /// [`Error::Range`] if there are less than `col` columns.
    pub fn split_at_col(self, col: usize) -> Result<(Self, Self), Error> {
        check_cut("col", col, self.cols())?;
        Ok(between_cols(self, col))
    }

    /// Matrices of `rows` consecutive rows each, from the top; the last one has fewer if they do not divide this
    /// matrix's.
    ///
    /// # Errors
    /// [`Error::Range`] if `rows` is 0.
    pub fn row_chunks(
        self,
        rows: usize,
    ) -> Result<impl ExactSizeIterator<Item = Self> + FusedIterator, Error> {
        Chunks::new("rows", rows, self.rows(), self, between_rows)
    }

    /// Matrices of `cols` consecutive columns each, from the left; the last one has fewer if they do not divide this
    /// matrix's.
    ///
    /// # Errors
    /// [`Error::Range`] if `cols` is 0.
    pub fn col_chunks(
        self,
        cols: usize,
    ) -> Result<impl ExactSizeIterator<Item = Self> + FusedIterator, Error> {
        Chunks::new("cols", cols, self.cols(), self, between_cols)
    }
}

impl<'a, T> MatMut<'a, T> {
    /// The rows before `row`, and those from it on. Both live as long as this view does.
    ///
    /// # Errors
    /// [`Error::Range`] if there are less than `row` rows.
    pub fn split_at_row(self, row: usize) -> Result<(Self, Self), Error> {
        check_cut("row", row, self.rows())?;
        Ok(between_rows_mut(self, row))
    }

    /// The columns before `col`, and those from it on. Both live as long as this view does, so that two products of a
    /// batch may write them side by side.
    ///
    /// ```
    /// use qgemm::{Gemm, MatMut, MatRef, Task, run_batch};
    ///
    /// let a = MatRef::row_major(&[1u8, 2, 3, 4], 2, 2)?;
    /// let same = MatRef::row_major(&[1i8, 0, 0, 1], 2, 2)?;
    /// let sum = MatRef::row_major(&[1i8, 1, 1, 1], 2, 2)?;
    /// let mut c = [0i32; 2 * 4];
    /// let (left, right) = MatMut::row_major(&mut c, 2, 4)?.split_at_col(2)?;
    /// run_batch(&mut [Task::i32(Gemm::new(a, same), left)?, Task::i32(Gemm::new(a, sum), right)?])?;
    /// assert_eq!(c, [1, 2, 3, 3, 3, 4, 7, 7]);
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Range`] if there are less than `col` columns.
    pub fn split_at_col(self, col: usize) -> Result<(Self, Self), Error> {
        check_cut("col", col, self.cols())?;
        Ok(between_cols_mut(self, col))
    }

    /// Matrices of `rows` consecutive rows each, from the top; the last one has fewer if they do not divide this
    /// matrix's. All live as long as this view does.
    ///
    /// # Errors
    /// [`Error::Range`] if `rows` is 0.
    pub fn row_chunks(
        self,
        rows: usize,
    ) -> Result<impl ExactSizeIterator<Item = Self> + FusedIterator, Error> {
        Chunks::new("rows", rows, self.rows(), self, between_rows_mut)
    }

    /// Matrices of `cols` consecutive columns each, from the left; the last one has fewer if they do not divide this
    /// matrix's. All live as long as this view does: the heads of attention, or the groups of a convolution, of which
    /// each writes its own columns of one output.
    ///
    /// ```
    /// use qgemm::{Gemm, MatMut, MatRef, Task, run_batch};
    ///
    /// // Two heads: each multiplies its weights (2 x 3) by its values, two columns of a 3 x 4 matrix.
    /// let weights = [1u8, 0, 0, 0, 1, 0, 1, 1, 1, 2, 0, 0]; // [heads, 2, 3]
    /// let values: Vec<i8> = (0..12).collect(); // [3, heads, 2]
    /// let mut outputs = [0i32; 2 * 4]; // [2, heads, 2]
    ///
    /// let weights = MatRef::batch(&weights, 2, 2 * 3, (2, 3), (3, 1))?;
    /// let values = MatRef::row_major(&values, 3, 4)?.col_chunks(2)?;
    /// let heads = MatMut::row_major(&mut outputs, 2, 4)?.col_chunks(2)?;
    /// let tasks = weights.zip(values).zip(heads).map(|((w, v), c)| Task::i32(Gemm::new(w, v), c));
    /// run_batch(&mut tasks.collect::<Result<Vec<_>, _>>()?)?;
    /// assert_eq!(outputs, [0, 1, 2 + 6 + 10, 3 + 7 + 11, 4, 5, 2 * 2, 2 * 3]);
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Range`] if `cols` is 0.
    pub fn col_chunks(
        self,
        cols: usize,
    ) -> Result<impl ExactSizeIterator<Item = Self> + FusedIterator, Error> {
        Chunks::new("cols", cols, self.cols(), self, between_cols_mut)
    }
}

fn between_rows<T>(matrix: MatRef<'_, T>, at: usize) -> (MatRef<'_, T>, MatRef<'_, T>) {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    (matrix.part(0..at, 0..cols), matrix.part(at..rows, 0..cols))
}

fn between_cols<T>(matrix: MatRef<'_, T>, at: usize) -> (MatRef<'_, T>, MatRef<'_, T>) {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    (matrix.part(0..rows, 0..at), matrix.part(0..rows, at..cols))
}

fn between_rows_mut<T>(matrix: MatMut<'_, T>, at: usize) -> (MatMut<'_, T>, MatMut<'_, T>) {
    let (top, bottom) = matrix.block.split_rows(at);
    (MatMut { block: top }, MatMut { block: bottom })
}

fn between_cols_mut<T>(matrix: MatMut<'_, T>, at: usize) -> (MatMut<'_, T>, MatMut<'_, T>) {
    let (left, right) = matrix.block.split_cols(at);
    (MatMut { block: left }, MatMut { block: right })
}

/// Consecutive parts of a matrix, of `len` rows or columns each but the last.
struct Chunks<M> {
    /// The part that is still to be cut.
    rest: Option<M>,
    /// Its rows or columns.
    left: usize,
    len: usize,
    /// Cuts a matrix before a row or column that it has, or after its last.
    cut: fn(M, usize) -> (M, M),
}

impl<M> Chunks<M> {
    /// # Errors
    /// [`Error::Range`], naming `argument`, if `len` is 0.
    fn new(
        argument: &'static str,
        len: usize,
        left: usize,
        matrix: M,
        cut: fn(M, usize) -> (M, M),
    ) -> Result<Self, Error> {
        match len {
            0 => Err(Error::Range { argument, got: 0, min: 1, max: i64::MAX }),
            _ => Ok(Self { rest: Some(matrix), left, len, cut }),
        }
    }
}

impl<M> Iterator for Chunks<M> {
    type Item = M;

    fn next(&mut self) -> Option<M> {
        if self.left == 0 {
            return None;
        }
        let at = self.len.min(self.left);
        let (chunk, rest) = (self.cut)(self.rest.take()?, at);
        (self.rest, self.left) = (Some(rest), self.left - at);
        Some(chunk)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let chunks = self.left.div_ceil(self.len);
        (chunks, Some(chunks))
    }
}

impl<M> ExactSizeIterator for Chunks<M> {}

impl<M> FusedIterator for Chunks<M> {}

/// # Errors
/// [`Error::Range`] if `at` is more than `len`.
pub(crate) fn check_cut(argument: &'static str, at: usize, len: usize) -> Result<(), Error> {
    let as_i64 = |value| i64::try_from(value).unwrap_or(i64::MAX);
    match at <= len {
        true => Ok(()),
        false => Err(Error::Range { argument, got: as_i64(at), min: 0, max: as_i64(len) }),
    }
}
