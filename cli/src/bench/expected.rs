//! Exact sums of a measured product, by plain loops.

use crate::bench::operands::Operands;
use crate::bench::variants::{Variant, Work};
use crate::shape::Shape;
use qgemm::ElementType::{I8, U8};
use qgemm::Int8Element;

/// The exact sums of some rows, before the output stage.
pub struct Expected {
    /// The numbers of the rows: a few, or all if that is little work.
    rows: Vec<usize>,
    /// A vector of N sums for each of `rows`.
    sums: Vec<Vec<i64>>,
}

impl Expected {
    pub fn new(variant: &Variant, operands: &Operands) -> Self {
        let k = operands.shape.k;
        let zero = variant.a_zero();
        match (variant.work, variant.a) {
            // Packing has no sums; its check compares elements.
            (Work::Groupwise(_), _) => unreachable!("group-wise weights have outputs of their own"),
            (Work::Pack, _) => Self { rows: Vec::new(), sums: Vec::new() },
            (Work::Dynamic, _) => {
                Self::of_rows(variant, operands, |i| quantize_row(variant, &operands.a_f32[i * k..][..k]))
            }
            (_, U8) => {
                Self::of_rows(variant, operands, |i| subtract_zero(&operands.a_u8[i * k..][..k], zero))
            }
            (_, I8) => {
                Self::of_rows(variant, operands, |i| subtract_zero(&operands.a_i8[i * k..][..k], zero))
            }
        }
    }

    /// `row(i)` is row i of A less its zero point.
    fn of_rows(variant: &Variant, operands: &Operands, row: impl Fn(usize) -> Vec<i64>) -> Self {
        let n = operands.shape.n;
        let b_zero = i64::from(variant.b_zero());
        let rows = checked_rows(operands.shape);
        let sums_of_row = |i: &usize| {
            let mut sums = vec![0i64; n];
            for (a, b) in row(*i).into_iter().zip(operands.b.chunks_exact(n)) {
                sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * (i64::from(*b) - b_zero));
            }
            sums
        };
        Self { sums: rows.iter().map(sums_of_row).collect(), rows }
    }

    /// The largest difference between `c`, which has `n` columns, and `value(row, column, sum)`; infinite if an
    /// element is not a number.
    pub fn error<T: Copy + Into<f64>>(
        &self,
        c: &[T],
        n: usize,
        value: impl Fn(usize, usize, i64) -> f64,
    ) -> f64 {
        let mut worst = 0.0f64;
        for (&i, sums) in self.rows.iter().zip(&self.sums) {
            for (j, (got, &sum)) in c[i * n..][..n].iter().zip(sums).enumerate() {
                let error = ((*got).into() - value(i, j, sum)).abs();
                worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
            }
        }
        worst
    }
}

/// An 8-bit output, by a scale, of a variant with zero points.
pub fn requantized(sum: i64, scale: f32, variant: &Variant) -> f64 {
    let (lo, hi) = variant.a.range();
    let rounded = (sum as f32 * scale).round_ties_even() as i64;
    (rounded + i64::from(variant.output_zero())).clamp(lo.into(), hi.into()) as f64
}

/// The numbers of the rows of the output that are compared: a few, or all if that is little work.
pub fn checked_rows(shape: Shape) -> Vec<usize> {
    let m = shape.m;
    if m <= 128 && shape.macs() < 2e8 { (0..m).collect() } else { vec![0, m - 1, m / 2, m / 3] }
}

fn subtract_zero<T: Int8Element>(row: &[T], zero: i32) -> Vec<i64> {
    row.iter().map(|a| i64::from(a.to_i32() - zero)).collect()
}

/// A row of floats as dynamic quantization defines its integers, less their zero point.
fn quantize_row(variant: &Variant, row: &[f32]) -> Vec<i64> {
    let (scale, zero) = row_params(variant, row);
    let (lo, hi) = if variant.a == I8 { (-127, 127) } else { (0, 255) };
    let quantized = row.iter().map(|x| (x / scale).round_ties_even() as i64 + zero);
    quantized.map(|q| q.clamp(lo, hi) - zero).collect()
}

/// Scale and zero point of a row of floats, as dynamic quantization defines them.
pub fn row_params(variant: &Variant, row: &[f32]) -> (f32, i64) {
    let (lo, hi) = row.iter().fold((0.0f32, 0.0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
    let scale = if variant.a == I8 { hi.max(-lo) / 127.0 } else { (hi - lo) / 255.0 };
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let zero = if variant.a == I8 { 0 } else { (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i64 };
    (scale, zero)
}
