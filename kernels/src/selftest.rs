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
use crate::finish::{Fixed, Output, Real, Rescale, Residual, Scaled};
use crate::pack::{self, Convert, Source};
use crate::stats::ColumnStats;
use crate::{Kernel, MAX_NR, Outer, Product, Ready, Stored, Variant, rows, sweep};
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
    if kernel.takes.tall > 0 {
        for k in 1..=kernel.takes.tall + 1 {
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
        for m in 1..=sweep::MAX_ROWS {
            for n in [1, 2, 63, 64, 65, 100, 128, 256, 257, 320, 383] {
                for k in (0..10).chain([15, 16, 17, 18, 31, 32, 35, 63, 64, 65, 67, 128]) {
                    for signed in [false, true] {
                        seed += 1;
                        let case =
                            Case { m, k, n, a_signed: signed, b_signed: true, seed, output: Kind::Sums };
                        let what = format_args!("{} sweep {case}", kernel.name);
                        outcome.count(check_sweep(kernel, case, arena), what, out);
                    }
                }
            }
        }
    }
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
    output: Kind,
}

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sums,
    Bytes,
    FixedBytes,
    Floats,
}

impl Kind {
    /// Bytes of an element.
    fn size(self) -> usize {
        if matches!(self, Kind::Bytes | Kind::FixedBytes) { 1 } else { 4 }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |signed| if signed { "i8" } else { "u8" };
        let (a, b) = (sign(self.a_signed), sign(self.b_signed));
        write!(f, "{}x{}x{} {a}*{b} {:?} case {}", self.m, self.k, self.n, self.output, self.seed)
    }
}

impl Case {
    /// One of `n` ways to do something, chosen by the case's number independently of the signs (which
    /// it counts through) and of what is chosen with another `salt`.
    fn choose(&self, salt: u32, n: u32) -> u32 {
        let mixed = self.seed.wrapping_mul(0x9e37_79b1) ^ salt.wrapping_mul(0xc2b2_ae35);
        let mixed = (mixed ^ mixed >> 16).wrapping_mul(0x7feb_352d);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x846c_a68b);
        (mixed ^ mixed >> 16) % n
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
        match (self.small(), self.additive()) {
            (true, _) => 3,
            (_, true) => -190,
            _ => -190 - 77_777 * i as i32,
        }
    }

    fn b_zero(&self, j: usize) -> i32 {
        match (self.small(), self.additive()) {
            (true, _) => 0,
            (_, true) => 12_345,
            _ => 300 + 1001 * j as i32,
        }
    }

    /// One zero point for A and one for B: they go through the kernel's terms.
    fn additive(&self) -> bool {
        self.choose(1, 3) > 0
    }

    /// Of outputs that are scaled half have sums so small that many are half-way between two results.
    fn small(&self) -> bool {
        self.output != Kind::Sums && (self.ties() || self.choose(7, 2) == 0)
    }

    /// Whether the case is about ties of fixed point: of the sums there are only terms, and all results are
    /// within range.
    fn ties(&self) -> bool {
        self.k == 0 && self.output == Kind::FixedBytes
    }

    fn accumulate(&self) -> bool {
        self.output == Kind::Sums && self.choose(2, 2) == 0
    }

    fn bias(&self, j: usize) -> i32 {
        if self.small() { j as i32 - 9 } else { 1_000_003 * j as i32 - 5 }
    }

    /// The scale of a column: most such that results spread over 8 bits, some far from that.
    fn scale(&self, j: usize) -> f32 {
        let scale = match (self.small(), (j + self.seed as usize) % 9) {
            (true, j) => [0.5, 0.25, 1.0 / 64.0, 1.0 / 256.0, 0.3, 1.5, 1.0, 0.0, 1.0 / 128.0][j],
            (_, 0) => 1e29,
            (_, 1) => 1e-30,
            (_, j) => (j + 1) as f32 / (1 << 27) as f32,
        };
        // There is a shorter way for scales of at most 1/2.
        if self.choose(16, 2) == 0 { scale.min(0.5) } else { scale }
    }

    /// The scale of a row, in a third of the cases.
    fn row_scale(&self, i: usize) -> Option<f32> {
        (self.choose(8, 3) == 0).then(|| [0.5, 1.0, 2.0, 0.75, 1.1][i % 5])
    }

    /// Terms in f64, in half of the cases: of a column, and of a row. Some nearly cancel, some rows have none.
    fn real(&self, i: usize, j: usize) -> Option<(i64, i64)> {
        let (i, j) = (i as i64, j as i64);
        match self.choose(14, 6) {
            0 => Some(((1 << 50) + 7 * j, 20 - (1 << 50) - 1001 * i)),
            1 => Some((((j - 3) << 44) + j, (1 << 33) - (i << 46) + i)),
            2 => Some(((j - 3) << 40, 0)),
            _ => None,
        }
    }

    /// Whether tall products may make the output.
    fn is_plain(&self) -> bool {
        let more = self.row_scale(0).is_some() || self.real(0, 0).is_some() || self.residual(0, 0).is_some();
        match self.output {
            Kind::Sums => !self.accumulate(),
            Kind::Bytes => !more,
            _ => false,
        }
    }

    /// The bits of an element of the residual, in a third of the cases.
    fn residual(&self, i: usize, j: usize) -> Option<u8> {
        (self.choose(15, 3) == 0).then(|| (i * 97 + j * 31 + self.seed as usize) as u8)
    }

    /// Its zero point and scale, and whether it is signed.
    fn residual_stage(&self) -> (i32, f32, bool) {
        let choice = self.choose(12, 32) as usize;
        let scale = [0.5, 0.3, 1e-3, 1.0][choice % 4];
        ([0, 3, -128, 1 << 21][choice / 4 % 4], scale, choice >= 16)
    }

    /// Fixed-point values of a column, in the order of the fields: one of four roundings in all columns,
    /// multipliers that make ties common where sums are small.
    fn fixed(&self, j: usize) -> [i32; 5] {
        let j = j + self.seed as usize;
        let m = [1 << 30, 3 << 29, i32::MAX, 1 << 30, 0x5555_5555, 1 << 30, 0][j % 7];
        let right = if self.small() { [1, 0, 2, 3, 1][j % 5] } else { 20 + j as i32 % 12 };
        let (before, one) = ((right - 1).max(0), right.min(1));
        match self.rounding() {
            0 => [m, 1 << 30, one, before, one],
            1 => [m, 1 << 30, 0, before, one],
            _ => [m, if right == 0 { 1 << 30 } else { 0 }, 0, before, one],
        }
    }

    /// 0 and 1 round twice, 3 away from zero.
    fn rounding(&self) -> u32 {
        if self.ties() { self.seed % 4 } else { self.choose(13, 4) }
    }

    fn out_zero(&self) -> i32 {
        if self.ties() {
            return 1;
        }
        [0, 1, -128, 127, 300, -crate::finish::MAX_ZERO_POINT, 55][self.choose(9, 7) as usize]
    }

    /// The least and the greatest 8-bit result.
    fn byte_range(&self) -> (i32, i32) {
        if self.ties() {
            return (-128, 127);
        }
        [(-128, 127), (0, 255), (3, 200), (-100, -3), (0, 127)][self.choose(10, 5) as usize]
    }

    fn float_range(&self) -> (f32, f32) {
        [(f32::NEG_INFINITY, f32::INFINITY), (0.0, 6.0), (-1e3, 1e5)][self.choose(11, 3) as usize]
    }

    fn float_bias(&self, j: usize) -> f32 {
        [-0.0, 1.25, -1e4, 1e-3, 0.0][(j + self.seed as usize) % 5]
    }

    /// What C holds at first.
    fn initial(&self, at: usize) -> i32 {
        let off = at as i32 % 1000;
        if at.is_multiple_of(2) { i32::MAX - off } else { i32::MIN + off }
    }

    fn initial_bits(&self, at: usize) -> u32 {
        if self.output.size() == 1 { at as u8 as u32 } else { self.initial(at) as u32 }
    }

    fn fill_output(&self, c: &mut [u8]) {
        for (at, element) in c.chunks_exact_mut(self.output.size()).enumerate() {
            let bits = self.initial_bits(at);
            let bytes = if element.len() == 1 { [bits as u8; 4] } else { bits.to_ne_bytes() };
            element.copy_from_slice(&bytes[..element.len()]);
        }
    }

    /// The bits of an element of the output, from its sum.
    fn finish(&self, sum: i32, i: usize, j: usize) -> u32 {
        let scale = self.row_scale(i).map_or(self.scale(j), |row| row * self.scale(j));
        let exact = self.real(i, j).map_or(0, |(col, row)| col + row) + i64::from(sum);
        match self.output {
            Kind::Sums => sum as u32,
            Kind::Bytes => {
                let (lo, hi) = self.byte_range();
                let (zero, residual_scale, signed) = self.residual_stage();
                let added =
                    self.residual(i, j).map(|bits| (value(bits, signed) - zero) as f32 * residual_scale);
                let rounded = round_half_even(exact as f32 * scale + added.unwrap_or(-0.0));
                rounded.saturating_add(self.out_zero().into()).clamp(lo.into(), hi.into()) as u8 as u32
            }
            Kind::FixedBytes => {
                let (lo, hi) = self.byte_range();
                let [m, nudge, negative, before, one] = self.fixed(j).map(i64::from);
                let product = i64::from(sum) * m;
                let product = product - i64::from(self.rounding() == 3 && product < 0);
                let high = (product + nudge) >> 31;
                let low = if high < 0 { high - negative } else { high };
                let y = ((low >> before) + one) >> one;
                (y + i64::from(self.out_zero())).clamp(lo.into(), hi.into()) as u8 as u32
            }
            Kind::Floats => {
                let (lo, hi) = self.float_range();
                let x = exact as f32 * scale + self.float_bias(j);
                (if x < lo {
                    lo
                } else if x > hi {
                    hi
                } else {
                    x
                })
                .to_bits()
            }
        }
    }
}

/// Of what i64 cannot hold, its nearest value.
fn round_half_even(x: f32) -> i64 {
    let whole = x as i64;
    // From 2^23 on there is no fraction.
    let rest = if (-8_388_608.0..8_388_608.0).contains(&x) { x - whole as f32 } else { 0.0 };
    let odd = whole % 2 != 0;
    if rest > 0.5 || rest == 0.5 && odd {
        whole + 1
    } else if rest < -0.5 || rest == -0.5 && odd {
        whole - 1
    } else {
        whole
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
    if kernel.steps > 0 {
        case.fill_provable(&kernel, b);
    }
    pack_b(kernel, variant, case, b, panels);
    for (i, out) in strip.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let row = &a[i * lda..][..k];
        match variant.a {
            Stored::I16 => rows::widen(row, convert, cast_slice_mut(out)),
            Stored::U8 | Stored::I8 => rows::flip(row, out),
        }
    }
    case.fill_output(c);

    let (source, stride): (&[u8], usize) = if strip_len == 0 { (a, lda) } else { (strip, row_bytes) };
    // Half of the cases take K in two blocks, where there are two k-groups (or runs of them).
    let run = kernel.kr * kernel.steps.max(1);
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
            Outer { row: &terms.a_zero[..m], col: &terms.b_sum },
            Outer { row: &terms.a_sum[..m], col: &terms.b_zero },
        ];
        for (from, to) in [(0, cut), (cut, k)] {
            if from == to && k > 0 {
                continue;
            }
            let first = from == 0;
            let product = Product {
                k: to - from,
                a: source.get(from * variant.a.size()..).unwrap_or(&[]),
                lda: stride,
                panels: &panels[from * panel_row..],
                col: if first { &terms.col } else { &[0; MAX_N] },
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

/// A sweep, compared element by element: products, and sums of B if those are wanted.
fn check_sweep(kernel: Ready, case: Case, arena: &mut [u8]) -> Result<(), Wrong> {
    let Case { m, k, n, a_signed, .. } = case;
    let b_by_columns = case.choose(6, 2) == 0;
    let (lines, len) = if b_by_columns { (n, k) } else { (k, n) };
    let (lda, ldb, ldc) = (k + GAP, len + GAP, (n.div_ceil(sweep::LINE) + 1) * sweep::LINE);
    let lens = [(m - 1) * lda + k, (lines.max(1) - 1) * ldb + len, 4 * m * ldc, 4 * ldc];
    let [a, b, products, of_b] = carve(arena, lens, case.choose(4, 2) as usize);
    case.fill(a, b);
    products.fill(0x55);
    of_b.fill(0x55);
    let (products, of_b) = (cast_slice_mut::<u8, i32>(products), cast_slice_mut::<u8, i32>(of_b));
    let wanted = case.choose(5, 2) == 0;
    let (a, b) = (sweep::Rows { bits: a, stride: lda }, sweep::Rows { bits: b, stride: ldb });
    let factors = sweep::Factors { a, a_signed, k, b, b_by_columns, cols: n };
    let sums = sweep::Sums { products: &mut *products, stride: ldc, of_b: wanted.then_some(&mut of_b[..]) };
    kernel.sweep(m, &factors, sums);
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
        let want = if wanted { (0..k).map(|k| b(k, j)).sum::<i32>() } else { 0x5555_5555 };
        if of_b[j] != want {
            return Err(Wrong { i: m, j, got: of_b[j] as u32, want: want as u32 });
        }
    }
    // Room that no column has any use for.
    let beyond =
        products.chunks_exact(ldc).map(|row| &row[ldc - sweep::LINE..]).chain([&of_b[ldc - sweep::LINE..]]);
    for (i, row) in beyond.enumerate() {
        if let Some(j) = row.iter().position(|sum| *sum != 0x5555_5555) {
            return Err(Wrong { i, j: ldc - sweep::LINE + j, got: row[j] as u32, want: 0x5555_5555 });
        }
    }
    Ok(())
}

/// Runs the kernel with the case's output stage, into the columns from `left` on.
fn run_into(
    kernel: Ready,
    variant: &Variant,
    product: &Product<'_>,
    case: Case,
    c: &mut [u8],
    (m, n, ldc, left, cols): (usize, usize, usize, usize, usize),
    accumulate: bool,
) {
    let scale: [f32; MAX_N] = core::array::from_fn(|j| if j < cols { case.scale(left + j) } else { 0.0 });
    let bias: [f32; MAX_N] = core::array::from_fn(|j| case.float_bias(left + j));
    let rows: [f32; MAX_M] = core::array::from_fn(|i| case.row_scale(i).unwrap_or(1.0));
    let row_scale = case.row_scale(0).map(|_| &rows[..m]);
    let term = |i, j| case.real(i, left + j).unwrap_or_default();
    let real_col: [f64; MAX_N] = core::array::from_fn(|j| term(0, j).0 as f64);
    let real_row: [f64; MAX_M] = core::array::from_fn(|i| term(i, 0).1 as f64);
    let row = (real_row[0] != 0.0).then_some(&real_row[..m]);
    let real = case.real(0, 0).map(|_| Real { col: &real_col, row });
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
            let residual = Residual { bits, stride, signed, zero_point: zero, scale: scaled };
            let residual = case.residual(0, 0).map(|_| residual);
            let greatest = |scales: &[f32]| scales.iter().fold(0f32, |max, scale| max.max(*scale));
            let at_most_half = greatest(&scale) * row_scale.map_or(1.0, greatest) <= 0.5;
            let stage = Rescale { real, residual, scale: &scale, row_scale, at_most_half, zero_point, range };
            kernel.run(variant, product, Output::Bytes { c, stage });
        }
        Kind::FixedBytes => {
            let mut block = BlockMut::new(c, m, n, ldc, 1).expect(fits);
            let c = &mut block.part(0, left, m, cols);
            let values =
                |field: usize| -> [i32; MAX_N] { core::array::from_fn(|j| case.fixed(left + j)[field]) };
            let [m, nudge, negative, before, one] = &[0, 1, 2, 3, 4].map(values);
            let (away, zero_point, range) = (case.rounding() == 3, case.out_zero(), case.byte_range());
            let stage = Fixed { m, nudge, negative, before, one, away, zero_point, range };
            kernel.run(variant, product, Output::FixedBytes { c, stage });
        }
        Kind::Floats => {
            let mut block = BlockMut::new(cast_slice_mut::<u8, f32>(c), m, n, ldc, 1).expect(fits);
            let c = &mut block.part(0, left, m, cols);
            let stage = Scaled { real, scale: &scale, row_scale, bias: &bias, range: case.float_range() };
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
        pack::pack_panel(kernel, variant.b, case.b_signed, (k, cols), source, panel, &mut stats);
        for row in 0..k.next_multiple_of(kernel.kr) {
            for j in 0..kernel.nr {
                if row >= k || j >= cols {
                    let size = variant.b.size();
                    panel[pack::index(&kernel, row, j) * size..][..size].fill(0xff);
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
        rows::add_sums(a, lda, k, case.a_signed, &mut a_sums[..m]);
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{Args, Isa, Kernel, MicroFn, Out, TABLE, scalar};
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
            assert!(kernel.kr.is_power_of_two() && kernel.nr.is_power_of_two(), "{kernel:?}");
            assert!(kernel.steps <= crate::MAX_STEPS && crate::MAX_STEPS.is_multiple_of(kernel.steps.max(1)));
        }
    }

    /// The specification kernel, called with other arguments than it was given.
    unsafe fn forward(t: &Args<'_>, change: impl Fn(&mut Args<'_>)) {
        let mut t = *t;
        change(&mut t);
        // SAFETY: the tests below only shorten what the caller promised, or read what the test owns.
        unsafe { (scalar::KERNEL.variants[0].micro)(&t) }
    }

    fn outcome_of(micro: MicroFn, fused: bool) -> (Outcome, String) {
        let variants = vec![Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro }].leak();
        let kernel = Kernel {
            name: "test",
            isa: Isa::Scalar,
            mr: 4,
            nr: 8,
            kr: 4,
            steps: 0,
            fused,
            takes: crate::Takes::TILES,
            variants,
        };
        run_on_heap(Ready { kernel: std::boxed::Box::leak(std::boxed::Box::new(kernel)), slow_stores: false })
    }

    /// Each of these differs from the specification in one way that a kernel could get wrong.
    #[test]
    fn wrong_kernels_fail() {
        unsafe fn right(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |_| ()) }
        }
        unsafe fn forgets_c(t: &Args<'_>) {
            let (c, _) = t.sums();
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.out = Out::Sums { c, accumulate: false }) }
        }
        unsafe fn forgets_the_last_k(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.k = t.k.saturating_sub(1)) }
        }
        unsafe fn forgets_the_last_row(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.rows -= 1) }
        }
        unsafe fn forgets_the_last_column(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.cols -= 1) }
        }
        unsafe fn forgets_column_terms(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.col = [0; MAX_N].as_ptr()) }
        }
        unsafe fn forgets_row_terms(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |t| t.row = [0; MAX_M].as_ptr()) }
        }
        unsafe fn counts_the_padding(t: &Args<'_>) {
            // SAFETY: as `forward`.
            unsafe { forward(t, |_| ()) };
            if !t.k.is_multiple_of(4) {
                let (c, _) = t.sums();
                // SAFETY: the panel's last group is padded to 4, and C has an element (0, 0).
                unsafe { *c = (*c).wrapping_add(i32::from(*t.b.add(pack::index(&scalar::KERNEL, t.k, 0)))) };
            }
        }
        unsafe fn saturates(t: &Args<'_>) {
            let (c, accumulate) = t.sums();
            // SAFETY: as `forward`, and C has an element (0, 0).
            unsafe {
                let before = if accumulate { *c } else { 0 };
                let start = before.wrapping_add(*t.col).wrapping_add(*t.row);
                forward(t, |_| ());
                let sum = (*c).wrapping_sub(start);
                *c = start.saturating_add(sum);
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
            let (outcome, report) = outcome_of(micro, false);
            assert_eq!(outcome.failed > 0, !lacks.is_empty(), "a kernel without {lacks}: {report}");
            assert_eq!(outcome.failed as usize, report.lines().count());
            assert!(outcome.passed > 0 || !lacks.is_empty());
        }
    }

    /// A fused kernel on top of the specification kernel, with `OFF` of its steps wrong.
    unsafe fn fused<const OFF: u32>(t: &Args<'_>) {
        let mut sums = [0i32; 4 * 8];
        let c = sums.as_mut_ptr();
        // SAFETY: a tile of the test kernel is at most 4x8.
        unsafe { forward(t, |t| (t.out, t.ldc) = (Out::Sums { c, accumulate: false }, 8)) };
        for (i, j) in (0..t.rows).flat_map(|i| (0..t.cols).map(move |j| (i, j))) {
            let column = if OFF == 17 { j } else { t.left + j };
            let mut sum = sums[8 * i + j];
            let outer = if OFF == 1 { &[] } else { t.outer };
            for outer in outer {
                sum = sum.wrapping_sub(outer.row[t.top + i].wrapping_mul(outer.col[t.left + j]));
            }
            let row = |scale: Option<&[f32]>| match scale {
                Some(_) if OFF == 2 => 1.0,
                Some(scale) => scale[if OFF == 3 { i } else { t.top + i }],
                None => 1.0,
            };
            let real = |real: Option<Real<'_>>| match real {
                Some(real) if OFF != 14 => {
                    let exact =
                        f64::from(sum) + real.col[column] + real.row.map_or(0.0, |row| row[t.top + i]);
                    exact as f32
                }
                _ => sum as f32,
            };
            let at = i * t.ldc + j;
            // SAFETY: (i, j) is an element of the output.
            unsafe {
                match t.out {
                    Out::Sums { c, accumulate } => {
                        *c.add(at) = sum.wrapping_add(if accumulate { *c.add(at) } else { 0 });
                    }
                    Out::Bytes { c, stage } => {
                        let x = real(stage.real) * (row(stage.row_scale) * stage.scale[column]);
                        let x = match stage.residual {
                            Some(r) if OFF != 15 => {
                                let at = if OFF == 16 { i } else { t.top + i } * r.stride + column;
                                x + (value(r.bits[at], r.signed) - r.zero_point) as f32 * r.scale
                            }
                            _ => x,
                        };
                        let up = if x < 0.0 { -0.5 } else { 0.5 };
                        let rounded = if OFF == 4 { (x + up) as i64 } else { round_half_even(x) };
                        let y = rounded.saturating_add(if OFF == 5 { 0 } else { stage.zero_point.into() });
                        let (lo, hi) = if OFF == 6 { (-128, 255) } else { stage.range };
                        *c.add(at) = y.clamp(lo.into(), hi.into()) as u8;
                    }
                    Out::FixedBytes { c, stage } => {
                        let product = i64::from(sum) * i64::from(stage.m[column]);
                        let less = OFF != 10 && stage.away && product < 0;
                        let nudge = if OFF == 11 { 1 << 30 } else { stage.nudge[column].into() };
                        let high = (product - i64::from(less) + nudge) >> 31;
                        let low =
                            high - if OFF != 12 && high < 0 { i64::from(stage.negative[column]) } else { 0 };
                        let right = stage.before[column] + stage.one[column];
                        let y = match OFF {
                            13 => low >> right,
                            _ => {
                                ((low >> stage.before[column]) + i64::from(stage.one[column]))
                                    >> stage.one[column]
                            }
                        };
                        let (lo, hi) = stage.range;
                        *c.add(at) = (y + i64::from(stage.zero_point)).clamp(lo.into(), hi.into()) as u8;
                    }
                    Out::Floats { c, stage } => {
                        let scale = row(stage.row_scale) * stage.scale[column];
                        let bias = if OFF == 7 { -0.0 } else { stage.bias[column] };
                        let x = if OFF == 8 {
                            (f64::from(real(stage.real)) * f64::from(scale) + f64::from(bias)) as f32
                        } else {
                            real(stage.real) * scale + bias
                        };
                        let (lo, hi) = if OFF == 9 { (f32::MIN, f32::MAX) } else { stage.range };
                        *c.add(at) = if x < lo {
                            lo
                        } else if x > hi {
                            hi
                        } else {
                            x
                        };
                    }
                }
            }
        }
    }

    #[test]
    fn wrong_output_stages_fail() {
        let kernels: [(MicroFn, &str); 18] = [
            (fused::<0>, ""),
            (fused::<1>, "outer terms"),
            (fused::<2>, "scales of rows"),
            (fused::<3>, "scales of rows of later tiles"),
            (fused::<4>, "rounding half to even"),
            (fused::<5>, "zero point"),
            (fused::<6>, "range of 8 bits"),
            (fused::<7>, "bias"),
            (fused::<8>, "rounding of each step"),
            (fused::<9>, "range of f32"),
            (fused::<10>, "negative ties away from zero"),
            (fused::<11>, "rounding once"),
            (fused::<12>, "negative ties of a second rounding"),
            (fused::<13>, "rounding of the shift"),
            (fused::<14>, "terms beyond 32 bits"),
            (fused::<15>, "residuals"),
            (fused::<16>, "residuals of later tiles"),
            (fused::<17>, "scales of later panels"),
        ];
        for (micro, lacks) in kernels {
            let (outcome, report) = outcome_of(micro, true);
            assert_eq!(outcome.failed > 0, !lacks.is_empty(), "a kernel without {lacks}: {report}");
        }
    }
}
