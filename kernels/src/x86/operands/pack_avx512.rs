//! Packing by AVX-512 VNNI, as `pack` does it by AVX2, a cache line of each row or column at a time.
//!
//! ```text
//! 4 rows of 64 columns
//!   vpermd         4 columns of each quarter to each 128-bit lane, as the unpacking within lanes wants them
//!   unpack bytes   rows 0, 1 and 2, 3: pairs
//!   unpack pairs   k-groups of 16 columns, in order
//! ```

use crate::contract::column_stats::ColumnStats;
use crate::contract::panel::{PANELS_SIDE_BY_SIDE, Source};
use core::arch::x86_64::*;

/// Packs columns that lie side by side, and what pads them to whole k-groups of the panel.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VNNI. `source` has `rows` rows of `cols` columns, next to each other
/// (`col_stride` is 1), `cols` 1 to 64; `panel` has ceil(`rows` / 4) k-groups of `nr` columns, a multiple of 16, not
/// less than `cols` and at most 64.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn interleave<const SIGNED: bool>(
    source: Source<'_>,
    flip: u8,
    (rows, cols): (usize, usize),
    nr: usize,
    panel: &mut [u8],
    stats: &mut ColumnStats,
) {
    let mut seen = Seen::none::<SIGNED>();
    let groups = rows / 4;
    for g in 0..rows.div_ceil(4) {
        let from = source.bits.as_ptr().wrapping_add(4 * g * source.row_stride);
        let out = panel.as_mut_ptr().wrapping_add(4 * g * nr);
        let (from, to) = ((from, source.row_stride, cols), (out, nr));
        // SAFETY: the caller's promise: as many rows, of `cols` columns, and a k-group of `nr` columns.
        unsafe {
            match if g < groups { 4 } else { rows % 4 } {
                4 => seen.group::<SIGNED, 4>(from, flip, to),
                3 => seen.group::<SIGNED, 3>(from, flip, to),
                2 => seen.group::<SIGNED, 2>(from, flip, to),
                _ => seen.group::<SIGNED, 1>(from, flip, to),
            }
        }
    }
    let words = |x: [__m512i; 4]| bytemuck::cast::<[[u8; 64]; 4], [i32; 64]>(x.map(|x| bytes(x)));
    let sum = words(seen.sum);
    let abs = if SIGNED { words(seen.abs) } else { sum };
    let (least, greatest) = (bytes(seen.least), bytes(seen.greatest));
    let value = |byte: u8| if SIGNED { i16::from(byte as i8) } else { i16::from(byte) };
    for l in 0..cols {
        stats.sum[l] += sum[l];
        stats.abs[l] += abs[l];
        stats.least[l] = stats.least[l].min(value(least[l]));
        stats.greatest[l] = stats.greatest[l].max(value(greatest[l]));
    }
}

/// What was seen of 64 columns: sums in the order of the panel, extremes in that of B.
struct Seen {
    sum: [__m512i; 4],
    abs: [__m512i; 4],
    least: __m512i,
    greatest: __m512i,
}

impl Seen {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn none<const SIGNED: bool>() -> Self {
        let [sum, abs] = [[_mm512_setzero_si512(); 4]; 2];
        match SIGNED {
            true => Self { sum, abs, least: _mm512_set1_epi8(i8::MAX), greatest: _mm512_set1_epi8(i8::MIN) },
            false => Self { sum, abs, least: _mm512_set1_epi8(-1), greatest: _mm512_setzero_si512() },
        }
    }

    /// Packs ROWS rows as a k-group; rows and columns that it has more become 0.
    ///
    /// # Safety
    /// As [`rows_of`], and that [`store`] can be called with `out` and `nr`.
    #[inline(always)]
    unsafe fn group<const SIGNED: bool, const ROWS: usize>(
        &mut self,
        (from, row_stride, cols): (*const u8, usize, usize),
        flip: u8,
        (out, nr): (*mut u8, usize),
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let flips = _mm512_set1_epi8(flip as i8);
            // For the next panel: too few rows are read at a time for the CPU to see a pattern.
            let rows = rows_of::<ROWS>(from, row_stride, cols, nr, flips);
            for row in &rows[..ROWS] {
                if SIGNED {
                    self.least = _mm512_min_epi8(self.least, *row);
                    self.greatest = _mm512_max_epi8(self.greatest, *row);
                } else {
                    self.least = _mm512_min_epu8(self.least, *row);
                    self.greatest = _mm512_max_epu8(self.greatest, *row);
                }
            }
            let packed = k_group(rows);
            for v in 0..4 {
                let x = there::<ROWS>(packed[v]);
                self.sum[v] = add::<SIGNED>(self.sum[v], x);
                if SIGNED {
                    self.abs[v] = _mm512_dpbusd_epi32(self.abs[v], _mm512_abs_epi8(x), _mm512_set1_epi8(1));
                }
            }
            store(packed, flips, out, nr);
        }
    }
}

/// Rows that are asked for before they are read. With that, and panels side by side, 4096x4096 is packed 2.6 times as
/// fast as a panel at a time, 768x768 1.4 times (Zen 4, 2026-11-26).
const AHEAD: usize = 8;

/// As [`interleave`] for several panels, `nr` columns of `source` each, fewer for the last. Of columns no more is
/// known than, if `SUMS`, what is added to `sums`.
///
/// # Safety
/// As [`interleave`], but that `cols` is at least 1, `panels` has ceil(`cols` / `nr`) panels, and `sums` as many times
/// `nr` values, if `SUMS`. `rows` is at most [`MAX_PACK_ROWS`](crate::pack::MAX_PACK_ROWS).
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn interleave_panels<const SIGNED: bool, const SUMS: bool>(
    source: Source<'_>,
    flip: u8,
    (rows, cols): (usize, usize),
    nr: usize,
    panels: &mut [u8],
    sums: &mut [i32],
) {
    let panel = rows.next_multiple_of(4) * nr;
    for j in (0..cols).step_by(PANELS_SIDE_BY_SIDE * nr) {
        let from = (source.bits.as_ptr().wrapping_add(j), source.row_stride);
        let (size, out) = ((rows, cols - j), panels[j / nr * panel..].as_mut_ptr());
        let sums = if SUMS { &mut sums[j..] } else { &mut *sums };
        // SAFETY: the caller's promise, of which this is a part.
        unsafe {
            match (cols - j).div_ceil(nr) {
                1 => side_by_side::<SIGNED, SUMS, 1>(from, flip, size, (out, panel, nr), sums),
                2 => side_by_side::<SIGNED, SUMS, 2>(from, flip, size, (out, panel, nr), sums),
                3 => side_by_side::<SIGNED, SUMS, 3>(from, flip, size, (out, panel, nr), sums),
                _ => side_by_side::<SIGNED, SUMS, 4>(from, flip, size, (out, panel, nr), sums),
            }
        }
    }
}

/// The same for P panels, or the first P of more, `panel` bytes from one to the next.
///
/// # Safety
/// As [`interleave_panels`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn side_by_side<const SIGNED: bool, const SUMS: bool, const P: usize>(
    (from, row_stride): (*const u8, usize),
    flip: u8,
    (rows, cols): (usize, usize),
    (out, panel, nr): (*mut u8, usize, usize),
    sums: &mut [i32],
) {
    let flips = _mm512_set1_epi8(flip as i8);
    let mut seen = [[_mm512_setzero_si512(); 4]; P];
    for g in 0..rows.div_ceil(4) {
        for p in 0..P {
            let from = from.wrapping_add(4 * g * row_stride + p * nr);
            let (from, ahead) = ((from, row_stride, nr.min(cols - p * nr)), AHEAD.wrapping_mul(row_stride));
            let (out, seen) = (out.wrapping_add(p * panel + 4 * g * nr), &mut seen[p]);
            // SAFETY: the caller's promise: as many rows and columns, and a k-group.
            unsafe {
                match rows - 4 * g {
                    1 => one::<SIGNED, SUMS, 1>(from, ahead, flips, (out, nr), seen),
                    2 => one::<SIGNED, SUMS, 2>(from, ahead, flips, (out, nr), seen),
                    3 => one::<SIGNED, SUMS, 3>(from, ahead, flips, (out, nr), seen),
                    _ => one::<SIGNED, SUMS, 4>(from, ahead, flips, (out, nr), seen),
                }
            }
        }
    }
    if SUMS {
        for (seen, sums) in seen.into_iter().zip(sums.chunks_mut(nr)) {
            let words = bytemuck::cast::<[[u8; 64]; 4], [i32; 64]>(seen.map(|x| bytes(x)));
            sums.iter_mut().zip(words).for_each(|(sum, more)| *sum += more);
        }
    }
}

/// Packs a k-group of ROWS rows, and if `SUMS`, adds its columns to `seen`.
///
/// # Safety
/// As [`rows_of`] and [`store`].
#[inline(always)]
unsafe fn one<const SIGNED: bool, const SUMS: bool, const ROWS: usize>(
    (from, row_stride, cols): (*const u8, usize, usize),
    ahead: usize,
    flips: __m512i,
    (out, nr): (*mut u8, usize),
    seen: &mut [__m512i; 4],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let packed = k_group(rows_of::<ROWS>(from, row_stride, cols, ahead, flips));
        for v in 0..4 {
            if SUMS {
                seen[v] = add::<SIGNED>(seen[v], there::<ROWS>(packed[v]));
            }
        }
        store(packed, flips, out, nr);
    }
}

/// ROWS rows, and for the others what becomes 0; of each, what is `ahead` is asked for.
///
/// # Safety
/// The CPU has AVX-512 F and BW, and this is inlined into code that is compiled for it. At `from` lie so many rows,
/// that far apart, of so many columns (1 to 64).
#[inline(always)]
unsafe fn rows_of<const ROWS: usize>(
    from: *const u8,
    row_stride: usize,
    cols: usize,
    ahead: usize,
    flips: __m512i,
) -> [__m512i; 4] {
    let mut rows = [flips; 4];
    for (i, row) in rows[..ROWS].iter_mut().enumerate() {
        let from = from.wrapping_add(i * row_stride);
        // SAFETY: the mask keeps to the columns that there are; what pads them becomes 0.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast());
            *row = _mm512_mask_loadu_epi8(flips, !0u64 >> (64 - cols), from.cast());
        }
    }
    rows
}

/// Four rows of 64 columns as a k-group.
///
/// # Safety
/// The CPU has AVX-512 F and BW, and this is inlined into code that is compiled for it.
#[inline(always)]
unsafe fn k_group(rows: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let mut r = rows;
        for (r, row) in r.iter_mut().zip(rows) {
            *r = _mm512_permutexvar_epi32(quarters, row);
        }
        interleaved(r)
    }
}

/// Four rows as groups of four values of k of a column each: within 128-bit lanes, of whose columns each vector has four.
///
/// # Safety
/// As [`k_group`].
#[inline(always)]
pub unsafe fn interleaved(r: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (low01, low23) = (_mm512_unpacklo_epi8(r[0], r[1]), _mm512_unpacklo_epi8(r[2], r[3]));
        let (high01, high23) = (_mm512_unpackhi_epi8(r[0], r[1]), _mm512_unpackhi_epi8(r[2], r[3]));
        [
            _mm512_unpacklo_epi16(low01, low23),
            _mm512_unpackhi_epi16(low01, low23),
            _mm512_unpacklo_epi16(high01, high23),
            _mm512_unpackhi_epi16(high01, high23),
        ]
    }
}

/// Of a vector of a k-group, the first ROWS rows; 0 for the others.
///
/// # Safety
/// As [`k_group`].
#[inline(always)]
unsafe fn there<const ROWS: usize>(x: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        match ROWS {
            4 => x,
            _ => _mm512_and_si512(x, _mm512_set1_epi32((1 << (8 * (ROWS % 4))) - 1)),
        }
    }
}

/// Adds the four values of each column.
///
/// # Safety
/// As [`k_group`], and AVX-512 VNNI.
#[inline(always)]
unsafe fn add<const SIGNED: bool>(sum: __m512i, x: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let ones = _mm512_set1_epi8(1);
        if SIGNED { _mm512_dpbusd_epi32(sum, ones, x) } else { _mm512_dpbusd_epi32(sum, x, ones) }
    }
}

/// Stores a k-group of `nr` columns.
///
/// # Safety
/// As [`k_group`]; `out` is valid for 4·`nr` bytes, `nr` being a multiple of 16 and at most 64.
#[inline(always)]
unsafe fn store(packed: [__m512i; 4], flips: __m512i, out: *mut u8, nr: usize) {
    for v in 0..4 {
        if 16 * v < nr {
            // SAFETY: 16 columns of the k-group, of 4 bytes.
            unsafe { _mm512_storeu_si512(out.add(64 * v).cast(), _mm512_xor_si512(packed[v], flips)) }
        }
    }
}

/// As [`interleave_panels`] where columns are slices (`row_stride` is 1): 64 values of 16 columns at a time, which are
/// 16 k-groups.
///
/// # Safety
/// As [`interleave_panels`], but for the layout of `source`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn transpose_panels<const SIGNED: bool, const SUMS: bool>(
    source: Source<'_>,
    flip: u8,
    (rows, cols): (usize, usize),
    nr: usize,
    panels: &mut [u8],
    sums: &mut [i32],
) {
    let flips = _mm512_set1_epi8(flip as i8);
    let panel = rows.next_multiple_of(4) * nr;
    for j in (0..cols.next_multiple_of(nr)).step_by(16) {
        let there = cols.saturating_sub(j).min(16);
        let from = source.bits.as_ptr().wrapping_add(j.wrapping_mul(source.col_stride));
        let out = panels.as_mut_ptr().wrapping_add(j / nr * panel + j % nr * 4);
        let mut sum = _mm512_setzero_si512();
        for at in (0..rows).step_by(64) {
            let left = (rows - at).min(64);
            let mask = !0u64 >> (64 - left);
            let mut x = [flips; 16];
            // SAFETY: the caller's promise; the mask keeps to the `left` values, 1 to 64, of the columns there are.
            unsafe {
                let from = from.wrapping_add(at);
                if there == 16 && left == 64 {
                    for (c, x) in x.iter_mut().enumerate() {
                        *x = _mm512_loadu_si512(from.wrapping_add(c * source.col_stride).cast());
                    }
                } else {
                    for (c, x) in x[..there].iter_mut().enumerate() {
                        *x = _mm512_mask_loadu_epi8(
                            flips,
                            mask,
                            from.wrapping_add(c * source.col_stride).cast(),
                        );
                    }
                }
            }
            let groups = transpose(x);
            let (whole, count) = (left / 4, left.div_ceil(4));
            for (g, group) in groups[..count].iter().enumerate() {
                // SAFETY: the panel has this k-group, and in it these 16 columns.
                unsafe {
                    if SUMS {
                        let rest = _mm512_set1_epi32((1 << (8 * (left % 4))) - 1);
                        let x = if g < whole { *group } else { _mm512_and_si512(*group, rest) };
                        sum = add::<SIGNED>(sum, x);
                    }
                    let out = out.wrapping_add((at / 4 + g) * 4 * nr);
                    _mm512_storeu_si512(out.cast(), _mm512_xor_si512(*group, flips));
                }
            }
        }
        if SUMS {
            let sum = bytemuck::cast::<[u8; 64], [i32; 16]>(bytes(sum));
            sums[j..j + 16].iter_mut().zip(sum).for_each(|(sum, more)| *sum += more);
        }
    }
}

/// 16 vectors of 32-bit lanes, transposed.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(x: [__m512i; 16]) -> [__m512i; 16] {
    let mut t = x;
    for i in (0..16).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    // Of four vectors, lane i of each 128 bits.
    let mut u = t;
    for q in (0..16).step_by(4) {
        u[q] = _mm512_unpacklo_epi64(t[q], t[q + 2]);
        u[q + 1] = _mm512_unpackhi_epi64(t[q], t[q + 2]);
        u[q + 2] = _mm512_unpacklo_epi64(t[q + 1], t[q + 3]);
        u[q + 3] = _mm512_unpackhi_epi64(t[q + 1], t[q + 3]);
    }
    // The 128 bits with an even number, or an odd one, of two vectors.
    let even = |x, y| _mm512_shuffle_i32x4::<0b10_00_10_00>(x, y);
    let odd = |x, y| _mm512_shuffle_i32x4::<0b11_01_11_01>(x, y);
    let mut out = u;
    for i in 0..4 {
        let (low, high) = (even(u[i], u[4 + i]), even(u[8 + i], u[12 + i]));
        (out[i], out[8 + i]) = (even(low, high), odd(low, high));
        let (low, high) = (odd(u[i], u[4 + i]), odd(u[8 + i], u[12 + i]));
        (out[4 + i], out[12 + i]) = (even(low, high), odd(low, high));
    }
    out
}

/// The bytes of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn bytes(x: __m512i) -> [u8; 64] {
    let mut bytes = [0; 64];
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), x) };
    bytes
}
