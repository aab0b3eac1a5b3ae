//! The output stage of group-wise products, where the kernel does not do it.

use crate::engine::epilogue::in_kernel::apply_activation;
use crate::output::dequantize::{Dequantize, FloatResidual};
use crate::output::region::Region;
use qgemm_kernels::BlockMut;

/// The stage as the kernel does it, if it can: without scales of columns or residual, to rows that are slices.
pub(super) fn suits_kernel(dequant: &Dequantize<'_>, c: &BlockMut<'_, f32>) -> bool {
    dequant.scale.columns().is_none() && dequant.residual.is_none() && c.rows_are_slices()
}

/// Makes a region of the output from sums that were multiplied by the scales of the weights and, if there are such, of the
/// groups of A. `row_scales` has a scale for each row of the region. Sums of a row are `stride` apart.
pub(super) fn finish(
    sums: &[f32],
    stride: usize,
    row_scales: &[f32],
    dequant: &Dequantize<'_>,
    region: &Region,
    c: &mut BlockMut<'_, f32>,
) {
    let (lo, hi) = dequant.clamp;
    for (i, row_scale) in row_scales.iter().enumerate() {
        for (left, j) in region.columns.clone().enumerate() {
            let factor = dequant.scale.columns().map_or(*row_scale, |columns| row_scale * columns[j]);
            let Some(c) = c.get_mut(region.top + i, region.left + left) else { continue };
            let mut y = sums[i * stride + left] * factor;
            if let Some(bias) = dequant.bias {
                y += bias[j];
            }
            match dequant.residual {
                None => (),
                Some(FloatResidual::Output) => y += *c,
                Some(FloatResidual::Matrix(matrix)) => {
                    y += matrix.get(region.rows.start + i, j).expect("the shapes were checked");
                }
            }
            // One NaN for all CPUs.
            *c = if y.is_nan() {
                f32::from_bits(0x7fc0_0000)
            } else if y < lo {
                lo
            } else if y > hi {
                hi
            } else {
                y
            };
        }
    }
}

/// Applies the activation of the stage to a region.
pub(super) fn activate(dequant: &Dequantize<'_>, region: &Region, c: &mut BlockMut<'_, f32>) {
    if let Some(activation) = dequant.activation {
        apply_activation(activation, &mut region.of(c));
    }
}
