//! Compares C with the definition, element by element.

use crate::selftest::case::{Case, value};
use crate::selftest::report::Wrong;

/// Compares C with the definition, and the gaps between its rows with the values that they had. The operands are
/// row-major, with the distances between rows of the case, and B without gaps.
pub(super) fn compare(case: Case, a: &[u8], b: &[u8], c: &[u8]) -> Result<(), Wrong> {
    let (size, ldc) = (case.output.size(), case.ldc());
    for i in 0..case.m {
        for j in 0..ldc {
            let at = i * ldc + j;
            // The last row has no gap after it.
            let Some(bytes) = c.get(at * size..(at + 1) * size) else { break };
            let got = if size == 1 { bytes[0].into() } else { bytemuck::pod_read_unaligned(bytes) };
            let want =
                if j < case.n { case.expected(sum(case, a, b, i, j), i, j) } else { case.initial_bits(at) };
            if got != want {
                return Err(Wrong { i, j, got, want });
            }
        }
    }
    Ok(())
}

/// The sum of element (i, j), modulo 2^32: products of values less zero points, bias, and C's own value if
/// accumulating.
fn sum(case: Case, a: &[u8], b: &[u8], i: usize, j: usize) -> i32 {
    let (lda, ldc) = (case.lda(), case.ldc());
    let (a_zero, b_zero) = (i64::from(case.a_zero(i)), i64::from(case.b_zero(j)));
    let initial = if case.accumulate() { case.initial(i * ldc + j) } else { 0 };
    let start = i64::from(case.bias(j)) + i64::from(initial);
    let sum = (0..case.k).fold(start, |sum, k| {
        let a = i64::from(value(a[i * lda + k], case.a_signed)) - a_zero;
        let b = i64::from(value(b[k * case.n + j], case.b_signed)) - b_zero;
        sum + a * b
    });
    sum as i32
}
