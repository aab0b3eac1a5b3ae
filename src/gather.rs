//! A left-hand matrix whose rows are put together from rows of another one.

use crate::Error;
use crate::element::{ElementType, Operand};
use crate::matrix::MatRef;
use std::ops::Range;

/// Rows of a source, picked by index, as the left-hand matrix of a product: an A that is never stored.
///
/// Row i is made of `taps` rows of the source side by side, those that `indices[i * taps..][..taps]`
/// names, so K is `taps` times the source's columns. One tap picks rows (the tokens of one expert of a
/// mixture); nine taps of an image's pixels, each a row of channels, are a 3x3 convolution. The source
/// may have any strides, and indices may repeat.
///
/// [`Gather::PADDING`] stands for a row outside the source. All its values are [`padding`](Self::padding),
/// or if that is not called, the zero point of the row of A that it is in, so that it adds nothing.
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
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a> {
    source: Operand<'a>,
    indices: &'a [u32],
    taps: usize,
    rows: usize,
    cols: usize,
    /// Whether some index is that of padding.
    padded: bool,
    /// The bits of its values, if they are not the zero point's.
    padding: Option<u8>,
}

impl<'a> Gather<'a> {
    /// The index of padding.
    pub const PADDING: u32 = u32::MAX;

    /// Rows of `taps` rows of `source` each: `indices.len() / taps` rows, `taps * source.cols()` columns.
    ///
    /// # Errors
    /// [`Error::Range`] if `taps` is 0, [`Error::Length`] if the number of indices is no multiple of it,
    /// [`Error::Index`] if an index is neither a row of `source` nor [`PADDING`](Self::PADDING), and
    /// [`Error::TooLarge`] if the number of elements overflows.
    pub fn new(source: impl Into<Operand<'a>>, indices: &'a [u32], taps: usize) -> Result<Self, Error> {
        let source = source.into();
        if taps == 0 {
            return Err(Error::Range { argument: "taps", got: 0, min: 1, max: i64::MAX });
        }
        let got = indices.len();
        if !got.is_multiple_of(taps) {
            let need = got.saturating_add(taps - got % taps);
            return Err(Error::Length { argument: "indices", got, need });
        }
        let rows = got / taps;
        let shape = (rows, source.cols());
        let cols = taps.checked_mul(source.cols()).filter(|cols| rows.checked_mul(*cols).is_some());
        let cols = cols.ok_or(Error::TooLarge { argument: "gathered a", shape, strides: (taps, 1) })?;
        let outside = |&index: &u32| index != Self::PADDING && index as usize >= source.rows();
        if let Some(position) = indices.iter().position(outside) {
            return Err(Error::Index { position, got: indices[position], rows: source.rows() });
        }
        let padded = indices.contains(&Self::PADDING);
        Ok(Self { source, indices, taps, rows, cols, padded, padding: None })
    }

    /// The value of padding, if it is not to be the zero point.
    ///
    /// # Errors
    /// [`Error::Range`] if it is no value of the source's element type.
    pub fn padding(self, value: i32) -> Result<Self, Error> {
        in_range("padding", value, self.source.element)?;
        Ok(Self { padding: Some(value as u8), ..self })
    }

    /// The source's row at a tap of a row; `None` is padding.
    fn source_row(&self, i: usize, tap: usize) -> Option<usize> {
        let index = self.indices[i * self.taps + tap];
        (index != Self::PADDING).then_some(index as usize)
    }

    /// Copies elements `ks` of row `i`.
    fn fill(&self, i: usize, ks: Range<usize>, zero: i32, out: &mut [u8]) {
        let (bits, channels) = (&self.source.bits, self.source.cols());
        if channels == 0 {
            return;
        }
        let taps = &self.indices[i * self.taps..][..self.taps];
        // Rows that lie side by side are copied in one go where their indices are consecutive, as those of
        // neighbours in an image are.
        let dense = bits.rows_are_slices() && bits.row_stride() == channels;
        let (mut tap, mut first) = (ks.start / channels, ks.start % channels);
        let mut out = out;
        while !out.is_empty() {
            let index = taps[tap];
            let mut run = 1;
            if dense && index != Self::PADDING {
                let next = |run: usize| taps.get(tap + run).is_some_and(|&next| next == index + run as u32);
                while next(run) && taps[tap + run] != Self::PADDING {
                    run += 1;
                }
            }
            let len = (run * channels - first).min(out.len());
            let (part, rest) = std::mem::take(&mut out).split_at_mut(len);
            if index == Self::PADDING {
                part.fill(self.padding.unwrap_or(zero as u8));
            } else if bits.rows_are_slices() {
                part.copy_from_slice(&bits.data_from_row(index as usize)[first..first + len]);
            } else {
                copy_row(bits, index as usize, first, part);
            }
            (out, tap, first) = (rest, tap + run, 0);
        }
    }
}

/// Copies a row's values from column `first` on.
fn copy_row(bits: &MatRef<'_, u8>, row: usize, first: usize, out: &mut [u8]) {
    for (k, byte) in (first..).zip(out) {
        *byte = *bits.get(row, k).expect("the row was checked");
    }
}

fn in_range(argument: &'static str, value: i32, element: ElementType) -> Result<(), Error> {
    let (min, max) = element.range();
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::Range { argument, got: value.into(), min: min.into(), max: max.into() })
}

/// The left-hand matrix: as it is, or gathered.
///
/// Made by `into()` from a [`MatRef`] of `i8` or `u8`, or from a [`Gather`].
#[derive(Clone, Copy, Debug)]
pub enum Lhs<'a> {
    /// As it is; read in place where its rows are contiguous.
    Matrix(Operand<'a>),
    /// Rows put together from those of another matrix.
    Gathered(Gather<'a>),
}

impl<'a, T> From<T> for Lhs<'a>
where
    Operand<'a>: From<T>,
{
    fn from(a: T) -> Self {
        Lhs::Matrix(a.into())
    }
}

impl<'a> From<Gather<'a>> for Lhs<'a> {
    fn from(a: Gather<'a>) -> Self {
        Lhs::Gathered(a)
    }
}

impl<'a> Lhs<'a> {
    /// Which type the elements are.
    pub fn element_type(&self) -> ElementType {
        match self {
            Lhs::Matrix(a) => a.element,
            Lhs::Gathered(a) => a.source.element,
        }
    }

    /// Number of rows: M.
    pub fn rows(&self) -> usize {
        match self {
            Lhs::Matrix(a) => a.rows(),
            Lhs::Gathered(a) => a.rows,
        }
    }

    /// Number of columns: K.
    pub fn cols(&self) -> usize {
        match self {
            Lhs::Matrix(a) => a.cols(),
            Lhs::Gathered(a) => a.cols,
        }
    }

    /// Element (i, k), if there is one; `zero` is the row's zero point.
    pub(crate) fn get(&self, i: usize, k: usize, zero: i32) -> Option<i32> {
        match self {
            Lhs::Matrix(a) => a.get(i, k),
            Lhs::Gathered(a) if i >= a.rows || k >= a.cols => None,
            Lhs::Gathered(a) => match a.source_row(i, k / a.source.cols()) {
                Some(row) => a.source.get(row, k % a.source.cols()),
                None => Some(a.padding.map_or(zero, |bits| a.source.element.value(bits))),
            },
        }
    }

    /// The elements' bits where rows are slices: what can be read in place.
    pub(crate) fn in_place(&self) -> Option<MatRef<'a, u8>> {
        match self {
            Lhs::Matrix(a) if a.bits.rows_are_slices() => Some(a.bits),
            _ => None,
        }
    }

    /// Copies the bits of elements `ks` of row `i`, whose zero point is `zero`.
    pub(crate) fn fill(&self, i: usize, ks: Range<usize>, zero: i32, out: &mut [u8]) {
        match self {
            Lhs::Matrix(a) => copy_row(&a.bits, i, ks.start, out),
            Lhs::Gathered(a) => a.fill(i, ks, zero, out),
        }
    }

    /// That padding can be the zero point, where it has to be.
    pub(crate) fn check_zero(&self, least: i32, greatest: i32) -> Result<(), Error> {
        match self {
            Lhs::Gathered(Gather { padded: true, padding: None, source, .. }) => {
                let argument = "a_zero, of padded rows";
                in_range(argument, least, source.element)?;
                in_range(argument, greatest, source.element)
            }
            _ => Ok(()),
        }
    }
}
