//! What zero points and bias add to the sums of stored products.
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
//! row or per column they are outer products of two vectors, which the kernel takes off.
//! All of that holds modulo 2^32, and is computed so, in i32; where the sum itself may exceed 32 bits,
//! [`RealTerms`] does it in f64, if that is exact (see `width`), else [`WideTerms`] in i64.

use crate::driver::{Call, Way};
use crate::epilogue::AT_ONCE;
use crate::gemm::{Gemm, ZeroPoint};
use crate::packed::PackedB;
use crate::plan::MAX_MC;
use crate::strip;
use crate::width::Width;
use multiversion::multiversion;
use qgemm_kernels::{F64Terms, MAX_NR, OuterProduct};
use std::ops::Range;

/// Values of one panel's columns.
pub(crate) type PerColumn<T> = [T; MAX_NR];

/// What some rows of A contribute. Only what the product needs is filled.
#[derive(Default)]
pub(crate) struct RowTerms {
    /// `za'`
    zero: Vec<i64>,
    /// `Σ_k a`
    sum: Vec<i64>,
    /// Both modulo 2^32.
    narrow_zero: Vec<i32>,
    narrow_sum: Vec<i32>,
    /// `-zb'·Σ_k a` modulo 2^32, where there is one zero point for all of B.
    added: Vec<i32>,
    /// The same exactly, in f64.
    real: Vec<f64>,
}

impl RowTerms {
    /// For some rows of A.
    pub(crate) fn fill(&mut self, call: &Call<'_>, way: &Way, block: Range<usize>) {
        let Self { zero, sum, narrow_zero, narrow_sum, added, real } = self;
        sum.clear();
        if way.row_sums {
            sum.resize(block.len(), way.shift.0 * call.k as i64);
            strip::add_row_sums(call, block.clone(), sum);
        }
        let zeros = block.clone().map(|i| i64::from(call.gemm.a_zero.at(i)) + way.shift.0);
        if call.width != Width::Narrow {
            zero.clear();
            zero.extend(zeros);
            sum.resize(block.len(), 0);
            real.clear();
            if let (ZeroPoint::PerTensor(zero), true) = (call.gemm.b_zero, way.row_sums) {
                let zero = -(f64::from(zero) + way.shift.1 as f64);
                real.extend(sum.iter().map(|sum| zero * *sum as f64));
            }
            return;
        }
        if let ZeroPoint::PerAxis(_) = call.gemm.a_zero {
            narrow_zero.clear();
            narrow_zero.extend(zeros.map(|zero| zero as i32));
        }
        added.clear();
        let (factor, narrow) = match call.gemm.b_zero {
            ZeroPoint::PerTensor(zero) => (zero.wrapping_add(way.shift.1 as i32).wrapping_neg(), added),
            ZeroPoint::PerAxis(_) => (1, narrow_sum),
        };
        narrow.resize(sum.len(), 0);
        times(sum, factor, narrow);
    }
}

/// `products = factor·sums`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn times(sums: &[i64], factor: i32, products: &mut [i32]) {
    for (product, sum) in products.iter_mut().zip(sums) {
        *product = factor.wrapping_mul(*sum as i32);
    }
}

/// What a kernel adds to each column and row, and takes off.
#[derive(Clone, Copy)]
pub(crate) struct Added<'a> {
    pub(crate) col: Option<&'a [i32]>,
    pub(crate) row: &'a [i32],
    pub(crate) outer: [Option<OuterProduct<'a>>; 2],
}

pub(crate) const NOTHING: Added<'_> = Added { col: None, row: &[0; MAX_MC], outer: [None; 2] };

/// Room for what the columns of some panels contribute, modulo 2^32. Columns that pad them have any value.
pub(crate) struct ColumnTerms {
    /// `bias`, less `za'·sum` where there is one zero point for all of A.
    added: [i32; AT_ONCE],
    /// `zb'`
    zero: [i32; AT_ONCE],
    /// `Σ_k b - K·zb'`
    sum: [i32; AT_ONCE],
}

impl Default for ColumnTerms {
    fn default() -> Self {
        Self { added: [0; AT_ONCE], zero: [0; AT_ONCE], sum: [0; AT_ONCE] }
    }
}

impl ColumnTerms {
    /// Room for what [`added_to_columns`] finds.
    pub(crate) fn room(&mut self) -> &mut [i32] {
        &mut self.added
    }

    /// All that a kernel does to some columns besides multiplying.
    pub(crate) fn added<'s>(
        &'s mut self,
        call: &'s Call<'_>,
        way: &Way,
        columns: Range<usize>,
        rows: &'s RowTerms,
    ) -> Added<'s> {
        let (a_zero, b_zero) = (call.gemm.a_zero, call.gemm.b_zero);
        let one_zero = match a_zero {
            ZeroPoint::PerTensor(zero) => zero.wrapping_add(way.shift.0 as i32),
            ZeroPoint::PerAxis(_) => 0,
        };
        let mut added = NOTHING;
        if !rows.added.is_empty() {
            added.row = &rows.added;
        }
        if let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (a_zero, b_zero) {
            // Most products: nothing is taken off, so the sums themselves are not needed.
            let product = (call.gemm, call.b, way);
            added.col = added_to_columns(product, (a_zero, b_zero), columns, &mut self.added);
            return added;
        }
        let each = |zero: ZeroPoint<'_>| matches!(zero, ZeroPoint::PerAxis(_));
        let stored_sums = call.b.stored_sums(columns.clone());
        let (shift, k) = (way.shift.1 as i32, call.k as i32);
        let bias = call.gemm.bias.map(|bias| &bias[columns.clone()]);
        match b_zero {
            ZeroPoint::PerTensor(zero) => {
                less_one_zero(&mut self.sum, stored_sums, zero.wrapping_add(shift).wrapping_mul(k));
            }
            ZeroPoint::PerAxis(zeros) => {
                less_zeros(&mut self.sum, &mut self.zero, stored_sums, &zeros[columns], shift, k);
            }
        }
        if one_zero != 0 || bias.is_some() {
            match bias {
                Some(bias) => self.added[..bias.len()].copy_from_slice(bias),
                None => self.added[..stored_sums.len()].fill(0),
            }
            if one_zero != 0 {
                take_off(&mut self.added[..stored_sums.len()], &self.sum, one_zero);
            }
            added.col = Some(&self.added);
        }
        let outer_rows = OuterProduct { row: &rows.narrow_zero, col: &self.sum };
        let outer_cols = OuterProduct { row: &rows.narrow_sum, col: &self.zero };
        added.outer = [each(a_zero).then_some(outer_rows), each(b_zero).then_some(outer_cols)];
        added
    }
}

/// What a kernel adds to some columns where A and B have one zero point each; in `room`, if it is anything.
#[inline]
pub(crate) fn added_to_columns<'s>(
    (gemm, b, way): (&Gemm<'_>, &'s PackedB, &Way),
    (a_zero, b_zero): (i32, i32),
    columns: Range<usize>,
    room: &'s mut [i32],
) -> Option<&'s [i32]> {
    let bias = gemm.bias.map(|bias| &bias[columns.clone()]);
    let shifted = a_zero.wrapping_add(way.shift.0 as i32);
    if shifted != 0 {
        if a_zero == 0
            && b_zero == 0
            && bias.is_none()
            && let Some(terms) = b.plain_terms(columns.clone(), gemm.a.element_type())
        {
            return Some(terms);
        }
        let zero_k = b_zero.wrapping_add(way.shift.1 as i32).wrapping_mul(b.k() as i32);
        one_zero_each(room, bias, b.stored_sums(columns), zero_k, shifted);
    } else if let Some(bias) = bias {
        room[..bias.len()].copy_from_slice(bias);
    } else {
        return None;
    }
    Some(room)
}

/// `added = bias - (stored - zero_k)·zero`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn one_zero_each(added: &mut [i32], bias: Option<&[i32]>, stored: &[i32], zero_k: i32, zero: i32) {
    let less = |stored: i32| stored.wrapping_sub(zero_k).wrapping_mul(zero);
    match bias {
        Some(bias) => {
            for ((added, bias), stored) in added.iter_mut().zip(bias).zip(stored) {
                *added = bias.wrapping_sub(less(*stored));
            }
        }
        None => {
            for (added, stored) in added.iter_mut().zip(stored) {
                *added = less(*stored).wrapping_neg();
            }
        }
    }
}

/// `sum = stored - zero_k`, modulo 2^32.
fn less_one_zero(sum: &mut [i32], stored: &[i32], zero_k: i32) {
    for (sum, stored) in sum.iter_mut().zip(stored) {
        *sum = stored.wrapping_sub(zero_k);
    }
}

/// `zero = zeros + shift` and `sum = stored - zero·k`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn less_zeros(sum: &mut [i32], zero: &mut [i32], stored: &[i32], zeros: &[i32], shift: i32, k: i32) {
    for ((sum, zero), (stored, from)) in sum.iter_mut().zip(zero).zip(stored.iter().zip(zeros)) {
        *zero = from.wrapping_add(shift);
        *sum = stored.wrapping_sub(zero.wrapping_mul(k));
    }
}

/// `added -= sum·zero`, modulo 2^32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn take_off(added: &mut [i32], sum: &[i32], zero: i32) {
    for (added, sum) in added.iter_mut().zip(sum) {
        *added = added.wrapping_sub(sum.wrapping_mul(zero));
    }
}

/// What the columns of a panel contribute to 64-bit sums. Columns that pad the panel have any value.
pub(crate) struct WideTerms {
    /// `bias`, less `za'·sum` where there is one zero point for all of A.
    added: PerColumn<i64>,
    /// `zb'`
    zero: PerColumn<i64>,
    /// `Σ_k b - K·zb'`
    sum: PerColumn<i64>,
    /// Whether A has a zero point per row, and whether a `zb'` is not 0.
    each_row: bool,
    any_zero: bool,
}

impl WideTerms {
    pub(crate) fn new(call: &Call<'_>, way: &Way, columns: Range<usize>) -> Self {
        let [added, zero, sum] = [[0; MAX_NR]; 3];
        let (each_row, one_zero) = match call.gemm.a_zero {
            ZeroPoint::PerTensor(zero) => (false, i64::from(zero) + way.shift.0),
            ZeroPoint::PerAxis(_) => (true, 0),
        };
        let mut terms = Self { added, zero, sum, each_row, any_zero: false };
        for (l, j) in columns.enumerate() {
            let zero = i64::from(call.gemm.b_zero.at(j)) + way.shift.1;
            let sum = call.b.exact_sum(j).wrapping_sub(zero.wrapping_mul(call.k as i64));
            let bias = call.gemm.bias.map_or(0, |bias| i64::from(bias[j]));
            terms.added[l] = bias.wrapping_sub(one_zero.wrapping_mul(sum));
            (terms.zero[l], terms.sum[l]) = (zero, sum);
            terms.any_zero |= zero != 0;
        }
        terms
    }

    /// Adds all that bias and zero points contribute to the sums of some rows of a band; `sums` has rows of
    /// `ld`.
    pub(crate) fn add(&self, rows: &RowTerms, range: Range<usize>, sums: &mut [i64], ld: usize) {
        let (zeros, row_sums) = (&rows.zero[range.clone()], &rows.sum[range]);
        for (row, (zero, row_sum)) in sums.chunks_mut(ld).zip(zeros.iter().zip(row_sums)) {
            add_each(row, &self.added);
            if self.each_row {
                take_off_wide(row, &self.sum, *zero);
            }
            if self.any_zero {
                take_off_wide(row, &self.zero, *row_sum);
            }
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_each(row: &mut [i64], added: &PerColumn<i64>) {
    for (sum, added) in row.iter_mut().zip(added) {
        *sum = sum.wrapping_add(*added);
    }
}

/// `row -= factor·terms`
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn take_off_wide(row: &mut [i64], terms: &PerColumn<i64>, factor: i64) {
    for (sum, term) in row.iter_mut().zip(terms) {
        *sum = sum.wrapping_sub(factor.wrapping_mul(*term));
    }
}

/// `added -= (stored - zero_k)·zero`; the stored sums fit 32 bits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn take_off_real(added: &mut PerColumn<f64>, stored: &[i32], zero_k: f64, zero: f64) {
    for (added, stored) in added.iter_mut().zip(stored) {
        *added -= (f64::from(*stored) - zero_k) * zero;
    }
}

/// The same in f64, where every sum on the way is exact: see `width`.
pub(crate) struct RealTerms<'a> {
    added: PerColumn<f64>,
    zero: PerColumn<f64>,
    sum: PerColumn<f64>,
    each_row: bool,
    outer: bool,
    rows: &'a RowTerms,
}

impl<'a> RealTerms<'a> {
    pub(crate) fn new(call: &Call<'_>, way: &Way, columns: Range<usize>, rows: &'a RowTerms) -> Self {
        let (a_zero, b_zero) = (call.gemm.a_zero, call.gemm.b_zero);
        let (ZeroPoint::PerTensor(a_zero), ZeroPoint::PerTensor(b_zero)) = (a_zero, b_zero) else {
            let WideTerms { added, zero, sum, each_row, .. } = WideTerms::new(call, way, columns);
            let [added, zero, sum] = [added, zero, sum].map(|terms| terms.map(|term| term as f64));
            return Self { added, zero, sum, each_row, outer: true, rows };
        };
        let [a_zero, b_zero] = [(a_zero, way.shift.0), (b_zero, way.shift.1)]
            .map(|(zero, shift)| f64::from(zero) + shift as f64);
        let mut added = [0.0; MAX_NR];
        if let Some(bias) = call.gemm.bias {
            let bias = &bias[columns.clone()];
            added.iter_mut().zip(bias).for_each(|(added, bias)| *added = f64::from(*bias));
        }
        take_off_real(&mut added, call.b.stored_sums(columns), b_zero * call.k as f64, a_zero);
        Self { added, zero: [b_zero; MAX_NR], sum: [0.0; MAX_NR], each_row: false, outer: false, rows }
    }

    /// The terms of a band, where no row or column has a zero point of its own: values per column, and per row.
    pub(crate) fn added(&self) -> Option<F64Terms<'_>> {
        let row = &self.rows.real[..];
        (!self.outer).then_some(F64Terms { col: &self.added, row: (!row.is_empty()).then_some(row) })
    }

    /// The sums of a row of the band, finished.
    #[inline(always)]
    pub(crate) fn finish(&self, i: usize) -> impl Fn(usize, i32) -> f64 {
        let zero = if self.each_row { self.rows.zero[i] as f64 } else { 0.0 };
        let sum = self.rows.sum[i] as f64;
        move |j, x| f64::from(x) + self.added[j] - zero * self.sum[j] - sum * self.zero[j]
    }
}
