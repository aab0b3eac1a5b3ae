//! A matrix of 16-bit floats, either IEEE 754's half precision or bfloat16. Each of their values is one of f32.

use crate::matrix::view::MatRef;
use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use multiversion::multiversion;
use std::ops::Range;

/// A matrix of either 16-bit float type. Made by `into()` from a [`MatRef`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum HalfMatrix<'a> {
    /// Of IEEE 754's half precision.
    F16(MatRef<'a, f16>),
    /// Of bfloat16.
    Bf16(MatRef<'a, bf16>),
}

impl<'a> From<MatRef<'a, f16>> for HalfMatrix<'a> {
    fn from(matrix: MatRef<'a, f16>) -> Self {
        HalfMatrix::F16(matrix)
    }
}

impl<'a> From<MatRef<'a, bf16>> for HalfMatrix<'a> {
    fn from(matrix: MatRef<'a, bf16>) -> Self {
        HalfMatrix::Bf16(matrix)
    }
}

impl HalfMatrix<'_> {
    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            HalfMatrix::F16(matrix) => (matrix.rows(), matrix.cols()),
            HalfMatrix::Bf16(matrix) => (matrix.rows(), matrix.cols()),
        }
    }

    /// Element (i, j); `None` if there is none.
    pub(crate) fn get(&self, i: usize, j: usize) -> Option<f32> {
        match self {
            HalfMatrix::F16(matrix) => matrix.get(i, j).map(|value| value.to_f32()),
            HalfMatrix::Bf16(matrix) => matrix.get(i, j).map(|value| value.to_f32()),
        }
    }

    /// Copies some rows to `out` as f32, one after the other.
    ///
    /// # Panics
    /// If there are no such rows, or `out` is too short.
    pub(crate) fn copy_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        match self {
            HalfMatrix::F16(matrix) => copy_rows(matrix, rows, out, |from, to| from.convert_to_f32_slice(to)),
            HalfMatrix::Bf16(matrix) => copy_rows(matrix, rows, out, bf16_to_f32),
        }
    }
}

/// Elements of a row that is no slice, copied at a time.
const PIECE: usize = 64;

fn copy_rows<T: Pod>(
    matrix: &MatRef<'_, T>,
    rows: Range<usize>,
    out: &mut [f32],
    convert: impl Fn(&[T], &mut [f32]),
) {
    let k = matrix.cols();
    for (i, out) in rows.zip(out.chunks_exact_mut(k.max(1))) {
        if let Some(row) = matrix.row(i) {
            convert(row, out);
            continue;
        }
        let mut piece = [T::zeroed(); PIECE];
        for (p, out) in out.chunks_mut(PIECE).enumerate() {
            let piece = &mut piece[..out.len()];
            matrix.copy_row(i, p * PIECE, piece);
            convert(piece, out);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn bf16_to_f32(from: &[bf16], to: &mut [f32]) {
    for (from, to) in from.iter().zip(to) {
        *to = f32::from_bits(u32::from(from.to_bits()) << 16);
    }
}
