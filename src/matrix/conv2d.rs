//! The indices of convolutions: which pixel each tap of the kernel lies on, for each output pixel.

use crate::buffer::reserve;
use crate::error::{Error, check_shape};
use crate::matrix::row_picks::RowPicks;

/// The index list of a two-dimensional convolution, made and checked once, for any number of inputs of its shape.
///
/// The layout of images is NHWC. With it a convolution is the product of [`Gather::conv2d`](crate::Gather::conv2d) and
/// the weights:
///
/// | matrix | rows | columns |
/// |---|---|---|
/// | source, 8-bit | pixels: batch, y, x | channels |
/// | A, never stored | output pixels: batch, y, x | taps: kernel y, kernel x; then channels |
/// | B, the weights | taps: kernel y, kernel x; then channels | output channels |
/// | C | output pixels: batch, y, x | output channels |
///
/// Weights that are stored as [out, kernel_h, kernel_w, in] are a column-major B of taps · in rows and out columns.
///
/// Tap (ky, kx) of output pixel (y, x) lies on a pixel of the image, or outside it on padding, whose values are the zero
/// point of A, or those that [`Gather::padding`](crate::Gather::padding) sets:
///
/// ```text
/// row = y · stride_h + ky · dilation_h - top        column = x · stride_w + kx · dilation_w - left
///
/// out_h = floor((top + height + bottom - (kernel_h - 1) · dilation_h - 1) / stride_h) + 1, and out_w likewise
/// ```
///
/// ```
/// use qgemm::{Conv2d, Gather, Gemm, MatMut, MatRef};
///
/// // An image of 2x3 pixels of 2 channels, padded by a pixel all around; 3x3 taps to 1 channel.
/// let conv = Conv2d::builder(1, (2, 3), (3, 3)).padding(1, 1, 1, 1).build()?;
/// let image = [1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]; // the zero point is 5
/// let weights = [1i8; 9 * 2];
///
/// let a = Gather::conv2d(MatRef::row_major(&image, 2 * 3, 2)?, &conv)?; // 6 x 18
/// let mut sums = [0i32; 6];
/// Gemm::new(a, MatRef::row_major(&weights, 18, 1)?)
///     .a_zero(5)
///     .run_i32(MatMut::row_major(&mut sums, conv.rows(), 1)?)?;
/// // Of the pixel (0, 0): its own 1 + 2, and 3 + 4, 7 + 8, 9 + 10 around it, each less the zero point.
/// assert_eq!(sums[0], 44 - 8 * 5);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// Groups are products of a batch, each of some columns of the source to some columns of the output:
///
/// ```
/// use qgemm::{Conv2d, Gather, Gemm, MatMut, MatRef, Task, run_batch};
///
/// // 2 groups, each of 2 channels to 1; an image of 1x2 pixels of 4 channels, 1x2 taps.
/// let conv = Conv2d::builder(1, (1, 2), (1, 2)).build()?;
/// let image = [1u8, 2, 3, 4, 5, 6, 7, 8];
/// let weights = [1i8, 1, 1, 1, 1, 0, 0, -1]; // [group, taps and channels, 1]
/// let mut sums = [0i32; 2];
///
/// let sources = MatRef::row_major(&image, 2, 4)?.col_chunks(2)?;
/// let weights = MatRef::batch(&weights, 2, 4, (4, 1), (1, 1))?;
/// let outputs = MatMut::row_major(&mut sums, conv.rows(), 2)?.col_chunks(1)?;
/// let tasks = sources
///     .zip(weights)
///     .zip(outputs)
///     .map(|((source, weights), c)| Task::i32(Gemm::new(Gather::conv2d(source, &conv)?, weights), c));
/// run_batch(&mut tasks.collect::<Result<Vec<_>, _>>()?)?;
/// assert_eq!(sums, [1 + 2 + 5 + 6, 3 - 8]);
/// # Ok::<(), qgemm::Error>(())
/// ```
pub struct Conv2d {
    indices: Vec<u32>,
    /// The rows that a source has: pixels of all images.
    pixels: usize,
    output: (usize, usize, usize),
    taps: usize,
    /// Whether an index is that of padding.
    padded: bool,
}

impl std::fmt::Debug for Conv2d {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conv2d")
            .field("pixels", &self.pixels)
            .field("output", &self.output)
            .field("taps", &self.taps)
            .finish_non_exhaustive()
    }
}

impl Conv2d {
    /// A convolution of `batch` images by a kernel. Both have a height and a width, in pixels. The stride and the
    /// dilation are 1, and there is no padding, unless the builder is told otherwise.
    pub fn builder(batch: usize, image: (usize, usize), kernel: (usize, usize)) -> Conv2dBuilder {
        let axis = |size, kernel| Axis { size, kernel, stride: 1, dilation: 1, before: 0, after: 0 };
        Conv2dBuilder { batch, vertical: axis(image.0, kernel.0), horizontal: axis(image.1, kernel.1) }
    }

    /// The number of output images, their height and their width.
    pub fn output_shape(&self) -> (usize, usize, usize) {
        self.output
    }

    /// The number of output pixels: M of the product.
    pub fn rows(&self) -> usize {
        self.output.0 * self.output.1 * self.output.2
    }

    /// The number of taps of the kernel. K of the product is this times the channels.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// For each output pixel and each tap the row of the source, or [`Gather::PADDING`](crate::Gather::PADDING).
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The picks from a source of this shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the source has not one row for each pixel, [`Error::TooLarge`] if the number of elements
    /// overflows.
    pub(crate) fn picks(&self, source: (usize, usize)) -> Result<RowPicks<'_>, Error> {
        check_shape("source", source, (self.pixels, source.1))?;
        RowPicks::known(&self.indices, self.taps, self.padded, source)
    }
}

/// A convolution that is being described: see [`Conv2d`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Conv2dBuilder {
    batch: usize,
    vertical: Axis,
    horizontal: Axis,
}

impl Conv2dBuilder {
    /// The pixels from one output pixel to the next, downwards and to the right. 1 without this.
    pub fn stride(mut self, h: usize, w: usize) -> Self {
        (self.vertical.stride, self.horizontal.stride) = (h, w);
        self
    }

    /// The pixels of padding around each image. 0 without this.
    pub fn padding(mut self, top: usize, left: usize, bottom: usize, right: usize) -> Self {
        (self.vertical.before, self.vertical.after) = (top, bottom);
        (self.horizontal.before, self.horizontal.after) = (left, right);
        self
    }

    /// The pixels from one tap to the next, downwards and to the right. 1 without this.
    pub fn dilation(mut self, h: usize, w: usize) -> Self {
        (self.vertical.dilation, self.horizontal.dilation) = (h, w);
        self
    }

    /// Makes the indices, four bytes for each tap of each output pixel. There may be no images, and then no indices.
    ///
    /// # Errors
    /// [`Error::Range`] if the height or width of images or of the kernel, a stride or a dilation is 0, if the dilated
    /// kernel is larger than a padded image, or if the padded height, the padded width or the number of pixels of all
    /// images is above 2^32 - 1, which is more than indices can tell apart. [`Error::Memory`] if there is not enough
    /// for the indices.
    pub fn build(self) -> Result<Conv2d, Error> {
        let Self { batch, vertical, horizontal } = self;
        let (height, width) = (vertical.outputs(&VERTICAL)?, horizontal.outputs(&HORIZONTAL)?);
        let pixels = product([batch, vertical.size, horizontal.size]);
        check("pixels", pixels, 0, MAX)?;
        let taps = product([vertical.kernel, horizontal.kernel]);
        let len = product([batch, height, width]).saturating_mul(taps);
        // A length that does not fit is more memory than there is.
        let as_usize = |number: u128| usize::try_from(number).unwrap_or(usize::MAX);
        let mut indices = Vec::new();
        reserve(&mut indices, as_usize(len), "indices of a convolution")?;
        self.fill(&mut indices, (height, width));
        let padded = indices.contains(&RowPicks::PADDING);
        let output = (batch, height, width);
        Ok(Conv2d { indices, pixels: as_usize(pixels), output, taps: as_usize(taps), padded })
    }

    /// Appends the indices of all output pixels, of which an image has `height` rows of `width`.
    fn fill(&self, indices: &mut Vec<u32>, (height, width): (usize, usize)) {
        let Self { batch, vertical, horizontal } = self;
        let outputs = |image| (0..height).flat_map(move |y| (0..width).map(move |x| (image, y, x)));
        for (image, y, x) in (0..*batch).flat_map(outputs) {
            for ky in 0..vertical.kernel {
                let row = vertical.under_tap(y, ky).map(|y| (image * vertical.size + y) * horizontal.size);
                indices.extend((0..horizontal.kernel).map(|kx| match (row, horizontal.under_tap(x, kx)) {
                    (Some(row), Some(x)) => (row + x) as u32,
                    _ => RowPicks::PADDING,
                }));
            }
        }
    }
}

/// One of the two axes of images and kernel. All numbers are in pixels.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// The height or width of images.
    size: usize,
    /// The height or width of the kernel.
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// The padding on top or left.
    before: usize,
    /// The padding at the bottom or right.
    after: usize,
}

/// The names of an axis's numbers in errors.
struct Names {
    size: &'static str,
    kernel: &'static str,
    stride: &'static str,
    dilation: &'static str,
    padded: &'static str,
    dilated: &'static str,
}

const VERTICAL: Names = Names {
    size: "height",
    kernel: "kernel height",
    stride: "vertical stride",
    dilation: "vertical dilation",
    padded: "padded height",
    dilated: "dilated kernel height",
};

const HORIZONTAL: Names = Names {
    size: "width",
    kernel: "kernel width",
    stride: "horizontal stride",
    dilation: "horizontal dilation",
    padded: "padded width",
    dilated: "dilated kernel width",
};

/// How many pixels indices can tell apart, since the greatest is that of padding.
const MAX: u128 = u32::MAX as u128;

impl Axis {
    /// The number of output pixels. If there is one, no pixel of a padded image has a coordinate above [`MAX`].
    ///
    /// # Errors
    /// [`Error::Range`] if a number is 0, the padded image too large, or the kernel larger than that.
    fn outputs(&self, names: &Names) -> Result<usize, Error> {
        let [size, kernel, stride, dilation, before, after] =
            [self.size, self.kernel, self.stride, self.dilation, self.before, self.after].map(as_u128);
        for (name, number) in
            [(names.size, size), (names.kernel, kernel), (names.stride, stride), (names.dilation, dilation)]
        {
            check(name, number, 1, u128::MAX)?;
        }
        let padded = before + size + after;
        check(names.padded, padded, 1, MAX)?;
        let dilated = (kernel - 1) * dilation + 1;
        check(names.dilated, dilated, 1, padded)?;
        // It is at most the padded size, which fits 32 bits.
        Ok(((padded - dilated) / stride + 1) as usize)
    }

    /// The pixel that a tap of an output pixel lies on; `None` if it is padding. The output pixel and the tap exist.
    fn under_tap(&self, output: usize, tap: usize) -> Option<usize> {
        let in_padded = output * self.stride + tap * self.dilation;
        in_padded.checked_sub(self.before).filter(|&pixel| pixel < self.size)
    }
}

fn as_u128(number: usize) -> u128 {
    number as u128
}

/// The product, or the greatest number.
fn product<const N: usize>(numbers: [usize; N]) -> u128 {
    numbers.into_iter().fold(1, |product: u128, number| product.saturating_mul(as_u128(number)))
}

/// # Errors
/// [`Error::Range`] if the number is outside `min..=max`.
fn check(argument: &'static str, got: u128, min: u128, max: u128) -> Result<(), Error> {
    let as_i64 = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(Error::Range { argument, got: as_i64(got), min: as_i64(min), max: as_i64(max) })
}
