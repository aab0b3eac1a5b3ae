//! What is done to rows of A besides multiplying them: sums, and conversion where a kernel does not
//! read them in place. Plain loops, compiled for several instruction sets; integers all through.

use crate::pack::Convert;
use multiversion::multiversion;

/// The sum of a row of i8 (`signed`) or u8.
pub fn sum(row: &[u8], signed: bool) -> i64 {
    // Sums of unsigned bytes fit u32 for 2^24 of them; a signed byte is 128 less than its flip.
    let flip = if signed { 0x80 } else { 0 };
    let total: i64 = row.chunks(1 << 20).map(|part| i64::from(sum_part(part, flip))).sum();
    if signed { total - 128 * row.len() as i64 } else { total }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn sum_part(row: &[u8], flip: u8) -> u32 {
    let mut total = 0u32;
    for &byte in row {
        total += u32::from(byte ^ flip);
    }
    total
}

/// Inverts the sign bits of a row: between u8 and i8, a shift of the values by 128.
///
/// # Panics
/// If the lengths differ.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub fn flip(row: &[u8], out: &mut [u8]) {
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
