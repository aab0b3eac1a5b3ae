//! What is done to rows of A besides multiplying them: sums, and conversion where a kernel does not
//! read them in place. Plain loops, compiled for several instruction sets, but for sums on x86-64; integers all
//! through.

use crate::elements::Convert;
use multiversion::multiversion;

/// Adds to each of `sums` the sum of a row of A: of `k` values of i8 (`signed`) or u8, `lda` after the row before.
///
/// # Panics
/// If A is too short.
pub fn add_row_sums(a: &[u8], lda: usize, k: usize, signed: bool, sums: &mut [i64]) {
    if k == 0 || sums.is_empty() {
        return;
    }
    let need = (sums.len() - 1).checked_mul(lda).and_then(|start| start.checked_add(k));
    assert!(need.is_some_and(|need| need <= a.len()), "A is too short");
    // Sums of so many unsigned bytes fit 31 bits.
    const STEP: usize = 1 << 23;
    for start in (0..k).step_by(STEP) {
        add_part(&a[start..], lda, STEP.min(k - start), signed, sums);
    }
}

/// The same for rows of at most 2^23 values, which A is checked to hold.
fn add_part(a: &[u8], lda: usize, k: usize, signed: bool, sums: &mut [i64]) {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::detect::Isa;
        use crate::detect::detected;
        use crate::x86::operands::row_sums;
        let a = a.as_ptr();
        // SAFETY: the CPU has the instructions, and A holds the rows, as the caller checked.
        unsafe {
            match (detected(Isa::Avx512Bw), detected(Isa::Avx2), signed) {
                (true, _, false) => return row_sums::add_avx512::<false>(a, lda, k, sums),
                (true, _, true) => return row_sums::add_avx512::<true>(a, lda, k, sums),
                (_, true, false) => return row_sums::add_avx2::<false>(a, lda, k, sums),
                (_, true, true) => return row_sums::add_avx2::<true>(a, lda, k, sums),
                _ => (),
            }
        }
    }
    let flip = if signed { 0x80 } else { 0 };
    for (i, sum) in sums.iter_mut().enumerate() {
        let total: u32 = a[i * lda..][..k].iter().map(|byte| u32::from(byte ^ flip)).sum();
        *sum += i64::from(total) - if signed { 128 * k as i64 } else { 0 };
    }
}

/// Inverts the sign bits of a row: between u8 and i8, a shift of the values by 128.
///
/// # Panics
/// If the lengths differ.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn flip_signs(row: &[u8], out: &mut [u8]) {
    assert_eq!(row.len(), out.len());
    for (out, byte) in out.iter_mut().zip(row) {
        *out = byte ^ 0x80;
    }
}

/// Widens a row to 16 bits: `convert` is `Extend` (from i8) or `ZeroExtend` (from u8).
///
/// # Panics
/// If the lengths differ.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn widen(row: &[u8], convert: Convert, out: &mut [i16]) {
    assert_eq!(row.len(), out.len());
    if convert == Convert::Extend {
        for (out, &byte) in out.iter_mut().zip(row) {
            *out = i16::from(byte as i8);
        }
    } else {
        for (out, &byte) in out.iter_mut().zip(row) {
            *out = i16::from(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    type AddSums = fn(&[u8], usize, usize, bool, &mut [i64]);

    /// Every way to add sums that this CPU has.
    fn ways() -> Vec<AddSums> {
        let mut ways: Vec<AddSums> = vec![add_row_sums];
        #[cfg(target_arch = "x86_64")]
        {
            use crate::detect::{Isa, detected};
            use crate::x86::operands::row_sums::*;
            if detected(Isa::Avx512Bw) {
                // SAFETY: throughout, the CPU has the instructions, and the test's rows lie in `a`.
                ways.push(|a, lda, k, signed, sums| unsafe {
                    match signed {
                        true => add_avx512::<true>(a.as_ptr(), lda, k, sums),
                        false => add_avx512::<false>(a.as_ptr(), lda, k, sums),
                    }
                });
            }
            if detected(Isa::Avx2) {
                // SAFETY: as above.
                ways.push(|a, lda, k, signed, sums| unsafe {
                    match signed {
                        true => add_avx2::<true>(a.as_ptr(), lda, k, sums),
                        false => add_avx2::<false>(a.as_ptr(), lda, k, sums),
                    }
                });
            }
        }
        ways
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
                // All alike, at either end, or any.
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
                    for (w, way) in ways().into_iter().enumerate() {
                        let mut sums: Vec<i64> = (0..rows).map(start).collect();
                        way(&a, lda, k, signed, &mut sums);
                        assert_eq!(sums, want, "way {w}, {rows} rows of {k}, {lda} apart, signed: {signed}");
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
    #[should_panic(expected = "A is too short")]
    fn a_short_matrix_is_refused() {
        add_row_sums(&[0; 20], 9, 3, false, &mut [0; 3]);
    }
}
