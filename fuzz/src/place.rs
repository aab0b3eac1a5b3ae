//! Where a matrix lies in memory: its strides, and what is around it.

use crate::input::Input;
use qgemm::{Error, MatMut, MatRef};

/// The place of a matrix in a buffer of its own: some rows and columns of an outer matrix.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The rows of the matrix.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    strides: (usize, usize),
    outer: (usize, usize),
    /// The row and the column of the outer matrix that the matrix begins at.
    first: (usize, usize),
    /// The elements of the buffer, mostly just those that the outer matrix needs, so that an access beyond it is noticed.
    pub len: usize,
}

/// Whether elements of a matrix may coincide.
#[derive(Clone, Copy, PartialEq)]
pub enum Elements {
    /// They may: the matrix is only read.
    Read,
    /// They are distinct.
    Written,
}

impl Place {
    /// A row-major matrix and nothing else.
    pub fn row_major(rows: usize, cols: usize) -> Self {
        Self { rows, cols, strides: (cols, 1), outer: (rows, cols), first: (0, 0), len: rows * cols }
    }

    /// Any place of a matrix.
    pub fn read(input: &mut Input<'_>, (rows, cols): (usize, usize), elements: Elements) -> Self {
        let gap = |input: &mut Input<'_>| 1 + usize::from(input.byte() % 4);
        let mut place = Self::row_major(rows, cols);
        match input.byte() % 10 {
            0..=2 => (),
            3 => place.strides = (1, rows),
            4 => place.strides = (cols + gap(input), 1),
            5 => place.strides = (1, rows + gap(input)),
            6 => {
                let apart = 1 + gap(input);
                place.strides = (cols * apart + gap(input), apart);
            }
            7 => {
                let apart = 1 + gap(input);
                place.strides = (apart, rows * apart + gap(input));
            }
            8 if elements == Elements::Read => {
                place.strides = input.one_of(&[(0, 1), (1, 0), (0, 0), (1, 1)]);
            }
            _ => {
                place.first = (gap(input), gap(input));
                place.outer = (rows + place.first.0 + gap(input), cols + place.first.1 + gap(input));
                let (outer_rows, outer_cols) = place.outer;
                place.strides = if input.flag() { (1, outer_rows) } else { (outer_cols, 1) };
            }
        }
        let (outer_rows, outer_cols) = place.outer;
        let need = match (outer_rows.checked_sub(1), outer_cols.checked_sub(1)) {
            (Some(last_row), Some(last_col)) => last_row * place.strides.0 + last_col * place.strides.1 + 1,
            _ => 0,
        };
        place.len = match input.byte() {
            // Too short.
            255 => need.saturating_sub(1),
            240..=254 => need + gap(input),
            _ => need,
        };
        place
    }

    /// The matrix in a buffer.
    ///
    /// # Errors
    /// Those of [`MatRef::new`].
    pub fn view<'c, T>(&self, buffer: &'c [T]) -> Result<MatRef<'c, T>, Error> {
        let ((rows, cols), (row, col)) = (self.outer, self.first);
        let outer = MatRef::new(buffer, rows, cols, self.strides.0, self.strides.1)?;
        outer.submatrix(row..row + self.rows, col..col + self.cols)
    }

    /// The matrix in a buffer, to be written.
    ///
    /// # Errors
    /// Those of [`MatMut::new`].
    pub fn view_mut<'c, T>(&self, buffer: &'c mut [T]) -> Result<MatMut<'c, T>, Error> {
        let ((rows, cols), (row, col)) = (self.outer, self.first);
        let outer = MatMut::new(buffer, rows, cols, self.strides.0, self.strides.1)?;
        let inner = outer.split_at_row(row)?.1.split_at_row(self.rows)?.0;
        Ok(inner.split_at_col(col)?.1.split_at_col(self.cols)?.0)
    }
}
