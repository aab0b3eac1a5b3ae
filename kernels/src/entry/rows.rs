//! Row sums of A, and conversion of its rows to the type that a kernel reads. Sums have code of their own for AVX2 and
//! AVX-512; the other loops are plain and compiled for several instruction sets. All arithmetic is in integers.

use crate::elements::{BYTES_PER_I32_SUM, Convert, SIGN_BIT, SIGN_SHIFT, mask_to_u8};
use crate::layout::extent;
use core::ops::Range;
use multiversion::multiversion;

/// Adds to each of `sums` the sum of a row of A, which has `k` values of i8 (`signed`) or u8 and starts `lda` bytes
/// after the row before.
///
/// # Panics
/// If A is too short.
pub fn add_row_sums(a: &[u8], lda: usize, k: usize, signed: bool, sums: &mut [i64]) {
    if k == 0 || sums.is_empty() {
        return;
    }
    let need = (sums.len() - 1).checked_mul(lda).and_then(|start| start.checked_add(k));
    assert!(need.is_some_and(|need| need <= a.len()), "A is too short");
    for start in (0..k).step_by(BYTES_PER_I32_SUM) {
        let part = BYTES_PER_I32_SUM.min(k - start);
        // SAFETY: rows of `part` values from `start` on are parts of the rows that A holds, as asserted.
        unsafe { add_short_row_sums(&a[start..], lda, part, signed, sums) };
    }
}

/// [`add_row_sums`] of rows of at most [`BYTES_PER_I32_SUM`] bytes.
///
/// # Safety
/// `a` holds `sums.len()` rows of `k` values, `lda` bytes apart.
unsafe fn add_short_row_sums(a: &[u8], lda: usize, k: usize, signed: bool, sums: &mut [i64]) {
    debug_assert!(k <= BYTES_PER_I32_SUM && (sums.len() - 1) * lda + k <= a.len());
    #[cfg(target_arch = "x86_64")]
    {
        use crate::detect::{Isa, detected};
        use crate::x86::operands::row_sums::{add_avx2, add_avx512};
        let a = a.as_ptr();
        if detected(Isa::Avx512Bw) {
            // SAFETY: the CPU has AVX-512 F and BW; A holds the rows, by the caller's promise.
            return unsafe {
                if signed {
                    add_avx512::<true>(a, lda, k, sums)
                } else {
                    add_avx512::<false>(a, lda, k, sums)
                }
            };
        }
        if detected(Isa::Avx2) {
            // SAFETY: the CPU has AVX2; A holds the rows, by the caller's promise.
            return unsafe {
                if signed { add_avx2::<true>(a, lda, k, sums) } else { add_avx2::<false>(a, lda, k, sums) }
            };
        }
    }
    let mask = mask_to_u8(signed);
    let shift = if signed { i64::from(SIGN_SHIFT) } else { 0 };
    for (i, sum) in sums.iter_mut().enumerate() {
        let total: u32 = a[i * lda..][..k].iter().map(|byte| u32::from(byte ^ mask)).sum();
        *sum += i64::from(total) - shift * k as i64;
    }
}

/// [`add_row_sums`] of an A whose columns are contiguous: column k starts `stride` bytes after the one before.
///
/// # Panics
/// If A is too short.
pub fn add_column_sums(a: &[u8], stride: usize, k: usize, signed: bool, sums: &mut [i64]) {
    /// Rows whose sums stay in registers.
    const TOGETHER: usize = 64;
    let need = extent(k, sums.len(), stride, 1);
    assert!(need.is_some_and(|need| need <= a.len()), "A is too short");
    for (block, sums) in sums.chunks_mut(TOGETHER).enumerate() {
        for start in (0..k).step_by(BYTES_PER_I32_SUM) {
            let columns = start..k.min(start + BYTES_PER_I32_SUM);
            let mut total = [0; TOGETHER];
            add_columns(a, stride, (block * TOGETHER, columns.clone()), signed, &mut total[..sums.len()]);
            let shift = if signed { i64::from(SIGN_SHIFT) } else { 0 };
            for (sum, total) in sums.iter_mut().zip(total) {
                *sum += i64::from(total) - shift * columns.len() as i64;
            }
        }
    }
}

/// Adds to `sums` some columns from row `first` on, as u8: i8 (`signed`) as values greater by 128.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_columns(
    a: &[u8],
    stride: usize,
    (first, columns): (usize, Range<usize>),
    signed: bool,
    sums: &mut [u32],
) {
    let mask = mask_to_u8(signed);
    for column in columns {
        let bytes = &a[column * stride + first..][..sums.len()];
        for (sum, byte) in sums.iter_mut().zip(bytes) {
            *sum += u32::from(byte ^ mask);
        }
    }
}

/// Copies `len` bytes of each row that `indices` name, of rows `stride` bytes apart, to rows of `out` that are `out_stride`
/// bytes apart. The index `u32::MAX` leaves its row of `out` as it is.
///
/// # Panics
/// If another index names a row that is not in `from`, or `out` holds fewer rows.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn pick_rows(
    from: &[u8],
    stride: usize,
    indices: &[u32],
    len: usize,
    (out, out_stride): (&mut [u8], usize),
) {
    const LINE: usize = 64;
    assert!(out.len() >= indices.len() * out_stride && out_stride >= len.max(1), "the output is too short");
    for (index, out) in indices.iter().zip(out.chunks_exact_mut(out_stride)) {
        if *index == u32::MAX {
            continue;
        }
        let (from, out) = (&from[*index as usize * stride..][..len], &mut out[..len]);
        // A cache line or two without a call; the last line may overlap the first.
        match (from.first_chunk::<LINE>(), from.last_chunk::<LINE>()) {
            (Some(first), Some(last)) if len <= 2 * LINE => {
                if let Some(out) = out.first_chunk_mut() {
                    *out = *first;
                }
                if let (true, Some(out)) = (len > LINE, out.last_chunk_mut()) {
                    *out = *last;
                }
            }
            _ => out.copy_from_slice(from),
        }
    }
}

/// Inverts the sign bits of a row, which turns i8 into u8 or u8 into i8 and shifts the values by 128.
///
/// # Panics
/// If the lengths differ.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn flip_signs(row: &[u8], out: &mut [u8]) {
    assert_eq!(row.len(), out.len());
    for (out, byte) in out.iter_mut().zip(row) {
        *out = byte ^ SIGN_BIT;
    }
}

/// Widens a row to 16 bits: `convert` is [`Convert::Extend`] (from i8) or [`Convert::ZeroExtend`] (from u8).
///
/// # Panics
/// If `convert` is another conversion, or the lengths differ.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn widen(row: &[u8], convert: Convert, out: &mut [i16]) {
    assert_eq!(row.len(), out.len());
    if convert == Convert::ZeroExtend {
        for (out, &byte) in out.iter_mut().zip(row) {
            *out = i16::from(byte);
        }
        return;
    }
    assert!(convert == Convert::Extend, "not a conversion to 16 bits");
    for (out, &byte) in out.iter_mut().zip(row) {
        *out = i16::from(byte as i8);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    type AddSums = fn(&[u8], usize, usize, bool, &mut [i64]);

    /// Every implementation that this CPU can run.
    fn implementations() -> Vec<AddSums> {
        let mut all: Vec<AddSums> = vec![add_row_sums];
        #[cfg(target_arch = "x86_64")]
        {
            use crate::detect::{Isa, detected};
            use crate::x86::operands::row_sums::*;
            if detected(Isa::Avx512Bw) {
                // SAFETY: the CPU has the instructions, and the test's rows lie in `a`.
                all.push(|a, lda, k, signed, sums| unsafe {
                    if signed {
                        add_avx512::<true>(a.as_ptr(), lda, k, sums)
                    } else {
                        add_avx512::<false>(a.as_ptr(), lda, k, sums)
                    }
                });
            }
            if detected(Isa::Avx2) {
                // SAFETY: the CPU has the instructions, and the test's rows lie in `a`.
                all.push(|a, lda, k, signed, sums| unsafe {
                    if signed {
                        add_avx2::<true>(a.as_ptr(), lda, k, sums)
                    } else {
                        add_avx2::<false>(a.as_ptr(), lda, k, sums)
                    }
                });
            }
        }
        all
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let value = |byte: u8, signed| if signed { i64::from(byte as i8) } else { i64::from(byte) };
        for k in (0..=131).chain([191, 255, 256, 257, 1000, 4099]) {
            for rows in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 35] {
                let lda = k + [0, 1, 64, 37][(k + rows) % 4];
                // All bytes are the same extreme, or all are random.
                let all = [None, Some(0), Some(0x7f), Some(0x80), Some(0xff)][(k + rows) % 5];
                let mut a: Vec<u8> = (0..(rows - 1) * lda + k).map(|_| random()).collect();
                if let Some(all) = all {
                    a.chunks_mut(lda.max(1)).for_each(|row| row[..k].fill(all));
                }
                for signed in [false, true] {
                    let start = |i: usize| (i as i64 - 7) << 33;
                    let want: Vec<i64> = (0..rows)
                        .map(|i| {
                            a[i * lda..][..k].iter().fold(start(i), |sum, &byte| sum + value(byte, signed))
                        })
                        .collect();
                    for (w, add) in implementations().into_iter().enumerate() {
                        let mut sums: Vec<i64> = (0..rows).map(start).collect();
                        add(&a, lda, k, signed, &mut sums);
                        assert_eq!(
                            sums, want,
                            "implementation {w}, {rows} rows of {k}, {lda} apart, signed: {signed}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn long_rows_are_summed_in_parts() {
        let k = (1 << 24) + 3;
        for (byte, signed, value) in [(255, false, 255), (128, true, -128), (127, true, 127)] {
            let mut sums = [0];
            add_row_sums(&vec![byte; k], k, k, signed, &mut sums);
            assert_eq!(sums, [value * k as i64]);
        }
    }

    #[test]
    #[should_panic(expected = "not a conversion to 16 bits")]
    fn a_conversion_that_keeps_8_bits_is_refused() {
        widen(&[0; 3], Convert::Flip, &mut [0; 3]);
    }

    #[test]
    #[should_panic(expected = "A is too short")]
    fn a_short_matrix_is_refused() {
        add_row_sums(&[0; 20], 9, 3, false, &mut [0; 3]);
    }
}
