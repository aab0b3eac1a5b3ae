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

/// Packs whole k-groups of columns that lie side by side.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VNNI. `source` has 4·`groups` rows of `cols` columns, next to each other
/// (`col_stride` is 1); `panel` has `groups` k-groups of `nr` columns, a multiple of 16 and not less than `cols`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn interleave<const SIGNED: bool>(
    source: Source<'_>,
    flip: u8,
    (groups, cols): (usize, usize),
    nr: usize,
    panel: &mut [u8],
    stats: &mut ColumnStats,
) {
    let (flips, ones) = (_mm512_set1_epi8(flip as i8), _mm512_set1_epi8(1));
    let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for j in (0..cols).step_by(64) {
        let width = (cols - j).min(64);
        let mask = !0u64 >> (64 - width);
        let (mut sum, mut abs) = ([_mm512_setzero_si512(); 4], [_mm512_setzero_si512(); 4]);
        let (mut least, mut greatest) = match SIGNED {
            true => (_mm512_set1_epi8(i8::MAX), _mm512_set1_epi8(i8::MIN)),
            false => (_mm512_set1_epi8(-1), _mm512_setzero_si512()),
        };
        for g in 0..groups {
            let mut r = [flips; 4];
            for (i, r) in r.iter_mut().enumerate() {
                let from = source.bits.as_ptr().wrapping_add((4 * g + i) * source.row_stride + j);
                // For the next panel: too few rows are read at a time for the CPU to see a pattern.
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(nr).cast());
                // What pads the columns becomes 0. SAFETY: the row has `width` columns from the jth on.
                let row = unsafe { _mm512_mask_loadu_epi8(flips, mask, from.cast()) };
                if SIGNED {
                    least = _mm512_min_epi8(least, row);
                    greatest = _mm512_max_epi8(greatest, row);
                } else {
                    least = _mm512_min_epu8(least, row);
                    greatest = _mm512_max_epu8(greatest, row);
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
                if SIGNED {
                    sum[v] = _mm512_dpbusd_epi32(sum[v], ones, x);
                    abs[v] = _mm512_dpbusd_epi32(abs[v], _mm512_abs_epi8(x), ones);
                } else {
                    sum[v] = _mm512_dpbusd_epi32(sum[v], x, ones);
                }
                if 16 * v < nr - j {
                    // SAFETY: the k-group has 16 columns, of 4 bytes, from this one on.
                    unsafe {
                        let out = panel.as_mut_ptr().add((g * nr + j + 16 * v) * 4);
                        _mm512_storeu_si512(out.cast(), _mm512_xor_si512(x, flips));
                    }
                }
            }
        }
        let words = |x: [__m512i; 4]| bytemuck::cast::<[[u8; 64]; 4], [i32; 64]>(x.map(|x| bytes(x)));
        let sum = words(sum);
        let abs = if SIGNED { words(abs) } else { sum };
        let (least, greatest) = (bytes(least), bytes(greatest));
        let value = |byte: u8| if SIGNED { i16::from(byte as i8) } else { i16::from(byte) };
        for l in 0..width {
            stats.sum[j + l] += sum[l];
            stats.abs[j + l] += abs[l];
            stats.least[j + l] = stats.least[j + l].min(value(least[l]));
            stats.greatest[j + l] = stats.greatest[j + l].max(value(greatest[l]));
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
