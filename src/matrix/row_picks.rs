//! Rows of a matrix picked by index and put side by side, whatever its elements are.

use crate::error::Error;
use std::ops::Range;

/// The part of a gathered matrix that does not depend on its elements: which rows of the source make up each of its
/// rows.
#[derive(Clone, Copy)]
pub(crate) struct RowPicks<'a> {
    /// `taps` of them for each row; each is a row of the source, or [`PADDING`](Self::PADDING).
    indices: &'a [u32],
    taps: usize,
    rows: usize,
    padded: bool,
}

impl<'a> RowPicks<'a> {
    /// The index that stands for a row outside the source.
    pub(crate) const PADDING: u32 = u32::MAX;

    /// Rows of `taps` rows each of a source of this shape.
    ///
    /// # Errors
    /// [`Error::Range`] if `taps` is 0, [`Error::Multiple`] if the number of indices is no multiple of it,
    /// [`Error::Index`] if an index is neither a row of the source nor [`PADDING`](Self::PADDING), and
    /// [`Error::TooLarge`] if the number of elements overflows.
    pub(crate) fn new(indices: &'a [u32], taps: usize, source: (usize, usize)) -> Result<Self, Error> {
        if taps == 0 {
            return Err(Error::Range { argument: "taps", got: 0, min: 1, max: i64::MAX });
        }
        let got = indices.len();
        if !got.is_multiple_of(taps) {
            return Err(Error::Multiple { argument: "indices", got, of: taps });
        }
        let picks = Self::known(indices, taps, false, source)?;
        let rows = source.0;
        let outside = |&index: &u32| index != Self::PADDING && index as usize >= rows;
        if let Some(position) = indices.iter().position(outside) {
            return Err(Error::Index { position, got: indices[position], rows, padding: true });
        }
        Ok(Self { padded: indices.contains(&Self::PADDING), ..picks })
    }

    /// Rows of `taps` rows each of a source of this shape. The indices are known to be right: `taps` for each row, each
    /// a row of the source or, if `padded`, [`PADDING`](Self::PADDING).
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the number of elements overflows.
    pub(crate) fn known(
        indices: &'a [u32],
        taps: usize,
        padded: bool,
        source: (usize, usize),
    ) -> Result<Self, Error> {
        let rows = indices.len() / taps;
        let elements = taps.checked_mul(source.1).and_then(|cols| cols.checked_mul(rows));
        match elements {
            Some(_) => Ok(Self { indices, taps, rows, padded }),
            None => {
                let shape = (rows, source.1);
                Err(Error::TooLarge { argument: "gathered a", shape, strides: (taps, 1) })
            }
        }
    }

    /// Some of the rows.
    pub(crate) fn of_rows(&self, rows: Range<usize>) -> Self {
        let indices = &self.indices[rows.start * self.taps..rows.end * self.taps];
        Self { indices, rows: rows.len(), ..*self }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of the source's rows that make up a row.
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// Whether an index may be [`PADDING`](Self::PADDING).
    pub(crate) fn are_padded(&self) -> bool {
        self.padded
    }

    /// The indices of all rows, `taps` for each.
    pub(crate) fn indices(&self) -> &'a [u32] {
        self.indices
    }

    /// The indices of row `i`.
    pub(crate) fn of_row(&self, i: usize) -> &'a [u32] {
        &self.indices[i * self.taps..][..self.taps]
    }

    /// The index of the row of the source, and the column in it, that element (i, k) is, if the source has `cols`
    /// columns; `None` if there is no such element.
    pub(crate) fn source_of(&self, i: usize, k: usize, cols: usize) -> Option<(u32, usize)> {
        if i >= self.rows || k >= self.taps * cols {
            return None;
        }
        Some((self.indices[i * self.taps + k / cols], k % cols))
    }
}

/// The number of indices, from the first on, that ascend by 1. Not 0; the first is not that of padding.
pub(crate) fn consecutive(indices: &[u32]) -> usize {
    let follows = |run: &usize| {
        indices.get(*run).is_some_and(|&next| next == indices[0] + *run as u32 && next != RowPicks::PADDING)
    };
    (1..).find(|run| !follows(run)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_indices_jump() {
        const LAST: u32 = RowPicks::PADDING - 1;
        for (indices, run) in [
            (&[7][..], 1),
            (&[7, 8], 2),
            (&[7, 8, 9, 11], 3),
            (&[7, 7], 1),
            (&[7, 6], 1),
            (&[LAST - 1, LAST, RowPicks::PADDING, 0], 2),
        ] {
            assert_eq!(consecutive(indices), run, "{indices:?}");
        }
    }
}
