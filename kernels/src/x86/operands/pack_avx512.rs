//! Packs a panel of bytes with AVX-512 VNNI, in k-groups of 4, and takes the statistics of its columns. Rows of B are
//! contiguous; a cache line of each is read at a time.

use crate::contract::column_stats::ColumnStats;
use crate::contract::panel::{PackJob, PanelOut};
use crate::x86::operands::k_group_avx512::{GroupOut, GroupRows, KGroup, add_bytes, keep_rows, pack_k_group};
use crate::x86::operands::lanes::{ExtremesZmm, bytes_of_zmm, part_of_column};
use core::arch::x86_64::*;

/// Packs all rows and columns of `job`. What pads them to whole k-groups of the panel becomes 0.
///
/// # Safety
/// - The CPU has AVX-512 F, BW and VNNI.
/// - Rows of B are contiguous, and B holds all rows and columns of `job`: `job.check_source()` passes.
/// - `panel.nr` is a multiple of 16, at most 64, and at least `job.cols`, which is at least 1.
/// - `panel.elements` holds `nr` columns of ceil(`job.rows` / 4) k-groups of 4.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn interleave_rows<const SIGNED: bool>(
    job: &PackJob<'_>,
    panel: PanelOut<'_>,
    stats: &mut ColumnStats,
) {
    let (source, rows, cols, nr) = (job.source, job.rows, job.cols, panel.nr);
    debug_assert!(source.has_contiguous_rows() && job.source_is_long_enough());
    debug_assert!(nr.is_multiple_of(16) && nr <= 64 && (1..=nr).contains(&cols));
    debug_assert!(panel.elements.len() >= rows.next_multiple_of(4) * nr);
    let flips = _mm512_set1_epi8(job.convert().mask() as i8);
    let mut seen = StatsOf64::empty::<SIGNED>();
    for k in (0..rows).step_by(4) {
        let first = source.bits.as_ptr().wrapping_add(k * source.row_stride);
        // Prefetches the next panel's columns: this panel reads too little of a row for the CPU to do it.
        let from = GroupRows { first, stride: source.row_stride, cols, prefetch: nr };
        let out = GroupOut { first: panel.elements.as_mut_ptr().wrapping_add(k * nr), nr, flips };
        // SAFETY: B has `rows - k` rows of `cols` columns from row k on, and the panel a k-group from row k on.
        unsafe {
            if rows - k >= 4 {
                seen.add::<SIGNED, 4>(&pack_k_group::<4>(from, out));
                continue;
            }
            match rows % 4 {
                3 => seen.add::<SIGNED, 3>(&pack_k_group::<3>(from, out)),
                2 => seen.add::<SIGNED, 2>(&pack_k_group::<2>(from, out)),
                _ => seen.add::<SIGNED, 1>(&pack_k_group::<1>(from, out)),
            }
        }
    }
    let words = |x: [__m512i; 4]| bytemuck::cast::<[[u8; 64]; 4], [i32; 64]>(x.map(|x| bytes_of_zmm(x)));
    let sum = words(seen.sum);
    let abs = if SIGNED { words(seen.abs) } else { sum };
    let least = bytes_of_zmm(seen.extremes.least);
    let greatest = bytes_of_zmm(seen.extremes.greatest);
    stats.merge(0..cols, |l| part_of_column::<SIGNED>(sum[l], abs[l], least[l], greatest[l]));
}

/// Statistics of 64 columns: sums in the order of [`KGroup::columns`], extremes in the order of [`KGroup::rows`].
struct StatsOf64 {
    sum: [__m512i; 4],
    /// Stays 0 if B holds u8, whose magnitudes are the values.
    abs: [__m512i; 4],
    extremes: ExtremesZmm,
}

impl StatsOf64 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn empty<const SIGNED: bool>() -> Self {
        let [sum, abs] = [[_mm512_setzero_si512(); 4]; 2];
        Self { sum, abs, extremes: ExtremesZmm::empty::<SIGNED>() }
    }

    /// Adds a k-group of ROWS rows.
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW and VNNI, and this is inlined into code compiled for them.
    #[inline(always)]
    unsafe fn add<const SIGNED: bool, const ROWS: usize>(&mut self, group: &KGroup) {
        // SAFETY: the CPU has the instructions.
        unsafe {
            for row in &group.rows[..ROWS] {
                self.extremes.add::<SIGNED>(*row);
            }
            for v in 0..4 {
                let x = keep_rows::<ROWS>(group.columns[v]);
                self.sum[v] = add_bytes::<SIGNED>(self.sum[v], x);
                if SIGNED {
                    self.abs[v] = _mm512_dpbusd_epi32(self.abs[v], _mm512_abs_epi8(x), _mm512_set1_epi8(1));
                }
            }
        }
    }
}
