//! The oracle: the numerical contract as three loops, for tests, fuzzing and `qgemm verify`.
//!
//! The functions take the arguments of the methods of [`Gemm`] and [`DynamicGemm`] and check them alike, but compute by
//! other code: every sum is an i64, one product at a time, and rounding is the standard library's.

use crate::call::dynamic::DynamicGemm;
use crate::call::gemm::{Gemm, shape};
use crate::element::Int8Element;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::matrix::view::{MatMut, MatRef};
use crate::output::dequantize::Dequantize;
use crate::output::requant::Scaling;
use crate::output::requantize::Requantize;
use crate::output::scale::Scale;
use crate::product::{Product, accumulator};
use crate::quantize::params::QuantParams;
use crate::quantize::scheme::Scheme;
use qgemm_kernels::in_default_float_mode;
use std::ops::Range;

/// [`Gemm::run_i32`].
///
/// # Errors
/// Those of the method, but those of memory and of the choice of a kernel.
pub fn run_i32(gemm: &Gemm<'_>, mut c: MatMut<'_, i32>) -> Result<(), Error> {
    let product = gemm.product(shape(&c))?;
    each(&product, |i, j, acc| *element(&mut c, i, j) = acc as i32);
    Ok(())
}

/// [`Gemm::accumulate_i32`].
///
/// # Errors
/// Those of the method, but those of memory and of the choice of a kernel.
pub fn accumulate_i32(gemm: &Gemm<'_>, mut c: MatMut<'_, i32>) -> Result<(), Error> {
    let product = gemm.product(shape(&c))?;
    each(&product, |i, j, acc| {
        let c = element(&mut c, i, j);
        *c = c.wrapping_add(acc as i32);
    });
    Ok(())
}

/// [`Gemm::run_requantized`].
///
/// # Errors
/// Those of the method, but those of memory and of the choice of a kernel.
pub fn run_requantized<T: Int8Element>(
    gemm: &Gemm<'_>,
    mut c: MatMut<'_, T>,
    output: &Requantize<'_>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        let product = gemm.product(shape(&c))?;
        accumulator::check_i64(&product)?;
        let output = output.for_output(c.rows(), c.cols(), T::TYPE)?;
        each(&product, |i, j, acc| {
            let rounded = match output.scaling {
                Scaling::Float(scale) => {
                    let x = acc as f32 * scale.at(i, j);
                    let x = output.residual.map_or(x, |residual| x + residual.at(i, j));
                    // A float beyond i64 saturates, far outside lo..=hi.
                    x.round_ties_even() as i64
                }
                Scaling::FixedPoint(multipliers, rounding) => {
                    let acc = acc.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                    multipliers.at(j).apply(acc, rounding)
                }
                Scaling::F64(factors) => (acc as f64 * factors.at(j)).round() as i64,
            };
            let y =
                rounded.saturating_add(output.zero_point.into()).clamp(output.lo.into(), output.hi.into());
            let bits = output.table.map_or(y as u8, |table| table[usize::from(y as u8)]);
            *element(&mut c, i, j) = T::from_bits(bits);
        });
        Ok(())
    })
}

/// [`Gemm::run_f32`].
///
/// # Errors
/// Those of the method, but those of memory and of the choice of a kernel.
pub fn run_f32(gemm: &Gemm<'_>, mut c: MatMut<'_, f32>, output: &Dequantize<'_>) -> Result<(), Error> {
    in_default_float_mode(|| {
        let product = gemm.product(shape(&c))?;
        accumulator::check_i64(&product)?;
        output.check_shape(c.rows(), c.cols())?;
        each(&product, |i, j, acc| {
            let product = acc as f32 * output.scale.at(i, j);
            let y = output.bias.map_or(product, |bias| product + bias[j]);
            let (lo, hi) = output.clamp;
            *element(&mut c, i, j) = if y < lo {
                lo
            } else if y > hi {
                hi
            } else {
                y
            };
        });
        Ok(())
    })
}

/// [`DynamicGemm::run_f32`].
///
/// # Errors
/// Those of the method, but those of memory and of the choice of a kernel.
pub fn run_dynamic_f32(
    gemm: &DynamicGemm<'_>,
    c: MatMut<'_, f32>,
    output: &Dequantize<'_>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        gemm.check(shape(&c), output)?;
        let (m, k) = (gemm.a.rows(), gemm.a.cols());
        let params: Vec<QuantParams> = if gemm.per_tensor {
            vec![dynamic_params(gemm, 0..m)?; m]
        } else {
            (0..m).map(|i| dynamic_params(gemm, i..i + 1)).collect::<Result<_, _>>()?
        };
        let (qmin, qmax) = if gemm.scheme == Scheme::Symmetric { (-127, 127) } else { (0, 255) };
        let quantized = (0..m).flat_map(|i| (0..k).map(move |l| (i, l))).map(|(i, l)| {
            let steps = (real(gemm, i, l) / params[i].scale).round_ties_even() as i64;
            (steps + i64::from(params[i].zero_point)).clamp(qmin, qmax) as u8
        });
        let quantized: Vec<u8> = quantized.collect();
        let zeros: Vec<i32> = params.iter().map(|params| params.zero_point).collect();
        let rows = params.iter().enumerate().map(|(i, params)| match output.scale {
            Scale::PerTensor(b) => params.scale * b,
            Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => params.scale * rows[i],
            Scale::PerColumn(_) => params.scale,
        });
        let rows: Vec<f32> = rows.collect();
        let scale = match output.scale {
            Scale::PerTensor(_) | Scale::PerRow(_) => Scale::PerRow(&rows),
            Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => {
                Scale::RowsByColumns { rows: &rows, columns }
            }
        };
        scale.check()?;
        let a = Operand { bits: MatRef::row_major(&quantized, m, k)?, element: gemm.scheme.element() };
        run_f32(&gemm.quantized(a, &zeros), c, &Dequantize { scale, ..*output })
    })
}

fn real(gemm: &DynamicGemm<'_>, i: usize, l: usize) -> f32 {
    *gemm.a.get(i, l).expect("the shapes were checked")
}

/// The parameters of some rows, from all their values.
fn dynamic_params(gemm: &DynamicGemm<'_>, rows: Range<usize>) -> Result<QuantParams, Error> {
    let (mut lo, mut hi) = (0f32, 0f32);
    for (row, column) in rows.flat_map(|i| (0..gemm.a.cols()).map(move |l| (i, l))) {
        let got = real(gemm, row, column);
        if !got.is_finite() {
            return Err(Error::NotFinite { row, column, got });
        }
        (lo, hi) = (lo.min(got), hi.max(got));
    }
    let scale = match gemm.scheme {
        Scheme::Symmetric => hi.max(-lo) / 127.0,
        Scheme::Asymmetric => (hi - lo) / 255.0,
    };
    match (scale, gemm.scheme) {
        (f32::INFINITY, _) => Err(Error::QuantizationRange { got: (lo.into(), hi.into()) }),
        (0.0, _) => Ok(QuantParams { scale: 1.0, zero_point: 0 }),
        (_, Scheme::Symmetric) => Ok(QuantParams { scale, zero_point: 0 }),
        (_, Scheme::Asymmetric) => {
            let zero_point = (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i32;
            Ok(QuantParams { scale, zero_point })
        }
    }
}

fn element<'m, T>(c: &'m mut MatMut<'_, T>, i: usize, j: usize) -> &'m mut T {
    c.get_mut(i, j).expect("the shapes were checked")
}

/// Calls `store(i, j, acc + bias)` for every element. The sum is modulo 2^64; callers that need the exact sum have checked
/// that 64 bits hold it.
fn each(product: &Product<'_>, mut store: impl FnMut(usize, usize, i64)) {
    let Product { m, n, k, .. } = *product;
    if m == 0 {
        return;
    }
    let b = |l, j| {
        let b = product.b.get(l, j).expect("the shapes were checked");
        i64::from(b) - i64::from(product.b_zero.at(j))
    };
    for j in 0..n {
        // A column of B, so that packed elements are looked up once.
        let column: Vec<i64> = (0..k).map(|l| b(l, j)).collect();
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
}
