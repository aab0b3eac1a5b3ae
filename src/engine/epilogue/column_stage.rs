//! The output stage of some columns, with a value per column where the stage has one.

use crate::buffer;
use crate::engine::plan::{MAX_FUSED_VALUES, PerColumn};
use crate::error::Error;
use crate::output::destination::Destination;
use crate::output::f64_factors::F64Factors;
use crate::output::fixed_point::{Multipliers, Rounding};
use crate::output::requant::{Requant, Scaling};
use crate::output::scale::{Scale, at_most_half};
use qgemm_kernels::MAX_NR;
use std::ops::Range;

/// The output stage of the columns of one panel, or of several where [`stored_by_kernel`] allows it. Values per column
/// are padded to whole panels, and to at least MAX_NR.
///
/// [`stored_by_kernel`]: crate::engine::epilogue::in_kernel::stored_by_kernel
#[allow(clippy::large_enum_variant)] // It lives on the stack of the loop over panels.
pub(crate) enum ColumnStage<'a> {
    I32 { accumulate: bool },
    Requant(RequantColumns<'a>),
    FixedPoint(FixedPointColumns),
    F64(F64Columns),
    Dequant { scale: &'a [f32], bias: Option<&'a [f32]>, clamp: (f32, f32) },
}

/// Memory for the padded scales and biases of some columns.
pub(crate) struct PadBuffers<'a> {
    pub(crate) scale: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

/// The [`PadBuffers`] of a thread, for as many columns as are finished together.
#[derive(Default)]
pub(crate) struct ColumnScratch {
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl ColumnScratch {
    /// Makes room for them.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self) -> Result<(), Error> {
        // What is last tells of both.
        if self.bias.is_empty() {
            for values in [&mut self.scale, &mut self.bias] {
                buffer::resize(values, MAX_FUSED_VALUES, "scales of columns")?;
            }
        }
        Ok(())
    }

    pub(crate) fn pad_buffers(&mut self) -> PadBuffers<'_> {
        PadBuffers { scale: &mut self.scale, bias: &mut self.bias }
    }
}

/// Float scales to 8 bits: `round_half_even(clamp(sum · scale, lo, hi)) + zero_point`.
pub(crate) struct RequantColumns<'a> {
    pub(crate) scale: &'a [f32],
    /// Whether no scale, with that of its row, is more than 1/2.
    pub(crate) at_most_half: bool,
    pub(crate) zero_point: i32,
    /// The least and the greatest output.
    pub(crate) range: (i32, i32),
    /// The ends of the range less the zero point: integers, exact in f32.
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

impl<'a> RequantColumns<'a> {
    fn new(requant: &Requant<'_>, scale: &'a [f32], at_most_half: bool) -> Self {
        let Requant { zero_point, lo, hi, .. } = *requant;
        let ends = ((lo - zero_point) as f32, (hi - zero_point) as f32);
        Self { scale, at_most_half, zero_point, range: (lo, hi), lo: ends.0, hi: ends.1 }
    }
}

/// Multipliers to 8 bits, in integers: the result of [`Multiplier::apply`](crate::Multiplier::apply), arranged so that
/// all lanes do the same, whatever the rounding. The kernels' `contract::stage` has the formula. The shift by `left`
/// comes before it.
///
/// m is not negative, so gemmlowp's nudge and division that truncates are `(product + 2^30) >> 31`. A right shift by
/// `right` > 0 that rounds half up is `((x >> (right - 1)) + 1) >> 1`; to round half away from zero, a negative x is
/// first decreased by one: that takes a tie below the half-way point, and changes no other result. Rounded once, half
/// up, the product is shifted right by 31 without a nudge, because rounding down twice is rounding down once; half away
/// from zero it is the same with a negative product decreased by one.
pub(crate) struct FixedPointColumns {
    pub(crate) m: PerColumn<i32>,
    pub(crate) nudge: PerColumn<i32>,
    pub(crate) negative: PerColumn<i32>,
    pub(crate) before: PerColumn<i32>,
    pub(crate) one: PerColumn<i32>,
    pub(crate) away: bool,
    /// The left shift of sums before they are multiplied, with saturation. Not all roundings are defined to saturate,
    /// but a saturated sum is outside 8 bits in any case, so one implementation serves all.
    pub(crate) left: PerColumn<i32>,
    /// Whether some left shift is not 0.
    pub(crate) any_left: bool,
    pub(crate) zero_point: i32,
    /// The least and the greatest output.
    pub(crate) range: (i32, i32),
    /// The ends of the range less the zero point.
    pub(crate) lo: i32,
    pub(crate) hi: i32,
}

impl FixedPointColumns {
    fn new(
        requant: &Requant<'_>,
        multipliers: Multipliers<'_>,
        rounding: Rounding,
        columns: Range<usize>,
    ) -> Self {
        let none = [0; MAX_NR];
        let Requant { zero_point, lo, hi, .. } = *requant;
        let mut stage = Self {
            m: none,
            nudge: none,
            negative: none,
            before: none,
            one: none,
            away: rounding == Rounding::Reference,
            left: none,
            any_left: false,
            zero_point,
            range: (lo, hi),
            lo: lo - zero_point,
            hi: hi - zero_point,
        };
        let rounds_twice = matches!(rounding, Rounding::Gemmlowp | Rounding::Ruy);
        for (l, j) in columns.enumerate() {
            let multiplier = multipliers.at(j);
            let (left, right) = (multiplier.shift().max(0), (-multiplier.shift()).max(0));
            stage.m[l] = multiplier.m();
            stage.nudge[l] = if rounds_twice || right == 0 { 1 << 30 } else { 0 };
            stage.before[l] = (right - 1).max(0);
            stage.one[l] = right.min(1);
            stage.negative[l] = if rounding == Rounding::Gemmlowp { stage.one[l] } else { 0 };
            stage.left[l] = left;
            stage.any_left |= left > 0;
        }
        stage
    }
}

/// f64 factors to 8 bits: `round_half_away(clamp(f64(sum) · factor, lo, hi)) + zero_point`.
pub(crate) struct F64Columns {
    pub(crate) factor: PerColumn<f64>,
    pub(crate) zero_point: i32,
    /// The ends of the output range less the zero point.
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

impl F64Columns {
    fn new(requant: &Requant<'_>, factors: F64Factors<'_>, columns: Range<usize>) -> Self {
        let mut factor = [0.0; MAX_NR];
        columns.zip(&mut factor).for_each(|(j, factor)| *factor = factors.at(j));
        let Requant { zero_point, lo, hi, .. } = *requant;
        Self { factor, zero_point, lo: f64::from(lo - zero_point), hi: f64::from(hi - zero_point) }
    }
}

/// The values of some columns, padded to `len`: as they are, if they have that length, else copied to `buffer`.
#[inline]
fn padded<'a>(values: &'a [f32], columns: Range<usize>, len: usize, buffer: &'a mut [f32]) -> &'a [f32] {
    let values = &values[columns];
    if values.len() == len {
        return values;
    }
    buffer[..values.len()].copy_from_slice(values);
    &buffer[..len]
}

/// The scales of some columns, padded to `len`; 1 if only rows have scales, since a product with 1 is exact.
#[inline]
fn padded_scale<'a>(
    scale: &Scale<'a>,
    columns: Range<usize>,
    len: usize,
    buffer: &'a mut [f32],
) -> &'a [f32] {
    let value = match scale {
        Scale::PerTensor(scale) => *scale,
        Scale::PerRow(_) => 1.0,
        Scale::PerColumn(scales) | Scale::RowsByColumns { columns: scales, .. } => {
            return padded(scales, columns, len, buffer);
        }
    };
    buffer[..len].fill(value);
    &buffer[..len]
}

impl<'a> ColumnStage<'a> {
    /// The stage of some columns of the whole output, with values for `len` columns, or more.
    #[inline]
    pub(crate) fn new<'o: 'a>(
        destination: &Destination<'_, 'o>,
        columns: Range<usize>,
        len: usize,
        pad: PadBuffers<'a>,
    ) -> Self {
        let len = len.max(MAX_NR);
        match destination {
            Destination::I32 { accumulate, .. } => ColumnStage::I32 { accumulate: *accumulate },
            Destination::Bytes { requant, .. } => match &requant.scaling {
                Scaling::Float(scale) => {
                    let at_most_half = match scale {
                        Scale::PerTensor(scale) => *scale <= 0.5,
                        Scale::PerColumn(scales) => at_most_half(&scales[columns.clone()]),
                        Scale::PerRow(_) | Scale::RowsByColumns { .. } => false,
                    };
                    let scale = padded_scale(scale, columns, len, pad.scale);
                    ColumnStage::Requant(RequantColumns::new(requant, scale, at_most_half))
                }
                Scaling::FixedPoint(multipliers, rounding) => {
                    ColumnStage::FixedPoint(FixedPointColumns::new(requant, *multipliers, *rounding, columns))
                }
                Scaling::F64(factors) => ColumnStage::F64(F64Columns::new(requant, *factors, columns)),
            },
            Destination::F32 { dequant, .. } => ColumnStage::Dequant {
                scale: padded_scale(&dequant.scale, columns.clone(), len, pad.scale),
                bias: dequant.bias.map(|bias| padded(bias, columns, len, pad.bias)),
                clamp: dequant.clamp,
            },
        }
    }
}
