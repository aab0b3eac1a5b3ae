//! The terms of zero points and bias, as a driver computes them.

use crate::contract::kernel::Variant;
use crate::elements::Convert;
use crate::entry::rows::add_row_sums;
use crate::selftest::arena::{MAX_M, MAX_N};
use crate::selftest::case::{Case, value};
use core::ops::Range;

/// The terms that a driver adds to the sums of stored products. With one zero point each (`Case::has_one_zero_each`)
/// they are all in `col` and `row`; else the outer products `a_zero[i]·b_sum[j] + a_sum[i]·b_zero[j]` are subtracted
/// too.
pub(super) struct Terms {
    pub(super) col: [i32; MAX_N],
    pub(super) row: [i32; MAX_M],
    pub(super) a_zero: [i32; MAX_M],
    pub(super) a_sum: [i32; MAX_M],
    pub(super) b_zero: [i32; MAX_N],
    pub(super) b_sum: [i32; MAX_N],
}

impl Terms {
    /// The terms for some columns: sums are Σ (a - a_zero)·(b - b_zero) over stored values a and b, whose zero points
    /// are shifted as they are.
    pub(super) fn new(case: Case, variant: &Variant, a: &[u8], b: &[u8], columns: Range<usize>) -> Self {
        let Case { m, k, n, .. } = case;
        let (_, a_shift) = variant.convert_a(case.a_signed);
        let b_shift = Convert::new(case.b_signed, variant.b).shift(case.b_signed);
        let mut t = Self {
            col: [0; MAX_N],
            row: [0; MAX_M],
            a_zero: [0; MAX_M],
            a_sum: [0; MAX_M],
            b_zero: [0; MAX_N],
            b_sum: [0; MAX_N],
        };
        let mut a_sums = [0; MAX_M];
        add_row_sums(a, case.lda(), k, case.a_signed, &mut a_sums[..m]);
        for i in 0..m {
            t.a_zero[i] = case.a_zero(i) + a_shift;
            t.a_sum[i] = a_sums[i] as i32 + a_shift * k as i32;
        }
        for (l, j) in columns.enumerate() {
            t.b_zero[l] = case.b_zero(j) + b_shift;
            let sum: i32 = (0..k).map(|k| value(b[k * n + j], case.b_signed)).sum();
            t.b_sum[l] = sum + b_shift * k as i32 - t.b_zero[l] * k as i32;
            t.col[l] = case.bias(j);
        }
        if case.has_one_zero_each() {
            let (a_zero, b_zero) = (t.a_zero[0], t.b_zero[0]);
            t.row.iter_mut().zip(&t.a_sum).for_each(|(row, sum)| *row = sum.wrapping_mul(-b_zero));
            t.col
                .iter_mut()
                .zip(&t.b_sum)
                .for_each(|(col, sum)| *col = col.wrapping_sub(a_zero.wrapping_mul(*sum)));
        }
        t
    }
}
