//! Products of 8-bit matrices, and of f32 ones that become such.

use crate::call::dynamic::DynamicGemm;
use crate::call::gemm::{Gemm, shape};
use crate::element::Int8Element;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::matrix::view::{MatMut, MatRef};
use crate::output::dequantize::Dequantize;
use crate::output::requant::{Requant, ResidualMatrix, Scaling};
use crate::output::requantize::Requantize;
use crate::output::scale::ScaleOfA;
use crate::product::operands::FloatLhs;
use crate::product::{Product, accumulator};
use crate::quantize::scheme::Scheme;
use crate::reference::real::{
    QUANTIZED_A, clamped, dynamic_params, element, real, row_scales, with_capacity, with_row_scales,
};
use qgemm_kernels::in_default_float_mode;

/// [`Gemm::run_i32`].
///
/// # Errors
/// Those of the method, but those of the choice of a kernel. Memory is needed for a column of B, 8 bytes for each value.
pub fn run_i32(gemm: &Gemm<'_>, mut c: MatMut<'_, i32>) -> Result<(), Error> {
    let product = gemm.product(shape(&c))?;
    each(&product, |i, j, acc| *element(&mut c, i, j) = acc as i32)
}

/// [`Gemm::accumulate_i32`].
///
/// # Errors
/// Those of the method, but those of the choice of a kernel. Memory is needed for a column of B, 8 bytes for each value.
pub fn accumulate_i32(gemm: &Gemm<'_>, mut c: MatMut<'_, i32>) -> Result<(), Error> {
    let product = gemm.product(shape(&c))?;
    each(&product, |i, j, acc| {
        let c = element(&mut c, i, j);
        *c = c.wrapping_add(acc as i32);
    })
}

/// [`Gemm::run_requantized`].
///
/// # Errors
/// Those of the method, but those of the choice of a kernel. Memory is needed for a column of B, 8 bytes for each value.
pub fn run_requantized<'o, T: Int8Element>(
    gemm: &Gemm<'_>,
    c: MatMut<'_, T>,
    output: impl Into<Requantize<'o>>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        let product = gemm.product(shape(&c))?;
        accumulator::check_i64(&product)?;
        let requant = output.into().for_output(shape(&c), T::TYPE, ScaleOfA::Included)?;
        requantize_each(&product, c, &requant)
    })
}

fn requantize_each<T: Int8Element>(
    product: &Product<'_>,
    mut c: MatMut<'_, T>,
    output: &Requant<'_>,
) -> Result<(), Error> {
    each(product, |i, j, acc| {
        let c = element(&mut c, i, j);
        let rounded = match output.scaling {
            Scaling::Float(scale) => {
                let x = acc as f32 * scale.at(i, j);
                let x = match output.residual {
                    None => x,
                    Some(residual) => {
                        let value = match residual.matrix {
                            ResidualMatrix::Operand(matrix) => matrix.get(i, j),
                            ResidualMatrix::Output(_) => Some(c.to_i32()),
                        };
                        x + residual.real(value.expect("the shapes were checked"))
                    }
                };
                // A float beyond i64 saturates, far outside lo..=hi.
                x.round_ties_even() as i64
            }
            Scaling::FixedPoint(multipliers, rounding) => {
                let acc = acc.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                multipliers.at(j).apply(acc, rounding)
            }
            Scaling::F64(factors) => (acc as f64 * factors.at(j)).round() as i64,
        };
        let y = rounded.saturating_add(output.zero_point.into()).clamp(output.lo.into(), output.hi.into());
        *c = T::from_bits(output.table.map_or(y as u8, |table| table[usize::from(y as u8)]));
    })
}

/// [`Gemm::run_f32`].
///
/// # Errors
/// Those of the method, but those of the choice of a kernel. Memory is needed for a column of B, 8 bytes for each value.
pub fn run_f32<'o>(
    gemm: &Gemm<'_>,
    c: MatMut<'_, f32>,
    output: impl Into<Dequantize<'o>>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        let (product, output) = (gemm.product(shape(&c))?, output.into());
        accumulator::check_i64(&product)?;
        output.check(shape(&c), ScaleOfA::Included)?;
        dequantize_each(&product, c, &output)
    })
}

fn dequantize_each(
    product: &Product<'_>,
    mut c: MatMut<'_, f32>,
    output: &Dequantize<'_>,
) -> Result<(), Error> {
    each(product, |i, j, acc| {
        let c = element(&mut c, i, j);
        let scaled = acc as f32 * output.scale.at(i, j);
        let y = clamped(scaled, (i, j), *c, output);
        *c = output.activation.map_or(y, |activation| activation.apply(y));
    })
}

/// [`DynamicGemm::run_f32`].
///
/// # Errors
/// Those of the method, but those of the choice of a kernel. Memory is needed for the quantized A and a column of B.
pub fn run_dynamic_f32<'o>(
    gemm: &DynamicGemm<'_>,
    c: MatMut<'_, f32>,
    output: impl Into<Dequantize<'o>>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        let (all, output) = (shape(&c), output.into());
        gemm.check(all)?;
        output.check(all, ScaleOfA::Found)?;
        if all.0 == 0 || all.1 == 0 {
            return Ok(());
        }
        let a = DynamicA::new(gemm)?;
        let rows = row_scales(&a.scales, output.scale)?;
        let scale = with_row_scales(output.scale, &rows);
        scale.check()?;
        let product = gemm.quantized(a.operand(gemm)?, &a.zeros);
        dequantize_each(&product.product(all)?, c, &Dequantize { scale, ..output })
    })
}

/// [`DynamicGemm::run_requantized`].
///
/// # Errors
/// Those of the method, but those of the choice of a kernel. Memory is needed for the quantized A and a column of B.
pub fn run_dynamic_requantized<'o, T: Int8Element>(
    gemm: &DynamicGemm<'_>,
    c: MatMut<'_, T>,
    output: impl Into<Requantize<'o>>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        let all = shape(&c);
        gemm.check(all)?;
        let requant = output.into().for_output(all, T::TYPE, ScaleOfA::Found)?;
        let Scaling::Float(scale) = requant.scaling else { unreachable!("it is made with float scales") };
        if all.0 == 0 || all.1 == 0 {
            return Ok(());
        }
        let a = DynamicA::new(gemm)?;
        let rows = row_scales(&a.scales, scale)?;
        let scale = with_row_scales(scale, &rows);
        scale.check()?;
        let product = gemm.quantized(a.operand(gemm)?, &a.zeros);
        requantize_each(&product.product(all)?, c, &Requant { scaling: Scaling::Float(scale), ..requant })
    })
}

/// The quantized A of a dynamic product, row by row.
struct DynamicA {
    bits: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<i32>,
}

impl DynamicA {
    fn new(gemm: &DynamicGemm<'_>) -> Result<Self, Error> {
        let (m, k) = (gemm.a.rows(), gemm.a.cols());
        // Reserved before any value is read, as by the method.
        let mut bits: Vec<u8> = with_capacity(m.saturating_mul(k), QUANTIZED_A)?;
        let (mut scales, mut zeros) = (with_capacity(m, QUANTIZED_A)?, with_capacity(m, QUANTIZED_A)?);
        let (qmin, qmax) = if gemm.scheme == Scheme::Symmetric { (-127, 127) } else { (0, 255) };
        let source = gemm.a.source();
        let given = if gemm.per_tensor {
            let argument = if let FloatLhs::Gathered(_) = gemm.a { "source" } else { "a" };
            Some(dynamic_params(gemm.scheme, (argument, &source), 0..source.rows(), 0..source.cols())?)
        } else {
            None
        };
        for i in 0..m {
            let params = match given {
                Some(params) => params,
                None => dynamic_params(gemm.scheme, ("a", &gemm.a), i..i + 1, 0..k)?,
            };
            bits.extend((0..k).map(|l| {
                let steps = (real(&gemm.a, i, l) / params.scale).round_ties_even() as i64;
                (steps + i64::from(params.zero_point)).clamp(qmin, qmax) as u8
            }));
            scales.push(params.scale);
            zeros.push(params.zero_point);
        }
        Ok(Self { bits, scales, zeros })
    }

    fn operand(&self, gemm: &DynamicGemm<'_>) -> Result<Operand<'_>, Error> {
        let bits = MatRef::row_major(&self.bits, gemm.a.rows(), gemm.a.cols())?;
        Ok(Operand { bits, element: gemm.scheme.element() })
    }
}

/// Calls `store(i, j, acc + bias)` for every element. The sum is modulo 2^64; callers that need the exact sum have checked
/// that 64 bits hold it.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for a column of B. Nothing is stored then.
fn each(product: &Product<'_>, mut store: impl FnMut(usize, usize, i64)) -> Result<(), Error> {
    let Product { m, n, k, .. } = *product;
    if m == 0 || n == 0 {
        return Ok(());
    }
    // A column of B, so that packed elements are looked up once.
    let mut column: Vec<i64> = with_capacity(k, "column of b")?;
    let b = |l, j| {
        let b = product.b.get(l, j).expect("the shapes were checked");
        i64::from(b) - i64::from(product.b_zero.at(j))
    };
    for j in 0..n {
        column.clear();
        column.extend((0..k).map(|l| b(l, j)));
        let bias = product.bias.map_or(0, |bias| i64::from(bias[j]));
        for i in 0..m {
            let zero = product.a_zero.at(i);
            let sum = column.iter().enumerate().fold(bias, |sum, (l, b)| {
                let a = product.a.get(i, l, zero).expect("the shapes were checked");
                sum.wrapping_add((i64::from(a) - i64::from(zero)).wrapping_mul(*b))
            });
            store(i, j, sum);
        }
    }
    Ok(())
}
