//! Statistics of the columns of B: the sums that zero points multiply, and the magnitudes and extremes that bound exact
//! sums.

use crate::buffer;
use crate::error::Error;
use multiversion::multiversion;
use qgemm_kernels::ColumnStats as PanelStats;

/// Statistics of each column, first those of B, then as many more as kernels read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ColumnStats {
    /// The low 32 bits of the sum of each column's stored values.
    pub(crate) stored_sum: Vec<i32>,
    /// The high 32 bits of those sums. Empty while K <= [`MAX_K_OF_I32_SUMS`], because every sum then fits 32 bits.
    pub(super) sum_high: Vec<i32>,
    /// The column terms, modulo 2^32, of products of the most common kind: A of the type that B was packed for, zero
    /// points 0, no bias. They are then nothing but the shift of A's stored values times the column's sum. Empty if they
    /// were not computed, or are all 0.
    pub(crate) sign_shift_terms: Vec<i32>,
    /// Σ|b| of each column.
    pub(crate) abs_sum: Vec<u64>,
    /// The least and the greatest b of each column; (0, 0) if K = 0.
    pub(crate) min_max: Vec<(i16, i16)>,
    /// The greatest Σ|b|, the least and the greatest b of all columns.
    pub(crate) all: (u64, i16, i16),
}

/// Up to this K the sum of stored values, each of -128..=255, fits 32 bits.
const MAX_K_OF_I32_SUMS: usize = i32::MAX as usize / 255;

impl ColumnStats {
    /// Reserves memory for `padded` columns of `k` values, so that [`clear`](Self::clear) and
    /// [`find_sign_shift_terms`](Self::find_sign_shift_terms) with them will not fail.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self, padded: usize, k: usize, purpose: &'static str) -> Result<(), Error> {
        buffer::reserve(&mut self.stored_sum, padded, purpose)?;
        buffer::reserve(&mut self.sum_high, high_len(padded, k), purpose)?;
        buffer::reserve(&mut self.sign_shift_terms, padded, purpose)?;
        buffer::reserve(&mut self.abs_sum, padded, purpose)?;
        buffer::reserve(&mut self.min_max, padded, purpose)
    }

    /// Starts over, with `padded` columns of `k` values of which none was added yet.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn clear(&mut self, padded: usize, k: usize, purpose: &'static str) -> Result<(), Error> {
        buffer::refill(&mut self.stored_sum, padded, 0, purpose)?;
        buffer::refill(&mut self.sum_high, high_len(padded, k), 0, purpose)?;
        self.sign_shift_terms.clear();
        buffer::refill(&mut self.abs_sum, padded, 0, purpose)?;
        buffer::refill(&mut self.min_max, padded, (i16::MAX, i16::MIN), purpose)
    }

    /// Adds the statistics of some rows of the columns `j..j + cols`; storing added `shifts` to the sum of each column.
    pub(crate) fn add(&mut self, j: usize, cols: usize, stats: &PanelStats, shifts: i64) {
        let columns = j..j + cols;
        self.add_sums(j, &stats.sum[..cols], shifts);
        for (abs, more) in self.abs_sum[columns.clone()].iter_mut().zip(&stats.abs) {
            *abs += *more as u64;
        }
        let ends = stats.least.iter().zip(&stats.greatest);
        for ((lo, hi), (least, greatest)) in self.min_max[columns].iter_mut().zip(ends) {
            (*lo, *hi) = ((*lo).min(*least), (*hi).max(*greatest));
        }
    }

    /// Adds the sums of columns from `j` on; storing added `shifts` to each.
    pub(crate) fn add_sums(&mut self, j: usize, sums: &[i32], shifts: i64) {
        if self.sum_high.is_empty() {
            for (sum, more) in self.stored_sum[j..].iter_mut().zip(sums) {
                *sum = sum.wrapping_add(*more).wrapping_add(shifts as i32);
            }
            return;
        }
        for (l, more) in (j..).zip(sums) {
            let sum = self.exact_sum(l) + i64::from(*more) + shifts;
            self.stored_sum[l] = sum as i32;
            self.sum_high[l] = ((sum - i64::from(sum as i32)) >> 32) as i32;
        }
    }

    /// The sum of a column's stored values.
    pub(crate) fn exact_sum(&self, l: usize) -> i64 {
        i64::from(self.stored_sum[l]) + (i64::from(self.sum_high.get(l).copied().unwrap_or(0)) << 32)
    }

    /// Computes [`sign_shift_terms`](Self::sign_shift_terms) of panels of `nr` columns of `k` values. `shifts` gives, for
    /// each panel, the amounts that storing adds to the values of A and of B.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn find_sign_shift_terms(
        &mut self,
        nr: usize,
        k: usize,
        shifts: impl Iterator<Item = (i32, i32)> + Clone,
        purpose: &'static str,
    ) -> Result<(), Error> {
        if shifts.clone().all(|(a_shift, _)| a_shift == 0) {
            return Ok(());
        }
        buffer::refill(&mut self.sign_shift_terms, self.stored_sum.len(), 0, purpose)?;
        let panels = self.sign_shift_terms.chunks_mut(nr).zip(self.stored_sum.chunks(nr));
        for ((terms, sums), (a_shift, b_shift)) in panels.zip(shifts) {
            fold_a_zero(terms, None, sums, b_shift.wrapping_mul(k as i32), a_shift);
        }
        Ok(())
    }

    /// The memory that the statistics take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.stored_sum[..])
            + size_of_val(&self.sum_high[..])
            + size_of_val(&self.sign_shift_terms[..])
            + size_of_val(&self.abs_sum[..])
            + size_of_val(&self.min_max[..])
    }

    /// Sets Σ|b| and the extremes of columns of `k` values to the bounds of the element type: for values that were not
    /// inspected.
    pub(crate) fn set_type_bounds(&mut self, (lo, hi): (i32, i32), k: usize) {
        self.abs_sum.fill(k as u64 * u64::from(lo.unsigned_abs().max(hi.unsigned_abs())));
        self.min_max.fill((lo as i16, hi as i16));
    }

    /// Ends the additions: all `k` rows of `n` columns were added. Once more, it changes nothing.
    pub(crate) fn finish(&mut self, n: usize, k: usize) {
        if k == 0 {
            self.min_max.fill((0, 0));
        }
        self.min_max[n..].fill((0, 0));
        let abs = self.abs_sum[..n].iter().copied().max().unwrap_or(0);
        let ends = self.min_max[..n].iter();
        let (lo, hi) = ends.fold((i16::MAX, i16::MIN), |a, b| (a.0.min(b.0), a.1.max(b.1)));
        self.all = if n == 0 { (0, 0, 0) } else { (abs, lo, hi) };
    }
}

pub(super) fn high_len(padded: usize, k: usize) -> usize {
    if k > MAX_K_OF_I32_SUMS { padded } else { 0 }
}

/// Folds one zero point of A into the column terms, modulo 2^32: `terms = bias - (stored_sum - k_zero)·a_zero`, where
/// `k_zero` is K times the zero point of B's stored values and `a_zero` the zero point of A's stored values.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn fold_a_zero(
    terms: &mut [i32],
    bias: Option<&[i32]>,
    stored_sum: &[i32],
    k_zero: i32,
    a_zero: i32,
) {
    let product = |sum: i32| sum.wrapping_sub(k_zero).wrapping_mul(a_zero);
    match bias {
        Some(bias) => {
            for ((term, bias), sum) in terms.iter_mut().zip(bias).zip(stored_sum) {
                *term = bias.wrapping_sub(product(*sum));
            }
        }
        None => {
            for (term, sum) in terms.iter_mut().zip(stored_sum) {
                *term = product(*sum).wrapping_neg();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_beyond_32_bits() {
        for value in [255, -128] {
            let mut columns = ColumnStats::default();
            columns.clear(3, MAX_K_OF_I32_SUMS + 1, "test").unwrap();
            let mut want = [0; 3];
            for step in 0..3 {
                for (l, want) in want.iter_mut().enumerate() {
                    let part = [value * (1 << 20), i32::MAX, i32::MIN][(l + step) % 3];
                    columns.add_sums(l, &[part], i64::from(value) << 33);
                    *want += i64::from(part) + (i64::from(value) << 33);
                }
            }
            assert_eq!([0, 1, 2].map(|l| columns.exact_sum(l)), want);
        }
        // The last sum for which 32 bits are enough, and that there are no more.
        let mut columns = ColumnStats::default();
        columns.clear(1, MAX_K_OF_I32_SUMS, "test").unwrap();
        columns.add_sums(0, &[0], 255 * MAX_K_OF_I32_SUMS as i64);
        assert_eq!(columns.exact_sum(0), 255 * MAX_K_OF_I32_SUMS as i64);
        assert_eq!(columns.sum_high.len(), 0);
    }
}
