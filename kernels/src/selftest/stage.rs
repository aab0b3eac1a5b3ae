//! The output stage of a case: scales, ranges and the like, which follow from its number, and the element that must
//! come out.

use crate::contract::stage::MAX_ZERO_POINT;
use crate::selftest::case::{Case, Kind, value};

impl Case {
    /// The scale of column `j`. With most scales results spread over 8 bits, with some they are far outside.
    pub(super) fn scale(&self, j: usize) -> f32 {
        let scale = match (self.has_small_sums(), (j + self.seed as usize) % 9) {
            (true, j) => [0.5, 0.25, 1.0 / 64.0, 1.0 / 256.0, 0.3, 1.5, 1.0, 0.0, 1.0 / 128.0][j],
            (_, 0) => 1e29,
            (_, 1) => 1e-30,
            (_, j) => (j + 1) as f32 / (1 << 27) as f32,
        };
        // Kernels have shorter code for scales of at most 1/2.
        if self.choose(16, 2) == 0 { scale.min(0.5) } else { scale }
    }

    /// The scale of row `i`, in a third of the cases.
    pub(super) fn row_scale(&self, i: usize) -> Option<f32> {
        (self.choose(8, 3) == 0).then(|| [0.5, 1.0, 2.0, 0.75, 1.1][i % 5])
    }

    /// The f64 terms of column `j` and of row `i`, in half of the cases. Some nearly cancel; in some cases rows have
    /// none.
    pub(super) fn f64_terms(&self, i: usize, j: usize) -> Option<(i64, i64)> {
        let (i, j) = (i as i64, j as i64);
        match self.choose(14, 6) {
            0 => Some(((1 << 50) + 7 * j, 20 - (1 << 50) - 1001 * i)),
            1 => Some((((j - 3) << 44) + j, (1 << 33) - (i << 46) + i)),
            2 => Some(((j - 3) << 40, 0)),
            _ => None,
        }
    }

    /// Whether the residual is the output itself.
    pub(super) fn residual_is_output(&self) -> bool {
        self.choose(15, 5) == 1
    }

    /// The bits of element (i, j) of the residual, in two fifths of the cases: those of the output if it is that.
    pub(super) fn residual(&self, i: usize, j: usize) -> Option<u32> {
        match self.choose(15, 5) {
            0 if self.output == Kind::Floats => Some(((i * 97 + j * 31) as f32 * 0.7 - 1e3).to_bits()),
            0 => Some((i * 97 + j * 31 + self.seed as usize) as u8 as u32),
            1 => Some(self.initial_bits(i * self.ldc() + j)),
            _ => None,
        }
    }

    /// The residual's zero point and scale, and whether it is signed.
    pub(super) fn residual_stage(&self) -> (i32, f32, bool) {
        let choice = self.choose(12, 32) as usize;
        let scale = [0.5, 0.3, 1e-3, 1.0][choice % 4];
        ([0, 3, -128, 1 << 21][choice / 4 % 4], scale, choice >= 16)
    }

    /// The values of column `j` in the order of `TileFixedPoint`'s fields. All columns have one of four roundings; the
    /// multipliers make ties common where sums are small.
    pub(super) fn fixed_point(&self, j: usize) -> [i32; 5] {
        let j = j + self.seed as usize;
        let m = [1 << 30, 3 << 29, i32::MAX, 1 << 30, 0x5555_5555, 1 << 30, 0][j % 7];
        let right = if self.has_small_sums() { [1, 0, 2, 3, 1][j % 5] } else { 20 + j as i32 % 12 };
        let (before, one) = ((right - 1).max(0), right.min(1));
        match self.rounding() {
            0 => [m, 1 << 30, one, before, one],
            1 => [m, 1 << 30, 0, before, one],
            _ => [m, if right == 0 { 1 << 30 } else { 0 }, 0, before, one],
        }
    }

    /// The rounding of fixed point: 0 and 1 round twice, 2 rounds once and half up, 3 rounds once and half away from
    /// zero.
    pub(super) fn rounding(&self) -> u32 {
        if self.is_about_ties() { self.seed % 4 } else { self.choose(13, 4) }
    }

    /// The zero point of 8-bit results.
    pub(super) fn out_zero(&self) -> i32 {
        if self.is_about_ties() {
            return 1;
        }
        [0, 1, -128, 127, 300, -MAX_ZERO_POINT, 55][self.choose(9, 7) as usize]
    }

    /// The least and the greatest 8-bit result.
    pub(super) fn byte_range(&self) -> (i32, i32) {
        if self.is_about_ties() {
            return (-128, 127);
        }
        [(-128, 127), (0, 255), (3, 200), (-100, -3), (0, 127)][self.choose(10, 5) as usize]
    }

    /// The least and the greatest f32 result.
    pub(super) fn float_range(&self) -> (f32, f32) {
        [(f32::NEG_INFINITY, f32::INFINITY), (0.0, 6.0), (-1e3, 1e5)][self.choose(11, 3) as usize]
    }

    /// The f32 bias of column `j`, in two thirds of the cases.
    pub(super) fn float_bias(&self, j: usize) -> Option<f32> {
        (self.choose(17, 3) > 0).then_some([-0.0, 1.25, -1e4, 1e-3, 0.0][(j + self.seed as usize) % 5])
    }

    /// The bits of element (i, j) of the output, whose sum is `sum`.
    pub(super) fn expected(&self, sum: i32, i: usize, j: usize) -> u32 {
        let scale = self.row_scale(i).map_or(self.scale(j), |row| row * self.scale(j));
        let exact = self.f64_terms(i, j).map_or(0, |(col, row)| col + row) + i64::from(sum);
        match self.output {
            Kind::Sums => sum as u32,
            Kind::Bytes => {
                let (lo, hi) = self.byte_range();
                let (zero, residual_scale, signed) = self.residual_stage();
                let added = self
                    .residual(i, j)
                    .map(|bits| (value(bits as u8, signed) - zero) as f32 * residual_scale);
                let rounded = round_half_even(exact as f32 * scale + added.unwrap_or(-0.0));
                rounded.saturating_add(self.out_zero().into()).clamp(lo.into(), hi.into()) as u8 as u32
            }
            Kind::FixedBytes => {
                let (lo, hi) = self.byte_range();
                let [m, nudge, negative, before, one] = self.fixed_point(j).map(i64::from);
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
                let x = x + self.residual(i, j).map_or(-0.0, f32::from_bits);
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

/// Rounds to the nearest integer, half to even, and to the ends of i64 beyond them.
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
