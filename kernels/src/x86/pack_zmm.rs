//! Packing of rows by AVX-512 VNNI, as `pack` does it by AVX2, a cache line of each row at a time.
//!
//! ```text
//! 4 rows of 64 columns
//!   vpermd         4 columns of each quarter to each 128-bit lane, as the unpacking within lanes wants them
//!   unpack bytes   rows 0, 1 and 2, 3: pairs
//!   unpack pairs   k-groups of 16 columns, in order
//! ```

use crate::pack::Source;
use crate::stats::ColumnStats;
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
    /// The CPU has AVX-512 F, BW and VNNI, and this is inlined into code that is compiled for it. At `from` lie so
    /// many rows, that far apart, of so many columns (1 to 64); at `out` a k-group of `nr` columns, a multiple of 16.
    #[inline(always)]
    unsafe fn group<const SIGNED: bool, const ROWS: usize>(
        &mut self,
        (from, row_stride, cols): (*const u8, usize, usize),
        flip: u8,
        (out, nr): (*mut u8, usize),
    ) {
        // SAFETY: throughout, the CPU has the instructions. The mask keeps to the columns that there are, and stores
        // are of 16 columns of the k-group, of 4 bytes.
        unsafe {
            let (flips, ones) = (_mm512_set1_epi8(flip as i8), _mm512_set1_epi8(1));
            let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let mask = !0u64 >> (64 - cols);
            let mut r = [flips; 4];
            for (i, r) in r[..ROWS].iter_mut().enumerate() {
                let from = from.wrapping_add(i * row_stride);
                // For the next panel: too few rows are read at a time for the CPU to see a pattern.
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(nr).cast());
                // What pads the columns becomes 0.
                let row = _mm512_mask_loadu_epi8(flips, mask, from.cast());
                if SIGNED {
                    self.least = _mm512_min_epi8(self.least, row);
                    self.greatest = _mm512_max_epi8(self.greatest, row);
                } else {
                    self.least = _mm512_min_epu8(self.least, row);
                    self.greatest = _mm512_max_epu8(self.greatest, row);
                }
                *r = _mm512_permutexvar_epi32(quarters, row);
            }
            let (low01, low23) = (_mm512_unpacklo_epi8(r[0], r[1]), _mm512_unpacklo_epi8(r[2], r[3]));
            let (high01, high23) = (_mm512_unpackhi_epi8(r[0], r[1]), _mm512_unpackhi_epi8(r[2], r[3]));
            let packed = [
                _mm512_unpacklo_epi16(low01, low23),
                _mm512_unpackhi_epi16(low01, low23),
                _mm512_unpacklo_epi16(high01, high23),
                _mm512_unpackhi_epi16(high01, high23),
            ];
            for v in 0..4 {
                let x = packed[v];
                // Of the rows that there are.
                let seen = match ROWS {
                    4 => x,
                    _ => _mm512_and_si512(x, _mm512_set1_epi32((1 << (8 * (ROWS % 4))) - 1)),
                };
                if SIGNED {
                    self.sum[v] = _mm512_dpbusd_epi32(self.sum[v], ones, seen);
                    self.abs[v] = _mm512_dpbusd_epi32(self.abs[v], _mm512_abs_epi8(seen), ones);
                } else {
                    self.sum[v] = _mm512_dpbusd_epi32(self.sum[v], seen, ones);
                }
                if 16 * v < nr {
                    _mm512_storeu_si512(out.add(64 * v).cast(), _mm512_xor_si512(x, flips));
                }
            }
        }
    }
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
