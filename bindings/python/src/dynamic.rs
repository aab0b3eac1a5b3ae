//! `dynamic_matmul`: products of f32 activations, which the call quantizes to 8 bits.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::{Output, Outs};
use crate::arrays::values::NewArray;
use crate::elements::{DType, Element};
use crate::errors::{raise_naming, value_error, vector};
use crate::matmul::output_type;
use crate::packed::Weights;
use crate::parameters::{Bias, Rows, zero_points};
use crate::stages::{BytesStage, FloatStage, StageArguments};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use qgemm::{DynamicGemm, Error, FloatLhs, Int8Element, QuantParams};

/// The product of a float32 matrix, quantized by the call, and weights of 8 bits.
///
/// ```text
/// q[m,k]   = clip(rint(x[m,k] / s[m]) + z[m])
/// acc[m,n] = sum over k of (q[m,k] - z[m]) * (b[k,n] - b_zero)
/// y[m,n]   = float32(acc[m,n]) * (s[m] * scale[n])
/// ```
///
/// `x` is M x K and `b` a `PackedB` or an array of K x N. Each row is quantized to int8 by its greatest magnitude / 127,
/// without a zero point; with `asymmetric` to uint8 by its range / 255; with `per_tensor` all of `x` by one scale. `scale` is
/// that of the weights: a number, or one per column; `bias` has N float32 values. The other arguments are those of `matmul`,
/// but that "f32" is the usual output; 8-bit ones take the scale of the weights over that of the output, and no bias. With
/// `return_params` the result is (y, s, z): the scales and zero points of the rows, or of all.
///
/// Values that are infinite or NaN are a ValueError. Rows that `rows` names by -1 are zeros.
///
/// >>> import numpy as np, qgemm
/// >>> b = qgemm.PackedB(np.array([[64, -127], [127, 1]], np.int8))
/// >>> x = np.array([[127, -64], [254, 2]], np.float32)
/// >>> qgemm.dynamic_matmul(x, b, scale=[0.5, 0.25], bias=[1, 0])
/// array([[ 1.00000e+00, -4.04825e+03],
///        [ 8.25600e+03, -8.06400e+03]], dtype=float32)
#[pyfunction]
#[pyo3(
    signature = (x, b, scale, bias=None, b_zero=None, out_zero=None, out_dtype=None, clamp=None, residual=None,
        activation=None, out=None, threads=None, *, asymmetric=false, per_tensor=false, residual_scale=None,
        residual_zero=None, table=None, return_params=false, rows=None),
    text_signature = "(x, b, scale, bias=None, b_zero=0, out_zero=0, out_dtype=None, clamp=None, residual=None, \
        activation=None, out=None, threads=None, *, asymmetric=False, per_tensor=False, residual_scale=None, \
        residual_zero=None, table=None, return_params=False, rows=None)"
)]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub fn dynamic_matmul<'py>(
    x: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    scale: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    b_zero: Option<&Bound<'py, PyAny>>,
    out_zero: Option<&Bound<'py, PyAny>>,
    out_dtype: Option<&Bound<'py, PyAny>>,
    clamp: Option<&Bound<'py, PyAny>>,
    residual: Option<&Bound<'py, PyAny>>,
    activation: Option<&str>,
    out: Option<&Bound<'py, PyAny>>,
    threads: Option<&Bound<'py, PyAny>>,
    asymmetric: bool,
    per_tensor: bool,
    residual_scale: Option<&Bound<'py, PyAny>>,
    residual_zero: Option<&Bound<'py, PyAny>>,
    table: Option<&Bound<'py, PyAny>>,
    return_params: bool,
    rows: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    let (out, dtype) = output_type(out, out_dtype, &[DType::F32, DType::I8, DType::U8], DType::F32)?;
    let x = Matrix::new(x, "x", &[DType::F32], Outs::of(&out))?;
    let b = Weights::new(b, Outs::of(&out))?;
    let b_zero = zero_points(b_zero, "b_zero")?;
    let given = StageArguments {
        scale: Some(scale),
        out_zero,
        clamp,
        residual,
        residual_scale,
        residual_zero,
        activation,
        table,
        ..StageArguments::default()
    };
    let picked = rows.map(Rows::new).transpose()?;
    let (a, rows): (FloatLhs<'_>, _) = match &picked {
        Some(picked) => (picked.of_floats(x.view()?)?.into(), picked.len()),
        None => (x.view::<f32>()?.into(), x.shape().0),
    };
    let mut gemm =
        DynamicGemm::new(a, b.view()?).b_zero(b_zero.view()).threads(crate::matmul::threads(threads)?);
    if asymmetric {
        gemm = gemm.asymmetric();
    }
    if per_tensor {
        gemm = gemm.per_tensor();
    }
    let shape = (rows, b.columns());
    let mut params = Vec::new();
    if return_params {
        let len = if per_tensor { 1 } else { rows };
        params = vector("params", len)?;
        // The parameters of a row without values.
        params.resize(len, QuantParams { scale: 1.0, zero_point: 0 });
    }
    let wanted = return_params.then_some(&mut params);
    let output = match dtype {
        DType::F32 => {
            let bias = bias.map(Bias::reals).transpose()?;
            let stage = FloatStage::new(&given, Outs::of(&out), bias, None)?;
            let stage = stage.stage(true)?;
            let mut output = Output::new(py, out, dtype, shape)?;
            let c = output.view::<f32>()?;
            let run = || match wanted {
                None => gemm.run_f32(c, stage),
                Some(params) => gemm.run_f32_with_params(c, stage, params),
            };
            py.detach(run).map_err(raise_x)?;
            output
        }
        _ => {
            if bias.is_some() {
                let problem = format!("was given, must not be for an output of {}", dtype.name());
                return Err(value_error("bias", problem));
            }
            let stage = BytesStage::new(&given, Outs::of(&out), dtype, None)?;
            let mut output = Output::new(py, out, dtype, shape)?;
            match dtype {
                DType::I8 => run_bytes::<i8>(py, &gemm, &stage, &mut output, wanted)?,
                _ => run_bytes::<u8>(py, &gemm, &stage, &mut output, wanted)?,
            }
            output
        }
    };
    let y = output.finish()?;
    if !return_params {
        return Ok(y);
    }
    let mut scales = NewArray::new(py, DType::F32, &[params.len()])?;
    let mut zeros = NewArray::new(py, DType::I32, &[params.len()])?;
    for (i, found) in params.iter().enumerate() {
        scales.values_mut::<f32>()[i] = found.scale;
        zeros.values_mut::<i32>()[i] = found.zero_point;
    }
    (y, scales.finish(), zeros.finish()).into_bound_py_any(py)
}

fn run_bytes<T: Element + Int8Element>(
    py: Python<'_>,
    gemm: &DynamicGemm<'_>,
    stage: &BytesStage<'_>,
    output: &mut Output<'_>,
    params: Option<&mut Vec<QuantParams>>,
) -> PyResult<()> {
    let table = stage.table::<T>();
    let stage = stage.stage(table.as_ref(), true)?;
    let c = output.view::<T>()?;
    let run = || match params {
        None => gemm.run_requantized(c, stage),
        Some(params) => gemm.run_requantized_with_params(c, stage, params),
    };
    py.detach(run).map_err(raise_x)
}

/// The error of a product whose A is called x.
pub fn raise_x(error: Error) -> PyErr {
    raise_naming(error, &[("a", "x"), ("source", "x")])
}
