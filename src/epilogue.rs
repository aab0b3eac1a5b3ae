//! The output stage of some columns, and whether a kernel goes through it in registers; `store` does it
//! otherwise.

use crate::factors::Factors;
use crate::fixed::{Multipliers, Rounding};
use crate::output::Scaling;
use crate::scale::Scale;
use crate::sink::{Bytes, Part, Sink};
use crate::store;
use crate::terms::PerColumn;
use qgemm_kernels::MAX_NR;
use qgemm_kernels::finish::{self, Output};
use std::ops::Range;

/// The output stage of one panel's columns.
#[allow(clippy::large_enum_variant)] // It lives on the stack of the loop over panels.
pub(crate) enum Stage {
    I32 { accumulate: bool },
    Bytes(Rescale),
    Fixed(Fixed),
    Real(Real),
    F32 { scale: PerColumn<f32>, bias: PerColumn<f32>, clamp: (f32, f32) },
}

/// To 8 bits: `round_half_even(clamp(sum · scale, lo, hi)) + zero_point`.
pub(crate) struct Rescale {
    pub(crate) scale: PerColumn<f32>,
    pub(crate) zero_point: i32,
    range: (i32, i32),
    /// The ends of the output range less the zero point; integers, exact in f32.
    pub(crate) lo: f32,
    pub(crate) hi: f32,
}

/// To 8 bits in integers: what [`Multiplier::apply`](crate::Multiplier::apply) needs, prepared so that
/// all lanes can do the same.
pub(crate) struct Fixed {
    pub(crate) rounding: Rounding,
    pub(crate) m: PerColumn<i32>,
    /// By how much sums are shifted left; and whether any are.
    pub(crate) left: PerColumn<i32>,
    pub(crate) any_left: bool,
    /// A right shift by `right` bits that rounds is one by `before`, the addition of `one` (0 or 1) and
    /// another shift by that.
    pub(crate) before: PerColumn<i32>,
    pub(crate) one: PerColumn<i32>,
    /// By how much a whole product is shifted, and half of that power of two.
    pub(crate) all: PerColumn<i64>,
    pub(crate) half: PerColumn<i64>,
    pub(crate) zero_point: i32,
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
        let [m, left, before, one] = [[0; MAX_NR]; 4];
        let (zero_point, lo, hi) =
            (output.zero_point, output.lo - output.zero_point, output.hi - output.zero_point);
        let (all, half) = ([31; MAX_NR], [1 << 30; MAX_NR]);
        let mut p = Self { rounding, m, left, any_left: false, before, one, all, half, zero_point, lo, hi };
        for (l, j) in columns.enumerate() {
            let multiplier = multipliers.at(j);
            let shift = multiplier.shift();
            p.m[l] = multiplier.m();
            p.left[l] = shift.max(0);
            p.any_left |= shift > 0;
            p.before[l] = (-shift - 1).max(0);
            p.one[l] = i32::from(shift < 0);
            p.all[l] = i64::from(31 - shift);
            p.half[l] = 1 << (30 - shift);
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
    fn new(output: &Bytes<'_>, factors: Factors<'_>, columns: Range<usize>) -> Self {
        let mut factor = [0.0; MAX_NR];
        columns.zip(&mut factor).for_each(|(j, factor)| *factor = factors.at(j));
        let zero_point = output.zero_point;
        let (lo, hi) = (f64::from(output.lo - zero_point), f64::from(output.hi - zero_point));
        Self { factor, zero_point, lo, hi }
    }
}

impl Stage {
    /// For these columns of the whole output.
    #[inline]
    pub(crate) fn new(sink: &Sink<'_, '_>, columns: Range<usize>) -> Self {
        let of = |values: &[f32]| {
            let mut padded = [0.0; MAX_NR];
            padded[..columns.len()].copy_from_slice(&values[columns.clone()]);
            padded
        };
        let scale = |scale: &Scale<'_>| match scale {
            Scale::PerTensor(scale) => [*scale; MAX_NR],
            Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => of(columns),
            // A product with 1 is exact.
            Scale::PerRow(_) => [1.0; MAX_NR],
        };
        match sink {
            Sink::I32 { accumulate, .. } => Stage::I32 { accumulate: *accumulate },
            Sink::Bytes { output, .. } => match &output.scaling {
                Scaling::Float(factors) => Stage::Bytes(Rescale {
                    scale: scale(factors),
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
                scale: scale(&output.scale),
                // Adding -0.0 changes nothing, not even the sign of a zero.
                bias: output.bias.map_or([-0.0; MAX_NR], of),
                clamp: output.clamp,
            },
        }
    }
}

/// Calls `run` with a part of `sink`, where a kernel can store to it; whether it did.
#[inline(always)]
pub(crate) fn with_output(
    sink: &mut Sink<'_, '_>,
    stage: &Stage,
    part: &Part,
    fused: bool,
    run: impl FnOnce(Output<'_, '_>),
) -> bool {
    match (sink, stage) {
        (Sink::I32 { c, accumulate }, _) if c.rows_are_slices() => {
            run(Output::Sums { c: &mut part.of(c), accumulate: *accumulate });
        }
        (Sink::Bytes { c, output }, Stage::Bytes(p))
            if fused
                && c.rows_are_slices()
                && p.zero_point.abs() <= finish::MAX_ZERO_POINT
                && output.residual.is_none() =>
        {
            let Rescale { scale, zero_point, range, .. } = p;
            let row_scale = output.row_scale(part);
            let stage = finish::Rescale { scale, row_scale, zero_point: *zero_point, range: *range };
            let mut c = part.of(c);
            run(Output::Bytes { c: &mut c, stage });
            if let Some(table) = output.table {
                store::look_up(&mut c, table);
            }
        }
        (Sink::F32 { c, output }, Stage::F32 { scale, bias, clamp }) if fused && c.rows_are_slices() => {
            let row_scale = output.scale.rows(part.rows.clone());
            let stage = finish::Scaled { scale, row_scale, bias, range: *clamp };
            run(Output::Floats { c: &mut part.of(c), stage });
        }
        _ => return false,
    }
    true
}
