//! Group-wise kernels against their definition, computed from the weights before they are packed.

use crate::block::BlockMut;
use crate::entry::groupwise::{GroupRows, GroupScales, GroupStage, GroupWeights};
use crate::groupwise::args::start_for_each;
use crate::groupwise::fma::{f32_of_bf16, f32_of_f16, fma};
use crate::groupwise::kernel::GroupReady;
use crate::groupwise::layout::{CodeBits, GroupShape, PANEL, word_place};
use crate::groupwise::scalar::clamp;
use crate::selftest::arena::carve;
use crate::selftest::report::{Outcome, Wrong};
use bytemuck::cast_slice_mut;
use core::fmt::{self, Write};

/// A case: its shape, and a seed that decides everything else.
#[derive(Clone, Copy)]
struct Case {
    m: usize,
    shape: GroupShape,
    seed: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, shape, seed } = self;
        write!(
            f,
            "{m}x{}x{} {:?} bits, groups of {}, seed {seed}",
            shape.k(),
            shape.n(),
            shape.bits(),
            shape.group()
        )
    }
}

/// Runs all group-wise cases on a kernel and writes a line to `out` for each that fails. `arena` is as for
/// [`run`](crate::selftest::run).
///
/// # Panics
/// If the arena is too small or not aligned.
pub fn run_groupwise(kernel: GroupReady, arena: &mut [u8], out: &mut dyn Write) -> Outcome {
    let mut outcome = Outcome::default();
    let mut seed = 0;
    let mut check = |m, k, n, group| {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            seed += 1;
            let shape = GroupShape::new(k, n, group, bits).expect("groups are whole steps");
            let case = Case { m, shape, seed };
            outcome.count(run_case(kernel, case, arena), format_args!("{} {case}", kernel.name), out);
        }
    };
    for m in 1..=kernel.mr + 2 {
        for n in (1..=PANEL + 2).step_by(1 + m % 3) {
            check(m, 33 + (m + n) % 8, n, 16);
        }
    }
    for k in 0..=50 {
        check(1 + k % 3, k, PANEL + 1 + k % 32, 16);
        check(kernel.mr, k, 1 + k * 11 % 96, 32);
        check(1, k, 20, 64);
    }
    for group in [16, 24, 32, 40, 64, 72, 128, 256, 300, 1024] {
        for m in [1, 2, kernel.mr, 2 * kernel.mr + 1] {
            check(m, 600, PANEL + 5, if group % 8 == 0 { group } else { 600 });
            check(m, group, PANEL, group);
            check(m, group + 7, PANEL / 2, if group % 8 == 0 { group } else { group + 7 });
        }
    }
    outcome
}

/// A sequence of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
}

/// The kinds of values of a case.
#[derive(Clone, Copy)]
struct Kinds {
    /// 0 one zero point, 1 one per group and column, 2 extremes of them.
    zeros: u32,
    minimums: bool,
    /// f32, f16, bf16.
    scale_type: u32,
    group_scales: bool,
    a_zeros: bool,
    bias: bool,
    clamped: bool,
    /// Random, at the extremes, or small.
    a: u32,
    codes: u32,
    /// Ordinary scales, or any finite ones.
    wild: bool,
}

/// The operands of a case, as slices of the arena.
struct Operands<'a> {
    a: &'a mut [u8],
    codes: &'a mut [u8],
    scales: &'a mut [u8],
    minimums: &'a mut [u8],
    zeros: &'a mut [u8],
    c: &'a mut [u8],
    logical: &'a mut [u8],
    starts: &'a mut [i32],
    numbers: &'a mut [f32],
    a_zeros: &'a mut [i32],
    d: &'a mut [i32],
    ones: &'a mut [u8],
}

/// The sentinel around C.
const SENTINEL: u8 = 0xa5;
/// Values between rows of C.
const GAP: usize = 3;

fn run_case(kernel: GroupReady, case: Case, arena: &mut [u8]) -> Result<(), Wrong> {
    let Case { m, shape, seed } = case;
    let (k, n, groups) = (shape.k(), shape.n(), shape.groups());
    let mut random = Random(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let kinds = Kinds {
        zeros: random.below(3),
        minimums: random.below(3) == 0,
        scale_type: random.below(3),
        group_scales: random.below(2) == 0,
        a_zeros: random.below(3) == 0,
        bias: random.below(2) == 0,
        clamped: random.below(3) == 0,
        a: random.below(3),
        codes: random.below(3),
        wild: random.below(8) == 0,
    };
    let words = kernel.words && shape.bits() == CodeBits::Eight;
    let a_row = shape.a_row_len(words);
    let scale_size = if kinds.scale_type == 0 { 4 } else { 2 };
    let lens = [
        m * a_row,
        shape.codes_len(),
        scale_size * shape.scales_len(),
        scale_size * shape.scales_len(),
        shape.zeros_len(),
        4 * ((m - 1) * (n + GAP) + n),
        m * k + k * n,
        4 * (m + 1) * groups,
        4 * (2 * m * groups + m + n),
        4 * m,
        4 * groups * PANEL,
        a_row,
    ];
    let last = random.below(6) as usize;
    let [a, codes, scales, minimums, zeros, c, logical, starts, numbers, a_zeros, d, ones] =
        carve(arena, lens, last);
    let x = Operands {
        a,
        codes,
        scales,
        minimums,
        zeros,
        c,
        logical,
        starts: cast_slice_mut(starts),
        numbers: cast_slice_mut(numbers),
        a_zeros: cast_slice_mut(a_zeros),
        d: cast_slice_mut(d),
        ones,
    };
    multiply_and_compare(kernel, case, kinds, x, &mut random)
}

/// Writes value `k` of a row of A as the kernel reads it.
fn put(row: &mut [u8], k: usize, value: i8, words: bool) {
    if words {
        row[2 * word_place(k)..][..2].copy_from_slice(&i16::from(value).to_le_bytes());
    } else {
        row[k] = value as u8;
    }
}

/// A random finite scale, as bits of its type, at `at`; and its value.
fn put_scale(to: &mut [u8], at: usize, kinds: Kinds, random: &mut Random) -> f32 {
    let ordinary = random.below(2000) as f32 / 1000.0 - 0.7;
    match kinds.scale_type {
        0 => {
            let wild = f32::from_bits(random.next() ^ random.next() << 16);
            let value = if kinds.wild && wild.is_finite() { wild } else { ordinary };
            to[4 * at..][..4].copy_from_slice(&value.to_ne_bytes());
            value
        }
        1 => {
            // Any half-precision number that is not infinite or NaN.
            let bits = if kinds.wild { random.next() as u16 } else { 0x3000 + random.below(0x0c00) as u16 };
            let bits = if bits >> 10 & 31 == 31 { bits & 0x83ff } else { bits };
            to[2 * at..][..2].copy_from_slice(&bits.to_ne_bytes());
            f32_of_f16(bits)
        }
        _ => {
            let bits = (ordinary.to_bits() >> 16) as u16;
            to[2 * at..][..2].copy_from_slice(&bits.to_ne_bytes());
            f32_of_bf16(bits)
        }
    }
}

fn scales<'a>(bytes: &'a [u8], kinds: Kinds) -> GroupScales<'a> {
    match kinds.scale_type {
        0 => GroupScales::F32(bytemuck::cast_slice(bytes)),
        1 => GroupScales::F16(bytemuck::cast_slice(bytes)),
        _ => GroupScales::Bf16(bytemuck::cast_slice(bytes)),
    }
}

/// A value of scales that [`put_scale`] wrote.
fn scale_at(bytes: &[u8], at: usize, kinds: Kinds) -> f32 {
    match scales(bytes, kinds) {
        GroupScales::F32(values) => values[at],
        GroupScales::F16(values) => f32_of_f16(values[at]),
        GroupScales::Bf16(values) => f32_of_bf16(values[at]),
    }
}

fn multiply_and_compare(
    kernel: GroupReady,
    case: Case,
    kinds: Kinds,
    x: Operands<'_>,
    random: &mut Random,
) -> Result<(), Wrong> {
    let Case { m, shape, .. } = case;
    let (k, n, groups, bits) = (shape.k(), shape.n(), shape.groups(), shape.bits());
    let words = kernel.words && bits == CodeBits::Eight;
    let a_row = shape.a_row_len(words);
    let (a_values, b_values) = x.logical.split_at_mut(m * k);
    // Weights. What no code, scale or zero point is in holds anything.
    x.codes.fill(0xff);
    x.zeros.fill(0xff);
    x.scales.fill(0xff);
    x.minimums.fill(0xff);
    let max = u32::from(bits.max());
    for row in 0..k {
        for j in 0..n {
            let code = match kinds.codes {
                0 => random.below(max + 1),
                1 => random.below(2) * max,
                _ => max,
            } as u8;
            b_values[row * n + j] = code;
            let (byte, high) = shape.code_at(row, j);
            let old = x.codes[byte];
            x.codes[byte] = match (bits, high) {
                (CodeBits::Eight, _) => code,
                (_, false) => old & 0xf0 | code,
                (_, true) => old & 0x0f | code << 4,
            };
        }
    }
    let one_zero = random.below(max + 1) as u8;
    for g in 0..groups {
        for j in 0..n {
            let zero = match kinds.zeros {
                0 => one_zero,
                1 => random.below(max + 1) as u8,
                _ => (random.below(2) * max) as u8,
            };
            let (byte, high) = shape.zero_at(g, j);
            let old = x.zeros[byte];
            x.zeros[byte] = match (bits, high) {
                (CodeBits::Eight, _) => zero,
                (_, false) => old & 0xf0 | zero,
                (_, true) => old & 0x0f | zero << 4,
            };
            put_scale(x.scales, shape.scale_at(g, j), kinds, random);
            put_scale(x.minimums, shape.scale_at(g, j), kinds, random);
        }
    }
    let zero_at = |g: usize, j: usize| {
        let (byte, high) = shape.zero_at(g, j);
        match (bits, high) {
            (CodeBits::Eight, _) => x.zeros[byte],
            (_, false) => x.zeros[byte] & 15,
            (_, true) => x.zeros[byte] >> 4,
        }
    };
    // A.
    x.a.fill(0);
    for i in 0..m {
        for row in 0..k {
            let value = match kinds.a {
                0 => random.next() as i8,
                1 => [-128, 127][random.below(2) as usize],
                _ => -128,
            };
            a_values[i * k + row] = value as u8;
            put(&mut x.a[i * a_row..][..a_row], row, value, words);
        }
        x.a_zeros[i] = if kinds.a_zeros { random.below(256) as i32 - 128 } else { 0 };
    }
    let (group_scales, rest) = x.numbers.split_at_mut(m * groups);
    let (sums, rest) = rest.split_at_mut(m * groups);
    let (row_scales, bias) = rest.split_at_mut(m);
    let start = |sum, each| match each {
        true => start_for_each(sum),
        false => kernel.start_for_one(bits, sum, one_zero),
    };
    let (starts, ones_starts) = x.starts.split_at_mut(m * groups);
    for i in 0..m {
        row_scales[i] = random.below(100) as f32 * 0.011;
        for g in 0..groups {
            let ks = g * shape.group()..g * shape.group() + shape.group_len(g);
            let sum: i32 = a_values[i * k..][ks].iter().map(|a| i32::from(*a as i8)).sum();
            starts[i * groups + g] = start(sum, kinds.zeros > 0);
            sums[i * groups + g] = (sum - x.a_zeros[i] * shape.group_len(g) as i32) as f32;
            group_scales[i * groups + g] = random.below(1000) as f32 * 0.0031;
        }
    }
    bias.iter_mut().for_each(|bias| *bias = random.below(1000) as f32 - 500.0);
    let (lo, hi) = if kinds.clamped { (-0.0, 90.5) } else { (f32::NEG_INFINITY, f32::INFINITY) };
    let weights = GroupWeights {
        shape,
        codes: x.codes,
        scales: scales(x.scales, kinds),
        minimums: kinds.minimums.then(|| scales(x.minimums, kinds)),
        zeros: (kinds.zeros > 0).then_some(&*x.zeros),
    };
    let rows = GroupRows {
        rows: m,
        codes: x.a,
        stride: a_row,
        starts,
        group_scales: if kinds.group_scales { group_scales } else { &[] },
        row_scales: if kinds.group_scales { &[] } else { row_scales },
        sums,
        minus_zeros: &[],
    };
    x.ones.fill(0);
    for row in 0..k {
        put(x.ones, row, 1, words);
    }
    for g in 0..groups {
        ones_starts[g] = start(shape.group_len(g) as i32, kinds.zeros > 0);
    }
    x.a_zeros.iter_mut().for_each(|zero| *zero = -*zero);
    x.c.fill(SENTINEL);
    let ldc = n + GAP;
    let c: &mut [f32] = cast_slice_mut(x.c);
    for panel in 0..shape.panels() {
        let cols = panel * PANEL..panel * PANEL + shape.panel_cols(panel);
        let mut rows = rows;
        if kinds.a_zeros {
            let ones = GroupRows {
                rows: 1,
                codes: x.ones,
                starts: ones_starts,
                group_scales: &[],
                row_scales: &[],
                sums: &[],
                ..rows
            };
            kernel.sums(&weights, panel, &ones, x.d);
            rows.minus_zeros = x.a_zeros;
        }
        let stage = GroupStage { bias: if kinds.bias { &bias[cols.clone()] } else { &[] }, lo, hi };
        let mut block = BlockMut::new(&mut c[cols.start..], m, cols.len(), ldc, 1).expect("C has such rows");
        kernel.run(&weights, panel, &rows, x.d, &stage, &mut block);
    }
    for i in 0..m {
        for j in 0..n {
            let mut acc = 0f32;
            for g in 0..groups {
                let (zero, a_zero) = (i64::from(zero_at(g, j)), -i64::from(x.a_zeros[i]));
                let (mut sum, mut a_sum) = (0i64, 0i64);
                for row in g * shape.group()..g * shape.group() + shape.group_len(g) {
                    let a = i64::from(a_values[i * k + row] as i8) - a_zero;
                    sum += a * (i64::from(b_values[row * n + j]) - zero);
                    a_sum += a;
                }
                let of_a = group_scales[i * groups + g];
                let factor = |bytes: &[u8]| {
                    let value = scale_at(bytes, shape.scale_at(g, j), kinds);
                    if kinds.group_scales { of_a * value } else { value }
                };
                acc = fma(sum as f32, factor(x.scales), acc);
                if kinds.minimums {
                    acc = fma(a_sum as f32, factor(x.minimums), acc);
                }
            }
            let mut y = acc;
            if !kinds.group_scales {
                y *= row_scales[i];
            }
            if kinds.bias {
                y += bias[j];
            }
            let (want, got) = (clamp(y, lo, hi).to_bits(), c[i * ldc + j].to_bits());
            if got != want {
                return Err(Wrong { i, j, got, want });
            }
        }
    }
    for i in 0..m - 1 {
        for j in n..ldc {
            let (got, want) = (c[i * ldc + j].to_bits(), u32::from_ne_bytes([SENTINEL; 4]));
            if got != want {
                return Err(Wrong { i, j, got, want });
            }
        }
    }
    Ok(())
}
