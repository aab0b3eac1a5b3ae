//! One case on qgemm.

use anyhow::{Context, Result};
use qgemm::{Dequantize, Gemm, MatMut, PackedB, Requantize, Scale};

use crate::case::{Blob, Element, Op, Output, Tensor};

pub type Results = Vec<(String, Tensor)>;

pub fn run(blob: &Blob<'_>) -> Result<Results> {
    match blob.case.op {
        Op::DynamicQuantizeLinear => dynamic_quantize_linear(blob),
        _ => product(blob),
    }
}

fn dynamic_quantize_linear(blob: &Blob<'_>) -> Result<Results> {
    let x: Vec<f32> = blob.vector("x")?.context("x")?;
    let mut y = vec![0u8; x.len()];
    let params = qgemm::dynamic_quantize_linear(&x, &mut y)?;
    Ok(vec![
        ("y".to_owned(), Tensor::new(&[y.len()], &y)),
        ("scale".to_owned(), Tensor::new(&[1], &[params.scale])),
        ("zero_point".to_owned(), Tensor::new(&[1], &[params.zero_point])),
    ])
}

fn product(blob: &Blob<'_>) -> Result<Results> {
    let (a, b) = (blob.tensor("a")?, blob.tensor("b")?);
    let (a, b) = (a.operand(false)?, b.operand(blob.case.b_transposed)?);
    let packed;
    let mut gemm = if blob.case.b_plain {
        Gemm::new(a, b)
    } else {
        packed = PackedB::pack(b, a.element_type())?;
        Gemm::new(a, &packed)
    };
    let (a_zero, b_zero) = (blob.vector::<i32>("a_zero")?, blob.vector::<i32>("b_zero")?);
    let bias = blob.vector::<i32>("bias")?;
    match a_zero.as_deref() {
        Some([zero]) => gemm = gemm.a_zero(*zero),
        Some(zeros) => gemm = gemm.a_zero(zeros),
        None => {}
    }
    match b_zero.as_deref() {
        Some([zero]) => gemm = gemm.b_zero(*zero),
        Some(zeros) => gemm = gemm.b_zero(zeros),
        None => {}
    }
    if let Some(bias) = &bias {
        gemm = gemm.bias(bias);
    }
    let shape = (a.rows(), b.cols());
    let y = match &blob.case.op {
        Op::I32 => output(shape, |y| gemm.run_i32(y))?,
        Op::F32 => {
            let (scale, bias) = (blob.vector::<f32>("scale")?, blob.vector::<f32>("bias_f32")?);
            let mut stage = Dequantize::new(scales(scale.as_deref())?)?;
            if let Some(bias) = &bias {
                stage = stage.bias(bias);
            }
            output(shape, |y| gemm.run_f32(y, &stage))?
        }
        Op::Requantize { zero_point, clamp, output } => {
            let scale = requantize_scales(blob)?;
            let mut stage = Requantize::new(scales(Some(&scale))?, *zero_point)?;
            if let Some((lo, hi)) = *clamp {
                stage = stage.clamp(lo, hi)?;
            }
            requantized(shape, &gemm, &stage, *output)?
        }
        Op::DynamicQuantizeLinear => unreachable!("no product"),
    };
    Ok(vec![("y".to_owned(), y)])
}

fn scales(values: Option<&[f32]>) -> Result<Scale<'_>> {
    Ok(match values.context("scale")? {
        [one] => Scale::PerTensor(*one),
        each => Scale::PerColumn(each),
    })
}

/// `scale`, or made from `a_scale`, `b_scale` and `y_scale`.
fn requantize_scales(blob: &Blob<'_>) -> Result<Vec<f32>> {
    if let Some(scale) = blob.vector("scale")? {
        return Ok(scale);
    }
    let one = |name: &str| -> Result<f32> {
        blob.vector(name)?.and_then(|v| v.first().copied()).with_context(|| name.to_owned())
    };
    let (a, y) = (one("a_scale")?, one("y_scale")?);
    let b: Vec<f32> = blob.vector("b_scale")?.context("b_scale")?;
    Ok(b.iter().map(|&b| qgemm::requantize_scale(a, b, y)).collect())
}

fn requantized(shape: (usize, usize), gemm: &Gemm<'_>, stage: &Requantize<'_>, to: Output) -> Result<Tensor> {
    match to {
        Output::I8 => output::<i8>(shape, |y| gemm.run_requantized(y, stage)),
        Output::U8 => output::<u8>(shape, |y| gemm.run_requantized(y, stage)),
    }
}

fn output<T: Element>(
    (rows, cols): (usize, usize),
    call: impl FnOnce(MatMut<'_, T>) -> Result<(), qgemm::Error>,
) -> Result<Tensor> {
    let mut y = vec![T::zeroed(); rows * cols];
    call(MatMut::row_major(&mut y, rows, cols)?)?;
    Ok(Tensor::new(&[rows, cols], &y))
}
