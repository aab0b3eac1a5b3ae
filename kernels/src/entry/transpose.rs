//! Transposition: between rows and columns that are contiguous.

use crate::block::BlockMut;
use crate::layout::extent;
use bytemuck::Pod;

/// Stores the transpose of a matrix: `to[(i, j)] = from[j * stride + i]`. Bytes and 32-bit values are fast, where rows of
/// `to` are slices.
///
/// # Panics
/// If `from` is too short.
pub fn transpose<T: Pod>(from: &[T], stride: usize, to: &mut BlockMut<'_, T>) {
    let (rows, cols) = (to.cols(), to.rows());
    if rows == 0 || cols == 0 {
        return;
    }
    let need = extent(rows, cols, stride, 1);
    assert!(need.is_some_and(|need| need <= from.len()), "the matrix is too short");
    #[cfg(target_arch = "x86_64")]
    let done = if to.rows_are_slices() { by_vectors(from, stride, to) } else { 0 };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    for i in 0..cols {
        for j in done..rows {
            *to.get_mut(i, j).expect("the block has this shape") = from[j * stride + i];
        }
    }
}

/// Transposes with vectors, if the CPU has any that suit the shape and the type; returns how many rows of `from` it did.
/// `from` is long enough, and rows of `to` are slices.
#[cfg(target_arch = "x86_64")]
fn by_vectors<T: Pod>(from: &[T], from_stride: usize, to: &mut BlockMut<'_, T>) -> usize {
    use crate::detect::{Isa, detected};
    use crate::x86::operands::transpose::{
        Transposition, bytes_avx2, narrow_bytes_avx2, words_avx2, words_avx512,
    };
    let (rows, cols, to_stride) = (to.cols(), to.rows(), to.row_stride());
    let least = rows.min(cols);
    // The first rows, from the start of which 8 elements can be read.
    let rows_of_8 = match from.len().checked_sub(8) {
        Some(last) if from_stride > 0 => rows.min(last / from_stride + 1),
        _ => 0,
    };
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    let t = Transposition { from, from_stride, to, to_stride, rows, cols };
    // SAFETY: `from` holds the rows; `to` is an exclusively borrowed block of rows that are slices, so that nothing
    // overlaps. Elements of these sizes are bytes or words, as all bits of `Pod` values are values. Each function gets the
    // least number of rows and columns, and instructions that the CPU has; `narrow_bytes_avx2` rows of 8 bytes or more.
    unsafe {
        match size_of::<T>() {
            1 if least >= 16 && detected(Isa::Avx2) => bytes_avx2(t.cast()),
            1 if cols < 16 && rows_of_8 >= 16 && detected(Isa::Avx2) => {
                narrow_bytes_avx2(Transposition { rows: rows_of_8, ..t.cast() });
                return rows_of_8;
            }
            4 if least >= 16 && detected(Isa::Avx512Bw) => words_avx512(t.cast()),
            4 if least >= 8 && detected(Isa::Avx2) => words_avx2(t.cast()),
            _ => return 0,
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn check<T: Pod + PartialEq + core::fmt::Debug>(value: impl Fn(usize) -> T) {
        let sizes = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100];
        for (rows, cols) in sizes.iter().flat_map(|&rows| sizes.map(|cols| (rows, cols))) {
            let stride = cols + rows % 3;
            let from: Vec<T> = (0..extent(rows, cols, stride, 1).unwrap()).map(&value).collect();
            let layouts = [(rows, 1), (rows + 5, 1), (1, cols), (2 * rows + 1, 2)];
            for (row_stride, col_stride) in layouts {
                let len = extent(cols, rows, row_stride, col_stride).unwrap() + 3;
                let mut got = vec![value(12_345); len];
                let mut want = got.clone();
                for (i, j) in (0..cols).flat_map(|i| (0..rows).map(move |j| (i, j))) {
                    want[i * row_stride + j * col_stride] = from[j * stride + i];
                }
                let mut to = BlockMut::new(&mut got, cols, rows, row_stride, col_stride).unwrap();
                transpose(&from, stride, &mut to);
                assert_eq!(got, want, "{rows}x{cols} to strides {row_stride} and {col_stride}");
            }
        }
    }

    #[test]
    fn rows_become_columns_and_nothing_else_is_written() {
        check(|at| (at * 7 + at / 256) as u8);
        check(|at| (at as u32).wrapping_mul(0x9e37_79b9));
        check(|at| at as u16);
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_short_matrix_is_refused() {
        let mut to = [0u8; 6];
        transpose(&[0u8; 5], 3, &mut BlockMut::new(&mut to, 3, 2, 2, 1).unwrap());
    }
}
