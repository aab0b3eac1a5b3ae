//! What is known of the columns of B: what exactness needs (see `width`).

use crate::Error;
use crate::packed::{make_room, resize};
use crate::terms::one_zero_each;
use qgemm_kernels::ColumnStats;

/// What is known of each column, real ones first, then those that pad the last panel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// Σ of the stored values, modulo 2^32.
    pub(crate) stored_sum: Vec<i32>,
    /// What that leaves out, in units of 2^32; empty where it is nothing (see [`SHORT`]).
    high: Vec<i32>,
    /// What products add to the sums of columns, modulo 2^32, if A is of the type that B was packed for, both have zero
    /// points of 0, and there is no bias: see `terms`. Empty where that is nothing, or not known.
    pub(crate) plain_terms: Vec<i32>,
    /// Σ|b|.
    pub(crate) abs_sum: Vec<u64>,
    /// Least and greatest b; (0, 0) where K = 0.
    pub(crate) min_max: Vec<(i16, i16)>,
    /// The greatest Σ|b|, and the least and greatest b, of any column.
    pub(crate) all: (u64, i16, i16),
}

/// Sums of so many stored values, of -128 to 255, fit 32 bits.
const SHORT: usize = i32::MAX as usize / 255;

impl Columns {
    /// Takes the memory for that many columns of `k` values.
    pub(crate) fn make_room(&mut self, padded: usize, k: usize, purpose: &'static str) -> Result<(), Error> {
        make_room(&mut self.stored_sum, padded, purpose)?;
        make_room(&mut self.high, if k > SHORT { padded } else { 0 }, purpose)?;
        make_room(&mut self.abs_sum, padded, purpose)?;
        make_room(&mut self.min_max, padded, purpose)
    }

    /// Forgets what it knew; for that many columns of `k` values.
    pub(crate) fn clear(&mut self, padded: usize, k: usize, purpose: &'static str) -> Result<(), Error> {
        resize(&mut self.stored_sum, padded, 0, purpose)?;
        resize(&mut self.high, if k > SHORT { padded } else { 0 }, 0, purpose)?;
        self.plain_terms.clear();
        resize(&mut self.abs_sum, padded, 0, purpose)?;
        resize(&mut self.min_max, padded, (i16::MAX, i16::MIN), purpose)
    }

    /// Takes in what was learnt of some rows of `cols` columns from the `j`th on; storing added `shifts` to a
    /// column's values in all.
    pub(crate) fn add(&mut self, j: usize, cols: usize, stats: &ColumnStats, shifts: i64) {
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

    /// Takes in the sums of columns from the `j`th on, to which storing added `shifts` each.
    pub(crate) fn add_sums(&mut self, j: usize, sums: &[i32], shifts: i64) {
        if self.high.is_empty() {
            for (sum, more) in self.stored_sum[j..].iter_mut().zip(sums) {
                *sum = sum.wrapping_add(*more).wrapping_add(shifts as i32);
            }
            return;
        }
        for (l, more) in (j..).zip(sums) {
            let sum = self.exact_sum(l) + i64::from(*more) + shifts;
            self.stored_sum[l] = sum as i32;
            self.high[l] = ((sum - i64::from(sum as i32)) >> 32) as i32;
        }
    }

    /// Σ of a column's stored values.
    pub(crate) fn exact_sum(&self, l: usize) -> i64 {
        i64::from(self.stored_sum[l]) + (i64::from(self.high.get(l).copied().unwrap_or(0)) << 32)
    }

    /// Finds the plain terms of panels of `nr` columns of `k` values, where storing adds `shifts` to the values of A and
    /// of B, panel by panel.
    pub(crate) fn find_plain_terms(
        &mut self,
        nr: usize,
        k: usize,
        shifts: impl Iterator<Item = (i32, i32)> + Clone,
        purpose: &'static str,
    ) -> Result<(), Error> {
        if shifts.clone().all(|(a_shift, _)| a_shift == 0) {
            return Ok(());
        }
        resize(&mut self.plain_terms, self.stored_sum.len(), 0, purpose)?;
        let panels = self.plain_terms.chunks_mut(nr).zip(self.stored_sum.chunks(nr));
        for ((terms, sums), (a_shift, b_shift)) in panels.zip(shifts) {
            one_zero_each(terms, None, sums, b_shift.wrapping_mul(k as i32), a_shift);
        }
        Ok(())
    }

    /// The memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.stored_sum[..])
            + size_of_val(&self.high[..])
            + size_of_val(&self.plain_terms[..])
            + size_of_val(&self.abs_sum[..])
            + size_of_val(&self.min_max[..])
    }

    /// When there is no more to know of columns of `k` values than that those lie in a range.
    pub(crate) fn know_no_more(&mut self, (lo, hi): (i32, i32), k: usize) {
        self.abs_sum.fill(k as u64 * u64::from(lo.unsigned_abs().max(hi.unsigned_abs())));
        self.min_max.fill((lo as i16, hi as i16));
    }

    /// When all `k` rows of `n` columns were taken in.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_beyond_32_bits() {
        for value in [255, -128] {
            let mut columns = Columns::default();
            columns.clear(3, SHORT + 1, "test").unwrap();
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
        let mut columns = Columns::default();
        columns.clear(1, SHORT, "test").unwrap();
        columns.add_sums(0, &[0], 255 * SHORT as i64);
        assert_eq!(columns.exact_sum(0), 255 * SHORT as i64);
        assert_eq!(columns.high.len(), 0);
    }
}
