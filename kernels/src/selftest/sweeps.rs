//! Cases of products with a B that is not packed.

use crate::contract::ready::Ready;
use crate::contract::sweep_operands::{MAX_SWEEP_ROWS, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums};
use crate::selftest::arena::{GAP, carve};
use crate::selftest::case::{Case, Kind, value};
use crate::selftest::report::{Outcome, Wrong};
use bytemuck::cast_slice_mut;
use core::fmt::Write;

/// Runs all cases of a kernel that sweeps.
pub(super) fn run(
    kernel: Ready,
    seed: &mut u32,
    arena: &mut [u8],
    out: &mut dyn Write,
    outcome: &mut Outcome,
) {
    for m in 1..=MAX_SWEEP_ROWS {
        for n in [1, 2, 63, 64, 65, 100, 128, 256, 257, 320, 383] {
            for k in (0..10).chain([15, 16, 17, 18, 31, 32, 35, 63, 64, 65, 67, 128]) {
                for signed in [false, true] {
                    *seed += 1;
                    let case =
                        Case { m, k, n, a_signed: signed, b_signed: true, seed: *seed, output: Kind::Sums };
                    let name = format_args!("{} sweep {case}", kernel.name);
                    outcome.count(check(kernel, case, arena), name, out);
                }
            }
        }
    }
}

/// Runs a sweep and compares products, and column sums if they are wanted, element by element.
fn check(kernel: Ready, case: Case, arena: &mut [u8]) -> Result<(), Wrong> {
    let Case { m, k, n, a_signed, .. } = case;
    let b_by_columns = case.choose(6, 2) == 0;
    let (lines, len) = if b_by_columns { (n, k) } else { (k, n) };
    let (lda, ldb, ldc) = (k + GAP, len + GAP, (n.div_ceil(SWEEP_WIDTH) + 1) * SWEEP_WIDTH);
    let lens = [(m - 1) * lda + k, (lines.max(1) - 1) * ldb + len, 4 * m * ldc, 4 * ldc];
    let [a, b, products, of_b] = carve(arena, lens, case.choose(4, 2) as usize);
    case.fill(a, b);
    products.fill(0x55);
    of_b.fill(0x55);
    let (products, of_b) = (cast_slice_mut::<u8, i32>(products), cast_slice_mut::<u8, i32>(of_b));
    let want_sums_of_b = case.choose(5, 2) == 0;
    let (a, b) = (StridedRows { bits: a, stride: lda }, StridedRows { bits: b, stride: ldb });
    let operands = SweepOperands { a, a_signed, k, b, b_by_columns, cols: n };
    let sums =
        SweepSums { products: &mut *products, stride: ldc, of_b: want_sums_of_b.then_some(&mut of_b[..]) };
    kernel.sweep(m, &operands, sums);
    let shift = if a_signed { 128 } else { 0 };
    let at = |k, j| if b_by_columns { j * ldb + k } else { k * ldb + j };
    let b = |k: usize, j: usize| value(b.bits[at(k, j)], true);
    for j in 0..n {
        for i in 0..m {
            let a = |k: usize| value(a.bits[i * lda + k], a_signed) + shift;
            let (got, want) = (products[i * ldc + j], (0..k).map(|k| a(k) * b(k, j)).sum::<i32>());
            if got != want {
                return Err(Wrong { i, j, got: got as u32, want: want as u32 });
            }
        }
        let want = if want_sums_of_b { (0..k).map(|k| b(k, j)).sum::<i32>() } else { 0x5555_5555 };
        if of_b[j] != want {
            return Err(Wrong { i: m, j, got: of_b[j] as u32, want: want as u32 });
        }
    }
    // The last 64 sums of each row belong to no column, and to no padding of columns.
    let beyond =
        products.chunks_exact(ldc).map(|row| &row[ldc - SWEEP_WIDTH..]).chain([&of_b[ldc - SWEEP_WIDTH..]]);
    for (i, row) in beyond.enumerate() {
        if let Some(j) = row.iter().position(|sum| *sum != 0x5555_5555) {
            return Err(Wrong { i, j: ldc - SWEEP_WIDTH + j, got: row[j] as u32, want: 0x5555_5555 });
        }
    }
    Ok(())
}
