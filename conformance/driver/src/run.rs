//! Cases computed by qgemm.

use crate::case::{Case, Element8, Op, Output8};
use crate::groupwise;
use crate::tensor::{Element, Tensor};
use anyhow::{Context, Result, ensure};
use qgemm::{
    Dequantize, DynamicGemm, ElementType, Error, Gemm, MatMut, MatRef, Multiplier, OneOrEach, PackedB,
    Requantize, Scale,
};

/// Outputs by name.
pub type Outputs = Vec<(String, Tensor)>;

pub fn run(case: &Case<'_>) -> Result<Outputs> {
    match &case.call.op {
        Op::DequantizeGroups { groups } => groupwise::dequantize(case, groups),
        Op::GroupwiseGemm { groups, activations } => groupwise::multiply(case, groups, activations),
        Op::DynamicQuantizeLinear => dynamic_quantize_linear(case),
        Op::DynamicGemm => dynamic_gemm(case),
        _ => product(case),
    }
}

fn dynamic_quantize_linear(case: &Case<'_>) -> Result<Outputs> {
    let x: Vec<f32> = case.vector("x")?;
    let mut y = vec![0u8; x.len()];
    let params = qgemm::dynamic_quantize_linear(&x, &mut y)?;
    Ok(vec![
        ("y".to_owned(), Tensor::new(&[y.len()], &y)),
        ("scale".to_owned(), Tensor::new(&[1], &[params.scale])),
        ("zero_point".to_owned(), Tensor::new(&[1], &[params.zero_point])),
    ])
}

fn dynamic_gemm(case: &Case<'_>) -> Result<Outputs> {
    let (m, k) = case.tensor("a")?.shape()?;
    let a: Vec<f32> = case.vector("a")?;
    let a = MatRef::row_major(&a, m, k)?;
    let b = case.tensor("b")?;
    let b = b.operand(case.call.b_transposed)?;
    let packed;
    let gemm = if case.call.b_unpacked {
        DynamicGemm::new(a, b)
    } else {
        packed = PackedB::pack_for(b, ElementType::U8)?;
        DynamicGemm::new(a, &packed)
    };
    let mut gemm = gemm.asymmetric().per_tensor();
    let b_zero = case.optional_vector::<i32>("b_zero")?;
    if let Some(zeros) = &b_zero {
        gemm = gemm.b_zero(one_or_each(zeros));
    }
    let (scale, bias) = (case.vector::<f32>("scale")?, case.vector::<f32>("bias_f32")?);
    let stage = Dequantize::dynamic(column_scale(&scale))?.bias(&bias);
    let y = computed((m, b.cols()), |y| gemm.run_f32(y, stage))?;
    Ok(vec![("y".to_owned(), y)])
}

fn product(case: &Case<'_>) -> Result<Outputs> {
    let (a, b) = (case.tensor("a")?, case.tensor("b")?);
    let (a, b) = (a.operand(false)?, b.operand(case.call.b_transposed)?);
    let packed;
    let mut gemm = if case.call.b_unpacked {
        Gemm::new(a, b)
    } else {
        packed = PackedB::pack_for(b, a.element_type())?;
        Gemm::new(a, &packed)
    };
    let a_zero = case.optional_vector::<i32>("a_zero")?;
    let b_zero = case.optional_vector::<i32>("b_zero")?;
    let bias = case.optional_vector::<i32>("bias")?;
    if let Some(zeros) = &a_zero {
        gemm = gemm.a_zero(one_or_each(zeros));
    }
    if let Some(zeros) = &b_zero {
        gemm = gemm.b_zero(one_or_each(zeros));
    }
    if let Some(bias) = &bias {
        gemm = gemm.bias(bias);
    }
    let y = run_gemm(case, &gemm, (a.rows(), b.cols()))?;
    Ok(vec![("y".to_owned(), y)])
}

/// The output of a product, of `shape`.
fn run_gemm(case: &Case<'_>, gemm: &Gemm<'_>, shape: (usize, usize)) -> Result<Tensor> {
    match &case.call.op {
        Op::I32 => computed(shape, |y| gemm.run_i32(y)),
        Op::F32 => {
            let scale = case.vector::<f32>("scale")?;
            let bias = case.optional_vector::<f32>("bias_f32")?;
            let mut stage = Dequantize::new(column_scale(&scale))?;
            if let Some(bias) = &bias {
                stage = stage.bias(bias);
            }
            computed(shape, |y| gemm.run_f32(y, stage))
        }
        Op::Requantize { output } => {
            let scale = requantize_scale(case)?;
            let stage = Requantize::new(column_scale(&scale), output.zero_point)?;
            requantized(gemm, shape, stage, output)
        }
        Op::RequantizeInF64 { output } => {
            let factors: Vec<f64> = case.vector("factor_f64")?;
            let stage = Requantize::in_f64(one_or_each(&factors), output.zero_point)?;
            requantized(gemm, shape, stage, output)
        }
        Op::FixedPoint { rounding, output } => {
            let multipliers = multipliers(case)?;
            let stage = Requantize::fixed_point(one_or_each(&multipliers), *rounding, output.zero_point)?;
            requantized(gemm, shape, stage, output)
        }
        _ => unreachable!("others have functions of their own"),
    }
}

fn requantized(
    gemm: &Gemm<'_>,
    shape: (usize, usize),
    mut stage: Requantize<'_>,
    output: &Output8,
) -> Result<Tensor> {
    if let Some((lo, hi)) = output.clamp {
        stage = stage.clamp_to(lo, hi);
    }
    match output.element {
        Element8::I8 => computed::<i8>(shape, |y| gemm.run_requantized(y, stage)),
        Element8::U8 => computed::<u8>(shape, |y| gemm.run_requantized(y, stage)),
    }
}

/// A matrix that `call` writes.
pub fn computed<T: Element>(
    (rows, cols): (usize, usize),
    call: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>,
) -> Result<Tensor> {
    let mut y = vec![T::zeroed(); rows * cols];
    call(MatMut::row_major(&mut y, rows, cols)?)?;
    Ok(Tensor::new(&[rows, cols], &y))
}

fn one_or_each<T: Copy>(values: &[T]) -> OneOrEach<'_, T> {
    match values {
        [one] => OneOrEach::PerTensor(*one),
        each => OneOrEach::PerAxis(each),
    }
}

fn column_scale(values: &[f32]) -> Scale<'_> {
    match values {
        [one] => Scale::PerTensor(*one),
        each => Scale::PerColumn(each),
    }
}

/// `scale`, or the scale that follows from `a_scale`, `b_scale` and `y_scale`.
fn requantize_scale(case: &Case<'_>) -> Result<Vec<f32>> {
    if let Some(scale) = case.optional_vector("scale")? {
        return Ok(scale);
    }
    let one =
        |name: &str| -> Result<f32> { case.vector(name)?.first().copied().with_context(|| name.to_owned()) };
    let (a, y) = (one("a_scale")?, one("y_scale")?);
    let b: Vec<f32> = case.vector("b_scale")?;
    Ok(b.iter().map(|&b| qgemm::requantize_scale(a, b, y)).collect())
}

/// Multipliers from `factor_f64`, or from `multiplier` and `shift`.
fn multipliers(case: &Case<'_>) -> Result<Vec<Multiplier>> {
    if let Some(factors) = case.optional_vector::<f64>("factor_f64")? {
        return Ok(factors.iter().map(|&factor| Multiplier::from_real(factor)).collect::<Result<_, _>>()?);
    }
    let m: Vec<i32> = case.vector("multiplier")?;
    let shift: Vec<i32> = case.vector("shift")?;
    ensure!(m.len() == shift.len(), "multiplier and shift: {} and {} values", m.len(), shift.len());
    Ok(m.iter().zip(&shift).map(|(&m, &shift)| Multiplier::new(m, shift)).collect::<Result<_, _>>()?)
}
