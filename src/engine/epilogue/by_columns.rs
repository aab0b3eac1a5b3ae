//! Outputs whose columns are contiguous: a kernel stores some rows to scratch, from which they are transposed.

use crate::output::dequantize::{Dequantize, FloatResidual};
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::output::requant::Requant;
use qgemm_kernels::{BlockMut, transpose};

/// The destination of a tile of `rows` x `cols` in scratch memory, row by row, `ld` elements apart: with the stage of
/// `destination`, but never added to what is there. `None` unless columns of `destination` are contiguous and rows are not,
/// and where its values are added to the output, which scratch does not hold.
pub(crate) fn in_scratch<'s, 'o>(
    destination: &Destination<'_, 'o>,
    memory: &'s mut [i32],
    (rows, cols, ld): (usize, usize, usize),
) -> Option<Destination<'s, 'o>> {
    fn tile<T>(memory: &mut [T], (rows, cols, ld): (usize, usize, usize)) -> BlockMut<'_, T> {
        BlockMut::new(memory, rows, cols, ld, 1).expect("scratch holds a tile")
    }
    let shape = (rows, cols, ld);
    let by_columns = |row_stride: usize, rows_are_slices: bool| row_stride == 1 && !rows_are_slices;
    match destination {
        Destination::I32 { c, .. } if by_columns(c.row_stride(), c.rows_are_slices()) => {
            Some(Destination::I32 { c: tile(memory, shape), accumulate: false })
        }
        Destination::Bytes { requant: Requant { residual: Some(residual), .. }, .. }
            if residual.is_output() =>
        {
            None
        }
        Destination::F32 { dequant: Dequantize { residual: Some(FloatResidual::Output), .. }, .. } => None,
        Destination::Bytes { c, requant } if by_columns(c.row_stride(), c.rows_are_slices()) => {
            let c = tile(bytemuck::cast_slice_mut(memory), shape);
            Some(Destination::Bytes { c, requant: *requant })
        }
        Destination::F32 { c, dequant } if by_columns(c.row_stride(), c.rows_are_slices()) => {
            let c = tile(bytemuck::cast_slice_mut(memory), shape);
            Some(Destination::F32 { c, dequant: *dequant })
        }
        _ => None,
    }
}

/// Stores the tile that [`in_scratch`] holds to a region of `destination`, or adds it. `other` is as long as the tile.
pub(crate) fn store(
    destination: &mut Destination<'_, '_>,
    tile: &[i32],
    ld: usize,
    other: &mut [i32],
    region: &Region,
) {
    match destination {
        Destination::I32 { c, accumulate: false } => transpose(tile, ld, &mut region.of(c).transposed()),
        Destination::I32 { c, accumulate: true } => {
            let (rows, cols) = (region.rows.len(), region.columns.len());
            let mut sums = BlockMut::new(other, cols, rows, rows, 1).expect("scratch holds a tile");
            transpose(tile, ld, &mut sums);
            let mut c = region.of(c).transposed();
            for j in 0..cols {
                let column = c.row_mut(j).expect("columns are slices");
                let sums = sums.row_mut(j).expect("they were stored so");
                column.iter_mut().zip(sums).for_each(|(c, sum)| *c = c.wrapping_add(*sum));
            }
        }
        Destination::Bytes { c, .. } => {
            transpose(bytemuck::cast_slice::<_, u8>(tile), ld, &mut region.of(c).transposed());
        }
        Destination::F32 { c, .. } => {
            transpose(bytemuck::cast_slice::<_, f32>(tile), ld, &mut region.of(c).transposed());
        }
    }
}
