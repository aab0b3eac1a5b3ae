//! `matmul`: products of 8-bit matrices.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::{CallersOut, Output, Outs};
use crate::elements::DType;
use crate::errors::{raise, type_error};
use crate::packed::{EIGHT_BITS, Weights};
use crate::parameters::{Bias, OneOrMany, Rows, count, zero_points};
use crate::stages::{BytesStage, FloatStage, StageArguments};
use pyo3::prelude::*;
use qgemm::{Gemm, Lhs, Table, Task, Threads};

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

/// The arguments of a product, as they were given.
#[derive(Default)]
pub struct Arguments<'a, 'py> {
    pub a: Option<&'a Bound<'py, PyAny>>,
    pub b: Option<&'a Bound<'py, PyAny>>,
    pub a_zero: Option<&'a Bound<'py, PyAny>>,
    pub b_zero: Option<&'a Bound<'py, PyAny>>,
    pub bias: Option<&'a Bound<'py, PyAny>>,
    pub rows: Option<&'a Bound<'py, PyAny>>,
    pub stage: StageArguments<'a, 'py>,
}

/// A stage of an 8-bit output, with its table for either type.
struct WithTable<'py> {
    stage: BytesStage<'py>,
    signed: Option<Table<i8>>,
    unsigned: Option<Table<u8>>,
}

enum Stage<'py> {
    Sums { accumulate: bool },
    Bytes(Box<WithTable<'py>>),
    Float(FloatStage<'py>),
}

/// A product with its output, as values and arrays that it holds.
pub struct Product<'py> {
    a: Matrix<'py>,
    rows: Option<Rows>,
    b: Weights<'py>,
    a_zero: OneOrMany<i32>,
    b_zero: OneOrMany<i32>,
    /// The part of the bias that is in the scale of the sums.
    bias: Option<Bias>,
    stage: Stage<'py>,
    dtype: DType,
    pub output: Output<'py>,
}

impl<'py> Product<'py> {
    /// A product with an output of some type. The output is `outs.own`, if there is one.
    pub fn new(
        py: Python<'py>,
        given: &Arguments<'_, 'py>,
        dtype: DType,
        outs: Outs<'_, 'py>,
    ) -> PyResult<Self> {
        let missing = |argument| type_error(argument, "was not given, must be");
        let a = Matrix::new(given.a.ok_or_else(|| missing("a"))?, "a", &EIGHT_BITS, outs)?;
        let b = Weights::new(given.b.ok_or_else(|| missing("b"))?, outs)?;
        let (a_zero, b_zero) = (zero_points(given.a_zero, "a_zero")?, zero_points(given.b_zero, "b_zero")?);
        let rows = given.rows.map(Rows::new).transpose()?;
        let (bias, reals) = match given.bias.map(Bias::new).transpose()? {
            Some(Bias::Reals(reals)) if dtype == DType::F32 => (None, Some(reals)),
            other => (other, None),
        };
        let stage = match dtype {
            DType::F32 => Stage::Float(FloatStage::new(&given.stage, outs, reals, None)?),
            DType::I8 | DType::U8 => {
                let stage = BytesStage::new(&given.stage, outs, dtype, bias.as_ref())?;
                let (signed, unsigned) = (stage.table(), stage.table());
                Stage::Bytes(Box::new(WithTable { stage, signed, unsigned }))
            }
            _ => Stage::Sums { accumulate: given.stage.accumulate(outs, bias.as_ref())? },
        };
        let shape = (rows.as_ref().map_or(a.shape().0, Rows::len), b.columns());
        let output = Output::new(py, outs.own.cloned(), dtype, shape)?;
        Ok(Self { a, rows, b, a_zero, b_zero, bias, stage, dtype, output })
    }

    /// The product, to be run.
    pub fn task(&mut self, threads: Threads<'static>) -> PyResult<Task<'_, '_>> {
        let a: Lhs<'_> = match &self.rows {
            Some(rows) => rows.of(self.a.operand()?)?.into(),
            None => self.a.operand()?.into(),
        };
        let mut gemm = Gemm::new(a, self.b.view()?)
            .a_zero(self.a_zero.view())
            .b_zero(self.b_zero.view())
            .threads(threads);
        if let Some(Bias::Integers(bias)) = &self.bias {
            gemm = gemm.bias(bias);
        }
        let c = &mut self.output;
        let task = match (&self.stage, self.dtype) {
            (Stage::Float(stage), _) => Task::f32(gemm, c.view()?, stage.stage(false)?),
            (Stage::Bytes(bytes), DType::I8) => {
                Task::requantized::<i8>(gemm, c.view()?, bytes.stage.stage(bytes.signed.as_ref(), false)?)
            }
            (Stage::Bytes(bytes), _) => {
                Task::requantized::<u8>(gemm, c.view()?, bytes.stage.stage(bytes.unsigned.as_ref(), false)?)
            }
            (Stage::Sums { accumulate: true }, _) => Task::accumulate_i32(gemm, c.view()?),
            (Stage::Sums { accumulate: false }, _) => Task::i32(gemm, c.view()?),
        };
        task.map_err(raise)
    }
}

/// The types of outputs.
pub const OUTPUTS: [DType; 4] = [DType::I32, DType::I8, DType::U8, DType::F32];

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
/// `rows` picks rows of `a` by index: M of them, or M x taps for rows side by side (a convolution's pixels). -1 stands for a
/// row of zero points, which adds nothing.
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
/// >>> qgemm.matmul(a, b, a_zero=10, rows=[1, -1])
/// array([[ 1215, -1450],
///        [    0,     0]], dtype=int32)
#[pyfunction]
#[pyo3(
    signature = (a, b, a_zero=None, b_zero=None, bias=None, scale=None, out_zero=None, out_dtype=None, clamp=None,
        residual=None, activation=None, out=None, threads=None, *, multipliers=None, rounding=None, factors=None,
        residual_scale=None, residual_zero=None, table=None, rows=None),
    text_signature = "(a, b, a_zero=0, b_zero=0, bias=None, scale=None, out_zero=0, out_dtype=None, clamp=None, \
        residual=None, activation=None, out=None, threads=None, *, multipliers=None, rounding=None, factors=None, \
        residual_scale=None, residual_zero=None, table=None, rows=None)"
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
    rows: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = a.py();
    let (out, dtype) = output_type(out, out_dtype, &OUTPUTS, DType::I32)?;
    let stage = StageArguments {
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
    let given = Arguments { a: Some(a), b: Some(b), a_zero, b_zero, bias, rows, stage };
    let mut product = Product::new(py, &given, dtype, Outs::of(&out))?;
    {
        let mut task = product.task(self::threads(threads)?)?;
        py.detach(|| task.run()).map_err(raise)?;
    }
    product.output.finish()
}
