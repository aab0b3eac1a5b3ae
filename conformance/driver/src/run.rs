//! One case on qgemm.

use anyhow::{Context, Result};
use qgemm::{
    Dequantize, DynamicGemm, ElementType, F64Factors, Gemm, MatMut, MatRef, Multiplier, Multipliers, PackedB,
    Requantize, Rounding, Scale,
};

use crate::case::{self, Blob, Element, Op, Output, Tensor};

pub type Results = Vec<(String, Tensor)>;

pub fn run(blob: &Blob<'_>) -> Result<Results> {
    match blob.case.op {
        Op::DynamicQuantizeLinear => dynamic_quantize_linear(blob),
        Op::DynamicGemm => dynamic_gemm(blob),
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

fn dynamic_gemm(blob: &Blob<'_>) -> Result<Results> {
    let (rows, cols) = blob.tensor("a")?.shape()?;
    let a: Vec<f32> = blob.vector("a")?.context("a")?;
    let b = blob.tensor("b")?;
    let b = b.operand(blob.case.b_transposed)?;
    let packed;
    let a = MatRef::row_major(&a, rows, cols)?;
    let mut gemm = if blob.case.b_plain {
        DynamicGemm::new(a, b)
    } else {
        packed = PackedB::pack(b, ElementType::U8)?;
        DynamicGemm::new(a, &packed)
    }
    .asymmetric()
    .per_tensor();
    let b_zero = blob.vector::<i32>("b_zero")?;
    match b_zero.as_deref() {
        Some([zero]) => gemm = gemm.b_zero(*zero),
        Some(zeros) => gemm = gemm.b_zero(zeros),
        None => {}
    }
    let (scale, bias) = (blob.vector::<f32>("scale")?, blob.vector::<f32>("bias_f32")?.context("bias_f32")?);
    let stage = Dequantize::new(scales(scale.as_deref())?)?.bias(&bias);
    let y = output((rows, b.cols()), |y| gemm.run_f32(y, &stage))?;
    Ok(vec![("y".to_owned(), y)])
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
        Op::Requantize { to } => {
            let scale = requantize_scales(blob)?;
            requantized(shape, &gemm, Requantize::new(scales(Some(&scale))?, to.zero_point)?, to)?
        }
        Op::FixedPoint { rounding, to } => {
            let multipliers = multipliers(blob)?;
            let multipliers = match multipliers[..] {
                [one] => Multipliers::PerTensor(one),
                _ => Multipliers::PerAxis(&multipliers),
            };
            let rounding = match rounding {
                case::Rounding::Gemmlowp => Rounding::Gemmlowp,
                case::Rounding::Ruy => Rounding::Ruy,
                case::Rounding::Single => Rounding::Single,
                case::Rounding::Reference => Rounding::Reference,
            };
            let stage = Requantize::fixed_point(multipliers, rounding, to.zero_point)?;
            requantized(shape, &gemm, stage, to)?
        }
        Op::Real { to } => {
            let real: Vec<f64> = blob.vector("real")?.context("real")?;
            let factors = match real[..] {
                [one] => F64Factors::PerTensor(one),
                _ => F64Factors::PerAxis(&real),
            };
            requantized(shape, &gemm, Requantize::in_f64(factors, to.zero_point)?, to)?
        }
        Op::DynamicQuantizeLinear | Op::DynamicGemm => unreachable!("they have functions of their own"),
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

/// From real factors, or from `multiplier` and `shift`.
fn multipliers(blob: &Blob<'_>) -> Result<Vec<Multiplier>> {
    if let Some(reals) = blob.vector::<f64>("real")? {
        return Ok(reals.iter().map(|&real| Multiplier::from_real(real)).collect::<Result<_, _>>()?);
    }
    let m: Vec<i32> = blob.vector("multiplier")?.context("multiplier")?;
    let shift: Vec<i32> = blob.vector("shift")?.context("shift")?;
    Ok(m.iter().zip(&shift).map(|(&m, &shift)| Multiplier::new(m, shift)).collect::<Result<_, _>>()?)
}

fn requantized(
    shape: (usize, usize),
    gemm: &Gemm<'_>,
    mut stage: Requantize<'_>,
    to: &case::To,
) -> Result<Tensor> {
    if let Some((lo, hi)) = to.clamp {
        stage = stage.clamp_to(lo, hi)?;
    }
    match to.output {
        Output::I8 => output::<i8>(shape, |y| gemm.run_requantized(y, &stage)),
        Output::U8 => output::<u8>(shape, |y| gemm.run_requantized(y, &stage)),
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
