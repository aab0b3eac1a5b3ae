//! Every kernel against the definition: the one harness, for cargo's tests and for emulators alike.
//!
//! It needs no allocator, no `std` and no input but an arena, and leaves nothing to the kernel's
//! goodwill:
//! - every height and width of a tile, shapes of several tiles and K blocks, panels one by one and together,
//!   many rows with few values of k;
//! - all four combinations of signs; elements random, at the extremes, and alternating between them;
//! - every row's and column's zero point distinct and outside 8 bits, folded into the kernel's terms or
//!   taken off afterwards;
//! - accumulators that start near the i32 limits, so that an instruction that saturates shows;
//! - of fused kernels all four outputs, with scales, multipliers, zero points and bounds that reach every branch,
//!   residuals, and terms beyond 32 bits;
//! - products with a B that is not packed, of kernels that sweep it;
//! - 0xFF in the padding of B, which must not matter, and sentinels around C, which must survive;
//! - A, the panels or C at the very end of the arena: where the memory after it is not mapped, a read
//!   or write past them faults.

use crate::block::BlockMut;
use crate::contract::column_stats::ColumnStats;
use crate::contract::kernel::{Kernel, Variant};
use crate::contract::limits::MAX_NR;
use crate::contract::panel::{PackJob, Source, panel_index};
use crate::contract::ready::Ready;
use crate::contract::stage::{
    F64Terms, OuterProduct, Output, TileDequantize, TileFixedPoint, TileRequantize, TileResidual,
};
use crate::elements::{Convert, Stored};
use crate::entry::call::PanelProduct;
use crate::entry::pack::pack_panel;
use crate::entry::rows;
use bytemuck::cast_slice_mut;
use case::{Case, Kind, value};
use core::fmt::{self, Write};
use core::ops::Range;
mod case;
mod sweeps;
#[cfg(test)]
mod tests;

/// The arena that suffices for every case.
pub const ARENA: usize = 1 << 20;

/// How many cases of a kernel passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Cases whose result was right in every element.
    pub passed: u32,
    /// The others; each is a line of the report.
    pub failed: u32,
}

impl Outcome {
    /// Takes in a case, and reports it if it failed.
    fn count(&mut self, result: Result<(), Wrong>, what: fmt::Arguments<'_>, out: &mut dyn Write) {
        match result {
            Ok(()) => self.passed += 1,
            Err(wrong) => {
                self.failed += 1;
                // A report that cannot be written still counts as failed.
                let _ = writeln!(out, "FAIL {what}: {wrong}");
            }
        }
    }
}

/// Runs all cases on a kernel. `arena` is [`ARENA`] bytes, aligned to 64, preferably with unmapped
/// memory after it; failures are reported to `out`, a line each.
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
            outcome.count(check(kernel, case, arena), format_args!("{} {case}", kernel.name), out);
        }
    };
    for m in 1..=mr + 1 {
        for n in 1..=nr + 1 {
            shape(m, 2 * kr + 1 + (m + n) % kr, n);
        }
    }
    for k in (0..=2 * kr + 1).chain([67, 128]) {
        shape(mr + 1, k, nr + 1);
        shape(1, k, nr);
    }
    // Nothing but terms, which are small in half of the cases of scaled outputs: there ties are.
    for n in 1..=nr {
        for m in mr - 1..mr + 3 {
            shape(m, 0, n);
        }
    }
    // Few rows, which some kernels multiply by two panels at once.
    for m in 1..=4 {
        for n in [2 * nr - 15, 2 * nr - 14, 2 * nr - 1, 2 * nr, 3 * nr, 4 * nr - 7, 4 * nr] {
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
                    // 65 rows are 64 and one, which is all that can lie between the 64th and the end of A.
                    let m = if k < kr { 65 } else { 63 + (k + n) % 8 };
                    let mut case = Case { m, k, n, a_signed, b_signed, seed, output };
                    seed += 1;
                    // All but one in eight are such that they are multiplied in one call.
                    while k % 8 > 0 && !case.is_plain() {
                        seed += 1;
                        case.seed = seed;
                    }
                    outcome.count(check(kernel, case, arena), format_args!("{} {case}", kernel.name), out);
                }
            }
        }
    }
    if kernel.sweeps() {
        sweeps::run(kernel, &mut seed, arena, out, &mut outcome);
    }
    outcome
}

/// A wrong element.
struct Wrong {
    i: usize,
    j: usize,
    got: u32,
    want: u32,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element ({}, {}) is {:#x}, must be {:#x}", self.i, self.j, self.got, self.want)
    }
}

/// Elements between the rows of A in half of the cases, and of C: they must stay unread, and untouched.
const GAP: usize = 3;
/// The most rows and columns of a case.
const MAX_M: usize = 70;
const MAX_N: usize = 4 * MAX_NR;

/// Pieces of the arena, each aligned to 64 bytes but for the `last`, which ends where the arena does.
fn carve<const N: usize>(arena: &mut [u8], lens: [usize; N], last: usize) -> [&mut [u8]; N] {
    let end = arena.len();
    let (mut front, tail) = arena.split_at_mut(end - lens[last]);
    let mut tail = Some(tail);
    core::array::from_fn(|i| match tail.take_if(|_| i == last) {
        Some(tail) => tail,
        None => {
            let (piece, rest) = core::mem::take(&mut front).split_at_mut(lens[i].next_multiple_of(64));
            front = rest;
            &mut piece[..lens[i]]
        }
    })
}

/// One product, computed as a driver would, compared element by element.
fn check(kernel: Ready, case: Case, arena: &mut [u8]) -> Result<(), Wrong> {
    let Case { m, k, n, .. } = case;
    let kernel = kernel.with_slow_stores(case.choose(17, 2) == 0);
    let variants = kernel.table_row().variants;
    let variant = &variants[case.choose(3, variants.len() as u32) as usize];
    let convert = Convert::new(case.a_signed, variant.a);
    let panel_bytes = kernel.panel_bytes(k, variant.b).expect("cases are small");
    let (lda, ldc) = (k + GAP * case.choose(19, 2) as usize, n + GAP);
    let row_bytes = k * variant.a.size();

    let strip_len = if convert == Convert::Copy { 0 } else { m * row_bytes };
    let lens = [
        (m - 1) * lda + k,
        strip_len,
        n.div_ceil(kernel.nr) * panel_bytes,
        case.output.size() * ((m - 1) * ldc + n),
        k * n,
    ];
    let last = match case.choose(4, 3) {
        0 if strip_len == 0 => 0,
        0 => 1,
        1 => 2,
        _ => 3,
    };
    let [a, strip, panels, c, b] = carve(arena, lens, last);
    case.fill(a, b);
    if kernel.i16_groups > 0 {
        case.fill_provable(&kernel, b);
    }
    pack_b(kernel, variant, case, b, panels);
    for (i, out) in strip.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let row = &a[i * lda..][..k];
        match variant.a {
            Stored::I16 => rows::widen(row, convert, cast_slice_mut(out)),
            Stored::U8 | Stored::I8 => rows::flip_signs(row, out),
        }
    }
    case.fill_output(c);

    let (source, stride): (&[u8], usize) = if strip_len == 0 { (a, lda) } else { (strip, row_bytes) };
    // Half of the cases take K in two blocks, where there are two k-groups (or runs of them).
    let run = kernel.kr * kernel.i16_groups.max(1);
    let two = case.output == Kind::Sums && case.choose(5, 2) == 0;
    let cut = if two { k / 2 / run * run } else { 0 };
    let panel_row = kernel.nr * variant.b.size();
    // Panels one by one, as they must be where K is cut, or all of them together.
    let panels_at_once = if cut == 0 && case.choose(18, 2) == 0 { n.div_ceil(kernel.nr) } else { 1 };
    for first_panel in (0..n.div_ceil(kernel.nr)).step_by(panels_at_once) {
        let left = first_panel * kernel.nr;
        let cols = (panels_at_once * kernel.nr).min(n - left);
        let panels = &panels[first_panel * panel_bytes..][..panels_at_once * panel_bytes];
        let terms = Terms::new(case, variant, (a, lda), b, left..left + cols);
        let outer = [
            OuterProduct { row: &terms.a_zero[..m], col: &terms.b_sum },
            OuterProduct { row: &terms.a_sum[..m], col: &terms.b_zero },
        ];
        for (from, to) in [(0, cut), (cut, k)] {
            if from == to && k > 0 {
                continue;
            }
            let first = from == 0;
            let product = PanelProduct {
                k: to - from,
                a: source.get(from * variant.a.size()..).unwrap_or(&[]),
                lda: stride,
                panels: &panels[from * panel_row..],
                col: first.then_some(&terms.col[..]),
                row: if first { &terms.row } else { &[0; MAX_M] },
                outer: if first && !case.additive() { &outer } else { &[] },
            };
            let place = (m, n, ldc, left, cols);
            run_into(kernel, variant, &product, case, c, place, case.accumulate() || !first);
            if k == 0 {
                break;
            }
        }
    }
    compare(case, (a, lda), b, (c, ldc))
}

/// Runs the kernel with the case's output stage, into the columns from `left` on.
fn run_into(
    kernel: Ready,
    variant: &Variant,
    product: &PanelProduct<'_>,
    case: Case,
    c: &mut [u8],
    (m, n, ldc, left, cols): (usize, usize, usize, usize, usize),
    accumulate: bool,
) {
    let scale: [f32; MAX_N] = core::array::from_fn(|j| if j < cols { case.scale(left + j) } else { 0.0 });
    let bias: [f32; MAX_N] = core::array::from_fn(|j| case.float_bias(left + j).unwrap_or(-0.0));
    let bias = case.float_bias(0).map(|_| &bias[..]);
    let rows: [f32; MAX_M] = core::array::from_fn(|i| case.row_scale(i).unwrap_or(1.0));
    let row_scale = case.row_scale(0).map(|_| &rows[..m]);
    let term = |i, j| case.real(i, left + j).unwrap_or_default();
    let real_col: [f64; MAX_N] = core::array::from_fn(|j| term(0, j).0 as f64);
    let real_row: [f64; MAX_M] = core::array::from_fn(|i| term(i, 0).1 as f64);
    let row = (real_row[0] != 0.0).then_some(&real_row[..m]);
    let real = case.real(0, 0).map(|_| F64Terms { col: &real_col, row });
    let fits = "C was made for it";
    match case.output {
        Kind::Sums => {
            let mut block = BlockMut::new(cast_slice_mut::<u8, i32>(c), m, n, ldc, 1).expect(fits);
            let c = &mut block.part(0, left, m, cols);
            kernel.run(variant, product, Output::Sums { c, accumulate });
        }
        Kind::Bytes => {
            let mut block = BlockMut::new(c, m, n, ldc, 1).expect(fits);
            let c = &mut block.part(0, left, m, cols);
            let (zero_point, range) = (case.out_zero(), case.byte_range());
            let stride = cols + GAP;
            let mut bits = [0; MAX_M * (MAX_N + GAP)];
            for (at, bits) in bits[..(m - 1) * stride + cols].iter_mut().enumerate() {
                *bits = case.residual(at / stride, left + at % stride).unwrap_or(0);
            }
            let (zero, scaled, signed) = case.residual_stage();
            let bits = &bits[..(m - 1) * stride + cols];
            let residual = TileResidual { bits, stride, signed, zero_point: zero, scale: scaled };
            let residual = case.residual(0, 0).map(|_| residual);
            let greatest = |scales: &[f32]| scales.iter().fold(0f32, |max, scale| max.max(*scale));
            let at_most_half = greatest(&scale) * row_scale.map_or(1.0, greatest) <= 0.5;
            let stage =
                TileRequantize { real, residual, scale: &scale, row_scale, at_most_half, zero_point, range };
            kernel.run(variant, product, Output::Bytes { c, stage });
        }
        Kind::FixedBytes => {
            let mut block = BlockMut::new(c, m, n, ldc, 1).expect(fits);
            let c = &mut block.part(0, left, m, cols);
            let values =
                |field: usize| -> [i32; MAX_N] { core::array::from_fn(|j| case.fixed(left + j)[field]) };
            let [m, nudge, negative, before, one] = &[0, 1, 2, 3, 4].map(values);
            let (away, zero_point, range) = (case.rounding() == 3, case.out_zero(), case.byte_range());
            let stage = TileFixedPoint { m, nudge, negative, before, one, away, zero_point, range };
            kernel.run(variant, product, Output::FixedBytes { c, stage });
        }
        Kind::Floats => {
            let mut block = BlockMut::new(cast_slice_mut::<u8, f32>(c), m, n, ldc, 1).expect(fits);
            let c = &mut block.part(0, left, m, cols);
            let stage = TileDequantize { real, scale: &scale, row_scale, bias, range: case.float_range() };
            kernel.run(variant, product, Output::Floats { c, stage });
        }
    }
}

/// Packs B, and fills all padding with 0xFF.
fn pack_b(kernel: Ready, variant: &Variant, case: Case, b: &[u8], panels: &mut [u8]) {
    let Case { k, n, .. } = case;
    let panel_bytes = kernel.panel_bytes(k, variant.b).expect("cases are small");
    for (p, panel) in panels.chunks_exact_mut(panel_bytes.max(1)).enumerate() {
        let (left, cols) = (p * kernel.nr, kernel.nr.min(n - p * kernel.nr));
        let source = Source { bits: b.get(left..).unwrap_or(&[]), row_stride: n, col_stride: 1 };
        let mut stats = ColumnStats::NONE;
        let job = PackJob { source, rows: k, cols, signed: case.b_signed, stored: variant.b };
        pack_panel(kernel, &job, panel, &mut stats);
        for row in 0..k.next_multiple_of(kernel.kr) {
            for j in 0..kernel.nr {
                if row >= k || j >= cols {
                    let size = variant.b.size();
                    panel[panel_index(&kernel, row, j) * size..][..size].fill(0xff);
                }
            }
        }
    }
}

/// What a driver adds to the sums of stored products: see `Case::additive`.
struct Terms {
    /// Given to the kernel.
    col: [i32; MAX_N],
    row: [i32; MAX_M],
    /// Of the outer products: `a_zero[i]·b_sum[j] + a_sum[i]·b_zero[j]`.
    a_zero: [i32; MAX_M],
    a_sum: [i32; MAX_M],
    b_zero: [i32; MAX_N],
    b_sum: [i32; MAX_N],
}

impl Terms {
    /// acc = Σ (a - za')(b - zb') with stored values a, b and zero points shifted as they are.
    fn new(case: Case, variant: &Variant, (a, lda): (&[u8], usize), b: &[u8], columns: Range<usize>) -> Self {
        let Case { m, k, n, .. } = case;
        let (_, a_shift) = variant.convert_a(case.a_signed);
        let b_shift = Convert::new(case.b_signed, variant.b).shift(case.b_signed);
        let mut t = Self {
            col: [0; MAX_N],
            row: [0; MAX_M],
            a_zero: [0; MAX_M],
            a_sum: [0; MAX_M],
            b_zero: [0; MAX_N],
            b_sum: [0; MAX_N],
        };
        let mut a_sums = [0; MAX_M];
        rows::add_row_sums(a, lda, k, case.a_signed, &mut a_sums[..m]);
        for i in 0..m {
            t.a_zero[i] = case.a_zero(i) + a_shift;
            t.a_sum[i] = a_sums[i] as i32 + a_shift * k as i32;
        }
        for (l, j) in columns.enumerate() {
            t.b_zero[l] = case.b_zero(j) + b_shift;
            let sum: i32 = (0..k).map(|k| value(b[k * n + j], case.b_signed)).sum();
            t.b_sum[l] = sum + b_shift * k as i32 - t.b_zero[l] * k as i32;
            t.col[l] = case.bias(j);
        }
        if case.additive() {
            let (a_zero, b_zero) = (t.a_zero[0], t.b_zero[0]);
            t.row.iter_mut().zip(&t.a_sum).for_each(|(row, sum)| *row = sum.wrapping_mul(-b_zero));
            t.col
                .iter_mut()
                .zip(&t.b_sum)
                .for_each(|(col, sum)| *col = col.wrapping_sub(a_zero.wrapping_mul(*sum)));
        }
        t
    }
}

/// C against the definition, and the gaps of C against what they held.
fn compare(case: Case, (a, lda): (&[u8], usize), b: &[u8], (c, ldc): (&[u8], usize)) -> Result<(), Wrong> {
    let Case { m, k, n, .. } = case;
    let size = case.output.size();
    for i in 0..m {
        for j in 0..ldc {
            let at = i * ldc + j;
            let Some(bytes) = c.get(at * size..(at + 1) * size) else { break };
            let got = if size == 1 { bytes[0].into() } else { bytemuck::pod_read_unaligned(bytes) };
            let want = if j >= n {
                case.initial_bits(at)
            } else {
                let (a_zero, b_zero) = (i64::from(case.a_zero(i)), i64::from(case.b_zero(j)));
                let start =
                    i64::from(case.bias(j)) + i64::from(if case.accumulate() { case.initial(at) } else { 0 });
                let sum = (0..k).fold(start, |sum, k| {
                    let a = i64::from(value(a[i * lda + k], case.a_signed)) - a_zero;
                    let b = i64::from(value(b[k * n + j], case.b_signed)) - b_zero;
                    sum + a * b
                });
                case.finish(sum as i32, i, j)
            };
            if got != want {
                return Err(Wrong { i, j, got, want });
            }
        }
    }
    Ok(())
}
