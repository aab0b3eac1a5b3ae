//! Every kernel against the definition: the one harness, for cargo's tests and for emulators alike.
//!
//! It needs no allocator, no `std` and no input but an arena, and leaves nothing to the kernel's
//! goodwill:
//! - every height and width of a tile, and shapes of several tiles and K blocks;
//! - all four combinations of signs; elements random, at the extremes, and alternating between them;
//! - every row's and column's zero point distinct and outside 8 bits, folded into the kernel's terms or
//!   taken off afterwards;
//! - accumulators that start near the i32 limits, so that an instruction that saturates shows;
//! - 0xFF in the padding of B, which must not matter, and sentinels around C, which must survive;
//! - A, the panels or C at the very end of the arena: where the memory after it is not mapped, a read
//!   or write past them faults.

use crate::block::BlockMut;
use crate::pack::{self, Convert, Source};
use crate::{Kernel, MAX_NR, Product, Ready, Stored, Variant, rows};
use bytemuck::cast_slice_mut;
use core::fmt::{self, Write};
use core::ops::Range;

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
            let case = Case { m, k, n, a_signed: signs & 1 != 0, b_signed: signs & 2 != 0, seed };
            match check(kernel, case, arena) {
                Ok(()) => outcome.passed += 1,
                Err(wrong) => {
                    outcome.failed += 1;
                    // A report that cannot be written still counts as failed.
                    let _ = writeln!(out, "FAIL {} {case}: {wrong}", kernel.name);
                }
            }
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
    shape(3 * mr + 1, 131, 2 * nr + 3);
    shape(5 * mr, 256, 2 * nr);
    outcome
}

#[derive(Clone, Copy)]
struct Case {
    m: usize,
    k: usize,
    n: usize,
    a_signed: bool,
    b_signed: bool,
    seed: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |signed| if signed { "i8" } else { "u8" };
        let (a, b) = (sign(self.a_signed), sign(self.b_signed));
        write!(f, "{}x{}x{} {a}*{b} case {}", self.m, self.k, self.n, self.seed)
    }
}

impl Case {
    /// One of `n` ways to do something, chosen by the case's number independently of the signs (which
    /// it counts through) and of what is chosen with another `salt`.
    fn choose(&self, salt: u32, n: u32) -> u32 {
        let mixed = (self.seed + salt * 0x1000_0000).wrapping_mul(0x9e37_79b1);
        ((mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca77) >> 16) % n
    }

    /// The operands' values.
    fn fill(&self, a: &mut [u8], b: &mut [u8]) {
        let (a_least, a_greatest) = if self.a_signed { (0x80, 0x7f) } else { (0, 255) };
        let (b_least, b_greatest) = if self.b_signed { (0x80, 0x7f) } else { (0, 255) };
        // The end of A's range that is farther from 0.
        let a_far = if self.a_signed { a_least } else { a_greatest };
        match self.choose(0, 7) {
            0 => {
                a.fill(a_far);
                b.fill(b_least);
            }
            1 => {
                a.fill(a_far);
                b.fill(b_greatest);
            }
            2 => {
                let alternate = |x: &mut [u8], least, greatest| {
                    x.iter_mut()
                        .enumerate()
                        .for_each(|(i, x)| *x = if i % 2 == 0 { least } else { greatest });
                };
                alternate(a, a_least, a_greatest);
                alternate(b, b_greatest, b_least);
            }
            _ => {
                let mut state = 0x9e37_79b9 ^ self.seed;
                let mut next = || {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    (state >> 11) as u8
                };
                a.fill_with(&mut next);
                b.fill_with(&mut next);
            }
        }
    }

    /// B as a kernel with steps needs it, at the bounds: in each lane's sum of 16 bits positive and
    /// negative values come to 128 each, or to as much of that as its elements can.
    fn fill_provable(&self, kernel: &Kernel, b: &mut [u8]) {
        let Case { k, n, .. } = *self;
        let flip = if self.b_signed { 0 } else { 0x80 };
        for j in 0..n {
            for pair in 0..kernel.kr / 2 {
                let (mut positive, mut negative, mut run) = (0, 0, usize::MAX);
                for l in (0..k).filter(|l| l % kernel.kr / 2 == pair) {
                    let now = l / (kernel.kr * kernel.steps);
                    if now != run {
                        (positive, negative, run) = (128, 128, now);
                    }
                    let w = i32::from(b[l * n + j] as i8).clamp(-negative, positive);
                    // Some columns take all there is at once, others what chance gave them.
                    let w = if j % 3 == 0 && l % 2 == 0 { -negative } else { w };
                    let w = if j % 3 == 0 && l % 2 == 1 { positive.min(127) } else { w };
                    positive -= w.max(0);
                    negative -= (-w).max(0);
                    b[l * n + j] = w as u8 ^ flip;
                }
            }
        }
    }

    fn a_zero(&self, i: usize) -> i32 {
        if self.additive() { -190 } else { -190 - 77_777 * i as i32 }
    }

    fn b_zero(&self, j: usize) -> i32 {
        if self.additive() { 12_345 } else { 300 + 1001 * j as i32 }
    }

    /// One zero point for A and one for B: they go through the kernel's terms.
    fn additive(&self) -> bool {
        self.choose(1, 3) > 0
    }

    fn accumulate(&self) -> bool {
        self.choose(2, 2) == 0
    }

    fn bias(&self, j: usize) -> i32 {
        1_000_003 * j as i32 - 5
    }

    /// What C holds at first.
    fn initial(&self, at: usize) -> i32 {
        let off = at as i32 % 1000;
        if at.is_multiple_of(2) { i32::MAX - off } else { i32::MIN + off }
    }
}

/// The value of a byte.
fn value(byte: u8, signed: bool) -> i32 {
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}

/// A wrong element.
struct Wrong {
    i: usize,
    j: usize,
    got: i32,
    want: i32,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element ({}, {}) is {}, must be {}", self.i, self.j, self.got, self.want)
    }
}

/// Elements between the rows of A, and of C: they must stay unread, and untouched.
const GAP: usize = 3;
/// The most rows of a case.
const MAX_M: usize = 64;

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
    let variants = kernel.table_row().variants;
    let variant = &variants[case.choose(3, variants.len() as u32) as usize];
    let convert = Convert::new(case.a_signed, variant.a);
    let panel_bytes = kernel.panel_bytes(k, variant.b).expect("cases are small");
    let (lda, ldc) = (k + GAP, n + GAP);
    let row_bytes = k * variant.a.size();

    let strip_len = if convert == Convert::Copy { 0 } else { m * row_bytes };
    let lens =
        [(m - 1) * lda + k, strip_len, n.div_ceil(kernel.nr) * panel_bytes, 4 * ((m - 1) * ldc + n), k * n];
    let last = match case.choose(4, 3) {
        0 if strip_len == 0 => 0,
        0 => 1,
        1 => 2,
        _ => 3,
    };
    let [a, strip, panels, c, b] = carve(arena, lens, last);
    case.fill(a, b);
    if kernel.steps > 0 {
        case.fill_provable(&kernel, b);
    }
    pack_b(&kernel, variant, case, b, panels);
    for (i, out) in strip.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let row = &a[i * lda..][..k];
        match variant.a {
            Stored::I16 => rows::widen(row, convert, cast_slice_mut(out)),
            Stored::U8 | Stored::I8 => rows::flip(row, out),
        }
    }
    let c: &mut [i32] = cast_slice_mut(c);
    c.iter_mut().enumerate().for_each(|(at, c)| *c = case.initial(at));

    let (source, stride): (&[u8], usize) = if strip_len == 0 { (a, lda) } else { (strip, row_bytes) };
    // Half of the cases take K in two blocks, where there are two k-groups (or runs of them).
    let run = kernel.kr * kernel.steps.max(1);
    let cut = if case.choose(5, 2) == 0 { k / 2 / run * run } else { 0 };
    let panel_row = kernel.nr * variant.b.size();
    for p in 0..n.div_ceil(kernel.nr) {
        let (left, cols) = (p * kernel.nr, kernel.nr.min(n - p * kernel.nr));
        let panel = &panels[p * panel_bytes..][..panel_bytes];
        let terms = Terms::new(case, variant, (a, lda), b, left..left + cols);
        let mut block = BlockMut::new(c, m, n, ldc, 1).expect("C was made for it");
        let mut block = block.part(0, left, m, cols);
        for (from, to) in [(0, cut), (cut, k)] {
            if from == to && k > 0 {
                continue;
            }
            let first = from == 0;
            let product = Product {
                k: to - from,
                a: source.get(from * variant.a.size()..).unwrap_or(&[]),
                lda: stride,
                panel: &panel[from * panel_row..],
                col: if first { &terms.col } else { &[0; MAX_NR] },
                row: if first { &terms.row } else { &[0; MAX_M] },
                accumulate: case.accumulate() || !first,
            };
            kernel.run(variant, &product, &mut block);
            if k == 0 {
                break;
            }
        }
        terms.correct(&mut block);
    }
    compare(case, (a, lda), b, (c, ldc))
}

/// Packs B, and fills all padding with 0xFF.
fn pack_b(kernel: &Kernel, variant: &Variant, case: Case, b: &[u8], panels: &mut [u8]) {
    let Case { k, n, .. } = case;
    let panel_bytes = kernel.panel_bytes(k, variant.b).expect("cases are small");
    for (p, panel) in panels.chunks_exact_mut(panel_bytes.max(1)).enumerate() {
        let (left, cols) = (p * kernel.nr, kernel.nr.min(n - p * kernel.nr));
        let source = Source { bits: b.get(left..).unwrap_or(&[]), row_stride: n, col_stride: 1 };
        let convert = Convert::new(case.b_signed, variant.b);
        pack::pack_panel(kernel, variant.b, convert, (k, cols), source, panel);
        for row in 0..k.next_multiple_of(kernel.kr) {
            for j in 0..kernel.nr {
                if row >= k || j >= cols {
                    let size = variant.b.size();
                    panel[pack::index(kernel, row, j) * size..][..size].fill(0xff);
                }
            }
        }
    }
}

/// What a driver adds to the sums of stored products: see `Case::additive`.
struct Terms {
    /// Given to the kernel.
    col: [i32; MAX_NR],
    row: [i32; MAX_M],
    /// Taken off afterwards: `a_zero[i]·b_sum[j] + a_sum[i]·b_zero[j]`.
    a_zero: [i32; MAX_M],
    a_sum: [i32; MAX_M],
    b_zero: [i32; MAX_NR],
    b_sum: [i32; MAX_NR],
}

impl Terms {
    /// acc = Σ (a - za')(b - zb') with stored values a, b and zero points shifted as they are.
    fn new(case: Case, variant: &Variant, (a, lda): (&[u8], usize), b: &[u8], columns: Range<usize>) -> Self {
        let Case { m, k, n, .. } = case;
        let shift = |signed, stored| Convert::new(signed, stored).shift(signed);
        let (a_shift, b_shift) = (shift(case.a_signed, variant.a), shift(case.b_signed, variant.b));
        let mut t = Self {
            col: [0; MAX_NR],
            row: [0; MAX_M],
            a_zero: [0; MAX_M],
            a_sum: [0; MAX_M],
            b_zero: [0; MAX_NR],
            b_sum: [0; MAX_NR],
        };
        for i in 0..m {
            t.a_zero[i] = case.a_zero(i) + a_shift;
            t.a_sum[i] = rows::sum(&a[i * lda..][..k], case.a_signed) as i32 + a_shift * k as i32;
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
            (t.a_zero, t.a_sum) = ([0; MAX_M], [0; MAX_M]);
        }
        t
    }

    fn correct(&self, c: &mut BlockMut<'_, i32>) {
        for i in 0..c.rows() {
            let row = c.row_mut(i).expect("C is row-major");
            for (j, c) in row.iter_mut().enumerate() {
                let a_part = self.a_zero[i].wrapping_mul(self.b_sum[j]);
                *c = c.wrapping_sub(a_part).wrapping_sub(self.a_sum[i].wrapping_mul(self.b_zero[j]));
            }
        }
    }
}

/// C against the definition, and the gaps of C against what they held.
fn compare(case: Case, (a, lda): (&[u8], usize), b: &[u8], (c, ldc): (&[i32], usize)) -> Result<(), Wrong> {
    let Case { m, k, n, .. } = case;
    for i in 0..m {
        for j in 0..ldc {
            let at = i * ldc + j;
            let Some(&got) = c.get(at) else { break };
            let want = if j >= n {
                case.initial(at)
            } else {
                let (a_zero, b_zero) = (i64::from(case.a_zero(i)), i64::from(case.b_zero(j)));
                let start =
                    i64::from(case.bias(j)) + i64::from(if case.accumulate() { case.initial(at) } else { 0 });
                (0..k).fold(start, |sum, k| {
                    let a = i64::from(value(a[i * lda + k], case.a_signed)) - a_zero;
                    let b = i64::from(value(b[k * n + j], case.b_signed)) - b_zero;
                    sum + a * b
                }) as i32
            };
            if got != want {
                return Err(Wrong { i, j, got, want });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{Args, Isa, Kernel, MicroFn, TABLE, scalar};
    use std::{string::String, vec};

    fn run_on_heap(kernel: Ready) -> (Outcome, String) {
        let mut lines = vec![pack::Line([0; 64]); ARENA / 64];
        let mut report = String::new();
        (run(kernel, cast_slice_mut(&mut lines), &mut report), report)
    }

    #[test]
    fn the_tables_limits_hold() {
        for kernel in TABLE {
            assert!(
                kernel.nr <= MAX_NR && kernel.mr <= crate::MAX_MR && 5 * kernel.mr <= MAX_M,
                "{kernel:?}"
            );
            let mut name = std::format!("{}-{}x{}c{}", kernel.isa, kernel.mr, kernel.nr, kernel.kr);
            if kernel.steps > 0 {
                name += &std::format!("s{}", kernel.steps);
            }
            assert_eq!(kernel.name, name);
            assert!(kernel.steps <= crate::MAX_STEPS && crate::MAX_STEPS.is_multiple_of(kernel.steps.max(1)));
        }
    }

    /// The specification kernel, called with other arguments than it was given.
    unsafe fn forward(t: &Args, change: impl Fn(&mut Args)) {
        let mut t = Args { ..*t };
        change(&mut t);
        // SAFETY: the tests below only shorten what the caller promised, or read what the test owns.
        unsafe { (scalar::KERNEL.variants[0].micro)(&t) }
    }

    /// Each of these differs from the specification in one way that a kernel could get wrong.
    #[test]
    fn wrong_kernels_fail() {
        unsafe fn right(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |_| ()) }
        }
        unsafe fn forgets_c(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.accumulate = false) }
        }
        unsafe fn forgets_the_last_k(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.k = t.k.saturating_sub(1)) }
        }
        unsafe fn forgets_the_last_row(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.rows -= 1) }
        }
        unsafe fn forgets_the_last_column(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.cols -= 1) }
        }
        unsafe fn forgets_column_terms(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.col = [0; MAX_NR].as_ptr()) }
        }
        unsafe fn forgets_row_terms(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.row = [0; MAX_M].as_ptr()) }
        }
        unsafe fn counts_the_padding(t: &Args) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |_| ()) };
            if !t.k.is_multiple_of(4) {
                // SAFETY: the panel's last group is padded to 4, and C has an element (0, 0).
                unsafe {
                    *t.c = (*t.c).wrapping_add(i32::from(*t.b.add(pack::index(&scalar::KERNEL, t.k, 0))))
                };
            }
        }
        unsafe fn saturates(t: &Args) {
            // SAFETY: as `forward`, and C has an element (0, 0).
            unsafe {
                let before = if t.accumulate { *t.c } else { 0 };
                let start = before.wrapping_add(*t.col).wrapping_add(*t.row);
                forward(t, |_| ());
                let sum = (*t.c).wrapping_sub(start);
                *t.c = start.saturating_add(sum);
            }
        }
        let kernels: [(MicroFn, &str); 9] = [
            (right, ""),
            (forgets_c, "accumulating"),
            (forgets_the_last_k, "k"),
            (forgets_the_last_row, "rows"),
            (forgets_the_last_column, "columns"),
            (forgets_column_terms, "column terms"),
            (forgets_row_terms, "row terms"),
            (counts_the_padding, "padding"),
            (saturates, "wrapping"),
        ];
        for (micro, lacks) in kernels {
            let variants = vec![Variant { a: Stored::U8, b: Stored::I8, micro }].leak();
            let kernel = Kernel { name: "test", isa: Isa::Scalar, mr: 4, nr: 8, kr: 4, steps: 0, variants };
            let (outcome, report) = run_on_heap(Ready(std::boxed::Box::leak(std::boxed::Box::new(kernel))));
            assert_eq!(outcome.failed > 0, !lacks.is_empty(), "a kernel without {lacks}: {report}");
            assert_eq!(outcome.failed as usize, report.lines().count());
            assert!(outcome.passed > 0 || !lacks.is_empty());
        }
    }
}
