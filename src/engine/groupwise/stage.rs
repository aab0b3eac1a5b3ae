//! The output stage of group-wise products, where the kernel does not do it.

use crate::engine::epilogue::in_kernel::apply_activation;
use crate::output::dequantize::{Dequantize, FloatResidual};
use crate::output::region::Region;
use multiversion::multiversion;
use qgemm_kernels::{BlockMut, PANEL, clamp};

/// Whether the kernel does the stage: without scales of columns or residual, to rows that are slices.
pub(super) fn suits_kernel(dequant: &Dequantize<'_>, c: &BlockMut<'_, f32>) -> bool {
    dequant.scale.columns().is_none() && dequant.residual.is_none() && c.rows_are_slices()
}

/// Makes a region of the output, of at most [`PANEL`] columns, from sums that were multiplied by the scales of the weights
/// and, if there are such, of the groups of A. `row_scales` has a scale for each row of the region. Sums of a row are
/// [`PANEL`] apart.
pub(super) fn finish(
    sums: &[f32],
    row_scales: &[f32],
    dequant: &Dequantize<'_>,
    region: &Region,
    c: &mut BlockMut<'_, f32>,
) {
    let columns = region.columns.clone();
    let some =
        |values: Option<&_>| -> Option<&[f32]> { values.map(|values: &&[f32]| &values[columns.clone()]) };
    let (scales, bias) = (some(dequant.scale.columns().as_ref()), some(dequant.bias.as_ref()));
    let mut block = region.of(c);
    for (i, row_scale) in row_scales.iter().enumerate() {
        let sums = &sums[i * PANEL..][..columns.len()];
        let residual = dequant.residual.map(|residual| values_of_residual(residual, region, i, &mut block));
        let row =
            Row { sums, scale: *row_scale, scales, bias, residual: residual.as_ref(), clamp: dequant.clamp };
        let mut values = [0f32; PANEL];
        let values = &mut values[..columns.len()];
        match block.row_mut(i) {
            Some(to) => finish_row(row, to),
            None => {
                finish_row(row, values);
                for (j, value) in values.iter().enumerate() {
                    *block.get_mut(i, j).expect("the block has this shape") = *value;
                }
            }
        }
    }
}

/// The values of a residual for row `i` of a region.
fn values_of_residual(
    residual: FloatResidual<'_>,
    region: &Region,
    i: usize,
    block: &mut BlockMut<'_, f32>,
) -> [f32; PANEL] {
    let mut values = [0f32; PANEL];
    let columns = region.columns.clone();
    let to = &mut values[..columns.len()];
    let row = region.rows.start + i;
    match residual {
        FloatResidual::Output => match block.row_mut(i) {
            Some(from) => to.copy_from_slice(from),
            None => {
                for (j, to) in to.iter_mut().enumerate() {
                    *to = *block.get_mut(i, j).expect("the block has this shape");
                }
            }
        },
        FloatResidual::Matrix(matrix) if matrix.rows_are_slices() => {
            to.copy_from_slice(&matrix.data_from_row(row)[columns]);
        }
        FloatResidual::Matrix(matrix) => matrix.copy_row(row, columns.start, to),
    }
    values
}

/// A row of a region, as it is finished.
#[derive(Clone, Copy)]
struct Row<'a> {
    sums: &'a [f32],
    scale: f32,
    /// Scales of columns.
    scales: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32; PANEL]>,
    clamp: (f32, f32),
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn finish_row(row: Row<'_>, to: &mut [f32]) {
    let Row { sums, scale, scales, bias, residual, clamp: (lo, hi) } = row;
    match scales {
        None => to.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum * scale),
        Some(scales) => {
            let factors = scales.iter().map(|column| scale * column);
            to.iter_mut().zip(sums).zip(factors).for_each(|((y, sum), factor)| *y = sum * factor);
        }
    }
    if let Some(bias) = bias {
        to.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
    }
    if let Some(residual) = residual {
        to.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
    }
    to.iter_mut().for_each(|y| *y = clamp(*y, lo, hi));
}

/// Applies the activation of the stage to a region.
pub(super) fn activate(dequant: &Dequantize<'_>, region: &Region, c: &mut BlockMut<'_, f32>) {
    if let Some(activation) = dequant.activation {
        apply_activation(activation, &mut region.of(c));
    }
}
