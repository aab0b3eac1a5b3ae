//! Gathered rows by their definition, without the library's code for them.

use crate::arguments::values::Values;
use crate::files::matrices::{Elements8, Matrix8};
use crate::verify::case::GatheredRows;
use qgemm::Error;

/// The row-major matrix that gathered rows stand for.
pub fn gathered_matrix(rows: &GatheredRows, a_zero: &Values<i32>) -> Result<Matrix8, Error> {
    let GatheredRows { source, indices, taps, padding } = rows;
    let operand = source.operand()?;
    let mut bits = Vec::new();
    for (i, &index) in indices.iter().enumerate() {
        let zero = match a_zero {
            Values::PerTensor(zero) => *zero,
            Values::PerAxis(zeros) => zeros[i / taps],
        };
        let padding = padding.unwrap_or(zero);
        // `Gather::PADDING` is beyond the rows of every source.
        bits.extend((0..source.cols).map(|j| operand.get(index as usize, j).unwrap_or(padding) as u8));
    }
    let (rows, cols) = (indices.len() / taps, taps * source.cols);
    let data = Elements8::from_bits(operand.element_type(), bits);
    Ok(Matrix8 { rows, cols, strides: (cols, 1), data })
}
