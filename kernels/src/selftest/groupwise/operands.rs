//! The operands of a case, in the arena.

use crate::entry::groupwise::GroupScales;
use crate::groupwise::args::start_for_each;
use crate::groupwise::fma::{f32_of_bf16, f32_of_f16};
use crate::groupwise::kernel::GroupReady;
use crate::groupwise::layout::{CodeBits, PANEL, word_place};
use crate::selftest::arena::carve;
use crate::selftest::groupwise::case::{Case, Kinds, Random};
use bytemuck::{cast_slice, cast_slice_mut};

/// The operands of a case, as slices of the arena.
pub(super) struct Operands<'a> {
    pub(super) a: &'a mut [u8],
    pub(super) codes: &'a mut [u8],
    pub(super) scales: &'a mut [u8],
    pub(super) minimums: &'a mut [u8],
    pub(super) zeros: &'a mut [u8],
    pub(super) c: &'a mut [f32],
    /// A and the codes, row by row.
    pub(super) a_values: &'a mut [u8],
    pub(super) b_values: &'a mut [u8],
    pub(super) starts: &'a mut [i32],
    pub(super) group_scales: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    pub(super) row_scales: &'a mut [f32],
    pub(super) bias: &'a mut [f32],
    pub(super) minus_a_zeros: &'a mut [i32],
    pub(super) d: &'a mut [i32],
    pub(super) ones: &'a mut [u8],
    pub(super) ones_starts: &'a mut [i32],
}

/// The sentinel around C.
pub(super) const SENTINEL: u8 = 0xa5;
/// Values between rows of C.
pub(super) const GAP: usize = 3;

impl<'a> Operands<'a> {
    pub(super) fn new(
        kernel: GroupReady,
        case: Case,
        kinds: Kinds,
        arena: &'a mut [u8],
        random: &mut Random,
    ) -> Self {
        let Case { m, shape, .. } = case;
        let (k, n, groups) = (shape.k(), shape.n(), shape.groups());
        let a_row = shape.a_row_len(words(kernel, case));
        let scales_len = if kinds.scale_type == 0 { 4 } else { 2 } * shape.scales_len();
        let lens = [
            m * a_row,
            shape.codes_len(),
            scales_len,
            scales_len,
            shape.zeros_len(),
            4 * ((m - 1) * (n + GAP) + n),
            m * k,
            k * n,
            4 * m * groups,
            4 * m * groups,
            4 * m * groups,
            4 * m,
            4 * n,
            4 * m,
            4 * groups * PANEL,
            a_row,
            4 * groups,
        ];
        let last = random.below(6) as usize;
        let [a, codes, scales, minimums, zeros, c, rest @ ..] = carve(arena, lens, last);
        let [a_values, b_values, starts, group_scales, sums, rest @ ..] = rest;
        let [row_scales, bias, minus_a_zeros, d, ones, ones_starts] = rest;
        Self {
            a,
            codes,
            scales,
            minimums,
            zeros,
            c: cast_slice_mut(c),
            a_values,
            b_values,
            starts: cast_slice_mut(starts),
            group_scales: cast_slice_mut(group_scales),
            sums: cast_slice_mut(sums),
            row_scales: cast_slice_mut(row_scales),
            bias: cast_slice_mut(bias),
            minus_a_zeros: cast_slice_mut(minus_a_zeros),
            d: cast_slice_mut(d),
            ones,
            ones_starts: cast_slice_mut(ones_starts),
        }
    }

    pub(super) fn fill(&mut self, kernel: GroupReady, case: Case, kinds: Kinds, random: &mut Random) {
        self.fill_weights(case, kinds, random);
        self.fill_rows(kernel, case, kinds, random);
    }

    /// What no code, scale or zero point is in holds anything.
    fn fill_weights(&mut self, case: Case, kinds: Kinds, random: &mut Random) {
        let shape = case.shape;
        let (n, max) = (shape.n(), u32::from(shape.bits().max()));
        for memory in [&mut *self.codes, self.zeros, self.scales, self.minimums] {
            memory.fill(0xff);
        }
        for row in 0..shape.k() {
            for j in 0..n {
                let code = match kinds.codes {
                    0 => random.below(max + 1),
                    1 => random.below(2) * max,
                    _ => max,
                } as u8;
                self.b_values[row * n + j] = code;
                put_code(self.codes, shape.bits(), shape.code_at(row, j), code);
            }
        }
        for g in 0..shape.groups() {
            for j in 0..n {
                let zero = match kinds.zeros {
                    0 => kinds.one_zero,
                    1 => random.below(max + 1) as u8,
                    _ => (random.below(2) * max) as u8,
                };
                put_code(self.zeros, shape.bits(), shape.zero_at(g, j), zero);
                put_scale(self.scales, shape.scale_at(g, j), kinds, random);
                put_scale(self.minimums, shape.scale_at(g, j), kinds, random);
            }
        }
    }

    fn fill_rows(&mut self, kernel: GroupReady, case: Case, kinds: Kinds, random: &mut Random) {
        let Case { m, shape, .. } = case;
        let (k, groups, a_row) = (shape.k(), shape.groups(), self.ones.len());
        let words = words(kernel, case);
        let start = |sum| match kinds.zeros {
            0 => kernel.start_for_one(shape.bits(), sum, kinds.one_zero),
            _ => start_for_each(sum),
        };
        self.a.fill(0);
        for i in 0..m {
            for row in 0..k {
                let value = match kinds.a {
                    0 => random.next() as i8,
                    1 => [-128, 127][random.below(2) as usize],
                    _ => -128,
                };
                self.a_values[i * k + row] = value as u8;
                put(&mut self.a[i * a_row..][..a_row], row, value, words);
            }
            self.minus_a_zeros[i] = if kinds.a_zeros { 128 - random.below(256) as i32 } else { 0 };
            self.row_scales[i] = random.below(100) as f32 * 0.011;
            for g in 0..groups {
                let (first, len) = (g * shape.group(), shape.group_len(g));
                let sum: i32 =
                    self.a_values[i * k + first..][..len].iter().map(|a| i32::from(*a as i8)).sum();
                self.starts[i * groups + g] = start(sum);
                self.sums[i * groups + g] = (sum + self.minus_a_zeros[i] * len as i32) as f32;
                self.group_scales[i * groups + g] = random.below(1000) as f32 * 0.0031;
            }
        }
        self.bias.iter_mut().for_each(|bias| *bias = random.below(1000) as f32 - 500.0);
        self.ones.fill(0);
        (0..k).for_each(|row| put(self.ones, row, 1, words));
        (0..groups).for_each(|g| self.ones_starts[g] = start(shape.group_len(g) as i32));
    }
}

/// Whether the kernel reads A as words.
fn words(kernel: GroupReady, case: Case) -> bool {
    kernel.words && case.shape.bits() == CodeBits::Eight
}

/// Writes value `k` of a row of A as the kernel reads it.
fn put(row: &mut [u8], k: usize, value: i8, words: bool) {
    if words {
        row[2 * word_place(k)..][..2].copy_from_slice(&i16::from(value).to_ne_bytes());
    } else {
        row[k] = value as u8;
    }
}

/// Writes a code or zero point to its place.
fn put_code(to: &mut [u8], bits: CodeBits, (byte, high): (usize, bool), code: u8) {
    to[byte] = match (bits, high) {
        (CodeBits::Eight, _) => code,
        (CodeBits::Four, false) => to[byte] & 0xf0 | code,
        (CodeBits::Four, true) => to[byte] & 0x0f | code << 4,
    };
}

/// Writes a random finite scale, as bits of its type.
fn put_scale(to: &mut [u8], at: usize, kinds: Kinds, random: &mut Random) {
    let ordinary = random.below(2000) as f32 / 1000.0 - 0.7;
    match kinds.scale_type {
        0 => {
            let wild = f32::from_bits(random.next() ^ random.next() << 16);
            let value = if kinds.wild && wild.is_finite() { wild } else { ordinary };
            to[4 * at..][..4].copy_from_slice(&value.to_ne_bytes());
        }
        1 => {
            // Any half-precision number that is not infinite or NaN.
            let bits = if kinds.wild { random.next() as u16 } else { 0x3000 + random.below(0x0c00) as u16 };
            let bits = if bits >> 10 & 31 == 31 { bits & 0x83ff } else { bits };
            to[2 * at..][..2].copy_from_slice(&bits.to_ne_bytes());
        }
        _ => to[2 * at..][..2].copy_from_slice(&((ordinary.to_bits() >> 16) as u16).to_ne_bytes()),
    }
}

/// Scales or minimums, as kernels take them.
pub(super) fn scales<'a>(bytes: &'a [u8], kinds: Kinds) -> GroupScales<'a> {
    match kinds.scale_type {
        0 => GroupScales::F32(cast_slice(bytes)),
        1 => GroupScales::F16(cast_slice(bytes)),
        _ => GroupScales::Bf16(cast_slice(bytes)),
    }
}

/// The value of a scale or minimum.
pub(super) fn scale_at(bytes: &[u8], at: usize, kinds: Kinds) -> f32 {
    match scales(bytes, kinds) {
        GroupScales::F32(values) => values[at],
        GroupScales::F16(values) => f32_of_f16(values[at]),
        GroupScales::Bf16(values) => f32_of_bf16(values[at]),
    }
}
