//! Cases and results as safetensors.

use anyhow::{Context, Result, bail, ensure};
use qgemm::{ElementType, Operand};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// What to do with the operands.
#[derive(Deserialize)]
pub struct Case {
    #[serde(flatten)]
    pub op: Op,
    /// B is given as N×K.
    #[serde(default)]
    pub b_transposed: bool,
    /// B is handed over as it comes instead of packed ahead.
    #[serde(default)]
    pub b_plain: bool,
}

/// The calls of qgemm. Tensors: `a`, `b`, and where wanted `a_zero`, `b_zero`, `bias` (i32), `scale`
/// (or, to requantize, `a_scale`, `b_scale`, `y_scale`), `bias_f32` (f32), `real` (f64; or for fixed point
/// `multiplier` and `shift`, i32), each one value or one per row or column. Results are named after the
/// calls' outputs.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// `run_i32`: `y`
    I32,
    /// `run_requantized` by `Requantize::new`: `y`
    Requantize {
        #[serde(flatten)]
        to: To,
    },
    /// `run_requantized` by `Requantize::fixed_point`: `y`
    FixedPoint {
        rounding: Rounding,
        #[serde(flatten)]
        to: To,
    },
    /// `run_requantized` by `Requantize::in_f64`: `y`
    Real {
        #[serde(flatten)]
        to: To,
    },
    /// `run_f32`: `y`
    F32,
    /// `DynamicGemm`, asymmetric and per tensor, of `a` (f32): `y`
    DynamicGemm,
    /// `dynamic_quantize_linear` of `x`: `y`, `scale`, `zero_point`
    DynamicQuantizeLinear,
}

/// Where requantization leads.
#[derive(Deserialize)]
pub struct To {
    pub zero_point: i32,
    pub clamp: Option<(i32, i32)>,
    pub output: Output,
}

/// `qgemm::Rounding` by its name.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    Gemmlowp,
    Ruy,
    Single,
    Reference,
}

/// An 8-bit output type.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    I8,
    U8,
}

/// A case as it arrives.
pub struct Blob<'a> {
    tensors: SafeTensors<'a>,
    pub case: Case,
}

/// An array with its type: bytes in row-major order.
#[derive(PartialEq)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl<'a> Blob<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let case = metadata.metadata().as_ref().and_then(|m| m.get("case")).context("no metadata 'case'")?;
        Ok(Self { tensors: SafeTensors::deserialize(bytes)?, case: serde_json::from_str(case)? })
    }

    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let view = self.tensors.tensor(name).with_context(|| name.to_owned())?;
        Ok(Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() })
    }

    /// The values of a tensor that may be absent.
    pub fn vector<T: Element>(&self, name: &str) -> Result<Option<Vec<T>>> {
        if self.tensors.tensor(name).is_err() {
            return Ok(None);
        }
        let tensor = self.tensor(name)?;
        ensure!(tensor.dtype == T::DTYPE, "{name}: is {:?}, must be {:?}", tensor.dtype, T::DTYPE);
        let elements = tensor.bytes.chunks_exact(size_of::<T>());
        Ok(Some(elements.map(bytemuck::pod_read_unaligned).collect()))
    }
}

/// Types of values that are exchanged.
pub trait Element: bytemuck::Pod {
    const DTYPE: Dtype;
}
impl Element for i8 {
    const DTYPE: Dtype = Dtype::I8;
}
impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}
impl Element for i32 {
    const DTYPE: Dtype = Dtype::I32;
}
impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
}

impl Tensor {
    pub fn new<T: Element>(shape: &[usize], values: &[T]) -> Self {
        Self { dtype: T::DTYPE, shape: shape.to_vec(), bytes: bytemuck::cast_slice(values).to_vec() }
    }

    pub fn shape(&self) -> Result<(usize, usize)> {
        match self.shape[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => bail!("shape {:?} is not that of a matrix", self.shape),
        }
    }

    /// As an operand of a product; `transposed` reads it by columns.
    pub fn operand(&self, transposed: bool) -> Result<Operand<'_>> {
        let (rows, cols) = self.shape()?;
        let element = match self.dtype {
            Dtype::I8 => ElementType::I8,
            Dtype::U8 => ElementType::U8,
            other => bail!("operand: is {other:?}, must have 8 bits"),
        };
        Ok(match element {
            ElementType::I8 => matrix::<i8>(bytemuck::cast_slice(&self.bytes), rows, cols, transposed)?,
            ElementType::U8 => matrix::<u8>(&self.bytes, rows, cols, transposed)?,
        })
    }

    pub fn flip_one_bit(&mut self) {
        let middle = self.bytes.len() / 2;
        let start = middle - middle % (self.dtype.bitsize() / 8);
        if let Some(byte) = self.bytes.get_mut(start) {
            *byte ^= 1;
        }
    }

    pub fn first_difference(&self, expected: &Tensor) -> Option<String> {
        if (self.dtype, &self.shape) != (expected.dtype, &expected.shape) {
            return Some(format!(
                "is {:?} {:?}, expected {:?} {:?}",
                self.dtype, self.shape, expected.dtype, expected.shape
            ));
        }
        let size = self.dtype.bitsize() / 8;
        let at = self.bytes.chunks(size).zip(expected.bytes.chunks(size)).position(|(x, y)| x != y)?;
        let bytes = |t: &Tensor| t.bytes[at * size..][..size].to_vec();
        Some(format!(
            "element {at} of {:?} is {:02x?}, expected {:02x?}",
            self.shape,
            bytes(self),
            bytes(expected)
        ))
    }
}

fn matrix<T: qgemm::Int8Element>(
    values: &[T],
    rows: usize,
    cols: usize,
    transposed: bool,
) -> Result<Operand<'_>> {
    let view = qgemm::MatRef::row_major(values, rows, cols)?;
    Ok(if transposed { view.transpose() } else { view }.into())
}

pub fn serialize(results: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let views: Vec<_> = results
        .iter()
        .map(|(name, t)| Ok((name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
        .collect::<Result<_>>()?;
    Ok(safetensors::serialize(views, None)?)
}
