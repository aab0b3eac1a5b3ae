//! What is known of the columns of B: what exactness needs (see `width`).

use crate::Error;
use crate::packed::{make_room, resize};
use qgemm_kernels::stats::ColumnStats;

/// What is known of each column, real ones first, then those that pad the last panel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// Σ of the stored values.
    pub(crate) stored_sum: Vec<i64>,
    /// Σ|b|.
    pub(crate) abs_sum: Vec<u64>,
    /// Least and greatest b; (0, 0) where K = 0.
    pub(crate) min_max: Vec<(i16, i16)>,
    /// The greatest Σ|b|, and the least and greatest b, of any column.
    pub(crate) all: (u64, i16, i16),
}

impl Columns {
    /// Takes the memory for that many columns.
    pub(crate) fn make_room(&mut self, padded: usize, purpose: &'static str) -> Result<(), Error> {
        make_room(&mut self.stored_sum, padded, purpose)?;
        make_room(&mut self.abs_sum, padded, purpose)?;
        make_room(&mut self.min_max, padded, purpose)
    }

    /// Forgets what it knew, of that many columns.
    pub(crate) fn clear(&mut self, padded: usize, purpose: &'static str) -> Result<(), Error> {
        resize(&mut self.stored_sum, padded, 0, purpose)?;
        resize(&mut self.abs_sum, padded, 0, purpose)?;
        resize(&mut self.min_max, padded, (i16::MAX, i16::MIN), purpose)
    }

    /// Takes in what was learnt of some rows of `cols` columns from the `j`th on; storing added `shifts` to a
    /// column's values in all.
    pub(crate) fn add(&mut self, j: usize, cols: usize, stats: &ColumnStats, shifts: i64) {
        let columns = j..j + cols;
        for (sum, more) in self.stored_sum[columns.clone()].iter_mut().zip(&stats.sum) {
            *sum += i64::from(*more) + shifts;
        }
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
        for (sum, more) in self.stored_sum[j..].iter_mut().zip(sums) {
            *sum += i64::from(*more) + shifts;
        }
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
