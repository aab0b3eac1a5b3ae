//! The output stage in a kernel, which makes the output while sums are in registers.

use crate::engine::epilogue::column_stage::{ColumnStage, FixedPointColumns, RequantColumns};
use crate::output::activation::Activation;
use crate::output::dequantize::Dequantize;
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::output::requant::{Requant, Scaling};
use qgemm_kernels::{
    BlockMut, F64Terms, MAX_ZERO_POINT, Output, TileDequantize, TileFixedPoint, TileRequantize, look_up,
};

/// Whether a kernel stores to this destination, whatever the number of panels in the call. `fused` tells whether it
/// makes 8-bit and f32 outputs at all.
#[inline]
pub(crate) fn stored_by_kernel(destination: &Destination<'_, '_>, fused: bool) -> bool {
    match destination {
        Destination::I32 { c, .. } => c.rows_are_slices(),
        Destination::Bytes { c, requant } => {
            fused
                && c.rows_are_slices()
                && matches!(requant.scaling, Scaling::Float(_))
                && requant.zero_point.abs() <= MAX_ZERO_POINT
                && requant.residual.is_none_or(|residual| residual.rows_are_slices())
        }
        Destination::F32 { c, dequant } => {
            fused && c.rows_are_slices() && dequant.residual.is_none_or(|residual| residual.rows_are_slices())
        }
    }
}

/// Whether a kernel stores the columns of one panel to this destination: also fixed-point outputs, whose multipliers are
/// prepared panel by panel, unless sums are shifted left first or have terms in f64.
#[inline]
pub(crate) fn panel_stored_by_kernel(
    destination: &Destination<'_, '_>,
    stage: &ColumnStage<'_>,
    fused: bool,
    f64_terms: bool,
) -> bool {
    match (destination, stage) {
        (Destination::Bytes { c, .. }, ColumnStage::FixedPoint(stage)) => {
            fused
                && c.rows_are_slices()
                && stage.zero_point.abs() <= MAX_ZERO_POINT
                && !stage.any_left
                && !f64_terms
        }
        _ => stored_by_kernel(destination, fused),
    }
}

/// Calls `run` with the kernel's form of a region of `destination`, and applies its table or activation.
///
/// # Panics
/// If no kernel stores to this destination: see [`panel_stored_by_kernel`].
#[inline(always)]
pub(crate) fn with_output(
    destination: &mut Destination<'_, '_>,
    stage: &ColumnStage<'_>,
    region: &Region,
    f64_terms: Option<F64Terms<'_>>,
    run: impl FnOnce(Output<'_, '_>),
) {
    match (&mut *destination, stage) {
        (Destination::I32 { c, accumulate }, _) => {
            run(Output::Sums { c: &mut region.of(c), accumulate: *accumulate });
        }
        (Destination::Bytes { c, requant }, ColumnStage::Requant(columns)) => {
            let RequantColumns { scale, zero_point, range, at_most_half, .. } = *columns;
            let row_scale = requant.row_scale(region);
            let residual = requant.residual.map(|residual| residual.of_region(region));
            let stage =
                TileRequantize { f64_terms, residual, scale, row_scale, at_most_half, zero_point, range };
            run(Output::Bytes { c: &mut region.of(c), stage });
        }
        (Destination::Bytes { c, .. }, ColumnStage::FixedPoint(columns)) => {
            let FixedPointColumns { m, nudge, negative, before, one, away, zero_point, range, .. } = columns;
            let (away, zero_point, range) = (*away, *zero_point, *range);
            let stage = TileFixedPoint { m, nudge, negative, before, one, away, zero_point, range };
            run(Output::FixedBytes { c: &mut region.of(c), stage });
        }
        (Destination::F32 { c, dequant }, ColumnStage::Dequant { scale, bias, clamp }) => {
            let row_scale = dequant.scale.rows(region.rows.clone());
            let residual = dequant.residual.map(|residual| residual.of_region(region));
            let stage = TileDequantize { f64_terms, scale, row_scale, bias: *bias, residual, range: *clamp };
            run(Output::Floats { c: &mut region.of(c), stage });
        }
        _ => unreachable!("the caller asked whether a kernel stores this"),
    }
    apply_function(destination, region);
}

/// Replaces the values of a region by those of the destination's table or activation, if it has one.
#[inline]
pub(crate) fn apply_function(destination: &mut Destination<'_, '_>, region: &Region) {
    match destination {
        Destination::Bytes { c, requant: Requant { table: Some(table), .. } } => {
            look_up(&mut region.of(c), table);
        }
        Destination::F32 { c, dequant: Dequantize { activation: Some(activation), .. } } => {
            apply_activation(*activation, &mut region.of(c));
        }
        _ => (),
    }
}

/// Replaces all values by those of an activation.
#[inline(never)]
pub(crate) fn apply_activation(activation: Activation, c: &mut BlockMut<'_, f32>) {
    for i in 0..c.rows() {
        if let Some(row) = c.row_mut(i) {
            activation.apply_to(row);
            continue;
        }
        for j in 0..c.cols() {
            let value = c.get_mut(i, j).expect("the block has this shape");
            activation.apply_to(std::slice::from_mut(value));
        }
    }
}
