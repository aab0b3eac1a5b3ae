//! A left-hand matrix whose rows are put together from rows of another matrix.

use crate::element::ElementType;
use crate::error::Error;
use crate::matrix::conv2d::Conv2d;
use crate::matrix::operand::Operand;
use crate::matrix::row_picks::{RowPicks, consecutive};
use qgemm_kernels::pick_rows;
use std::ops::Range;

/// Rows of a source, picked by index, as the left-hand matrix of a product: an A that is never stored.
///
/// Row i is made of `taps` rows of the source side by side, those that `indices[i * taps..][..taps]`
/// names, so K is `taps` times the source's columns. One tap picks rows (the tokens of one expert of a
/// mixture); nine taps of an image's pixels, each a row of channels, are a 3x3 convolution. The source
/// may have any strides, and indices may repeat.
///
/// The index [`Gather::PADDING`] stands for a row outside the source. Its values are those of [`padding`](Self::padding),
/// or, if that is not called, the zero point of the row of A that they are in, so that they add nothing to the sums.
///
/// The tokens of one expert of a mixture, and the way back:
///
/// ```
/// use qgemm::{Gather, Gemm, MatMut, MatRef, scatter_add_i32};
///
/// let tokens = MatRef::row_major(&[1u8, 2, 3, 4, 5, 6], 3, 2)?;
/// let weights = MatRef::row_major(&[1i8, 10], 2, 1)?;
/// let mine = [2, 0]; // the tokens that go to this expert
/// let mut outputs = [0i32; 2];
/// Gemm::new(Gather::rows(tokens, &mine)?, weights).run_i32(MatMut::row_major(&mut outputs, 2, 1)?)?;
/// assert_eq!(outputs, [65, 21]);
///
/// let mut sums = [0i32; 3];
/// scatter_add_i32(MatRef::row_major(&outputs, 2, 1)?, &mine, MatMut::row_major(&mut sums, 3, 1)?)?;
/// assert_eq!(sums, [21, 0, 65]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// [`Conv2d`] makes the indices of convolutions.
///
/// Each thread gathers the rows it is about to multiply, a block at a time, into scratch of bounded size.
#[derive(Clone, Copy)]
pub struct Gather<'a> {
    source: Operand<'a>,
    picks: RowPicks<'a>,
    /// The bits of the values of padding; `None` if they are the zero point of their row.
    padding: Option<u8>,
}

impl std::fmt::Debug for Gather<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gather")
            .field("rows", &self.shape().0)
            .field("cols", &self.shape().1)
            .field("taps", &self.picks.taps())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<'a> Gather<'a> {
    /// The index that stands for a row outside the source.
    pub const PADDING: u32 = RowPicks::PADDING;

    /// Rows of `taps` rows of `source` each: `indices.len() / taps` rows, `taps * source.cols()` columns.
    ///
    /// # Errors
    /// [`Error::Range`] if `taps` is 0, [`Error::Multiple`] if the number of indices is no multiple of it,
    /// [`Error::Index`] if an index is neither a row of `source` nor [`PADDING`](Self::PADDING), and
    /// [`Error::TooLarge`] if the number of elements overflows.
    pub fn new(source: impl Into<Operand<'a>>, indices: &'a [u32], taps: usize) -> Result<Self, Error> {
        let source = source.into();
        let picks = RowPicks::new(indices, taps, (source.rows(), source.cols()))?;
        Ok(Self { source, picks, padding: None })
    }

    /// A row of `source` for each index: [`new`](Self::new) with one tap.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn rows(source: impl Into<Operand<'a>>, indices: &'a [u32]) -> Result<Self, Error> {
        Self::new(source, indices, 1)
    }

    /// The rows of a convolution: one for each output pixel, made of the pixels under the kernel's taps. The indices
    /// are not checked again. See [`Conv2d`] for the layouts of `source`, of the weights and of the output.
    ///
    /// # Errors
    /// [`Error::Shape`] if `source` has not one row for each pixel of `conv`'s images, [`Error::TooLarge`] if the number
    /// of elements overflows.
    pub fn conv2d(source: impl Into<Operand<'a>>, conv: &'a Conv2d) -> Result<Self, Error> {
        let source = source.into();
        let picks = conv.picks((source.rows(), source.cols()))?;
        Ok(Self { source, picks, padding: None })
    }

    /// Rows picked from a source of the shape that the picks were checked for. `padding` is the bits of padding.
    pub(crate) fn picked(source: Operand<'a>, picks: RowPicks<'a>, padding: u8) -> Self {
        Self { source, picks, padding: Some(padding) }
    }

    /// Sets the value of padding, in place of the zero point.
    ///
    /// # Errors
    /// [`Error::Range`] if it is no value of the source's element type.
    pub fn padding(self, value: i32) -> Result<Self, Error> {
        in_range("padding", value, self.source.element)?;
        Ok(Self { padding: Some(value as u8), ..self })
    }

    /// The type of the elements.
    pub(crate) fn element_type(&self) -> ElementType {
        self.source.element
    }

    /// Rows and columns: M and K of the product.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.picks.rows(), self.picks.taps() * self.source.cols())
    }

    /// The value of element (i, k), where `zero` is the zero point of row i; `None` if there is no such element.
    pub(crate) fn get(&self, i: usize, k: usize, zero: i32) -> Option<i32> {
        let (index, column) = self.picks.source_of(i, k, self.source.cols())?;
        if index == Self::PADDING {
            return Some(self.padding.map_or(zero, |bits| self.source.element.value(bits)));
        }
        self.source.get(index as usize, column)
    }

    /// Whether each row is a row of the source, whose rows are contiguous.
    pub(crate) fn picks_slices(&self) -> bool {
        self.picks.taps() == 1 && self.source.bits.rows_are_slices()
    }

    /// Copies the bits of elements `ks` of some rows, whose zero points are `zero(row)`, to rows `stride` bytes apart.
    ///
    /// # Panics
    /// Unless it [`picks_slices`](Self::picks_slices).
    pub(crate) fn copy_picked(
        &self,
        rows: Range<usize>,
        ks: Range<usize>,
        zero: impl Fn(usize) -> i32,
        (out, stride): (&mut [u8], usize),
    ) {
        assert!(self.picks_slices(), "rows are no slices of the source");
        let (indices, len) = (&self.picks.indices()[rows.clone()], ks.len());
        let source = self.source.bits.data_from_row(0).get(ks.start..).unwrap_or(&[]);
        if len > 0 {
            pick_rows(source, self.source.bits.row_stride(), indices, len, (&mut *out, stride));
        }
        if self.picks.are_padded() {
            for ((i, index), out) in rows.zip(indices).zip(out.chunks_exact_mut(stride)) {
                if *index == Self::PADDING {
                    out[..len].fill(self.padding.unwrap_or(zero(i) as u8));
                }
            }
        }
    }

    /// Copies the bits of elements `ks` of row `i`, whose zero point is `zero`.
    pub(crate) fn copy_row(&self, i: usize, ks: Range<usize>, zero: i32, out: &mut [u8]) {
        let (bits, channels) = (&self.source.bits, self.source.cols());
        if channels == 0 {
            return;
        }
        let taps = self.picks.of_row(i);
        // If the rows of the source are adjacent, those with consecutive indices (as neighbours in an image have) are
        // copied as one piece.
        let adjacent = bits.rows_are_slices() && bits.row_stride() == channels;
        let (mut tap, mut first) = (ks.start / channels, ks.start % channels);
        let mut out = out;
        while !out.is_empty() {
            let index = taps[tap];
            let run = if adjacent && index != Self::PADDING { consecutive(&taps[tap..]) } else { 1 };
            let len = (run * channels - first).min(out.len());
            let (piece, rest) = std::mem::take(&mut out).split_at_mut(len);
            if index == Self::PADDING {
                piece.fill(self.padding.unwrap_or(zero as u8));
            } else if bits.rows_are_slices() {
                piece.copy_from_slice(&bits.data_from_row(index as usize)[first..first + len]);
            } else {
                bits.copy_row(index as usize, first, piece);
            }
            (out, tap, first) = (rest, tap + run, 0);
        }
    }

    /// Checks that the zero points of all rows are values of the element type, if padding takes them.
    ///
    /// # Errors
    /// [`Error::Range`] if `least` or `greatest`, the least and the greatest zero point, is not.
    pub(crate) fn check_zero(&self, least: i32, greatest: i32) -> Result<(), Error> {
        if !self.picks.are_padded() || self.padding.is_some() {
            return Ok(());
        }
        let argument = "a_zero, of padded rows";
        in_range(argument, least, self.source.element)?;
        in_range(argument, greatest, self.source.element)
    }
}

/// # Errors
/// [`Error::Range`] if `value` is not one of the element type's.
fn in_range(argument: &'static str, value: i32, element: ElementType) -> Result<(), Error> {
    let (min, max) = element.range();
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::Range { argument, got: value.into(), min: min.into(), max: max.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::view::MatRef;

    /// Runs of rows that lie one after the other, and padding, for four rows of three taps.
    const INDICES: [u32; 12] = [0, 1, 2, u32::MAX, 3, 4, 2, u32::MAX, 3, 4, 0, 1];

    /// Sources of 5 x `cols`: rows that are adjacent, rows that are apart, and columns.
    fn sources(data: &[u8], cols: usize) -> [MatRef<'_, u8>; 3] {
        let strides = [(cols, 1), (cols + 2, 1), (1, 7)];
        strides.map(|(row, col)| MatRef::new(data, 5, cols, row, col).unwrap())
    }

    #[test]
    fn copies_are_the_elements() {
        let data: Vec<u8> = (0..100).collect();
        for source in sources(&data, 4) {
            let a = Gather::new(source, &INDICES, 3).unwrap();
            for (i, zero) in (0..4).zip(200..) {
                let row: Vec<u8> = (0..12).map(|k| a.get(i, k, zero).unwrap() as u8).collect();
                for start in 0..12 {
                    for end in start..=12 {
                        let mut copied = vec![0; end - start];
                        a.copy_row(i, start..end, zero, &mut copied);
                        assert_eq!(copied, row[start..end], "{i} {start}..{end}");
                    }
                }
            }
        }
    }

    #[test]
    fn picked_slices_are_the_elements() {
        let data: Vec<u8> = (0..100).collect();
        for cols in [0, 1, 4] {
            let [adjacent, apart, columns] = sources(&data, cols);
            assert_eq!(Gather::rows(columns, &INDICES).unwrap().picks_slices(), cols <= 1);
            assert!(!Gather::new(adjacent, &INDICES, 3).unwrap().picks_slices());
            for source in [adjacent, apart] {
                let a = Gather::rows(source, &INDICES).unwrap();
                assert!(a.picks_slices());
                for ks in [0..cols, cols / 2..cols, cols..cols] {
                    let mut copied = [0; 12 * 5];
                    a.copy_picked(0..12, ks.clone(), |i| i as i32, (&mut copied, 5));
                    for (i, copied) in copied.chunks_exact(5).enumerate() {
                        let row = ks.clone().map(|k| a.get(i, k, i as i32).unwrap() as u8);
                        assert!(row.eq(copied[..ks.len()].iter().copied()), "{cols} {i} {ks:?}");
                        assert!(copied[ks.len()..].iter().all(|byte| *byte == 0), "{cols} {i} {ks:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn there_are_no_elements_outside() {
        let a = Gather::new(MatRef::row_major(&[0u8; 10], 5, 2).unwrap(), &INDICES, 3).unwrap();
        assert_eq!(a.shape(), (4, 6));
        assert!(a.get(3, 5, 0).is_some() && a.get(4, 0, 0).is_none() && a.get(0, 6, 0).is_none());
    }
}
