//! A case: its shape, and the operands and zero points that follow from its number.

use crate::contract::kernel::Kernel;
use crate::selftest::arena::GAP;
use core::fmt;

/// An `m` x `k` x `n` product. All that the fields leave open is chosen by `seed`.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) a_signed: bool,
    pub(super) b_signed: bool,
    pub(super) seed: u32,
    pub(super) output: Kind,
}

/// The kind of output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Sums,
    Bytes,
    FixedBytes,
    Floats,
}

impl Kind {
    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
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
    /// A number below `n`, which follows from the case's number. It is independent of the signs, which that number
    /// counts through, and of numbers chosen with another `salt`.
    pub(super) fn choose(&self, salt: u32, n: u32) -> u32 {
        let mixed = self.seed.wrapping_mul(0x9e37_79b1) ^ salt.wrapping_mul(0xc2b2_ae35);
        let mixed = (mixed ^ mixed >> 16).wrapping_mul(0x7feb_352d);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x846c_a68b);
        (mixed ^ mixed >> 16) % n
    }

    /// Bytes from one row of A to the next.
    pub(super) fn lda(&self) -> usize {
        self.k + GAP * self.choose(19, 2) as usize
    }

    /// Elements from one row of C to the next.
    pub(super) fn ldc(&self) -> usize {
        self.n + GAP
    }

    /// Fills A and B with random values, or with their extremes.
    pub(super) fn fill(&self, a: &mut [u8], b: &mut [u8]) {
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

    /// Changes B so that a kernel which sums in 16 bits is exact, but only just: in each 16-bit sum the positive and
    /// the negative values come to 128 each, or to as much of that as the elements can.
    pub(super) fn make_provable(&self, kernel: &Kernel, b: &mut [u8]) {
        let Case { k, n, .. } = *self;
        let flip = if self.b_signed { 0 } else { 0x80 };
        for j in 0..n {
            for pair in 0..kernel.kr / 2 {
                let (mut positive, mut negative, mut run) = (0, 0, usize::MAX);
                for l in (0..k).filter(|l| l % kernel.kr / 2 == pair) {
                    let now = l / (kernel.kr * kernel.i16_groups);
                    if now != run {
                        (positive, negative, run) = (128, 128, now);
                    }
                    let w = i32::from(b[l * n + j] as i8).clamp(-negative, positive);
                    // A third of the columns reach the limits at once, the others as their values come.
                    let w = if j % 3 == 0 && l % 2 == 0 { -negative } else { w };
                    let w = if j % 3 == 0 && l % 2 == 1 { positive.min(127) } else { w };
                    positive -= w.max(0);
                    negative -= (-w).max(0);
                    b[l * n + j] = w as u8 ^ flip;
                }
            }
        }
    }

    /// The zero point of row `i` of A.
    pub(super) fn a_zero(&self, i: usize) -> i32 {
        if self.has_small_sums() {
            3
        } else if self.has_one_zero_each() {
            -190
        } else {
            -190 - 77_777 * i as i32
        }
    }

    /// The zero point of column `j` of B.
    pub(super) fn b_zero(&self, j: usize) -> i32 {
        if self.has_small_sums() {
            0
        } else if self.has_one_zero_each() {
            12_345
        } else {
            300 + 1001 * j as i32
        }
    }

    /// Whether A and B have one zero point each, which become terms of rows and columns; else they are outer products.
    pub(super) fn has_one_zero_each(&self) -> bool {
        self.choose(1, 3) > 0
    }

    /// Whether sums are so small that many are half-way between two results: in half of the cases of scaled outputs.
    pub(super) fn has_small_sums(&self) -> bool {
        self.output != Kind::Sums && (self.is_about_ties() || self.choose(7, 2) == 0)
    }

    /// Whether the case is about ties of fixed point: sums consist of terms only, and all results are within range.
    pub(super) fn is_about_ties(&self) -> bool {
        self.k == 0 && self.output == Kind::FixedBytes
    }

    /// Whether sums are added to C, rather than stored.
    pub(super) fn accumulate(&self) -> bool {
        self.output == Kind::Sums && self.choose(2, 2) == 0
    }

    /// The i32 bias of column `j`.
    pub(super) fn bias(&self, j: usize) -> i32 {
        if self.has_small_sums() { j as i32 - 9 } else { 1_000_003 * j as i32 - 5 }
    }

    /// Whether kernels with a stationary panel make this output.
    pub(super) fn suits_b_stationary(&self) -> bool {
        let more =
            self.row_scale(0).is_some() || self.f64_terms(0, 0).is_some() || self.residual(0, 0).is_some();
        match self.output {
            Kind::Sums => !self.accumulate(),
            Kind::Bytes => !more,
            Kind::FixedBytes | Kind::Floats => false,
        }
    }

    /// The sum that C has at index `at` before the product, near a limit of i32.
    pub(super) fn initial(&self, at: usize) -> i32 {
        let off = at as i32 % 1000;
        if at.is_multiple_of(2) { i32::MAX - off } else { i32::MIN + off }
    }

    /// The bits that C has at index `at` before the product.
    pub(super) fn initial_bits(&self, at: usize) -> u32 {
        match self.output {
            Kind::Sums => self.initial(at) as u32,
            Kind::Bytes | Kind::FixedBytes => at as u8 as u32,
            Kind::Floats => ((at % 1000) as f32 * 1.3 - 400.0).to_bits(),
        }
    }

    /// Fills C, gaps included.
    pub(super) fn fill_output(&self, c: &mut [u8]) {
        for (at, element) in c.chunks_exact_mut(self.output.size()).enumerate() {
            let bits = self.initial_bits(at);
            let bytes = if element.len() == 1 { [bits as u8; 4] } else { bits.to_ne_bytes() };
            element.copy_from_slice(&bytes[..element.len()]);
        }
    }
}

/// The value of a byte.
pub(super) fn value(byte: u8, signed: bool) -> i32 {
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}
