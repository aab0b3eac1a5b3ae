//! The terms that zero points and bias add to the sums of stored products, modulo 2^32.
//!
//! A kernel multiplies stored values a = A + sa and b = B + sb (the shifts are 0 or ±128). With
//! za' = za + sa and zb' = zb + sb the exact sum of a row i and a column j is
//!
//! ```text
//! acc = Σ (A - za)(B - zb) = Σ (a - za')(b - zb')
//!     = Σ a·b - zb'[j]·Σ_k a[i,k] - za'[i]·(Σ_k b[k,j] - K·zb'[j])
//! ```
//!
//! With one zero point for all of A and one for all of B the last two terms are a value per row
//! (`-zb'·Σa`) and a value per column, which the kernel adds together with the bias. With a zero point per
//! row or per column they are outer products of two vectors, which the kernel subtracts.
//! All of that holds modulo 2^32, and is computed so, in i32. Where the sum itself may exceed 32 bits,
//! `wide_terms` computes it in f64 or i64.

use crate::buffer;
use crate::element::ElementType;
use crate::engine::a_rows::{PIECE, pieces};
use crate::engine::operation::{Operation, StoredPair};
use crate::engine::plan::{MAX_FUSED_VALUES, MAX_MC};
use crate::error::Error;
use crate::product::Product;
use crate::product::accumulator::Accumulator;
use crate::product::zero_point::ZeroPoint;
use crate::weights::column_stats::fold_a_zero;
use crate::weights::packed_columns::PackedColumns;
use multiversion::multiversion;
use qgemm_kernels::{OuterProduct, add_column_sums, add_row_sums};
use std::ops::Range;

/// The terms of some rows of A. Only those that the product needs are filled.
#[derive(Default)]
pub(crate) struct RowTerms {
    /// `za'`
    pub(crate) zero: Vec<i64>,
    /// `Σ_k a`
    pub(crate) sum: Vec<i64>,
    /// `za'` modulo 2^32.
    zero_i32: Vec<i32>,
    /// `Σ_k a` modulo 2^32.
    sum_i32: Vec<i32>,
    /// `-zb'·Σ_k a` modulo 2^32, if there is one zero point for all of B.
    added: Vec<i32>,
    /// `-zb'·Σ_k a` in f64, where it is exact, if there is one zero point for all of B.
    pub(crate) added_f64: Vec<f64>,
}

impl RowTerms {
    /// Makes room for the terms of `rows` rows.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<(), Error> {
        const PURPOSE: &str = "terms of rows";
        let Self { zero, sum, zero_i32, sum_i32, added, added_f64 } = self;
        // What is last tells of all.
        if added_f64.capacity() >= rows {
            return Ok(());
        }
        for values in [zero, sum] {
            buffer::reserve_more(values, rows, PURPOSE)?;
        }
        for values in [zero_i32, sum_i32, added] {
            buffer::reserve_more(values, rows, PURPOSE)?;
        }
        buffer::reserve_more(added_f64, rows, PURPOSE)
    }

    /// Computes the terms of the rows `block` of A.
    pub(crate) fn fill(&mut self, operation: &Operation<'_>, pair: &StoredPair, block: Range<usize>) {
        let Self { zero, sum, zero_i32, sum_i32, added, added_f64 } = self;
        let product = operation.product;
        sum.clear();
        if pair.row_sums {
            sum.resize(block.len(), pair.shift.0 * operation.k as i64);
            sum_rows(product, block.clone(), sum);
        }
        let zeros = block.clone().map(|i| i64::from(product.a_zero.at(i)) + pair.shift.0);
        if operation.accumulator != Accumulator::I32 {
            zero.clear();
            zero.extend(zeros);
            sum.resize(block.len(), 0);
            added_f64.clear();
            if let (ZeroPoint::PerTensor(zero), true) = (product.b_zero, pair.row_sums) {
                let zero = -(f64::from(zero) + pair.shift.1 as f64);
                added_f64.extend(sum.iter().map(|sum| zero * *sum as f64));
            }
            return;
        }
        if !matches!(product.a_zero, ZeroPoint::PerTensor(_)) {
            zero_i32.clear();
            zero_i32.extend(zeros.map(|zero| zero as i32));
        }
        added.clear();
        let (factor, products) = match product.b_zero {
            ZeroPoint::PerTensor(zero) => (zero.wrapping_add(pair.shift.1 as i32).wrapping_neg(), added),
            _ => (1, sum_i32),
        };
        products.resize(sum.len(), 0);
        multiply(sum, factor, products);
    }
}

/// Adds to each of `sums` the sum of a row of A.
fn sum_rows(product: &Product<'_>, rows: Range<usize>, sums: &mut [i64]) {
    let (a, k) = (&product.a, product.k);
    let signed = a.element_type() == ElementType::I8;
    if let Some(bits) = a.in_place() {
        return add_row_sums(bits.data_from_row(rows.start), bits.row_stride(), k, signed, sums);
    }
    if let Some(columns) = a.columns() {
        let from = columns.data_from_row(0).get(rows.start..).unwrap_or(&[]);
        return add_column_sums(from, columns.row_stride(), k, signed, sums);
    }
    let mut copied = PIECE;
    for (i, sum) in rows.zip(sums) {
        for ks in pieces(a, 0..k) {
            let copied = &mut copied[..ks.len()];
            a.copy_row(i, ks, product.a_zero.at(i), copied);
            add_row_sums(copied, copied.len(), copied.len(), signed, std::slice::from_mut(sum));
        }
    }
}

/// `products = factor·sums`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn multiply(sums: &[i64], factor: i32, products: &mut [i32]) {
    for (product, sum) in products.iter_mut().zip(sums) {
        *product = factor.wrapping_mul(*sum as i32);
    }
}

/// The terms that a kernel adds to each column and row, and the outer products that it subtracts.
#[derive(Clone, Copy)]
pub(crate) struct KernelTerms<'a> {
    pub(crate) col: Option<&'a [i32]>,
    pub(crate) row: &'a [i32],
    pub(crate) outer: [Option<OuterProduct<'a>>; 2],
}

/// No terms, for up to [`MAX_MC`] rows.
pub(crate) const NO_TERMS: KernelTerms<'_> = KernelTerms { col: None, row: &[0; MAX_MC], outer: [None; 2] };

/// Memory for the terms of the columns of some panels, modulo 2^32. Columns that pad a panel have any value.
#[derive(Default)]
pub(crate) struct ColumnTerms {
    /// `bias`, less `za'·sum` if there is one zero point for all of A.
    added: Vec<i32>,
    /// `zb'`
    zero: Vec<i32>,
    /// `Σ_k b - K·zb'`
    sum: Vec<i32>,
}

impl ColumnTerms {
    /// Makes room for as many columns as are finished together.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self) -> Result<(), Error> {
        let Self { added, zero, sum } = self;
        // What is last tells of all.
        if sum.is_empty() {
            for values in [added, zero, sum] {
                buffer::resize(values, MAX_FUSED_VALUES, "terms of columns")?;
            }
        }
        Ok(())
    }

    /// Memory for the result of [`column_terms`].
    pub(crate) fn buffer(&mut self) -> &mut [i32] {
        &mut self.added
    }

    /// The terms of some columns, together with those of the rows.
    pub(crate) fn with_rows<'s>(
        &'s mut self,
        operation: &'s Operation<'_>,
        pair: &StoredPair,
        columns: Range<usize>,
        rows: &'s RowTerms,
    ) -> KernelTerms<'s> {
        let product = operation.product;
        let mut terms = NO_TERMS;
        if !rows.added.is_empty() {
            terms.row = &rows.added;
        }
        if let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (product.a_zero, product.b_zero)
        {
            // Most products. Nothing is subtracted, so column sums by themselves are not needed.
            let zeros = OneZeroEach { a: a_zero, b: b_zero };
            terms.col = column_terms(product, operation.b, pair, zeros, columns, &mut self.added);
            return terms;
        }
        let stored_sums = operation.b.stored_sums(columns.clone());
        let (shift, k) = (pair.shift.1 as i32, operation.k as i32);
        match product.b_zero {
            ZeroPoint::PerTensor(zero) => {
                subtract_k_zero(&mut self.sum, stored_sums, zero.wrapping_add(shift).wrapping_mul(k));
            }
            zeros => {
                zeros.copy_to(columns.clone(), &mut self.zero);
                subtract_k_zeros(&mut self.sum, &mut self.zero, stored_sums, shift, k);
            }
        }
        let one_a_zero = match product.a_zero {
            ZeroPoint::PerTensor(zero) => zero.wrapping_add(pair.shift.0 as i32),
            _ => 0,
        };
        let bias = product.bias.map(|bias| &bias[columns]);
        if one_a_zero != 0 || bias.is_some() {
            match bias {
                Some(bias) => self.added[..bias.len()].copy_from_slice(bias),
                None => self.added[..stored_sums.len()].fill(0),
            }
            if one_a_zero != 0 {
                subtract_product(&mut self.added[..stored_sums.len()], &self.sum, one_a_zero);
            }
            terms.col = Some(&self.added);
        }
        let per_axis = |zero: ZeroPoint<'_>| !matches!(zero, ZeroPoint::PerTensor(_));
        let outer_rows = OuterProduct { row: &rows.zero_i32, col: &self.sum };
        let outer_cols = OuterProduct { row: &rows.sum_i32, col: &self.zero };
        terms.outer =
            [per_axis(product.a_zero).then_some(outer_rows), per_axis(product.b_zero).then_some(outer_cols)];
        terms
    }
}

/// The zero points of a product that has one for A and one for B.
#[derive(Clone, Copy)]
pub(crate) struct OneZeroEach {
    pub(crate) a: i32,
    pub(crate) b: i32,
}

/// The terms that a kernel adds to some columns if A and B have one zero point each, written to `buffer` unless they are
/// known already; `None` if all are 0.
#[inline]
pub(crate) fn column_terms<'s>(
    product: &Product<'_>,
    b: &'s PackedColumns,
    pair: &StoredPair,
    zeros: OneZeroEach,
    columns: Range<usize>,
    buffer: &'s mut [i32],
) -> Option<&'s [i32]> {
    let bias = product.bias.map(|bias| &bias[columns.clone()]);
    let a_zero = zeros.a.wrapping_add(pair.shift.0 as i32);
    if a_zero != 0 {
        if zeros.a == 0
            && zeros.b == 0
            && bias.is_none()
            && let Some(terms) = b.sign_shift_terms(columns.clone(), product.a.element_type())
        {
            return Some(terms);
        }
        let k_zero = zeros.b.wrapping_add(pair.shift.1 as i32).wrapping_mul(b.k() as i32);
        fold_a_zero(buffer, bias, b.stored_sums(columns), k_zero, a_zero);
    } else if let Some(bias) = bias {
        buffer[..bias.len()].copy_from_slice(bias);
    } else {
        return None;
    }
    Some(buffer)
}

/// `sum = stored - k_zero`, modulo 2^32.
fn subtract_k_zero(sum: &mut [i32], stored: &[i32], k_zero: i32) {
    for (sum, stored) in sum.iter_mut().zip(stored) {
        *sum = stored.wrapping_sub(k_zero);
    }
}

/// `zero += shift` and `sum = stored - zero·k`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn subtract_k_zeros(sum: &mut [i32], zero: &mut [i32], stored: &[i32], shift: i32, k: i32) {
    for ((sum, zero), stored) in sum.iter_mut().zip(zero).zip(stored) {
        *zero = zero.wrapping_add(shift);
        *sum = stored.wrapping_sub(zero.wrapping_mul(k));
    }
}

/// `values -= factors·factor`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn subtract_product(values: &mut [i32], factors: &[i32], factor: i32) {
    for (value, other) in values.iter_mut().zip(factors) {
        *value = value.wrapping_sub(other.wrapping_mul(factor));
    }
}
