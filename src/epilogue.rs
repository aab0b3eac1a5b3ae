//! The output stage of some columns, and whether a kernel goes through it in registers; `store` does it
//! otherwise.

use crate::factors::F64Factors;
use crate::fixed::{Multipliers, Rounding};
use crate::output::Scaling;
use crate::scale::{Scale, at_most_half};
use crate::sink::{Bytes, Part, Sink};
use crate::terms::PerColumn;
use qgemm_kernels::{
    F64Terms, MAX_NR, MAX_ZERO_POINT, Output, TileDequantize, TileFixedPoint, TileRequantize, look_up,
};
use std::ops::Range;

/// So many columns are finished together at most: those of several panels, where [`stored_by_kernel`].
pub(crate) const AT_ONCE: usize = 4096;

/// The output stage of some columns: of one panel, or of several. What it has a value of per column is padded to whole
/// panels, and to MAX_NR.
#[allow(clippy::large_enum_variant)] // It lives on the stack of the loop over panels.
pub(crate) enum Stage<'a> {
    I32 { accumulate: bool },
    Bytes(Rescale<'a>),
    Fixed(Fixed),
    Real(Real),
    F32 { scale: &'a [f32], bias: Option<&'a [f32]>, clamp: (f32, f32) },
}

/// Room for the factors and the bias of some columns, padded, where those are not used as they came.
pub(crate) struct Room<'a> {
    pub(crate) scale: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

/// To 8 bits: `round_half_even(clamp(sum · scale, lo, hi)) + zero_point`.
pub(crate) struct Rescale<'a> {
    pub(crate) scale: &'a [f32],
    /// Whether no scale is more than 1/2.
    at_most_half: bool,
    pub(crate) zero_point: i32,
    range: (i32, i32),
    /// The ends of the output range less the zero point; integers, exact in f32.
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

/// To 8 bits in integers: what [`Multiplier::apply`](crate::Multiplier::apply) computes, arranged so that
/// all lanes do the same, whatever the rounding: see `finish` for how.
///
/// m is not negative, so gemmlowp's nudge and division that truncates are `(product + 2^30) >> 31`. A right
/// shift by `right` > 0 that rounds half up is `((x >> (right - 1)) + 1) >> 1`; it rounds half away from zero
/// if a negative x is less by one, which takes a tie, and nothing else, below. Rounded once, half up, the
/// product is shifted right by 31 without a nudge, as rounding down twice is rounding down once; half away
/// from zero it is so if a negative product is less by one.
pub(crate) struct Fixed {
    pub(crate) m: PerColumn<i32>,
    pub(crate) nudge: PerColumn<i32>,
    pub(crate) negative: PerColumn<i32>,
    pub(crate) before: PerColumn<i32>,
    pub(crate) one: PerColumn<i32>,
    pub(crate) away: bool,
    /// By how much sums are shifted left, saturated, before; and whether any are. What saturates would be far
    /// outside 8 bits without that too, so it serves the roundings that do not say so as well.
    pub(crate) left: PerColumn<i32>,
    pub(crate) any_left: bool,
    pub(crate) zero_point: i32,
    range: (i32, i32),
    /// The ends of the output range less the zero point.
    pub(crate) lo: i32,
    pub(crate) hi: i32,
}

impl Fixed {
    fn new(
        output: &Bytes<'_>,
        multipliers: Multipliers<'_>,
        rounding: Rounding,
        columns: Range<usize>,
    ) -> Self {
        let none = [0; MAX_NR];
        let (zero_point, range) = (output.zero_point, (output.lo, output.hi));
        let mut p = Self {
            m: none,
            nudge: none,
            negative: none,
            before: none,
            one: none,
            away: rounding == Rounding::Reference,
            left: none,
            any_left: false,
            zero_point,
            range,
            lo: range.0 - zero_point,
            hi: range.1 - zero_point,
        };
        let twice = matches!(rounding, Rounding::Gemmlowp | Rounding::Ruy);
        for (l, j) in columns.enumerate() {
            let multiplier = multipliers.at(j);
            let (left, right) = (multiplier.shift().max(0), (-multiplier.shift()).max(0));
            p.m[l] = multiplier.m();
            p.nudge[l] = if twice || right == 0 { 1 << 30 } else { 0 };
            p.before[l] = (right - 1).max(0);
            p.one[l] = right.min(1);
            p.negative[l] = if rounding == Rounding::Gemmlowp { p.one[l] } else { 0 };
            p.left[l] = left;
            p.any_left |= left > 0;
        }
        p
    }
}

/// To 8 bits: `round_half_away(clamp(f64(sum) · factor, lo, hi)) + zero_point`.
pub(crate) struct Real {
    pub(crate) factor: PerColumn<f64>,
    pub(crate) zero_point: i32,
    /// The ends of the output range less the zero point.
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

impl Real {
    fn new(output: &Bytes<'_>, factors: F64Factors<'_>, columns: Range<usize>) -> Self {
        let mut factor = [0.0; MAX_NR];
        columns.zip(&mut factor).for_each(|(j, factor)| *factor = factors.at(j));
        let zero_point = output.zero_point;
        let (lo, hi) = (f64::from(output.lo - zero_point), f64::from(output.hi - zero_point));
        Self { factor, zero_point, lo, hi }
    }
}

impl<'a> Stage<'a> {
    /// For these columns of the whole output, in panels of `nr`.
    #[inline]
    pub(crate) fn new<'o: 'a>(sink: &Sink<'_, 'o>, columns: Range<usize>, nr: usize, room: Room<'a>) -> Self {
        let len = columns.len().next_multiple_of(nr).max(MAX_NR);
        let of = |values: &'o [f32], room: &'a mut [f32]| -> &'a [f32] {
            let values = &values[columns.clone()];
            if values.len() == len {
                return values;
            }
            room[..values.len()].copy_from_slice(values);
            &room[..len]
        };
        let all = |value: f32, room: &'a mut [f32]| -> &'a [f32] {
            room[..len].fill(value);
            &room[..len]
        };
        let scale = |scale: &Scale<'o>, room| match scale {
            Scale::PerTensor(scale) => all(*scale, room),
            Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => of(columns, room),
            // A product with 1 is exact.
            Scale::PerRow(_) => all(1.0, room),
        };
        match sink {
            Sink::I32 { accumulate, .. } => Stage::I32 { accumulate: *accumulate },
            Sink::Bytes { output, .. } => match &output.scaling {
                Scaling::Float(factors) => Stage::Bytes(Rescale {
                    scale: scale(factors, room.scale),
                    at_most_half: match factors {
                        Scale::PerTensor(scale) => *scale <= 0.5,
                        Scale::PerColumn(scales) => at_most_half(&scales[columns.clone()]),
                        Scale::PerRow(_) | Scale::RowsByColumns { .. } => false,
                    },
                    zero_point: output.zero_point,
                    range: (output.lo, output.hi),
                    lo: (output.lo - output.zero_point) as f32,
                    hi: (output.hi - output.zero_point) as f32,
                }),
                Scaling::Fixed(multipliers, rounding) => {
                    Stage::Fixed(Fixed::new(output, *multipliers, *rounding, columns))
                }
                Scaling::Real(factors) => Stage::Real(Real::new(output, *factors, columns)),
            },
            Sink::F32 { output, .. } => Stage::F32 {
                scale: scale(&output.scale, room.scale),
                bias: output.bias.map(|bias| of(bias, room.bias)),
                clamp: output.clamp,
            },
        }
    }
}

/// Whether kernels store such an output themselves, of as many panels as they are given.
#[inline]
pub(crate) fn stored_by_kernel(sink: &Sink<'_, '_>, fused: bool) -> bool {
    match sink {
        Sink::I32 { c, .. } => c.rows_are_slices(),
        Sink::Bytes { c, output } => {
            fused
                && c.rows_are_slices()
                && matches!(output.scaling, Scaling::Float(_))
                && output.zero_point.abs() <= MAX_ZERO_POINT
                && output.residual.is_none_or(|residual| residual.matrix.bits.rows_are_slices())
        }
        Sink::F32 { c, .. } => fused && c.rows_are_slices(),
    }
}

/// Calls `run` with a part of `sink`, where a kernel can store to it; whether it did. `real` are terms in f64 that
/// belong to the sums.
#[inline(always)]
pub(crate) fn with_output(
    sink: &mut Sink<'_, '_>,
    stage: &Stage<'_>,
    part: &Part,
    real: Option<F64Terms<'_>>,
    fused: bool,
    run: impl FnOnce(Output<'_, '_>),
) -> bool {
    let stored = stored_by_kernel(sink, fused);
    match (sink, stage) {
        (Sink::I32 { c, accumulate }, _) if stored => {
            run(Output::Sums { c: &mut part.of(c), accumulate: *accumulate });
        }
        (Sink::Bytes { c, output }, Stage::Bytes(p)) if stored => {
            let Rescale { scale, zero_point, range, at_most_half, .. } = p;
            let (zero_point, range, at_most_half) = (*zero_point, *range, *at_most_half);
            let row_scale = output.row_scale(part);
            let residual = output.residual.map(|residual| residual.part(part));
            let stage = TileRequantize { real, residual, scale, row_scale, at_most_half, zero_point, range };
            let mut c = part.of(c);
            run(Output::Bytes { c: &mut c, stage });
            if let Some(table) = output.table {
                look_up(&mut c, table);
            }
        }
        (Sink::Bytes { c, output }, Stage::Fixed(p))
            if fused
                && c.rows_are_slices()
                && p.zero_point.abs() <= MAX_ZERO_POINT
                && !p.any_left
                && real.is_none() =>
        {
            let Fixed { m, nudge, negative, before, one, away, zero_point, range, .. } = p;
            let (away, zero_point, range) = (*away, *zero_point, *range);
            let stage = TileFixedPoint { m, nudge, negative, before, one, away, zero_point, range };
            let mut c = part.of(c);
            run(Output::FixedBytes { c: &mut c, stage });
            if let Some(table) = output.table {
                look_up(&mut c, table);
            }
        }
        (Sink::F32 { c, output }, Stage::F32 { scale, bias, clamp }) if stored => {
            let row_scale = output.scale.rows(part.rows.clone());
            let stage = TileDequantize { real, scale, row_scale, bias: *bias, range: *clamp };
            run(Output::Floats { c: &mut part.of(c), stage });
        }
        _ => return false,
    }
    true
}
