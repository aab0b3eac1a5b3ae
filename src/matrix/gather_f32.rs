//! A left-hand matrix of f32 whose rows are put together from rows of another matrix.

use crate::error::Error;
use crate::matrix::conv2d::Conv2d;
use crate::matrix::row_picks::{RowPicks, consecutive};
use crate::matrix::view::MatRef;
use std::ops::Range;

/// Rows of an f32 source, picked by index, as the A of a [`DynamicGemm`](crate::DynamicGemm): the sibling of
/// [`Gather`](crate::Gather), with the same indices.
///
/// Padding is 0. Each row of A has a scale of its own, found in all of its taps; per tensor, the scale is that of all of
/// the source, as for an image that is quantized before its convolution.
///
/// ```
/// use qgemm::{Dequantize, DynamicGemm, GatherF32, MatMut, MatRef};
///
/// let tokens = [127.0f32, 0.0, 0.0, 254.0, -127.0, 127.0]; // 3 tokens of 2 features
/// let weights = [1i8, 2]; // of one expert, to 1 feature
/// let mine = [2, 0]; // the tokens that are routed to it
/// let a = GatherF32::rows(MatRef::row_major(&tokens, 3, 2)?, &mine)?;
/// let mut c = [0.0; 2];
/// DynamicGemm::new(a, MatRef::row_major(&weights, 2, 1)?)
///     .run_f32(MatMut::row_major(&mut c, 2, 1)?, Dequantize::dynamic(1.0)?)?;
/// assert_eq!(c, [127.0, 127.0]);
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct GatherF32<'a> {
    source: MatRef<'a, f32>,
    picks: RowPicks<'a>,
}

impl std::fmt::Debug for GatherF32<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatherF32")
            .field("rows", &self.shape().0)
            .field("cols", &self.shape().1)
            .field("taps", &self.picks.taps())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<'a> GatherF32<'a> {
    /// The index that stands for a row outside the source.
    pub const PADDING: u32 = RowPicks::PADDING;

    /// Rows of `taps` rows of `source` each: `indices.len() / taps` rows, `taps * source.cols()` columns.
    ///
    /// # Errors
    /// Those of [`Gather::new`](crate::Gather::new).
    pub fn new(source: MatRef<'a, f32>, indices: &'a [u32], taps: usize) -> Result<Self, Error> {
        Ok(Self { source, picks: RowPicks::new(indices, taps, (source.rows(), source.cols()))? })
    }

    /// A row of `source` for each index: [`new`](Self::new) with one tap.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn rows(source: MatRef<'a, f32>, indices: &'a [u32]) -> Result<Self, Error> {
        Self::new(source, indices, 1)
    }

    /// The rows of a convolution: see [`Gather::conv2d`](crate::Gather::conv2d).
    ///
    /// # Errors
    /// Those of [`Gather::conv2d`](crate::Gather::conv2d).
    pub fn conv2d(source: MatRef<'a, f32>, conv: &'a Conv2d) -> Result<Self, Error> {
        Ok(Self { source, picks: conv.picks((source.rows(), source.cols()))? })
    }

    /// The matrix that rows are picked from.
    pub(crate) fn source(&self) -> MatRef<'a, f32> {
        self.source
    }

    pub(crate) fn picks(&self) -> RowPicks<'a> {
        self.picks
    }

    /// Rows and columns: M and K of the product.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.picks.rows(), self.picks.taps() * self.source.cols())
    }

    /// Element (i, k); `None` if there is none.
    pub(crate) fn get(&self, i: usize, k: usize) -> Option<f32> {
        let (index, column) = self.picks.source_of(i, k, self.source.cols())?;
        if index == Self::PADDING { Some(0.0) } else { self.source.get(index as usize, column).copied() }
    }

    /// Copies some rows to `out`, one after the other.
    ///
    /// # Panics
    /// If there are no such rows, or `out` is too short.
    pub(crate) fn copy_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        let channels = self.source.cols();
        if channels == 0 {
            return;
        }
        let mut out = out;
        for i in rows {
            let taps = self.picks.of_row(i);
            let mut tap = 0;
            while tap < taps.len() {
                let index = taps[tap];
                let run = self.adjacent_run(&taps[tap..]);
                let (piece, rest) = std::mem::take(&mut out).split_at_mut(run * channels);
                match index {
                    Self::PADDING => piece.fill(0.0),
                    _ if self.source.rows_are_slices() => {
                        piece.copy_from_slice(&self.source.data_from_row(index as usize)[..piece.len()]);
                    }
                    _ => self.source.copy_row(index as usize, 0, piece),
                }
                (out, tap) = (rest, tap + run);
            }
        }
    }

    /// The taps, from the first on, that lie one after the other in the source.
    fn adjacent_run(&self, taps: &[u32]) -> usize {
        let adjacent = self.source.rows_are_slices() && self.source.row_stride() == self.source.cols();
        if adjacent && taps[0] != Self::PADDING { consecutive(taps) } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_the_elements() {
        let data: Vec<f32> = (0..100).map(|value| value as f32).collect();
        // Rows that are adjacent, rows that are apart, and columns.
        for strides in [(4, 1), (6, 1), (1, 7)] {
            let source = MatRef::new(&data, 5, 4, strides.0, strides.1).unwrap();
            let indices = [0, 1, 2, u32::MAX, 3, 4, 2, u32::MAX, 3, 4, 0, 1];
            let a = GatherF32::new(source, &indices, 3).unwrap();
            let mut copied = [f32::NAN; 3 * 12];
            a.copy_rows(1..4, &mut copied);
            for (at, value) in copied.iter().enumerate() {
                assert_eq!(a.get(1 + at / 12, at % 12), Some(*value), "{strides:?} {at}");
            }
            assert!(a.get(4, 0).is_none() && a.get(0, 12).is_none());
        }
    }
}
