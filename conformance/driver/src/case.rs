//! A case: the call of qgemm to make, and the tensors that it reads.

use crate::tensor::{Element, Tensor};
use anyhow::{Context, Result};
use qgemm::Rounding;
use safetensors::SafeTensors;
use serde::Deserialize;

/// The call, as JSON describes it.
#[derive(Deserialize)]
pub struct Call {
    #[serde(flatten)]
    pub op: Op,
    /// B is given as N×K.
    #[serde(default)]
    pub b_transposed: bool,
    /// B is not packed ahead.
    #[serde(default)]
    pub b_unpacked: bool,
}

/// The functions of qgemm.
///
/// Products read the tensors `a` and `b`, and, where they are given, `a_zero`, `b_zero` and `bias` (i32). `scale`
/// is f32; to requantize, `a_scale`, `b_scale` and `y_scale` may take its place. `bias_f32` is f32, `factor_f64` is
/// f64, `multiplier` and `shift` are i32. Each of these has one value, or one per row or column. The output of a
/// product is `y`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// `Gemm::run_i32`.
    I32,
    /// `Gemm::run_f32`, by `scale`, with `bias_f32` where it is given.
    F32,
    /// `Gemm::run_requantized` by `Requantize::new`, by `scale`.
    Requantize {
        #[serde(flatten)]
        output: Output8,
    },
    /// `Gemm::run_requantized` by `Requantize::in_f64`, by `factor_f64`.
    RequantizeInF64 {
        #[serde(flatten)]
        output: Output8,
    },
    /// `Gemm::run_requantized` by `Requantize::fixed_point`, by `multiplier` and `shift`, or by multipliers made
    /// from `factor_f64`.
    FixedPoint {
        #[serde(with = "RoundingName")]
        rounding: Rounding,
        #[serde(flatten)]
        output: Output8,
    },
    /// `DynamicGemm`, asymmetric and per tensor, of an f32 `a`, by `scale`, with `bias_f32`.
    DynamicGemm,
    /// `dynamic_quantize_linear` of `x` (f32). Outputs are `y`, `scale` and `zero_point`.
    DynamicQuantizeLinear,
    /// `GroupwiseB::dequantize` of weights that a format holds. The output is `w`.
    DequantizeGroups {
        #[serde(flatten)]
        groups: Groups,
    },
    /// `GroupwiseGemm` of an f32 `a` and such weights.
    GroupwiseGemm {
        #[serde(flatten)]
        groups: Groups,
        /// `row`, `row-asymmetric` or `group`.
        activations: String,
    },
}

/// Group-wise weights: `b`, packed as the format says (u8), and unless that has them in it `scales` (f32 or f16) and
/// `zeros` (u8).
#[derive(Deserialize)]
pub struct Groups {
    /// `onnx`, `gptq`, `awq`, `q4_0`, `q4_1` or `q8_0`.
    pub format: String,
    pub k: usize,
    pub n: usize,
    pub bits: u32,
    pub group: usize,
    #[serde(default)]
    pub zeros_less_one: bool,
}

/// The parameters of an 8-bit output.
#[derive(Deserialize)]
pub struct Output8 {
    pub zero_point: i32,
    pub clamp: Option<(i32, i32)>,
    #[serde(rename = "output")]
    pub element: Element8,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element8 {
    I8,
    U8,
}

/// Reads a [`Rounding`] by its name in lower case.
#[derive(Deserialize)]
#[serde(remote = "Rounding", rename_all = "lowercase")]
enum RoundingName {
    Gemmlowp,
    Ruy,
    Single,
    Reference,
}

pub struct Case<'a> {
    pub call: Call,
    tensors: SafeTensors<'a>,
}

impl<'a> Case<'a> {
    /// Reads a safetensors blob whose metadata has the call under `case`.
    pub fn parse(blob: &'a [u8]) -> Result<Self> {
        let (_, metadata) = SafeTensors::read_metadata(blob)?;
        let call = metadata.metadata().as_ref().and_then(|m| m.get("case")).context("no metadata 'case'")?;
        Ok(Self { call: serde_json::from_str(call)?, tensors: SafeTensors::deserialize(blob)? })
    }

    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let view = self.tensors.tensor(name).with_context(|| name.to_owned())?;
        Ok(Tensor::from_view(&view))
    }

    /// The values of a tensor; `None` if there is no tensor of that name.
    pub fn optional_vector<T: Element>(&self, name: &str) -> Result<Option<Vec<T>>> {
        match self.tensors.tensor(name) {
            Ok(view) => Ok(Some(Tensor::from_view(&view).values().with_context(|| name.to_owned())?)),
            Err(_) => Ok(None),
        }
    }

    /// The values of a tensor that must be there.
    pub fn vector<T: Element>(&self, name: &str) -> Result<Vec<T>> {
        self.optional_vector(name)?.with_context(|| name.to_owned())
    }
}
