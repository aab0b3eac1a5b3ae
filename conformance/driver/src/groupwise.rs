//! Cases with group-wise weights.

use crate::case::{Case, Groups};
use crate::run::{Outputs, computed};
use anyhow::{Context, Result, bail};
use qgemm::half::f16;
use qgemm::{
    Activations, Awq, CodeBits, Dequantize, GgufType, Gptq, GroupScales, GroupwiseB, GroupwiseGemm,
    MatMulNBits, MatMut, MatRef, OnnxZeros,
};

/// The weights as f32.
pub fn dequantize(case: &Case<'_>, groups: &Groups) -> Result<Outputs> {
    let b = weights(case, groups)?;
    let w = computed((b.k(), b.n()), |w: MatMut<'_, f32>| b.dequantize(w))?;
    Ok(vec![("w".to_owned(), w)])
}

/// A product of f32 activations.
pub fn multiply(case: &Case<'_>, groups: &Groups, activations: &str) -> Result<Outputs> {
    let b = weights(case, groups)?;
    let (m, k) = case.tensor("a")?.shape()?;
    let a: Vec<f32> = case.vector("a")?;
    let activations = match activations {
        "row" => Activations::PerRow,
        "row-asymmetric" => Activations::PerRowAsymmetric,
        "group" => Activations::PerRowAndGroup,
        other => bail!("activations: was '{other}'"),
    };
    let gemm = GroupwiseGemm::new(MatRef::row_major(&a, m, k)?, &b).activations(activations);
    let y = computed((m, b.n()), |y| gemm.run_f32(y, Dequantize::groupwise()))?;
    Ok(vec![("y".to_owned(), y)])
}

fn weights(case: &Case<'_>, groups: &Groups) -> Result<GroupwiseB> {
    let Groups { format, k, n, bits, group, zeros_less_one } = groups;
    let (k, n, group) = (*k, *n, *group);
    let bits = match bits {
        4 => CodeBits::Four,
        8 => CodeBits::Eight,
        other => bail!("bits: was {other}"),
    };
    let b: Vec<u8> = case.vector("b")?;
    let kind = match format.as_str() {
        "q4_0" => Some(GgufType::Q4_0),
        "q4_1" => Some(GgufType::Q4_1),
        "q8_0" => Some(GgufType::Q8_0),
        _ => None,
    };
    if let Some(kind) = kind {
        return Ok(GroupwiseB::from_gguf(kind, (n, k), &b)?);
    }
    let scales = case.tensor("scales")?;
    let shape = scales.shape()?;
    let (floats, halves);
    let scales: GroupScales<'_> = match scales.values::<f32>() {
        Ok(values) => {
            floats = values;
            MatRef::row_major(&floats, shape.0, shape.1)?.into()
        }
        Err(_) => {
            halves = scales.values::<f16>().context("scales")?;
            MatRef::row_major(&halves, shape.0, shape.1)?.into()
        }
    };
    let zeros: Option<Vec<u8>> = case.optional_vector("zeros")?;
    let some_zeros = || zeros.as_deref().context("zeros");
    Ok(match format.as_str() {
        "onnx" => GroupwiseB::from_onnx(&MatMulNBits {
            k,
            n,
            bits,
            block_size: group,
            b: &b,
            scales,
            zero_points: zeros.as_deref().map_or(OnnxZeros::None, OnnxZeros::Packed),
        })?,
        "gptq" => {
            let (qzeros, zeros_less_one) = (some_zeros()?, *zeros_less_one);
            let g_idx = case.optional_vector("g_idx")?;
            let g_idx = g_idx.as_deref();
            GroupwiseB::from_gptq(&Gptq {
                k,
                n,
                bits,
                group,
                qweight: &b,
                qzeros,
                scales,
                g_idx,
                zeros_less_one,
            })?
        }
        "awq" => GroupwiseB::from_awq(&Awq { k, n, group, qweight: &b, qzeros: some_zeros()?, scales })?,
        other => bail!("format: was '{other}'"),
    })
}

/// Scales may be of half precision.
impl crate::tensor::Element for f16 {
    const DTYPE: safetensors::Dtype = safetensors::Dtype::F16;
}
