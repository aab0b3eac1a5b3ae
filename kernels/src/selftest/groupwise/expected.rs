//! C by the definition.

use crate::groupwise::fma::fma;
use crate::groupwise::layout::CodeBits;
use crate::groupwise::scalar::clamp;
use crate::selftest::groupwise::case::{Case, Kinds};
use crate::selftest::groupwise::operands::{GAP, Operands, SENTINEL, scale_at};
use crate::selftest::report::Wrong;

/// Compares C with the definition, bit for bit, and what lies between its rows with the sentinel.
pub(super) fn compare(case: Case, kinds: Kinds, x: &Operands<'_>) -> Result<(), Wrong> {
    let (m, n) = (case.m, case.shape.n());
    for i in 0..m {
        for j in 0..if i + 1 < m { n + GAP } else { n } {
            let want = if j < n {
                element(case, kinds, x, i, j).to_bits()
            } else {
                u32::from_ne_bytes([SENTINEL; 4])
            };
            let got = x.c[i * (n + GAP) + j].to_bits();
            if got != want {
                return Err(Wrong { i, j, got, want });
            }
        }
    }
    Ok(())
}

fn element(case: Case, kinds: Kinds, x: &Operands<'_>, i: usize, j: usize) -> f32 {
    let shape = case.shape;
    let (k, n, groups) = (shape.k(), shape.n(), shape.groups());
    let a_zero = -i64::from(x.minus_a_zeros[i]);
    let mut acc = 0f32;
    for g in 0..groups {
        let zero = i64::from(zero_at(case, x, g, j));
        let (mut sum, mut a_sum) = (0i64, 0i64);
        for row in g * shape.group()..g * shape.group() + shape.group_len(g) {
            let a = i64::from(x.a_values[i * k + row] as i8) - a_zero;
            sum += a * (i64::from(x.b_values[row * n + j]) - zero);
            a_sum += a;
        }
        let of_a = x.group_scales[i * groups + g];
        let factor = |bytes: &[u8]| {
            let value = scale_at(bytes, shape.scale_at(g, j), kinds);
            if kinds.group_scales { of_a * value } else { value }
        };
        acc = fma(sum as f32, factor(x.scales), acc);
        if kinds.minimums {
            acc = fma(a_sum as f32, factor(x.minimums), acc);
        }
    }
    if !kinds.group_scales {
        acc *= x.row_scales[i];
    }
    if kinds.bias {
        acc += x.bias[j];
    }
    let (lo, hi) = kinds.clamp();
    clamp(acc, lo, hi)
}

fn zero_at(case: Case, x: &Operands<'_>, g: usize, j: usize) -> u8 {
    let (byte, high) = case.shape.zero_at(g, j);
    match (case.shape.bits(), high) {
        (CodeBits::Eight, _) => x.zeros[byte],
        (CodeBits::Four, false) => x.zeros[byte] & 15,
        (CodeBits::Four, true) => x.zeros[byte] >> 4,
    }
}
