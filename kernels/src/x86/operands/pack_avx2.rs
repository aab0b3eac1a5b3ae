//! Packing by AVX2, for panels of bytes in k-groups of 4, or of 2: rows are interleaved, columns transposed, and what is
//! to be known of the columns is taken from registers on the way.
//!
//! ```text
//! interleave: 4 rows of 32 columns                 transpose: 32 values of k of 8 columns
//!   unpack bytes   rows 0, 1 and 2, 3: pairs         8 x 8 of 4 bytes: unpack 4, unpack 8, exchange halves
//!   unpack pairs   k-groups of 4 columns a half
//!   exchange halves: 8 columns in order
//! ```

use crate::contract::column_stats::ColumnStats;
use crate::contract::panel::Source;
use core::arch::x86_64::*;
use core::ops::Range;

/// k-groups whose sums of a column fit 16 bits: 4·255·32 < 2^15.
const RUN: usize = 32;

/// A vector of bytes of B, by their type.
#[inline]
#[target_feature(enable = "avx2")]
fn min<const SIGNED: bool>(x: __m256i, y: __m256i) -> __m256i {
    if SIGNED { _mm256_min_epi8(x, y) } else { _mm256_min_epu8(x, y) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn max<const SIGNED: bool>(x: __m256i, y: __m256i) -> __m256i {
    if SIGNED { _mm256_max_epi8(x, y) } else { _mm256_max_epu8(x, y) }
}

/// Sums of neighbours, and those of their magnitudes, added to 16-bit lanes.
#[derive(Clone, Copy)]
struct Sums {
    sum: __m256i,
    abs: __m256i,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        Self { sum: _mm256_setzero_si256(), abs: _mm256_setzero_si256() }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add<const SIGNED: bool>(&mut self, x: __m256i) {
        let ones = _mm256_set1_epi8(1);
        if SIGNED {
            self.sum = _mm256_add_epi16(self.sum, _mm256_maddubs_epi16(ones, x));
            self.abs = _mm256_add_epi16(self.abs, _mm256_maddubs_epi16(_mm256_abs_epi8(x), ones));
        } else {
            // The magnitudes are the values: see `take`.
            self.sum = _mm256_add_epi16(self.sum, _mm256_maddubs_epi16(x, ones));
        }
    }
}

/// The least and the greatest byte in each lane.
#[derive(Clone, Copy)]
struct Ends {
    least: __m256i,
    greatest: __m256i,
}

impl Ends {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn none<const SIGNED: bool>() -> Self {
        let (least, greatest) = if SIGNED { (i8::MAX, i8::MIN) } else { (-1, 0) };
        Self { least: _mm256_set1_epi8(least), greatest: _mm256_set1_epi8(greatest) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add<const SIGNED: bool>(&mut self, x: __m256i) {
        self.least = min::<SIGNED>(self.least, x);
        self.greatest = max::<SIGNED>(self.greatest, x);
    }
}

/// The bytes of a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(x: __m256i) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), x) };
    bytes
}

/// A byte of B as what it means.
#[inline(always)]
fn value<const SIGNED: bool>(byte: u8) -> i16 {
    if SIGNED { i16::from(byte as i8) } else { i16::from(byte) }
}

/// Packs runs of 4 rows of columns that lie side by side, into k-groups of KR.
///
/// # Safety
/// The CPU has AVX2. `source` has 4·`groups` rows of `cols` columns, next to each other (`col_stride` is 1);
/// `panel` has room for as many rows of `nr` columns, a multiple of 16 and not less than `cols`. KR is 2 or 4.
#[target_feature(enable = "avx2")]
pub unsafe fn interleave<const SIGNED: bool, const KR: usize>(
    source: Source<'_>,
    flip: u8,
    (groups, cols): (usize, usize),
    nr: usize,
    panel: &mut [u8],
    stats: &mut ColumnStats,
) {
    let flips = _mm256_set1_epi8(flip as i8);
    for j in (0..cols).step_by(32) {
        let width = (cols - j).min(32);
        for run in (0..groups).step_by(RUN) {
            let groups = run..groups.min(run + RUN);
            // SAFETY: the caller's promise: row k has `width` columns from the jth on.
            let seen = unsafe {
                if width == 32 {
                    let row = |k: usize| {
                        let from = source.bits.as_ptr().add(k * source.row_stride + j);
                        // For the next panel: too few rows are read at a time for the CPU to see a pattern.
                        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(nr).cast());
                        _mm256_loadu_si256(from.cast())
                    };
                    interleave_32::<SIGNED, KR>(row, flips, groups, (nr, j), panel)
                } else {
                    let row = |k: usize| part_of_row(source, k * source.row_stride + j, width, flips);
                    interleave_32::<SIGNED, KR>(row, flips, groups, (nr, j), panel)
                }
            };
            for l in 0..width {
                stats.sum[j + l] += i32::from(seen.sum[l]);
                stats.abs[j + l] += i32::from(seen.abs[l]);
                stats.least[j + l] = stats.least[j + l].min(value::<SIGNED>(seen.least[l]));
                stats.greatest[j + l] = stats.greatest[j + l].max(value::<SIGNED>(seen.greatest[l]));
            }
        }
    }
}

/// `width` bytes of B from the one numbered `at` on, completed by those of `flips`, which become 0 in the panel.
///
/// # Safety
/// B has them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn part_of_row(source: Source<'_>, at: usize, width: usize, flips: __m256i) -> __m256i {
    let lanes = _mm256_setr_epi8(
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
        28, 29, 30, 31,
    );
    let padding = _mm256_cmpgt_epi8(lanes, _mm256_set1_epi8(width as i8 - 1));
    // SAFETY: what is not the row's is read only where it lies within B.
    let x = unsafe {
        let from = source.bits.as_ptr().add(at);
        if at + 32 <= source.bits.len() {
            _mm256_loadu_si256(from.cast())
        } else {
            let mut copy = [0u8; 32];
            copy.as_mut_ptr().copy_from_nonoverlapping(from, width);
            _mm256_loadu_si256(copy.as_ptr().cast())
        }
    };
    _mm256_blendv_epi8(x, flips, padding)
}

/// What was seen of 32 columns.
struct Seen {
    sum: [i16; 32],
    abs: [i16; 32],
    least: [u8; 32],
    greatest: [u8; 32],
}

/// Packs at most [`RUN`] times 4 rows of 32 columns, those of panels of `nr` columns from the `j`th on.
///
/// # Safety
/// As [`interleave`], which is where this is inlined; `row(k)` has 32 columns of row k.
#[inline(always)]
unsafe fn interleave_32<const SIGNED: bool, const KR: usize>(
    row: impl Fn(usize) -> __m256i,
    flips: __m256i,
    groups: Range<usize>,
    (nr, j): (usize, usize),
    panel: &mut [u8],
) -> Seen {
    // SAFETY: the CPU has the instructions. A k-group from column j on has 32 columns or more, of KR bytes, or 16.
    unsafe {
        let mut ends = Ends::none::<SIGNED>();
        // Columns 0..8 and 16..24, 8..16 and 24..32.
        let (mut low, mut high) = (Sums::zero(), Sums::zero());
        for g in groups {
            let r = [row(4 * g), row(4 * g + 1), row(4 * g + 2), row(4 * g + 3)];
            ends.add::<SIGNED>(r[0]);
            ends.add::<SIGNED>(r[1]);
            ends.add::<SIGNED>(r[2]);
            ends.add::<SIGNED>(r[3]);
            let (low01, low23) = (_mm256_unpacklo_epi8(r[0], r[1]), _mm256_unpacklo_epi8(r[2], r[3]));
            let (high01, high23) = (_mm256_unpackhi_epi8(r[0], r[1]), _mm256_unpackhi_epi8(r[2], r[3]));
            low.add::<SIGNED>(low01);
            low.add::<SIGNED>(low23);
            high.add::<SIGNED>(high01);
            high.add::<SIGNED>(high23);
            if KR == 2 {
                for (pair, (low, high)) in [(low01, high01), (low23, high23)].into_iter().enumerate() {
                    let out: *mut __m256i = panel.as_mut_ptr().add(((2 * g + pair) * nr + j) * 2).cast();
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
            let out: *mut __m256i = panel.as_mut_ptr().add((g * nr + j) * 4).cast();
            let store = |v, x| _mm256_storeu_si256(out.add(v), _mm256_xor_si256(x, flips));
            store(0, _mm256_permute2x128_si256::<0x20>(a, b));
            store(1, _mm256_permute2x128_si256::<0x20>(c, d));
            if nr - j >= 32 {
                store(2, _mm256_permute2x128_si256::<0x31>(a, b));
                store(3, _mm256_permute2x128_si256::<0x31>(c, d));
            }
        }
        let in_order = |low, high| {
            let first = _mm256_permute2x128_si256::<0x20>(low, high);
            let second = _mm256_permute2x128_si256::<0x31>(low, high);
            bytemuck::cast::<[[u8; 32]; 2], [i16; 32]>([bytes(first), bytes(second)])
        };
        let sum = in_order(low.sum, high.sum);
        let abs = if SIGNED { in_order(low.abs, high.abs) } else { sum };
        Seen { sum, abs, least: bytes(ends.least), greatest: bytes(ends.greatest) }
    }
}

/// Packs 32·`runs` values of k of columns that are slices, into k-groups of KR.
///
/// # Safety
/// The CPU has AVX2. `source` has 32·`runs` rows, next to each other (`row_stride` is 1), and `cols` columns;
/// `panel` has room for as many rows of `nr` columns, a multiple of 8 and not less than `cols`. KR is 2 or 4.
#[target_feature(enable = "avx2")]
pub unsafe fn transpose<const SIGNED: bool, const KR: usize>(
    source: Source<'_>,
    flip: u8,
    (runs, cols): (usize, usize),
    nr: usize,
    panel: &mut [u8],
    stats: &mut ColumnStats,
) {
    let flips = _mm256_set1_epi8(flip as i8);
    let eight_bits = _mm256_set1_epi32(0xff);
    for j in (0..cols).step_by(8) {
        let width = (cols - j).min(8);
        for first in (0..runs).step_by(RUN / 8) {
            let mut ends = Ends::none::<SIGNED>();
            let mut sums = Sums::zero();
            for run in first..runs.min(first + RUN / 8) {
                // What there is no column for becomes 0 in the panel.
                let mut x = [flips; 8];
                for (c, x) in x.iter_mut().enumerate() {
                    if c < width {
                        let at = (j + c) * source.col_stride + 32 * run;
                        // SAFETY: the column has these 32 values.
                        *x = unsafe { _mm256_loadu_si256(source.bits.as_ptr().add(at).cast()) };
                    }
                }
                for (g, x) in transposed(x).into_iter().enumerate() {
                    ends.add::<SIGNED>(x);
                    sums.add::<SIGNED>(x);
                    if KR == 2 {
                        for (pair, x) in halves(_mm256_xor_si256(x, flips)).into_iter().enumerate() {
                            // SAFETY: a k-group of the panel from column j on has 8 columns, of 2 bytes.
                            unsafe {
                                let out = panel.as_mut_ptr().add(((2 * (8 * run + g) + pair) * nr + j) * 2);
                                _mm_storeu_si128(out.cast(), x);
                            }
                        }
                        continue;
                    }
                    // SAFETY: a k-group of the panel from column j on has 8 columns, of 4 bytes.
                    unsafe {
                        let out = panel.as_mut_ptr().add(((8 * run + g) * nr + j) * 4);
                        _mm256_storeu_si256(out.cast(), _mm256_xor_si256(x, flips));
                    }
                }
            }
            // A column's 4 bytes, or 2 sums, are one 32-bit lane.
            let ones = _mm256_set1_epi16(1);
            let total = |x| bytemuck::cast::<[u8; 32], [i32; 8]>(bytes(_mm256_madd_epi16(x, ones)));
            let sum = total(sums.sum);
            let abs = if SIGNED { total(sums.abs) } else { sum };
            let least = min::<SIGNED>(ends.least, _mm256_srli_epi32::<16>(ends.least));
            let least = min::<SIGNED>(least, _mm256_srli_epi32::<8>(least));
            let greatest = max::<SIGNED>(ends.greatest, _mm256_srli_epi32::<16>(ends.greatest));
            let greatest = max::<SIGNED>(greatest, _mm256_srli_epi32::<8>(greatest));
            let low_bytes = |x| bytemuck::cast::<[u8; 32], [i32; 8]>(bytes(_mm256_and_si256(x, eight_bits)));
            let (least, greatest) = (low_bytes(least), low_bytes(greatest));
            for c in 0..width {
                stats.sum[j + c] += sum[c];
                stats.abs[j + c] += abs[c];
                stats.least[j + c] = stats.least[j + c].min(value::<SIGNED>(least[c] as u8));
                stats.greatest[j + c] = stats.greatest[j + c].max(value::<SIGNED>(greatest[c] as u8));
            }
        }
    }
}

/// The low and the high 16 bits of 8 lanes of 32.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(x: __m256i) -> [__m128i; 2] {
    let order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    let x = _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order));
    let x = _mm256_permute4x64_epi64::<0b11_01_10_00>(x);
    [_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x)]
}

/// 8 x 8 of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(x: [__m256i; 8]) -> [__m256i; 8] {
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
