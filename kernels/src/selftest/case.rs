//! A case: its shape, and everything else that is chosen by its number.

use crate::contract::kernel::Kernel;
use crate::contract::stage::MAX_ZERO_POINT;
use core::fmt;

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

/// What is stored.
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
    /// One of `n` ways to do something, chosen by the case's number independently of the signs (which
    /// it counts through) and of what is chosen with another `salt`.
    pub(super) fn choose(&self, salt: u32, n: u32) -> u32 {
        let mixed = self.seed.wrapping_mul(0x9e37_79b1) ^ salt.wrapping_mul(0xc2b2_ae35);
        let mixed = (mixed ^ mixed >> 16).wrapping_mul(0x7feb_352d);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x846c_a68b);
        (mixed ^ mixed >> 16) % n
    }

    /// The operands' values.
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

    /// B as a kernel with steps needs it, at the bounds: in each lane's sum of 16 bits positive and
    /// negative values come to 128 each, or to as much of that as its elements can.
    pub(super) fn fill_provable(&self, kernel: &Kernel, b: &mut [u8]) {
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

    pub(super) fn a_zero(&self, i: usize) -> i32 {
        match (self.small(), self.additive()) {
            (true, _) => 3,
            (_, true) => -190,
            _ => -190 - 77_777 * i as i32,
        }
    }

    pub(super) fn b_zero(&self, j: usize) -> i32 {
        match (self.small(), self.additive()) {
            (true, _) => 0,
            (_, true) => 12_345,
            _ => 300 + 1001 * j as i32,
        }
    }

    /// One zero point for A and one for B: they go through the kernel's terms.
    pub(super) fn additive(&self) -> bool {
        self.choose(1, 3) > 0
    }

    /// Of outputs that are scaled half have sums so small that many are half-way between two results.
    pub(super) fn small(&self) -> bool {
        self.output != Kind::Sums && (self.ties() || self.choose(7, 2) == 0)
    }

    /// Whether the case is about ties of fixed point: of the sums there are only terms, and all results are
    /// within range.
    pub(super) fn ties(&self) -> bool {
        self.k == 0 && self.output == Kind::FixedBytes
    }

    pub(super) fn accumulate(&self) -> bool {
        self.output == Kind::Sums && self.choose(2, 2) == 0
    }

    pub(super) fn bias(&self, j: usize) -> i32 {
        if self.small() { j as i32 - 9 } else { 1_000_003 * j as i32 - 5 }
    }

    /// The scale of a column: most such that results spread over 8 bits, some far from that.
    pub(super) fn scale(&self, j: usize) -> f32 {
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
    pub(super) fn row_scale(&self, i: usize) -> Option<f32> {
        (self.choose(8, 3) == 0).then(|| [0.5, 1.0, 2.0, 0.75, 1.1][i % 5])
    }

    /// Terms in f64, in half of the cases: of a column, and of a row. Some nearly cancel, some rows have none.
    pub(super) fn real(&self, i: usize, j: usize) -> Option<(i64, i64)> {
        let (i, j) = (i as i64, j as i64);
        match self.choose(14, 6) {
            0 => Some(((1 << 50) + 7 * j, 20 - (1 << 50) - 1001 * i)),
            1 => Some((((j - 3) << 44) + j, (1 << 33) - (i << 46) + i)),
            2 => Some(((j - 3) << 40, 0)),
            _ => None,
        }
    }

    /// Whether tall products may make the output.
    pub(super) fn is_plain(&self) -> bool {
        let more = self.row_scale(0).is_some() || self.real(0, 0).is_some() || self.residual(0, 0).is_some();
        match self.output {
            Kind::Sums => !self.accumulate(),
            Kind::Bytes => !more,
            _ => false,
        }
    }

    /// The bits of an element of the residual, in a third of the cases.
    pub(super) fn residual(&self, i: usize, j: usize) -> Option<u8> {
        (self.choose(15, 3) == 0).then(|| (i * 97 + j * 31 + self.seed as usize) as u8)
    }

    /// Its zero point and scale, and whether it is signed.
    pub(super) fn residual_stage(&self) -> (i32, f32, bool) {
        let choice = self.choose(12, 32) as usize;
        let scale = [0.5, 0.3, 1e-3, 1.0][choice % 4];
        ([0, 3, -128, 1 << 21][choice / 4 % 4], scale, choice >= 16)
    }

    /// TileFixedPoint-point values of a column, in the order of the fields: one of four roundings in all columns,
    /// multipliers that make ties common where sums are small.
    pub(super) fn fixed(&self, j: usize) -> [i32; 5] {
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
    pub(super) fn rounding(&self) -> u32 {
        if self.ties() { self.seed % 4 } else { self.choose(13, 4) }
    }

    pub(super) fn out_zero(&self) -> i32 {
        if self.ties() {
            return 1;
        }
        [0, 1, -128, 127, 300, -MAX_ZERO_POINT, 55][self.choose(9, 7) as usize]
    }

    /// The least and the greatest 8-bit result.
    pub(super) fn byte_range(&self) -> (i32, i32) {
        if self.ties() {
            return (-128, 127);
        }
        [(-128, 127), (0, 255), (3, 200), (-100, -3), (0, 127)][self.choose(10, 5) as usize]
    }

    pub(super) fn float_range(&self) -> (f32, f32) {
        [(f32::NEG_INFINITY, f32::INFINITY), (0.0, 6.0), (-1e3, 1e5)][self.choose(11, 3) as usize]
    }

    pub(super) fn float_bias(&self, j: usize) -> Option<f32> {
        (self.choose(17, 3) > 0).then_some([-0.0, 1.25, -1e4, 1e-3, 0.0][(j + self.seed as usize) % 5])
    }

    /// What C holds at first.
    pub(super) fn initial(&self, at: usize) -> i32 {
        let off = at as i32 % 1000;
        if at.is_multiple_of(2) { i32::MAX - off } else { i32::MIN + off }
    }

    pub(super) fn initial_bits(&self, at: usize) -> u32 {
        if self.output.size() == 1 { at as u8 as u32 } else { self.initial(at) as u32 }
    }

    pub(super) fn fill_output(&self, c: &mut [u8]) {
        for (at, element) in c.chunks_exact_mut(self.output.size()).enumerate() {
            let bits = self.initial_bits(at);
            let bytes = if element.len() == 1 { [bits as u8; 4] } else { bits.to_ne_bytes() };
            element.copy_from_slice(&bytes[..element.len()]);
        }
    }

    /// The bits of an element of the output, from its sum.
    pub(super) fn finish(&self, sum: i32, i: usize, j: usize) -> u32 {
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
                let x = exact as f32 * scale + self.float_bias(j).unwrap_or(-0.0);
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
pub(super) fn round_half_even(x: f32) -> i64 {
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
pub(super) fn value(byte: u8, signed: bool) -> i32 {
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}
