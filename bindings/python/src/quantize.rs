//! Quantization of arrays, and back.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::Outs;
use crate::arrays::values::{NewArray, Values};
use crate::elements::DType;
use crate::errors::raise;
use crate::parameters::{integer, real};
use crate::stages::activation;
use pyo3::prelude::*;
use qgemm::{MatMut, QuantParams, Table};

fn params(
    scale: &Bound<'_, PyAny>,
    zero_point: Option<&Bound<'_, PyAny>>,
    [scale_name, zero_name]: [&str; 2],
) -> PyResult<QuantParams> {
    let scale = real(scale, scale_name)? as f32;
    let zero_point = zero_point.map_or(Ok(0), |zero| integer(zero, zero_name))?;
    Ok(QuantParams { scale, zero_point })
}

/// The type of 8 bits that an argument names; int8 if nothing is said.
fn eight_bits(dtype: Option<&Bound<'_, PyAny>>) -> PyResult<DType> {
    dtype.map_or(Ok(DType::I8), |name| DType::named(name, "dtype", &[DType::I8, DType::U8]))
}

/// Quantizes a float32 array of any shape: `clip(rint(x / scale) + zero_point)` to `dtype`, "i8" or "u8". The division is in
/// float32. Infinities saturate, NaN becomes the zero point.
///
/// >>> import numpy as np, qgemm
/// >>> qgemm.quantize(np.array([0.5, -1.0, 100.0], np.float32), 0.5, zero_point=3)
/// array([  4,   1, 127], dtype=int8)
#[pyfunction]
#[pyo3(signature = (x, scale, zero_point=None, dtype=None), text_signature = "(x, scale, zero_point=0, dtype='i8')")]
pub fn quantize<'py>(
    x: &Bound<'py, PyAny>,
    scale: &Bound<'py, PyAny>,
    zero_point: Option<&Bound<'py, PyAny>>,
    dtype: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    let (dtype, params) = (eight_bits(dtype)?, params(scale, zero_point, ["scale", "zero_point"])?);
    let x = Values::new(x, "x", &[DType::F32])?;
    let mut out = NewArray::new(py, dtype, x.shape())?;
    let x = x.values::<f32>()?;
    if dtype == DType::I8 {
        let out = out.values_mut::<i8>();
        py.detach(|| qgemm::quantize(x, params, out)).map_err(raise)?;
    } else {
        let out = out.values_mut::<u8>();
        py.detach(|| qgemm::quantize(x, params, out)).map_err(raise)?;
    }
    Ok(out.finish())
}

/// Turns an int8 or uint8 array of any shape into float32: `float32(q - zero_point) * scale`.
///
/// >>> import numpy as np, qgemm
/// >>> qgemm.dequantize(np.array([4, 1, 127], np.int8), 0.5, zero_point=3)
/// array([ 0.5, -1. , 62. ], dtype=float32)
#[pyfunction]
#[pyo3(signature = (q, scale, zero_point=None), text_signature = "(q, scale, zero_point=0)")]
pub fn dequantize<'py>(
    q: &Bound<'py, PyAny>,
    scale: &Bound<'py, PyAny>,
    zero_point: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = q.py();
    let params = params(scale, zero_point, ["scale", "zero_point"])?;
    let q = Values::new(q, "q", &[DType::I8, DType::U8])?;
    let mut array = NewArray::new(py, DType::F32, q.shape())?;
    let out = array.values_mut::<f32>();
    if q.dtype() == DType::I8 {
        let q = q.values::<i8>()?;
        py.detach(|| qgemm::dequantize(q, params, out)).map_err(raise)?;
    } else {
        let q = q.values::<u8>()?;
        py.detach(|| qgemm::dequantize(q, params, out)).map_err(raise)?;
    }
    Ok(array.finish())
}

/// Quantizes each column of a float32 matrix (K x N) to int8 by a scale of its own, its greatest magnitude / 127: the usual
/// way to quantize weights. The result is (q, scales).
///
/// >>> import numpy as np, qgemm
/// >>> qgemm.quantize_columns(np.array([[0.5, -254.0], [-1.27, 3.0]], np.float32))
/// (array([[  50, -127],
///        [-127,    2]], dtype=int8), array([0.01, 2.  ], dtype=float32))
#[pyfunction]
pub fn quantize_columns<'py>(w: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    quantize_matrix(w, "w", |(_, n)| n, qgemm::quantize_columns)
}

/// Quantizes each row of a float32 matrix (M x K) to int8 by a scale of its own, as `dynamic_matmul` does. The result is
/// (q, scales).
///
/// >>> import numpy as np, qgemm
/// >>> q, scales = qgemm.quantize_rows(np.array([[127, -64], [254, 2]], np.float32))
/// >>> q.tolist(), scales.tolist()
/// ([[127, -64], [127, 1]], [1.0, 2.0])
#[pyfunction]
pub fn quantize_rows<'py>(x: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    quantize_matrix(x, "x", |(m, _)| m, qgemm::quantize_rows)
}

/// A function of the library that quantizes a matrix and finds scales.
type QuantizeMatrix = fn(qgemm::MatRef<'_, f32>, MatMut<'_, i8>, &mut [f32]) -> Result<(), qgemm::Error>;

fn quantize_matrix<'py>(
    x: &Bound<'py, PyAny>,
    argument: &str,
    scales_of: fn((usize, usize)) -> usize,
    quantize: QuantizeMatrix,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = x.py();
    let matrix = Matrix::new(x, argument, &[DType::F32], Outs::NONE)?;
    let (rows, cols) = matrix.shape();
    let mut out = NewArray::new(py, DType::I8, &[rows, cols])?;
    let mut scales = NewArray::new(py, DType::F32, &[scales_of((rows, cols))])?;
    let (x, scales_found) = (matrix.view::<f32>()?, scales.values_mut::<f32>());
    let bits = MatMut::row_major(out.values_mut::<i8>(), rows, cols).map_err(raise)?;
    py.detach(|| quantize(x, bits, scales_found)).map_err(raise)?;
    Ok((out.finish(), scales.finish()))
}

/// The table of an activation between two quantizations, for `matmul(..., table=)`: 256 values of `dtype`, of which `table[q]`
/// is the one for q, also for negative q.
///
/// >>> import qgemm
/// >>> table = qgemm.activation_table("gelu", in_scale=0.05, out_scale=0.025, out_zero=-100)
/// >>> int(table[20])
/// -66
#[pyfunction]
#[pyo3(
    signature = (activation, in_scale, in_zero=None, out_scale=None, out_zero=None, dtype=None),
    text_signature = "(activation, in_scale, in_zero=0, out_scale=None, out_zero=0, dtype='i8')"
)]
pub fn activation_table<'py>(
    py: Python<'py>,
    activation: &str,
    in_scale: &Bound<'py, PyAny>,
    in_zero: Option<&Bound<'py, PyAny>>,
    out_scale: Option<&Bound<'py, PyAny>>,
    out_zero: Option<&Bound<'py, PyAny>>,
    dtype: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (activation, dtype) = (self::activation(activation)?, eight_bits(dtype)?);
    let input = params(in_scale, in_zero, ["in_scale", "in_zero"])?;
    let output = params(out_scale.unwrap_or(in_scale), out_zero, ["out_scale", "out_zero"])?;
    let mut array = NewArray::new(py, dtype, &[256])?;
    if dtype == DType::I8 {
        let table = Table::<i8>::activation(activation, input, output).map_err(raise)?;
        (0..=255u8).zip(array.values_mut::<i8>()).for_each(|(bits, out)| *out = table.get(bits as i8));
    } else {
        let table = Table::<u8>::activation(activation, input, output).map_err(raise)?;
        (0..=255u8).zip(array.values_mut::<u8>()).for_each(|(bits, out)| *out = table.get(bits));
    }
    Ok(array.finish())
}
