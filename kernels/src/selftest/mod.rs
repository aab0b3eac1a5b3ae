//! Compares every kernel with the definition: one harness, for cargo's tests and for emulators alike.
//!
//! It needs no allocator, no `std` and no input but an arena. The cases cover:
//! - every height and width of a tile, shapes of several tiles and K blocks, panels one by one and together,
//!   many rows with few values of k;
//! - all four combinations of signs; elements that are random, at the extremes, or alternating between them;
//! - zero points that differ from row to row and from column to column and lie outside 8 bits, folded into the kernel's
//!   terms or subtracted as outer products;
//! - accumulators that start near the limits of i32, which show an instruction that saturates;
//! - for fused kernels all four outputs, with scales, multipliers, zero points and bounds that reach every branch,
//!   residuals, and terms beyond 32 bits;
//! - for kernels that sweep, products with a B that is not packed;
//! - 0xFF in the padding of B, which must not matter, and sentinels around C, which must survive;
//! - A, the panels or C at the very end of the arena: where the memory after it is not mapped, a read or write past
//!   them faults.

mod arena;
mod case;
mod compare;
mod groupwise;
mod product;
mod report;
mod stage;
mod sweeps;
mod terms;
#[cfg(test)]
mod tests;

use crate::contract::kernel::Kernel;
use crate::contract::ready::Ready;
use crate::selftest::case::{Case, Kind};
use core::fmt::Write;

pub use crate::selftest::arena::ARENA;
pub use crate::selftest::groupwise::run_groupwise;
pub use crate::selftest::report::Outcome;
#[cfg(target_arch = "x86_64")]
pub use crate::x86::amx_int8::WITHOUT_SIGNS as AMX_WITHOUT_SIGNS;

/// Runs all cases on a kernel and writes a line to `out` for each that fails. `arena` is [`ARENA`] bytes, aligned to
/// 64, preferably with unmapped memory after it.
///
/// # Panics
/// If the arena is too small or not aligned.
pub fn run(kernel: Ready, arena: &mut [u8], out: &mut dyn Write) -> Outcome {
    let Kernel { mr, nr, kr, .. } = *kernel;
    let mut outcome = Outcome::default();
    let mut seed = 0;
    let mut shape = |m, k, n| {
        for signs in 0..4 {
            seed += 1;
            let (a_signed, b_signed) = (signs & 1 != 0, signs & 2 != 0);
            let mut case = Case { m, k, n, a_signed, b_signed, seed, output: Kind::Sums };
            if kernel.fused {
                let kinds = [Kind::Sums, Kind::Bytes, Kind::Floats, Kind::FixedBytes];
                case.output = kinds[case.choose(6, 4) as usize];
            }
            outcome.count(product::check(kernel, case, arena), format_args!("{} {case}", kernel.name), out);
        }
    };
    // Of a tile of many rows every third width, each with another height.
    let step = if mr > 12 { 3 } else { 1 };
    for m in 1..=mr + 1 {
        for n in (1 + m % step..=nr + 1).step_by(step) {
            shape(m, 2 * kr + 1 + (m + n) % kr, n);
        }
    }
    // The last panel may be narrower than others, and its tiles higher.
    for m in mr + 2..=2 * mr + 3 {
        for n in (1..=nr).step_by(kernel.panel_step) {
            shape(m, 2 * kr + 1 + (m + n) % kr, nr + n);
        }
    }
    for k in (0..=2 * kr + 1).chain([63, 64, 65, 67, 127, 128, 130, 191]) {
        shape(mr + 1, k, nr + 1);
        shape(1, k, nr);
    }
    // Some take 64 values of k at a time.
    for m in 1..=mr {
        shape(m, 40 + 61 * m % 160, 1 + 29 * m % nr);
    }
    // With K = 0 sums consist of terms only. In half of the cases of scaled outputs these are small, and ties common.
    for n in 1..=nr {
        for m in mr - 1..mr + 3 {
            shape(m, 0, n);
        }
    }
    // Some kernels multiply few rows by two panels at once.
    for m in 1..=4 {
        let too_few = (2 * nr).saturating_sub(16).max(1);
        for n in [too_few, 2 * nr - 15, 2 * nr - 14, 2 * nr - 1, 2 * nr, 3 * nr, 4 * nr - 7, 4 * nr] {
            for k in [2 * kr + n % kr, 67, 259] {
                shape(m, k, n);
            }
        }
    }
    shape(3 * mr + 1, 131, 2 * nr + 3);
    shape(5 * mr, 256, 2 * nr);
    if kernel.extensions().b_stationary_up_to_k > 0 {
        for k in 1..=kernel.extensions().b_stationary_up_to_k + 1 {
            for n in [nr, 1 + 11 * k % nr, nr + 1 + 7 * k % nr] {
                for (signs, output) in (0..4).zip([Kind::Sums, Kind::Bytes, Kind::Bytes, Kind::Sums]) {
                    let (a_signed, b_signed) = (signs & 1 != 0, (signs & 2 != 0) != (k % 2 == 0));
                    // With 65 rows only one row lies between the 64th row and the end of A.
                    let m = if k < kr { 65 } else { 63 + (k + n) % 8 };
                    let mut case = Case { m, k, n, a_signed, b_signed, seed, output };
                    seed += 1;
                    // Seven of eight cases have an output that is made in one call with a stationary panel.
                    while k % 8 > 0 && !case.suits_b_stationary() {
                        seed += 1;
                        case.seed = seed;
                    }
                    outcome.count(
                        product::check(kernel, case, arena),
                        format_args!("{} {case}", kernel.name),
                        out,
                    );
                }
            }
        }
    }
    if kernel.sweeps() {
        sweeps::run(kernel, &mut seed, arena, out, &mut outcome);
    }
    outcome
}
