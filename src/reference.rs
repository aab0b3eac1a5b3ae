//! The oracle: the numerical contract as three loops, for tests, fuzzing and `qgemm verify`.
//!
//! Same arguments and same errors as the methods of [`Gemm`], none of its machinery: every sum is an
//! i64, one product at a time, and rounding is the standard library's.

use crate::element::Quantized;
use crate::gemm::Rhs;
use crate::output::{Dequantize, Requantize};
use crate::{Error, Gemm, MatMut, width};

/// [`Gemm::run_i32`].
///
/// # Errors
/// As the method's.
pub fn run_i32(gemm: &Gemm<'_>, mut c: MatMut<'_, i32>) -> Result<(), Error> {
    gemm.check((c.rows(), c.cols()))?;
    each(gemm, |i, j, acc| *element(&mut c, i, j) = acc as i32);
    Ok(())
}

/// [`Gemm::accumulate_i32`].
///
/// # Errors
/// As the method's.
pub fn accumulate_i32(gemm: &Gemm<'_>, mut c: MatMut<'_, i32>) -> Result<(), Error> {
    gemm.check((c.rows(), c.cols()))?;
    each(gemm, |i, j, acc| {
        let c = element(&mut c, i, j);
        *c = c.wrapping_add(acc as i32);
    });
    Ok(())
}

/// [`Gemm::run_requantized`].
///
/// # Errors
/// As the method's.
pub fn run_requantized<T: Quantized>(
    gemm: &Gemm<'_>,
    mut c: MatMut<'_, T>,
    output: &Requantize<'_>,
) -> Result<(), Error> {
    gemm.check((c.rows(), c.cols()))?;
    width::check(gemm)?;
    output.scale.check_shape(c.rows(), c.cols())?;
    let (lo, hi) = output.range(T::TYPE.range())?;
    each(gemm, |i, j, acc| {
        // Wide enough for any f32 product: what is beyond i64 saturates far outside lo..=hi.
        let rounded = (acc as f32 * output.scale.at(i, j)).round_ties_even() as i64;
        let y = rounded.saturating_add(i64::from(output.zero_point)).clamp(lo.into(), hi.into());
        *element(&mut c, i, j) = T::from_bits(y as u8);
    });
    Ok(())
}

/// [`Gemm::run_f32`].
///
/// # Errors
/// As the method's.
pub fn run_f32(gemm: &Gemm<'_>, mut c: MatMut<'_, f32>, output: &Dequantize<'_>) -> Result<(), Error> {
    gemm.check((c.rows(), c.cols()))?;
    width::check(gemm)?;
    output.check_shape(c.rows(), c.cols())?;
    each(gemm, |i, j, acc| {
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
}

fn element<'m, T>(c: &'m mut MatMut<'_, T>, i: usize, j: usize) -> &'m mut T {
    c.get_mut(i, j).expect("the shapes were checked")
}

/// Calls `store(i, j, acc + bias)` for every element. The sum is exact where 64 bits hold it, which
/// the callers that need it have checked, and modulo 2^64 elsewhere.
fn each(gemm: &Gemm<'_>, mut store: impl FnMut(usize, usize, i64)) {
    let (m, n, k) = gemm.shape();
    if m == 0 {
        return;
    }
    let b = |l, j| {
        let b = match gemm.b {
            Rhs::Packed(b) => b.get(l, j),
            Rhs::Plain(b) => b.get(l, j),
        };
        i64::from(b.expect("the shapes were checked")) - i64::from(gemm.b_zero.at(j))
    };
    for j in 0..n {
        // A column of B, so that packed elements are looked up once.
        let column: Vec<i64> = (0..k).map(|l| b(l, j)).collect();
        let bias = gemm.bias.map_or(0, |bias| i64::from(bias[j]));
        for i in 0..m {
            let zero = gemm.a_zero.at(i);
            let sum = column.iter().enumerate().fold(bias, |sum, (l, b)| {
                let a = gemm.a.get(i, l, zero).expect("the shapes were checked");
                sum.wrapping_add((i64::from(a) - i64::from(zero)).wrapping_mul(*b))
            });
            store(i, j, sum);
        }
    }
}
