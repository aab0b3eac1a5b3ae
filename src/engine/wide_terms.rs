//! The terms that zero points and bias add to sums that may exceed 32 bits: in i64, or in f64 where that is exact (see
//! `accumulator`). The algebra is that of `zero_points`.

use crate::engine::operation::{Operation, StoredPair};
use crate::engine::plan::PerColumn;
use crate::engine::zero_points::RowTerms;
use crate::product::zero_point::ZeroPoint;
use multiversion::multiversion;
use qgemm_kernels::{F64Terms, MAX_NR};
use std::ops::Range;

/// The terms of the columns of a panel in i64. Columns that pad the panel have any value.
pub(crate) struct I64ColumnTerms {
    /// `bias`, less `za'·sum` if there is one zero point for all of A.
    added: PerColumn<i64>,
    /// `zb'`
    zero: PerColumn<i64>,
    /// `Σ_k b - K·zb'`
    sum: PerColumn<i64>,
    /// Whether A has a zero point per row.
    a_zero_per_row: bool,
    /// Whether some `zb'` is not 0.
    any_b_zero: bool,
}

impl I64ColumnTerms {
    pub(crate) fn new(operation: &Operation<'_>, pair: &StoredPair, columns: Range<usize>) -> Self {
        let product = operation.product;
        let (a_zero_per_row, one_a_zero) = match product.a_zero {
            ZeroPoint::PerTensor(zero) => (false, i64::from(zero) + pair.shift.0),
            _ => (true, 0),
        };
        let none = [0; MAX_NR];
        let mut terms = Self { added: none, zero: none, sum: none, a_zero_per_row, any_b_zero: false };
        for (l, j) in columns.enumerate() {
            let zero = i64::from(product.b_zero.at(j)) + pair.shift.1;
            let sum = operation.b.exact_sum(j).wrapping_sub(zero.wrapping_mul(operation.k as i64));
            let bias = product.bias.map_or(0, |bias| i64::from(bias[j]));
            terms.added[l] = bias.wrapping_sub(one_a_zero.wrapping_mul(sum));
            (terms.zero[l], terms.sum[l]) = (zero, sum);
            terms.any_b_zero |= zero != 0;
        }
        terms
    }

    /// Adds all terms to the sums of rows `range` of the row block, which are `ld` values apart.
    pub(crate) fn add_to(&self, sums: &mut [i64], ld: usize, rows: &RowTerms, range: Range<usize>) {
        let (zeros, row_sums) = (&rows.zero[range.clone()], &rows.sum[range]);
        for (row, (zero, row_sum)) in sums.chunks_mut(ld).zip(zeros.iter().zip(row_sums)) {
            add(row, &self.added);
            if self.a_zero_per_row {
                subtract_product(row, &self.sum, *zero);
            }
            if self.any_b_zero {
                subtract_product(row, &self.zero, *row_sum);
            }
        }
    }
}

/// `row += terms`
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add(row: &mut [i64], terms: &PerColumn<i64>) {
    for (sum, term) in row.iter_mut().zip(terms) {
        *sum = sum.wrapping_add(*term);
    }
}

/// `row -= factor·terms`
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn subtract_product(row: &mut [i64], terms: &PerColumn<i64>, factor: i64) {
    for (sum, term) in row.iter_mut().zip(terms) {
        *sum = sum.wrapping_sub(factor.wrapping_mul(*term));
    }
}

/// `added -= (stored - k_zero)·zero`; the stored sums fit 32 bits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn subtract_f64(added: &mut PerColumn<f64>, stored: &[i32], k_zero: f64, zero: f64) {
    for (added, stored) in added.iter_mut().zip(stored) {
        *added -= (f64::from(*stored) - k_zero) * zero;
    }
}

/// The terms of the columns of a panel in f64, where every sum on the way is exact, with those of the rows.
pub(crate) struct F64ColumnTerms<'a> {
    added: PerColumn<f64>,
    zero: PerColumn<f64>,
    sum: PerColumn<f64>,
    a_zero_per_row: bool,
    /// Whether a row or a column has a zero point of its own, so that outer products are subtracted.
    outer_products: bool,
    rows: &'a RowTerms,
}

impl<'a> F64ColumnTerms<'a> {
    pub(crate) fn new(
        operation: &Operation<'_>,
        pair: &StoredPair,
        columns: Range<usize>,
        rows: &'a RowTerms,
    ) -> Self {
        let product = operation.product;
        let (a_zero, b_zero) = (product.a_zero, product.b_zero);
        let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (a_zero, b_zero) else {
            let terms = I64ColumnTerms::new(operation, pair, columns);
            let I64ColumnTerms { added, zero, sum, a_zero_per_row, .. } = terms;
            let [added, zero, sum] = [added, zero, sum].map(|terms| terms.map(|term| term as f64));
            return Self { added, zero, sum, a_zero_per_row, outer_products: true, rows };
        };
        let a_zero = f64::from(a_zero) + pair.shift.0 as f64;
        let b_zero = f64::from(b_zero) + pair.shift.1 as f64;
        let mut added = [0.0; MAX_NR];
        if let Some(bias) = product.bias {
            let bias = &bias[columns.clone()];
            added.iter_mut().zip(bias).for_each(|(added, bias)| *added = f64::from(*bias));
        }
        let k_zero = b_zero * operation.k as f64;
        subtract_f64(&mut added, operation.b.stored_sums(columns), k_zero, a_zero);
        let (zero, sum) = ([b_zero; MAX_NR], [0.0; MAX_NR]);
        Self { added, zero, sum, a_zero_per_row: false, outer_products: false, rows }
    }

    /// The terms as a value per column and one per row; `None` if outer products are subtracted.
    pub(crate) fn for_kernel(&self) -> Option<F64Terms<'_>> {
        let row = &self.rows.added_f64[..];
        (!self.outer_products).then_some(F64Terms { col: &self.added, row: (!row.is_empty()).then_some(row) })
    }

    /// The function from a column and its sum of stored products to the exact sum, for row `i` of the row block.
    #[inline(always)]
    pub(crate) fn exact_sums_of_row(&self, i: usize) -> impl Fn(usize, i32) -> f64 {
        let zero = if self.a_zero_per_row { self.rows.zero[i] as f64 } else { 0.0 };
        let sum = self.rows.sum[i] as f64;
        move |j, x| f64::from(x) + self.added[j] - zero * self.sum[j] - sum * self.zero[j]
    }
}
