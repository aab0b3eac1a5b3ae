//! What becomes of the sums of a tile: they are stored, or scaled to 8 bits or f32 while in registers.
//!
//! Every step rounds to nearest even, by itself (the sum's conversion, the product of the two scales, its
//! product with the sum, the sum with the bias), so that all kernels give the same bits:
//!
//! ```text
//!   scale = row_scale[i] · scale[j]                                  (scale[j] alone, without row scales)
//!   bytes   clamp( round_half_even( f32(sum) · scale ) + zero_point, lo, hi )
//!   floats  clamp( f32(sum) · scale + bias[j], lo, hi )
//! ```
//!
//! With [`F64Terms`] terms it is `f32(f64(sum) + col[j] + row[i])` in place of `f32(sum)`, and with a [`TileResidual`] its
//! value is added before rounding, as `f32(value - zero_point) · scale`.
//!
//! Or in integers, products in 64 bits and all else in 32, shifts to the right rounding down:
//!
//! ```text
//!   high  = (sum·m[j] + nudge[j] (- 1 where `away` and sum·m[j] < 0)) >> 31
//!   low   = high (- negative[j] where high < 0)
//!   bytes   clamp( (((low >> before[j]) + one[j]) >> one[j]) + zero_point, lo, hi )
//! ```
//!
//! Kernels clamp the rounded value to i16, add the zero point in i16 and clamp to 8 bits, each by an
//! instruction that saturates: where |zero_point| <= [`MAX_ZERO_POINT`], what the first clamp cuts off is
//! far outside 8 bits after the addition as well.

use crate::block::BlockMut;
use crate::contract::limits::MAX_NR;

/// The greatest magnitude of a zero point that fused kernels add.
pub const MAX_ZERO_POINT: i32 = 1 << 14;

/// Terms that do not fit 32 bits: integers whose sums with each other and with any sum are below 2^53.
#[derive(Clone, Copy)]
pub struct F64Terms<'a> {
    /// NR values per panel.
    pub col: &'a [f64],
    /// A value per row, where they are not all 0.
    pub row: Option<&'a [f64]>,
}

/// A matrix of the output's shape that is added.
#[derive(Clone, Copy)]
pub struct TileResidual<'a> {
    /// The bits of its elements, from the first column on.
    pub bits: &'a [u8],
    /// Elements from one row to the next.
    pub stride: usize,
    /// Whether they are i8, else u8.
    pub signed: bool,
    /// At most 2^30 from 0.
    pub zero_point: i32,
    /// Such that all products are finite.
    pub scale: f32,
}

impl TileResidual<'_> {
    /// What to XOR to its bytes for values of u8, and what to take off those.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) fn less(&self) -> (u8, i32) {
        if self.signed { (0x80, self.zero_point + 128) } else { (0, self.zero_point) }
    }
}

/// To 8 bits.
#[derive(Clone, Copy)]
pub struct TileRequantize<'a> {
    /// In f64.
    pub real: Option<F64Terms<'a>>,
    /// Added before rounding.
    pub residual: Option<TileResidual<'a>>,
    /// NR values per panel, finite and not negative.
    pub scale: &'a [f32],
    /// A value per row, finite and not negative, whose products with `scale` are finite.
    pub row_scale: Option<&'a [f32]>,
    /// Whether no scale, or product of two, is more than 1/2, for what is rounded not to be more than 2^30.
    pub at_most_half: bool,
    /// At most [`MAX_ZERO_POINT`] from 0.
    pub zero_point: i32,
    /// The least and the greatest result: of i8, or of u8.
    pub range: (i32, i32),
}

/// To 8 bits in integers.
#[derive(Clone, Copy)]
pub struct TileFixedPoint<'a> {
    /// NR values per panel, not negative.
    pub m: &'a [i32],
    /// NR values per panel, of 0 to 2^30.
    pub nudge: &'a [i32],
    /// NR values per panel, of 0 or 1.
    pub negative: &'a [i32],
    /// NR values per panel, of 0 to 31.
    pub before: &'a [i32],
    /// NR values per panel, of 0 or 1.
    pub one: &'a [i32],
    /// Whether negative products are less by one.
    pub away: bool,
    /// As in [`TileRequantize`].
    pub zero_point: i32,
    /// As in [`TileRequantize`].
    pub range: (i32, i32),
}

/// To f32.
#[derive(Clone, Copy)]
pub struct TileDequantize<'a> {
    /// In f64.
    pub real: Option<F64Terms<'a>>,
    /// NR values per panel, as in [`TileRequantize`].
    pub scale: &'a [f32],
    /// As in [`TileRequantize`].
    pub row_scale: Option<&'a [f32]>,
    /// NR values per panel, if there is one.
    pub bias: Option<&'a [f32]>,
    /// The least and the greatest result; NaN stays NaN.
    pub range: (f32, f32),
}

/// Where a product goes, a row per row of A.
pub enum Output<'o, 'c> {
    /// The sums themselves, stored or added to what is there.
    Sums {
        /// The block.
        c: &'o mut BlockMut<'c, i32>,
        /// Whether to add.
        accumulate: bool,
    },
    /// The bit patterns of 8-bit values.
    Bytes {
        /// The block.
        c: &'o mut BlockMut<'c, u8>,
        /// How they are made.
        stage: TileRequantize<'o>,
    },
    /// The same, made in integers.
    FixedBytes {
        /// The block.
        c: &'o mut BlockMut<'c, u8>,
        /// How they are made.
        stage: TileFixedPoint<'o>,
    },
    /// f32 values.
    Floats {
        /// The block.
        c: &'o mut BlockMut<'c, f32>,
        /// How they are made.
        stage: TileDequantize<'o>,
    },
}

/// No bias: adding -0.0 changes nothing, not even the sign of a zero. As wide as two panels, the most of a call.
pub static NO_BIAS: [f32; 2 * MAX_NR] = [-0.0; 2 * MAX_NR];

impl TileDequantize<'_> {
    /// The bias of the columns from `left` on: of those of the panels of a call at least.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    #[inline(always)]
    pub(crate) fn bias_from(&self, left: usize) -> *const f32 {
        self.bias.map_or(NO_BIAS.as_ptr(), |bias| bias.as_ptr().wrapping_add(left))
    }
}

impl Output<'_, '_> {
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Output::Sums { c, .. } => (c.rows(), c.cols()),
            Output::Bytes { c, .. } | Output::FixedBytes { c, .. } => (c.rows(), c.cols()),
            Output::Floats { c, .. } => (c.rows(), c.cols()),
        }
    }

    /// Whether rows are slices, scales and biases long enough for so many rows and columns, those that pad panels
    /// among them, and the zero point and the range such as kernels can work with.
    pub(crate) fn fits(&self, rows: usize, padded: usize) -> bool {
        let long = |scale: &[f32], row_scale: Option<&[f32]>| {
            scale.len() >= padded && row_scale.is_none_or(|scale| scale.len() >= rows)
        };
        let real = |real: Option<F64Terms<'_>>| {
            real.is_none_or(|real| real.col.len() >= padded && real.row.is_none_or(|row| row.len() >= rows))
        };
        let added = |residual: &Option<TileResidual<'_>>, cols: usize| {
            let Some(TileResidual { bits, stride, .. }) = residual else { return true };
            let last = (rows - 1).checked_mul(*stride).and_then(|last| last.checked_add(cols));
            last.is_some_and(|need| need <= bits.len())
        };
        let within = |(lo, hi): (i32, i32), zero_point: i32| {
            let range = -128 <= lo && hi <= 127 || 0 <= lo && hi <= 255;
            range && (-MAX_ZERO_POINT..=MAX_ZERO_POINT).contains(&zero_point)
        };
        match self {
            Output::Sums { c, .. } => c.rows_are_slices(),
            Output::Bytes { c, stage } => {
                c.rows_are_slices()
                    && long(stage.scale, stage.row_scale)
                    && within(stage.range, stage.zero_point)
                    && real(stage.real)
                    && added(&stage.residual, c.cols())
            }
            Output::FixedBytes { c, stage } => {
                let TileFixedPoint { m, nudge, negative, before, one, zero_point, range, .. } = stage;
                let long = [m, nudge, negative, before, one].iter().all(|values| values.len() >= padded);
                c.rows_are_slices() && long && within(*range, *zero_point)
            }
            Output::Floats { c, stage } => {
                let TileDequantize { scale, row_scale, bias, .. } = *stage;
                c.rows_are_slices()
                    && long(scale, row_scale)
                    && bias.is_none_or(|bias| bias.len() >= padded)
                    && real(stage.real)
            }
        }
    }
}

/// Products of a value per row and a value per column, which are taken off the sums.
#[derive(Clone, Copy)]
pub struct OuterProduct<'a> {
    /// A value per row.
    pub row: &'a [i32],
    /// NR values per panel.
    pub col: &'a [i32],
}
