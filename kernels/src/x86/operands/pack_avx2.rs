//! Packs a panel of bytes with AVX2, in k-groups of 4 or 2: rows are interleaved, columns transposed. The statistics of
//! the columns are taken from the same registers.
//!
//! ```text
//! interleave: 4 rows of 32 columns                 transpose: 32 values of k of 8 columns
//!   unpack bytes   rows 0, 1 and 2, 3: pairs         8 x 8 of 4 bytes: unpack 4, unpack 8, exchange halves
//!   unpack pairs   k-groups of 4 columns a half
//!   exchange halves: 8 columns in order
//! ```

use crate::contract::column_stats::ColumnStats;
use crate::contract::panel::{PackJob, PanelOut, Source};
use crate::x86::operands::lanes::{ExtremesYmm, PairSums, bytes_of_ymm, max_ymm, min_ymm, part_of_column};
use core::arch::x86_64::*;
use core::ops::Range;

/// The number of groups of 4 rows whose sums of a column fit 16 bits: 4·255·32 < 2^15.
const GROUPS_PER_I16_SUM: usize = 32;
/// The number of chunks of 32 rows, which are 8 such groups each, whose sums of a column fit 16 bits.
const CHUNKS_PER_I16_SUM: usize = GROUPS_PER_I16_SUM / 8;

/// Packs the rows of whole groups of 4 into k-groups of KR, and returns how many rows these are. The padding columns
/// of those k-groups become 0.
///
/// # Safety
/// - The CPU has AVX2.
/// - Rows of B are contiguous, and B holds all rows and columns of `job`: `job.check_source()` passes.
/// - `panel.nr` is 8, 16 or 32, and at least `job.cols`, which is at least 1.
/// - `panel.elements` holds `nr` columns of every group of 4 rows.
#[target_feature(enable = "avx2")]
pub unsafe fn interleave_rows<const SIGNED: bool, const KR: usize>(
    job: &PackJob<'_>,
    mut panel: PanelOut<'_>,
    stats: &mut ColumnStats,
) -> usize {
    const { assert!(KR == 2 || KR == 4) };
    let (source, cols, nr) = (job.source, job.cols, panel.nr);
    let groups = job.rows / 4;
    debug_assert!(source.has_contiguous_rows() && job.source_is_long_enough());
    debug_assert!(matches!(nr, 8 | 16 | 32) && (1..=nr).contains(&cols));
    debug_assert!(panel.elements.len() >= 4 * groups * nr);
    let flips = _mm256_set1_epi8(job.convert().mask() as i8);
    for j in (0..cols).step_by(32) {
        let width = (cols - j).min(32);
        for start in (0..groups).step_by(GROUPS_PER_I16_SUM) {
            let groups = start..groups.min(start + GROUPS_PER_I16_SUM);
            // SAFETY: rows 4·`groups` exist and have `width` columns from column j on; the panel has `nr` columns of
            // these groups: the caller's promise.
            let seen = unsafe {
                if width == 32 {
                    let row = |k: usize| {
                        let from = source.bits.as_ptr().add(k * source.row_stride + j);
                        // Prefetches the next panel's columns: this panel reads too little of a row for the CPU to do
                        // it.
                        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(nr).cast());
                        _mm256_loadu_si256(from.cast())
                    };
                    interleave_32::<SIGNED, KR>(row, flips, groups, j, &mut panel)
                } else {
                    let row = |k: usize| part_of_row(source, k * source.row_stride + j, width, flips);
                    interleave_32::<SIGNED, KR>(row, flips, groups, j, &mut panel)
                }
            };
            stats.merge(j..j + width, |l| {
                let (sum, abs) = (seen.sum[l].into(), seen.abs[l].into());
                part_of_column::<SIGNED>(sum, abs, seen.least[l], seen.greatest[l])
            });
        }
    }
    4 * groups
}

/// Loads `width` bytes of B from index `at` on, and fills the vector with bytes of `flips`, which become 0 in the
/// panel.
///
/// # Safety
/// - The CPU has AVX2.
/// - `width` is 1 to 32, and `at + width <= source.bits.len()`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn part_of_row(source: Source<'_>, at: usize, width: usize, flips: __m256i) -> __m256i {
    debug_assert!((1..=32).contains(&width) && at + width <= source.bits.len());
    let lanes = _mm256_setr_epi8(
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
        28, 29, 30, 31,
    );
    let padding = _mm256_cmpgt_epi8(lanes, _mm256_set1_epi8(width as i8 - 1));
    // The last index from which on B has 32 bytes: negative if it is shorter. Slices are shorter than isize::MAX.
    let last_whole = source.bits.len() as isize - 32;
    // SAFETY: a whole vector is loaded from B only if its 32 bytes lie within the slice, which the comparison says.
    // Those past `width` belong to other rows or to none, and `padding` replaces them. Near the end of the slice the
    // row's `width` bytes, which exist by the caller's promise, are copied to an array of 32.
    let x = unsafe {
        let from = source.bits.as_ptr().add(at);
        if at as isize <= last_whole {
            _mm256_loadu_si256(from.cast())
        } else {
            let mut copy = [0u8; 32];
            copy.as_mut_ptr().copy_from_nonoverlapping(from, width);
            _mm256_loadu_si256(copy.as_ptr().cast())
        }
    };
    _mm256_blendv_epi8(x, flips, padding)
}

/// Statistics of 32 columns. The extremes are bits of i8 or u8.
struct StatsOf32 {
    sum: [i16; 32],
    abs: [i16; 32],
    least: [u8; 32],
    greatest: [u8; 32],
}

/// Packs 32 columns, from column `j` on, of some groups of 4 rows; `row(k)` loads those columns of row k.
///
/// # Safety
/// - The CPU has AVX2, and this is inlined into code compiled for it.
/// - `row` may be called for the rows of `groups`, which are at most [`GROUPS_PER_I16_SUM`].
/// - `panel.nr` is a multiple of 16 and `j` of 32, which is less; or it is 8, and `j` is 0.
/// - `panel.elements` holds `nr` columns of `groups`.
#[inline(always)]
unsafe fn interleave_32<const SIGNED: bool, const KR: usize>(
    row: impl Fn(usize) -> __m256i,
    flips: __m256i,
    groups: Range<usize>,
    j: usize,
    panel: &mut PanelOut<'_>,
) -> StatsOf32 {
    let (nr, elements) = (panel.nr, panel.elements.as_mut_ptr());
    debug_assert!((nr == 8 || nr.is_multiple_of(16)) && j.is_multiple_of(32) && j < nr);
    debug_assert!(groups.len() <= GROUPS_PER_I16_SUM);
    // SAFETY: the CPU has the instructions. Of a k-group of the panel, KR bytes for each column from column j on are
    // stored: 32 columns where there are as many, else the 16 that a multiple of 16 leaves at least, or 8.
    unsafe {
        let mut extremes = ExtremesYmm::empty::<SIGNED>();
        // Sums of columns 0..8 and 16..24, and of columns 8..16 and 24..32.
        let (mut low, mut high) = (PairSums::zero(), PairSums::zero());
        for g in groups {
            let r = [row(4 * g), row(4 * g + 1), row(4 * g + 2), row(4 * g + 3)];
            extremes.add::<SIGNED>(r[0]);
            extremes.add::<SIGNED>(r[1]);
            extremes.add::<SIGNED>(r[2]);
            extremes.add::<SIGNED>(r[3]);
            let (low01, low23) = (_mm256_unpacklo_epi8(r[0], r[1]), _mm256_unpacklo_epi8(r[2], r[3]));
            let (high01, high23) = (_mm256_unpackhi_epi8(r[0], r[1]), _mm256_unpackhi_epi8(r[2], r[3]));
            low.add::<SIGNED>(low01);
            low.add::<SIGNED>(low23);
            high.add::<SIGNED>(high01);
            high.add::<SIGNED>(high23);
            if KR == 2 {
                for (pair, (low, high)) in [(low01, high01), (low23, high23)].into_iter().enumerate() {
                    let out: *mut __m256i = elements.add(((2 * g + pair) * nr + j) * 2).cast();
                    if nr == 8 {
                        let x = _mm256_xor_si256(low, flips);
                        _mm_storeu_si128(out.cast(), _mm256_castsi256_si128(x));
                        continue;
                    }
                    let store = |v, x| _mm256_storeu_si256(out.add(v), _mm256_xor_si256(x, flips));
                    store(0, _mm256_permute2x128_si256::<0x20>(low, high));
                    if nr - j >= 32 {
                        store(1, _mm256_permute2x128_si256::<0x31>(low, high));
                    }
                }
                continue;
            }
            let (a, b) = (_mm256_unpacklo_epi16(low01, low23), _mm256_unpackhi_epi16(low01, low23));
            let (c, d) = (_mm256_unpacklo_epi16(high01, high23), _mm256_unpackhi_epi16(high01, high23));
            let out: *mut __m256i = elements.add((g * nr + j) * 4).cast();
            let store = |v, x| _mm256_storeu_si256(out.add(v), _mm256_xor_si256(x, flips));
            store(0, _mm256_permute2x128_si256::<0x20>(a, b));
            if nr > 8 {
                store(1, _mm256_permute2x128_si256::<0x20>(c, d));
            }
            if nr - j >= 32 {
                store(2, _mm256_permute2x128_si256::<0x31>(a, b));
                store(3, _mm256_permute2x128_si256::<0x31>(c, d));
            }
        }
        let in_order = |low, high| {
            let first = _mm256_permute2x128_si256::<0x20>(low, high);
            let second = _mm256_permute2x128_si256::<0x31>(low, high);
            bytemuck::cast::<[[u8; 32]; 2], [i16; 32]>([bytes_of_ymm(first), bytes_of_ymm(second)])
        };
        let sum = in_order(low.sum, high.sum);
        let abs = if SIGNED { in_order(low.abs, high.abs) } else { sum };
        let (least, greatest) = (bytes_of_ymm(extremes.least), bytes_of_ymm(extremes.greatest));
        StatsOf32 { sum, abs, least, greatest }
    }
}

/// Packs the rows of whole chunks of 32 into k-groups of KR, and returns how many rows these are. Padding columns are
/// not all written.
///
/// # Safety
/// - The CPU has AVX2.
/// - Columns of B are contiguous, and B holds all rows and columns of `job`: `job.check_source()` passes.
/// - `panel.nr` is a multiple of 8 and at least `job.cols`.
/// - `panel.elements` holds `nr` columns of every chunk of 32 rows.
#[target_feature(enable = "avx2")]
pub unsafe fn transpose_columns<const SIGNED: bool, const KR: usize>(
    job: &PackJob<'_>,
    panel: PanelOut<'_>,
    stats: &mut ColumnStats,
) -> usize {
    const { assert!(KR == 2 || KR == 4) };
    let (source, cols, nr) = (job.source, job.cols, panel.nr);
    let elements = panel.elements.as_mut_ptr();
    let chunks = job.rows / 32;
    debug_assert!(source.has_contiguous_columns() && job.source_is_long_enough());
    debug_assert!(nr.is_multiple_of(8) && cols <= nr);
    debug_assert!(panel.elements.len() >= 32 * chunks * nr);
    let flips = _mm256_set1_epi8(job.convert().mask() as i8);
    for j in (0..cols).step_by(8) {
        let width = (cols - j).min(8);
        let column = source.bits.as_ptr().wrapping_add(j * source.col_stride);
        for first in (0..chunks).step_by(CHUNKS_PER_I16_SUM) {
            let mut extremes = ExtremesYmm::empty::<SIGNED>();
            let mut sums = PairSums::zero();
            for chunk in first..chunks.min(first + CHUNKS_PER_I16_SUM) {
                // Columns that B lacks are `flips`, which become 0 in the panel.
                let mut x = [flips; 8];
                for (c, x) in x.iter_mut().enumerate() {
                    if c < width {
                        let from = column.wrapping_add(c * source.col_stride + 32 * chunk);
                        // SAFETY: column j + c < cols has the 32 values of this chunk.
                        *x = unsafe { _mm256_loadu_si256(from.cast()) };
                    }
                }
                for (g, x) in transpose_8x8(x).into_iter().enumerate() {
                    extremes.add::<SIGNED>(x);
                    sums.add::<SIGNED>(x);
                    if KR == 2 {
                        for (pair, x) in halves(_mm256_xor_si256(x, flips)).into_iter().enumerate() {
                            let at = ((2 * (8 * chunk + g) + pair) * nr + j) * 2;
                            // SAFETY: a k-group of the panel has 8 columns from column j on, of 2 bytes each.
                            unsafe { _mm_storeu_si128(elements.add(at).cast(), x) };
                        }
                        continue;
                    }
                    let at = ((8 * chunk + g) * nr + j) * 4;
                    let x = _mm256_xor_si256(x, flips);
                    // SAFETY: a k-group of the panel has 8 columns from column j on, of 4 bytes each.
                    unsafe { _mm256_storeu_si256(elements.add(at).cast(), x) };
                }
            }
            // A 32-bit lane holds 4 bytes of a column, or 2 of its sums.
            let ones = _mm256_set1_epi16(1);
            let low_byte = _mm256_set1_epi32(0xff);
            let words = |x| bytemuck::cast::<[u8; 32], [i32; 8]>(bytes_of_ymm(x));
            let sum = words(_mm256_madd_epi16(sums.sum, ones));
            let abs = if SIGNED { words(_mm256_madd_epi16(sums.abs, ones)) } else { sum };
            let least = min_ymm::<SIGNED>(extremes.least, _mm256_srli_epi32::<16>(extremes.least));
            let least = min_ymm::<SIGNED>(least, _mm256_srli_epi32::<8>(least));
            let greatest = max_ymm::<SIGNED>(extremes.greatest, _mm256_srli_epi32::<16>(extremes.greatest));
            let greatest = max_ymm::<SIGNED>(greatest, _mm256_srli_epi32::<8>(greatest));
            let least = words(_mm256_and_si256(least, low_byte));
            let greatest = words(_mm256_and_si256(greatest, low_byte));
            let part = |c: usize| part_of_column::<SIGNED>(sum[c], abs[c], least[c] as u8, greatest[c] as u8);
            // The compiler makes vectors of a constant number of columns.
            if width == 8 {
                stats.merge(j..j + 8, part);
            } else {
                stats.merge(j..j + width, part);
            }
        }
    }
    32 * chunks
}

/// The low and the high 16 bits of 8 lanes of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(x: __m256i) -> [__m128i; 2] {
    let order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    let x = _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order));
    let x = _mm256_permute4x64_epi64::<0b11_01_10_00>(x);
    [_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x)]
}

/// Transposes 8 vectors of 8 lanes of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8x8(x: [__m256i; 8]) -> [__m256i; 8] {
    let pairs = |a, b| (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let fours = |a, b| (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let ((a, b), (c, d)) = (pairs(x[0], x[1]), pairs(x[2], x[3]));
    let ((e, f), (g, h)) = (pairs(x[4], x[5]), pairs(x[6], x[7]));
    let ((a, b), (c, d)) = (fours(a, c), fours(b, d));
    let ((e, f), (g, h)) = (fours(e, g), fours(f, h));
    [
        _mm256_permute2x128_si256::<0x20>(a, e),
        _mm256_permute2x128_si256::<0x20>(b, f),
        _mm256_permute2x128_si256::<0x20>(c, g),
        _mm256_permute2x128_si256::<0x20>(d, h),
        _mm256_permute2x128_si256::<0x31>(a, e),
        _mm256_permute2x128_si256::<0x31>(b, f),
        _mm256_permute2x128_si256::<0x31>(c, g),
        _mm256_permute2x128_si256::<0x31>(d, h),
    ]
}
