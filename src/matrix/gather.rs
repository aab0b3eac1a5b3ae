//! A left-hand matrix whose rows are put together from rows of another matrix.

use crate::element::ElementType;
use crate::error::Error;
use crate::matrix::operand::Operand;
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
/// A convolution of 3x3 taps on an image of 2x3 pixels of 2 channels, padded by a pixel all around:
///
/// ```
/// use qgemm::{Gather, Gemm, MatMut, MatRef};
///
/// let (height, width, channels) = (2, 3, 2);
/// let image = [1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]; // the zero point is 5
/// let mut indices = Vec::new();
/// for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
///     for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
///         let (y, x) = (y + dy, x + dx); // of the padded image
///         let inside = (1..=height).contains(&y) && (1..=width).contains(&x);
///         indices.push(if inside { ((y - 1) * width + x - 1) as u32 } else { Gather::PADDING });
///     }
/// }
/// let weights = [1i8; 9 * 2]; // 3x3 taps of 2 channels, to 1 channel
///
/// let pixels = MatRef::row_major(&image, height * width, channels)?;
/// let a = Gather::new(pixels, &indices, 9)?; // 6 x 18
/// let mut sums = [0i32; 6];
/// Gemm::new(a, MatRef::row_major(&weights, 18, 1)?)
///     .a_zero(5)
///     .run_i32(MatMut::row_major(&mut sums, 6, 1)?)?;
/// // Of the pixel (0, 0): its own 1 + 2, and 3 + 4, 7 + 8, 9 + 10 around it, each less the zero point.
/// assert_eq!(sums[0], 44 - 8 * 5);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// Each thread gathers the rows it is about to multiply, a block at a time, into scratch of bounded size.
#[derive(Clone, Copy)]
pub struct Gather<'a> {
    source: Operand<'a>,
    indices: &'a [u32],
    taps: usize,
    rows: usize,
    cols: usize,
    /// Whether some index is [`PADDING`](Self::PADDING).
    padded: bool,
    /// The bits of the values of padding; `None` if they are the zero point of their row.
    padding: Option<u8>,
}

impl std::fmt::Debug for Gather<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gather")
            .field("rows", &self.rows)
            .field("cols", &self.cols)
            .field("taps", &self.taps)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<'a> Gather<'a> {
    /// The index that stands for a row outside the source.
    pub const PADDING: u32 = u32::MAX;

    /// Rows of `taps` rows of `source` each: `indices.len() / taps` rows, `taps * source.cols()` columns.
    ///
    /// # Errors
    /// [`Error::Range`] if `taps` is 0, [`Error::Multiple`] if the number of indices is no multiple of it,
    /// [`Error::Index`] if an index is neither a row of `source` nor [`PADDING`](Self::PADDING), and
    /// [`Error::TooLarge`] if the number of elements overflows.
    pub fn new(source: impl Into<Operand<'a>>, indices: &'a [u32], taps: usize) -> Result<Self, Error> {
        let source = source.into();
        if taps == 0 {
            return Err(Error::Range { argument: "taps", got: 0, min: 1, max: i64::MAX });
        }
        let got = indices.len();
        if !got.is_multiple_of(taps) {
            return Err(Error::Multiple { argument: "indices", got, of: taps });
        }
        let rows = got / taps;
        let shape = (rows, source.cols());
        let cols = taps.checked_mul(source.cols()).filter(|cols| rows.checked_mul(*cols).is_some());
        let cols = cols.ok_or(Error::TooLarge { argument: "gathered a", shape, strides: (taps, 1) })?;
        let outside = |&index: &u32| index != Self::PADDING && index as usize >= source.rows();
        if let Some(position) = indices.iter().position(outside) {
            return Err(Error::Index {
                position,
                got: indices[position],
                rows: source.rows(),
                padding: true,
            });
        }
        let padded = indices.contains(&Self::PADDING);
        Ok(Self { source, indices, taps, rows, cols, padded, padding: None })
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

    /// The number of rows: M of the product.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns: K of the product.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// The value of element (i, k), where `zero` is the zero point of row i; `None` if there is no such element.
    pub(crate) fn get(&self, i: usize, k: usize, zero: i32) -> Option<i32> {
        if i >= self.rows || k >= self.cols {
            return None;
        }
        let index = self.indices[i * self.taps + k / self.source.cols()];
        if index == Self::PADDING {
            return Some(self.padding.map_or(zero, |bits| self.source.element.value(bits)));
        }
        self.source.get(index as usize, k % self.source.cols())
    }

    /// Whether each row is a row of the source, whose rows are contiguous.
    pub(crate) fn picks_slices(&self) -> bool {
        self.taps == 1 && self.source.bits.rows_are_slices()
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
        let (indices, len) = (&self.indices[rows.clone()], ks.len());
        let source = self.source.bits.data_from_row(0).get(ks.start..).unwrap_or(&[]);
        if len > 0 {
            pick_rows(source, self.source.bits.row_stride(), indices, len, (&mut *out, stride));
        }
        if self.padded {
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
        let taps = &self.indices[i * self.taps..][..self.taps];
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
        if !self.padded || self.padding.is_some() {
            return Ok(());
        }
        let argument = "a_zero, of padded rows";
        in_range(argument, least, self.source.element)?;
        in_range(argument, greatest, self.source.element)
    }
}

/// The number of indices, from the first on, that ascend by 1. Not 0; the first is not that of padding.
fn consecutive(taps: &[u32]) -> usize {
    let follows = |run: &usize| {
        taps.get(*run).is_some_and(|&next| next == taps[0] + *run as u32 && next != Gather::PADDING)
    };
    (1..).find(|run| !follows(run)).unwrap_or(1)
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
