//! `matmul`: products of 8-bit matrices.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::{CallersOut, Output};
use crate::elements::{DType, Element};
use crate::errors::{raise, type_error};
use crate::packed::{EIGHT_BITS, Weights};
use crate::parameters::{Bias, count, zero_points};
use crate::stages::{BytesStage, FloatStage, StageArguments};
use pyo3::prelude::*;
use qgemm::{Gemm, Int8Element, Threads};

/// The threads of a call: at most so many.
pub fn threads(most: Option<&Bound<'_, PyAny>>) -> PyResult<Threads<'static>> {
    most.map_or(Ok(Threads::ALL), |most| Ok(Threads::at_most(count(most, "threads")?)))
}

/// The caller's output and the type that the output has: the named one, else that of `out`, else `usual`.
pub fn output_type<'py>(
    out: Option<&Bound<'py, PyAny>>,
    out_dtype: Option<&Bound<'py, PyAny>>,
    allowed: &[DType],
    usual: DType,
) -> PyResult<(Option<CallersOut<'py>>, DType)> {
    let named = out_dtype.map(|name| DType::named(name, "out_dtype", allowed)).transpose()?;
    let out = out.map(|out| CallersOut::new(out, allowed)).transpose()?;
    let found = out.as_ref().map(CallersOut::dtype);
    match (named, found) {
        (Some(named), Some(found)) if named != found => {
            let problem = format!("has elements of {}, must be of {}", found.name(), named.name());
            Err(type_error("out", problem))
        }
        (named, found) => Ok((out, named.or(found).unwrap_or(usual))),
    }
}

/// The product of two matrices of 8 bits, exact for any values and shapes.
///
/// ```text
/// acc[m,n] = sum over k of (a[m,k] - a_zero) * (b[k,n] - b_zero) + bias[n]
/// ```
///
/// `a` is M x K and `b` a `PackedB` or an array of K x N, each of int8 or uint8. Zero points are integers: one, or one per
/// row of `a` and column of `b`. `bias` has N values. The type of the output, `out_dtype` or that of `out`, says what is
/// stored:
///
/// - "i32" (if nothing is said): `acc` modulo 2**32. With `residual=out` it is added to what `out` holds.
/// - "i8", "u8": `clip(rint(float32(acc) * scale) + out_zero)` to the type and to `clamp`. In place of `scale` there may be
///   `multipliers=(m, shift)`, the factor `m * 2**(shift - 31)` in integers with one of the roundings "gemmlowp", "ruy",
///   "single", "reference"; or `factors`, in float64, rounded half away from zero. A `residual` of 8 bits adds
///   `float32(residual - residual_zero) * residual_scale` before rounding. `activation` is "relu", which clamps at
///   `out_zero`. `table`, 256 values of the output's type, replaces each value q by `table[q]` at last.
/// - "f32": `float32(acc) * scale + bias + residual`, then `clamp`, then `activation`: "relu", "relu6", "gelu", "gelu_tanh",
///   "silu", "sigmoid", "tanh", "hard_swish". A bias of integers is part of `acc`, one of real numbers is added here.
///
/// `scale` is a number, N of them for columns, an array of M x 1 for rows, or a pair (rows, columns) whose products are the
/// scales. `clamp` is (lo, hi), either of which may be None. `out` is an array that the result is written to; it may be
/// the `residual`, and must share no elements with other inputs. `threads` is the most threads that work on it; the result
/// does not depend on them. Other Python threads run meanwhile, and must not write to these arrays.
///
/// >>> import numpy as np, qgemm
/// >>> a = np.array([[10, 20, 30], [0, 10, 255]], np.uint8)
/// >>> b = qgemm.PackedB(np.array([[1, -2], [3, 4], [5, -6]], np.int8), activations="u8")
/// >>> qgemm.matmul(a, b, a_zero=10, bias=[1, 2])
/// array([[  131,   -78],
///        [ 1216, -1448]], dtype=int32)
/// >>> qgemm.matmul(a, b, a_zero=10, bias=[1, 2], scale=[0.5, 0.25], out_zero=-3, out_dtype="i8", activation="relu")
/// array([[ 63,  -3],
///        [127,  -3]], dtype=int8)
#[pyfunction]
#[pyo3(
    signature = (a, b, a_zero=None, b_zero=None, bias=None, scale=None, out_zero=None, out_dtype=None, clamp=None,
        residual=None, activation=None, out=None, threads=None, *, multipliers=None, rounding=None, factors=None,
        residual_scale=None, residual_zero=None, table=None),
    text_signature = "(a, b, a_zero=0, b_zero=0, bias=None, scale=None, out_zero=0, out_dtype=None, clamp=None, \
        residual=None, activation=None, out=None, threads=None, *, multipliers=None, rounding=None, factors=None, \
        residual_scale=None, residual_zero=None, table=None)"
)]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub fn matmul<'py>(
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    a_zero: Option<&Bound<'py, PyAny>>,
    b_zero: Option<&Bound<'py, PyAny>>,
    bias: Option<&Bound<'py, PyAny>>,
    scale: Option<&Bound<'py, PyAny>>,
    out_zero: Option<&Bound<'py, PyAny>>,
    out_dtype: Option<&Bound<'py, PyAny>>,
    clamp: Option<&Bound<'py, PyAny>>,
    residual: Option<&Bound<'py, PyAny>>,
    activation: Option<&str>,
    out: Option<&Bound<'py, PyAny>>,
    threads: Option<&Bound<'py, PyAny>>,
    multipliers: Option<&Bound<'py, PyAny>>,
    rounding: Option<&str>,
    factors: Option<&Bound<'py, PyAny>>,
    residual_scale: Option<&Bound<'py, PyAny>>,
    residual_zero: Option<&Bound<'py, PyAny>>,
    table: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = a.py();
    let all = [DType::I32, DType::I8, DType::U8, DType::F32];
    let (out, dtype) = output_type(out, out_dtype, &all, DType::I32)?;
    let a = Matrix::new(a, "a", &EIGHT_BITS, out.as_ref())?;
    let b = Weights::new(b, out.as_ref())?;
    let (a_zero, b_zero) = (zero_points(a_zero, "a_zero")?, zero_points(b_zero, "b_zero")?);
    let bias = bias.map(Bias::new).transpose()?;
    let given = StageArguments {
        scale,
        multipliers,
        rounding,
        factors,
        out_zero,
        clamp,
        residual,
        residual_scale,
        residual_zero,
        activation,
        table,
    };
    let gemm = Gemm::new(a.operand()?, b.view()?)
        .a_zero(a_zero.view())
        .b_zero(b_zero.view())
        .threads(self::threads(threads)?);
    let shape = (a.shape().0, b.columns());
    let (integers, reals) = match bias {
        Some(Bias::Reals(reals)) if dtype == DType::F32 => (None, Some(reals)),
        other => (other, None),
    };
    let gemm = match &integers {
        Some(Bias::Integers(bias)) => gemm.bias(bias),
        _ => gemm,
    };
    match dtype {
        DType::F32 => {
            let stage = FloatStage::new(&given, out.as_ref(), reals, None)?;
            let stage = stage.stage(false)?;
            let mut output = Output::new(py, out, dtype, shape)?;
            let c = output.view::<f32>()?;
            py.detach(|| gemm.run_f32(c, stage)).map_err(raise)?;
            output.finish()
        }
        DType::I8 | DType::U8 => {
            let stage = BytesStage::new(&given, out.as_ref(), dtype, integers.as_ref())?;
            let mut output = Output::new(py, out, dtype, shape)?;
            match dtype {
                DType::I8 => run_bytes::<i8>(py, &gemm, &stage, &mut output)?,
                _ => run_bytes::<u8>(py, &gemm, &stage, &mut output)?,
            }
            output.finish()
        }
        _ => {
            let accumulate = given.accumulate(out.as_ref(), integers.as_ref())?;
            let mut output = Output::new(py, out, DType::I32, shape)?;
            let c = output.view::<i32>()?;
            let run = || if accumulate { gemm.accumulate_i32(c) } else { gemm.run_i32(c) };
            py.detach(run).map_err(raise)?;
            output.finish()
        }
    }
}

fn run_bytes<T: Element + Int8Element>(
    py: Python<'_>,
    gemm: &Gemm<'_>,
    stage: &BytesStage<'_>,
    output: &mut Output<'_>,
) -> PyResult<()> {
    let table = stage.table::<T>();
    let stage = stage.stage(table.as_ref(), false)?;
    let c = output.view::<T>()?;
    py.detach(|| gemm.run_requantized(c, stage)).map_err(raise)
}
