//! K-groups of 4 with AVX-512: four rows of up to 64 columns are loaded, interleaved and stored.
//!
//! ```text
//! 4 rows of 64 columns
//!   vpermd         4 columns of each quarter to each 128-bit lane, as the unpacking within lanes wants them
//!   unpack bytes   rows 0, 1 and 2, 3: pairs
//!   unpack pairs   k-groups of 16 columns, in order
//! ```

use core::arch::x86_64::*;

/// Up to four rows of B, of which one k-group is made.
#[derive(Clone, Copy)]
pub struct GroupRows {
    /// The first row's first column.
    pub first: *const u8,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// The number of columns, 1 to 64.
    pub cols: usize,
    /// The distance in bytes from each row to the memory to prefetch.
    pub prefetch: usize,
}

/// The place of a k-group in a panel.
#[derive(Clone, Copy)]
pub struct GroupOut {
    /// The first column's four bytes.
    pub first: *mut u8,
    /// The columns of the panel: 16, 32, 48 or 64.
    pub nr: usize,
    /// The mask that every stored byte is XORed with: the sign bit, or 0.
    pub flips: __m512i,
}

/// A k-group as it is in registers. The bits are those of B: the sign bits are flipped when it is stored.
pub struct KGroup {
    /// Four rows of 64 columns.
    pub rows: [__m512i; 4],
    /// 64 columns of four rows, 16 columns a vector.
    pub columns: [__m512i; 4],
}

/// Packs ROWS rows as a k-group. Rows and columns that B lacks become 0.
///
/// # Safety
/// - The CPU has AVX-512 F and BW, and this is inlined into code compiled for them.
/// - `from.first` is valid for reading ROWS rows, 1 to 4, of `from.cols` bytes, 1 to 64, `from.stride` apart.
/// - `out.first` is valid for writing 4·`out.nr` bytes; `out.nr` is a multiple of 16, at most 64.
#[inline(always)]
pub unsafe fn pack_k_group<const ROWS: usize>(from: GroupRows, out: GroupOut) -> KGroup {
    const { assert!(0 < ROWS && ROWS <= 4) };
    debug_assert!((1..=64).contains(&from.cols) && out.nr.is_multiple_of(16) && out.nr <= 64);
    let mut rows = [out.flips; 4];
    for (i, row) in rows[..ROWS].iter_mut().enumerate() {
        let first = from.first.wrapping_add(i * from.stride);
        // SAFETY: the mask keeps the load to the row's `cols` bytes; a prefetch may have any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(from.prefetch).cast());
            *row = _mm512_mask_loadu_epi8(out.flips, !0u64 >> (64 - from.cols), first.cast());
        }
    }
    // SAFETY: the CPU has the instructions. Of the panel's k-group, 16 columns of 4 bytes are stored at a time, as many
    // as `nr` has.
    unsafe {
        let quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let mut spread = rows;
        for (spread, row) in spread.iter_mut().zip(rows) {
            *spread = _mm512_permutexvar_epi32(quarters, row);
        }
        let columns = interleave_in_lanes(spread);
        for v in 0..4 {
            if 16 * v < out.nr {
                let bytes = _mm512_xor_si512(columns[v], out.flips);
                _mm512_storeu_si512(out.first.add(64 * v).cast(), bytes);
            }
        }
        KGroup { rows, columns }
    }
}

/// Interleaves four rows within 128-bit lanes: each lane of the result has the four rows of four columns of that lane.
/// Vector v has columns 4·v to 4·v + 3 of every lane.
///
/// # Safety
/// The CPU has AVX-512 F and BW, and this is inlined into code compiled for them.
#[inline(always)]
pub unsafe fn interleave_in_lanes(r: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: the CPU has the instructions.
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

/// Replaces all but the first ROWS bytes of each 32-bit lane, which are the rows of a column, by 0.
///
/// # Safety
/// The CPU has AVX-512 F, and this is inlined into code compiled for it.
#[inline(always)]
pub unsafe fn keep_rows<const ROWS: usize>(x: __m512i) -> __m512i {
    if ROWS == 4 {
        return x;
    }
    // SAFETY: the CPU has the instructions.
    unsafe { _mm512_and_si512(x, _mm512_set1_epi32((1 << (8 * (ROWS % 4))) - 1)) }
}

/// Adds the four bytes of each 32-bit lane, of i8 (`SIGNED`) or u8, to that lane of `sum`.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VNNI, and this is inlined into code compiled for them.
#[inline(always)]
pub unsafe fn add_bytes<const SIGNED: bool>(sum: __m512i, x: __m512i) -> __m512i {
    // SAFETY: the CPU has the instructions.
    unsafe {
        let ones = _mm512_set1_epi8(1);
        if SIGNED { _mm512_dpbusd_epi32(sum, ones, x) } else { _mm512_dpbusd_epi32(sum, x, ones) }
    }
}
