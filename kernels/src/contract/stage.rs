//! The outputs of a tile: its sums are stored, or scaled to 8 bits or f32 while they are in registers.
//!
//! Each operation (the conversion of the sum, the product of the two scales, the product with the sum, the addition of
//! the bias) rounds to nearest even by itself, so that all kernels give the same bits:
//!
//! ```text
//!   scale = row_scale[i] · scale[j]                                  (scale[j] alone, without row scales)
//!   bytes   clamp( round_half_even( f32(sum) · scale + r ) + zero_point, lo, hi )
//!   floats  clamp( f32(sum) · scale + bias[j] + r, lo, hi )
//! ```
//!
//! With [`F64Terms`], `f32(f64(sum) + col[j] + row[i])` takes the place of `f32(sum)`. r is that of a residual, if there is
//! one: for bytes, `f32(value - zero_point) · scale` (see [`TileResidual`]).
//!
//! [`TileFixedPoint`] does it in integers. Products have 64 bits, all else 32, and shifts to the right round down:
//!
//! ```text
//!   high  = (sum·m[j] + nudge[j] (- 1 where `away` and sum·m[j] < 0)) >> 31
//!   low   = high (- negative[j] where high < 0)
//!   bytes   clamp( (((low >> before[j]) + one[j]) >> one[j]) + zero_point, lo, hi )
//! ```
//!
//! Kernels clamp the rounded value to i16, add the zero point in i16 and clamp to 8 bits, by instructions that
//! saturate. That is right where |zero_point| <= [`MAX_ZERO_POINT`]: a value that the first clamp changes is outside 8
//! bits after the addition in any case.

use crate::block::BlockMut;
use crate::contract::limits::MAX_NR;

/// The greatest magnitude of a zero point that fused kernels add.
pub const MAX_ZERO_POINT: i32 = 1 << 14;

/// Terms of the sums that do not fit 32 bits: integers whose sums with each other and with any sum of a tile are below
/// 2^53, so that f64 holds them exactly.
#[derive(Clone, Copy)]
pub struct F64Terms<'a> {
    /// NR values per panel.
    pub col: &'a [f64],
    /// A value per row; `None` if all are 0.
    pub row: Option<&'a [f64]>,
}

/// A matrix of the output's shape that is added to it.
#[derive(Clone, Copy)]
pub enum ResidualValues<'a, T> {
    /// Another matrix.
    Matrix {
        /// Its elements, from the output's first row and column on.
        from: &'a [T],
        /// Elements from one row to the next.
        stride: usize,
    },
    /// The output itself: the values that it holds before.
    Output,
}

impl<T> ResidualValues<'_, T> {
    /// The address of its element in row `row` and column `col`, both counted from the output's first. `output` is that of
    /// the output's element there.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    #[inline(always)]
    pub(crate) fn at(&self, row: usize, col: usize, output: *const T) -> *const T {
        match self {
            ResidualValues::Matrix { from, stride } => from.as_ptr().wrapping_add(row * stride + col),
            ResidualValues::Output => output,
        }
    }

    /// Whether it has an element for each of the output's.
    fn fits(&self, rows: usize, cols: usize) -> bool {
        match self {
            ResidualValues::Matrix { from, stride } => {
                let last = (rows - 1).checked_mul(*stride).and_then(|last| last.checked_add(cols));
                last.is_some_and(|need| need <= from.len())
            }
            ResidualValues::Output => true,
        }
    }
}

/// A residual of 8-bit values.
#[derive(Clone, Copy)]
pub struct TileResidual<'a> {
    /// The bits of its elements.
    pub values: ResidualValues<'a, u8>,
    /// Whether they are i8, else u8.
    pub signed: bool,
    /// The value of its elements that stands for 0: at most 2^30 from 0.
    pub zero_point: i32,
    /// The width of a step of its values, relative to that of the output: finite.
    pub scale: f32,
}

impl TileResidual<'_> {
    /// The mask that XORed with its bytes gives u8, and the zero point of that u8.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) fn as_u8(&self) -> (u8, i32) {
        if self.signed { (0x80, self.zero_point + 128) } else { (0, self.zero_point) }
    }
}

/// The stage that makes 8-bit values in f32.
#[derive(Clone, Copy)]
pub struct TileRequantize<'a> {
    /// Terms that are added to the sums in f64; `None` if there are none or i32 holds them.
    pub f64_terms: Option<F64Terms<'a>>,
    /// A matrix that is added before rounding.
    pub residual: Option<TileResidual<'a>>,
    /// NR values per panel, finite and not negative.
    pub scale: &'a [f32],
    /// A value per row, finite and not negative, whose products with `scale` are finite.
    pub row_scale: Option<&'a [f32]>,
    /// Whether every scale (with row scales: every product of two) is at most 1/2: then |f32(sum)·scale| <= 2^30, and
    /// kernels need not bound it before they convert it to an integer.
    pub at_most_half: bool,
    /// Added after rounding: at most [`MAX_ZERO_POINT`] from 0.
    pub zero_point: i32,
    /// The least and the greatest result: both of i8, or both of u8.
    pub range: (i32, i32),
}

/// The stage that makes 8-bit values in integers.
#[derive(Clone, Copy)]
pub struct TileFixedPoint<'a> {
    /// The multiplier: NR values per panel, not negative.
    pub m: &'a [i32],
    /// Added to the product before its shift by 31: NR values per panel, 0 to 2^30.
    pub nudge: &'a [i32],
    /// Subtracted where the shifted product is negative: NR values per panel, 0 or 1.
    pub negative: &'a [i32],
    /// The second shift, but for a last bit: NR values per panel, 0 to 31.
    pub before: &'a [i32],
    /// The last bit of the second shift, 0 or 1, which is rounded half up: NR values per panel.
    pub one: &'a [i32],
    /// Whether 1 is subtracted from negative products, for ties away from zero.
    pub away: bool,
    /// Added after rounding: at most [`MAX_ZERO_POINT`] from 0.
    pub zero_point: i32,
    /// The least and the greatest result: both of i8, or both of u8.
    pub range: (i32, i32),
}

/// The stage that makes f32 values.
#[derive(Clone, Copy)]
pub struct TileDequantize<'a> {
    /// Terms that are added to the sums in f64; `None` if there are none or i32 holds them.
    pub f64_terms: Option<F64Terms<'a>>,
    /// NR values per panel, as in [`TileRequantize`].
    pub scale: &'a [f32],
    /// A value per row, as in [`TileRequantize`].
    pub row_scale: Option<&'a [f32]>,
    /// NR values per panel, if there is one.
    pub bias: Option<&'a [f32]>,
    /// A matrix that is added after the bias.
    pub residual: Option<ResidualValues<'a, f32>>,
    /// The least and the greatest result; NaN stays NaN.
    pub range: (f32, f32),
}

/// The output of a product, with a row per row of A.
pub enum Output<'o, 'c> {
    /// The sums.
    Sums {
        /// The block.
        c: &'o mut BlockMut<'c, i32>,
        /// Whether they are added to the values that are there.
        accumulate: bool,
    },
    /// The bit patterns of 8-bit values.
    Bytes {
        /// The block.
        c: &'o mut BlockMut<'c, u8>,
        /// The scales and the range.
        stage: TileRequantize<'o>,
    },
    /// The bit patterns of 8-bit values that are made in integers.
    FixedBytes {
        /// The block.
        c: &'o mut BlockMut<'c, u8>,
        /// The multipliers, shifts and the range.
        stage: TileFixedPoint<'o>,
    },
    /// f32 values.
    Floats {
        /// The block.
        c: &'o mut BlockMut<'c, f32>,
        /// The scales and the range.
        stage: TileDequantize<'o>,
    },
}

/// The bias of columns that have none: adding -0.0 changes no value, not even the sign of a zero. Two panels are the
/// most columns of a call.
pub static NO_BIAS: [f32; 2 * MAX_NR] = [-0.0; 2 * MAX_NR];

impl TileDequantize<'_> {
    /// The bias of the columns of a call whose first one is `first_col`: valid for all columns of its panels.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    #[inline(always)]
    pub(crate) fn bias_from(&self, first_col: usize) -> *const f32 {
        self.bias.map_or(NO_BIAS.as_ptr(), |bias| bias.as_ptr().wrapping_add(first_col))
    }
}

impl Output<'_, '_> {
    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Output::Sums { c, .. } => (c.rows(), c.cols()),
            Output::Bytes { c, .. } | Output::FixedBytes { c, .. } => (c.rows(), c.cols()),
            Output::Floats { c, .. } => (c.rows(), c.cols()),
        }
    }

    /// Whether the rows are slices, the stage holds values for all rows and for all columns of whole panels (`padded`),
    /// and its zero point and range are such as kernels can work with.
    pub(crate) fn fits(&self, padded: usize) -> bool {
        let (rows, cols) = self.shape();
        match self {
            Output::Sums { c, .. } => c.rows_are_slices(),
            Output::Bytes { c, stage } => c.rows_are_slices() && stage.fits(rows, cols, padded),
            Output::FixedBytes { c, stage } => c.rows_are_slices() && stage.fits(cols, padded),
            Output::Floats { c, stage } => c.rows_are_slices() && stage.fits(rows, cols, padded),
        }
    }
}

/// Whether there are values for all `rows`, if there are any.
fn holds<T>(per_row: Option<&[T]>, rows: usize) -> bool {
    per_row.is_none_or(|values| values.len() >= rows)
}

impl F64Terms<'_> {
    fn fits(&self, rows: usize, padded: usize) -> bool {
        self.col.len() >= padded && holds(self.row, rows)
    }
}

impl TileResidual<'_> {
    fn fits(&self, rows: usize, cols: usize) -> bool {
        debug_assert!(self.scale.is_finite() && self.zero_point.unsigned_abs() <= 1 << 30);
        self.values.fits(rows, cols)
    }
}

/// Whether the range is one of i8 or u8, and the zero point is not too far from it.
fn fits_8_bits((lo, hi): (i32, i32), zero_point: i32) -> bool {
    let range = -128 <= lo && hi <= 127 || 0 <= lo && hi <= 255;
    range && (-MAX_ZERO_POINT..=MAX_ZERO_POINT).contains(&zero_point)
}

/// Whether scales are finite and not negative, products with those of rows too; and none above `most`.
fn are_scales(scale: &[f32], row_scale: Option<&[f32]>, most: f32) -> bool {
    let greatest = |scales: &[f32]| scales.iter().fold(0f32, |greatest, scale| greatest.max(*scale));
    let product = greatest(scale) * row_scale.map_or(1.0, greatest);
    let all = scale.iter().chain(row_scale.unwrap_or(&[]));
    all.clone().all(|scale| *scale >= 0.0) && product <= most
}

impl TileRequantize<'_> {
    fn fits(&self, rows: usize, cols: usize, padded: usize) -> bool {
        let fits = self.scale.len() >= padded
            && holds(self.row_scale, rows)
            && fits_8_bits(self.range, self.zero_point)
            && self.f64_terms.is_none_or(|terms| terms.fits(rows, padded))
            && self.residual.is_none_or(|residual| residual.fits(rows, cols));
        let most = if self.at_most_half { 0.5 } else { f32::MAX };
        debug_assert!(
            !fits || are_scales(&self.scale[..cols], self.row_scale.map(|scale| &scale[..rows]), most)
        );
        fits
    }
}

impl TileFixedPoint<'_> {
    fn fits(&self, cols: usize, padded: usize) -> bool {
        let Self { m, nudge, negative, before, one, .. } = self;
        let fits = [m, nudge, negative, before, one].iter().all(|values| values.len() >= padded)
            && fits_8_bits(self.range, self.zero_point);
        let within =
            |values: &[i32], most: i32| values[..cols].iter().all(|value| (0..=most).contains(value));
        debug_assert!(!fits || within(m, i32::MAX) && within(nudge, 1 << 30) && within(before, 31));
        debug_assert!(!fits || within(negative, 1) && within(one, 1));
        fits
    }
}

impl TileDequantize<'_> {
    fn fits(&self, rows: usize, cols: usize, padded: usize) -> bool {
        let fits = self.scale.len() >= padded
            && holds(self.row_scale, rows)
            && self.residual.is_none_or(|residual| residual.fits(rows, cols))
            && self.bias.is_none_or(|bias| bias.len() >= padded)
            && self.f64_terms.is_none_or(|terms| terms.fits(rows, padded));
        debug_assert!(
            !fits || are_scales(&self.scale[..cols], self.row_scale.map(|scale| &scale[..rows]), f32::MAX)
        );
        fits
    }
}

/// A value per row and a value per column, whose product is subtracted from the sum.
#[derive(Clone, Copy)]
pub struct OuterProduct<'a> {
    /// A value per row.
    pub row: &'a [i32],
    /// NR values per panel.
    pub col: &'a [i32],
}
