//! Random products for `qgemm verify`. A case is a function of the seed and its index, nothing else,
//! so that any one of them can be made again.

use crate::npy::Bytes;
use crate::values::Factor;
use qgemm::ElementType::{self, I8, U8};
use qgemm::{Multiplier, Rounding};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};

/// Where the elements of a matrix lie in its slice.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub row_stride: usize,
    pub col_stride: usize,
    /// Elements from the first to beyond the last.
    pub len: usize,
}

/// An operand: its elements, with whatever lies between them.
pub struct Source {
    pub shape: (usize, usize),
    pub layout: Layout,
    pub data: Bytes,
}

/// A zero point, or one per row of A (column of B).
#[derive(Debug)]
pub enum Zero {
    One(i32),
    Each(Vec<i32>),
}

/// What is stored.
pub enum Output {
    Sums {
        accumulate: bool,
    },
    Bytes {
        element: ElementType,
        scaling: Scaling,
        zero: i32,
        clamp: Option<(i32, i32)>,
        table: Option<Box<[u8; 256]>>,
    },
    Floats {
        scale: Factor,
        bias: Option<Vec<f32>>,
        clamp: Option<(f32, f32)>,
    },
}

/// How sums become 8 bits.
pub enum Scaling {
    Float(Factor, Option<Residual>),
    Fixed(Multipliers, Rounding),
    /// One factor, or one per column.
    Real(Vec<f64>),
}

/// A matrix that is added.
pub struct Residual {
    pub source: Source,
    pub scale: f32,
    pub zero: i32,
}

/// A multiplier, or one per column.
pub enum Multipliers {
    One(Multiplier),
    Columns(Vec<Multiplier>),
}

/// A product with everything that can be said about it.
pub struct Case {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: Source,
    pub b: Source,
    /// What B is packed for, which A need not be; `None`: it is not packed ahead.
    pub packed_for: Option<ElementType>,
    pub a_zero: Zero,
    pub b_zero: Zero,
    pub bias: Option<Vec<i32>>,
    pub output: Output,
    pub c: Layout,
    /// What the output's slice holds before, as bit patterns.
    pub fill: u64,
    pub threads: usize,
}

type Random = Xoshiro256PlusPlus;

impl Case {
    /// Case `index` of `seed`.
    pub fn new(seed: u64, index: u64) -> Self {
        // Both are mixed by the generator's own seeding; the odd factor keeps their sums apart.
        let rng = &mut Random::seed_from_u64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let (m, k, n) = shape(rng);
        let [a_type, b_type] = [(); 2].map(|()| element(rng));
        let other = if a_type == I8 { U8 } else { I8 };
        let output = output(rng, a_type, (m, k, n));
        // Where the exact sum is needed it has to stay below 2^63.
        let far = matches!(output, Output::Sums { .. });
        Self {
            m,
            k,
            n,
            a: source(rng, a_type, (m, k)),
            b: source(rng, b_type, (k, n)),
            packed_for: match rng.random_range(0..8) {
                0..5 => Some(a_type),
                5 => Some(other),
                _ => None,
            },
            a_zero: zero(rng, m, a_type, far, 1 << 28),
            b_zero: zero(rng, n, b_type, far, 1 << 12),
            bias: rng.random_bool(0.5).then(|| bias(rng, n)),
            output,
            c: layout(rng, (m, n), false),
            fill: rng.random(),
            threads: rng.random_range(1..=3),
        }
    }
}

fn element(rng: &mut Random) -> ElementType {
    if rng.random() { I8 } else { U8 }
}

/// Sizes at and about the edges of tiles, panels and groups.
const EDGES: [usize; 38] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64,
    65, 95, 96, 97, 127, 128, 129, 191, 193, 256,
];

fn shape(rng: &mut Random) -> (usize, usize, usize) {
    let mut edge = |share: f64, most: usize| {
        if rng.random_bool(share) {
            *EDGES.choose(rng).expect("not empty")
        } else {
            rng.random_range(0..=most)
        }
    };
    let (m, k, n) = (edge(0.6, 40), edge(0.5, 150), edge(0.6, 150));
    match rng.random_range(0..100) {
        // Nothing at all in a dimension.
        0 => (0, k, n),
        1 => (m, 0, n),
        2 => (m, k, 0),
        // K beyond a block, and beyond what 32 bits hold (u8 x u8, u8 x i8 and i8 x i8).
        3..6 => (rng.random_range(1..=14), rng.random_range(8193..=34000), rng.random_range(1..=20)),
        6..8 => {
            let limit = *[32768, 33025, 65536, 65793, 131071].choose(rng).expect("not empty");
            (rng.random_range(1..=3), limit - 2 + rng.random_range(0..=5), rng.random_range(1..=3))
        }
        // M or N beyond a block; enough work for threads.
        8..10 => (rng.random_range(1000..=1400), rng.random_range(1..=40), rng.random_range(1..=40)),
        10..12 => (rng.random_range(1..=14), rng.random_range(1..=60), rng.random_range(500..=2500)),
        12 => (rng.random_range(100..=220), rng.random_range(100..=220), rng.random_range(100..=220)),
        // A row or a few.
        13..21 => (rng.random_range(1..=4), rng.random_range(1..=600), rng.random_range(1..=400)),
        // The rest, a row of which might be 256 x 256 x 256 otherwise.
        _ if m * k * n > 1 << 20 => (m % 50, k, n),
        _ => (m, k, n),
    }
}

fn source(rng: &mut Random, element: ElementType, shape: (usize, usize)) -> Source {
    let layout = layout(rng, shape, true);
    let mut bits = vec![0u8; layout.len];
    // The bit patterns of the type's least and greatest value.
    let (least, greatest) = if element == I8 { (0x80, 0x7f) } else { (0, 0xff) };
    // Random values average out: a long K overflows 32 bits with extreme ones only.
    let kinds = if shape.0.max(shape.1) > 32_000 { 4 } else { 10 };
    match rng.random_range(0..kinds) {
        0 => bits.fill(least),
        1 => bits.fill(greatest),
        2 => bits.iter_mut().enumerate().for_each(|(i, x)| *x = if i % 2 == 0 { least } else { greatest }),
        3 => bits.iter_mut().for_each(|x| *x = if rng.random() { least } else { greatest }),
        // Small, for kernels that need a proof of it; u8 about 128, as symmetric weights are.
        4 | 5 => {
            let most = *[1, 8, 16, 32, 64].choose(rng).expect("not empty");
            let zero = if element == U8 && rng.random() { 128 } else { 0 };
            bits.iter_mut().for_each(|x| *x = (zero + rng.random_range(-most..=most)) as u8);
        }
        _ => rng.fill_bytes(&mut bits),
    }
    // An extreme row among others.
    if shape.0 > 1 && rng.random_bool(0.2) {
        let row = rng.random_range(0..shape.0);
        for j in 0..shape.1 {
            bits[row * layout.row_stride + j * layout.col_stride] = greatest;
        }
    }
    let data = match element {
        U8 => Bytes::U8(bits),
        I8 => Bytes::I8(bits.into_iter().map(|x| x as i8).collect()),
    };
    Source { shape, layout, data }
}

/// Row- or column-major, with or without gaps; an input may also repeat a row or column.
fn layout(rng: &mut Random, (rows, cols): (usize, usize), repeats: bool) -> Layout {
    let gap = if rng.random_bool(0.4) { rng.random_range(1..=9) } else { 0 };
    let (row_stride, col_stride) = match rng.random_range(0..20) {
        0..12 => (cols + gap, 1),
        12..17 => (1, rows + gap),
        17 => (2 * cols + gap, 2),
        18 => (3, 3 * rows + gap),
        _ if repeats && rng.random() => (0, 1),
        _ if repeats => (1, 0),
        _ => (cols, 1),
    };
    let empty = rows == 0 || cols == 0;
    let last = if empty { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 };
    // A few elements more than needed, which nothing may touch.
    Layout { row_stride, col_stride, len: last + rng.random_range(0..3) }
}

fn zero(rng: &mut Random, len: usize, element: ElementType, far: bool, most: i32) -> Zero {
    let (lo, hi) = element.range();
    let range = match rng.random_range(0..6) {
        0..2 => 0..=0,
        2 => lo..=hi,
        3 => -300..=300,
        4 if far => i32::MIN..=i32::MAX,
        _ => -most..=most,
    };
    if rng.random_bool(0.4) {
        Zero::Each((0..len).map(|_| rng.random_range(range.clone())).collect())
    } else {
        Zero::One(rng.random_range(range))
    }
}

fn bias(rng: &mut Random, n: usize) -> Vec<i32> {
    let most = *[100, 1 << 20, i32::MAX].choose(rng).expect("not empty");
    (0..n).map(|_| rng.random_range(-most..=most)).collect()
}

fn output(rng: &mut Random, a: ElementType, shape: (usize, usize, usize)) -> Output {
    let n = shape.2;
    match rng.random_range(0..8) {
        0..2 => Output::Sums { accumulate: false },
        2 => Output::Sums { accumulate: true },
        3 => Output::Floats {
            scale: factor(rng, shape),
            bias: rng.random_bool(0.5).then(|| (0..n).map(|_| rng.random_range(-1e6..1e6)).collect()),
            clamp: rng
                .random_bool(0.3)
                .then(|| (rng.random_range(-1e3..0.0), rng.random_range(0.0..f32::MAX))),
        },
        _ => {
            // Mostly the type of the activations, as in a network.
            let element = if rng.random_bool(0.7) { a } else { element(rng) };
            let (lo, hi) = element.range();
            let zero = match rng.random_range(0..4) {
                0 => 0,
                1..3 => rng.random_range(lo..=hi),
                _ => rng.random_range(-(1 << 21)..=1 << 21),
            };
            let clamp = rng.random_bool(0.4).then(|| {
                let (x, y) = (rng.random_range(lo..=hi), rng.random_range(lo..=hi));
                // Sometimes open at the top, as ReLU is, or at the bottom.
                match rng.random_range(0..4) {
                    0 => (x, i32::MAX),
                    1 => (i32::MIN, x),
                    _ => (x.min(y), x.max(y)),
                }
            });
            let scaling = match rng.random_range(0..10) {
                0..4 => {
                    let rounding = [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single, Rounding::Reference];
                    Scaling::Fixed(multipliers(rng, shape), *rounding.choose(rng).expect("not empty"))
                }
                4 => Scaling::Real(reals(rng, shape)),
                _ => Scaling::Float(
                    factor(rng, shape),
                    rng.random_bool(0.3).then(|| residual(rng, (shape.0, n))),
                ),
            };
            let table = rng.random_bool(0.25).then(|| {
                let mut bytes = Box::new([0; 256]);
                rng.fill_bytes(&mut *bytes);
                bytes
            });
            Output::Bytes { element, scaling, zero, clamp, table }
        }
    }
}

fn residual(rng: &mut Random, shape: (usize, usize)) -> Residual {
    let element = element(rng);
    let zero = match rng.random_range(0..3) {
        0 => 0,
        1 => rng.random_range(-300..=300),
        _ => rng.random_range(-(1 << 21)..=1 << 21),
    };
    let scale = match rng.random_range(0..4) {
        0 => 0.5f32.powi(rng.random_range(-3..6)),
        1 => f32::from_bits(rng.random_range(0..=((1u64 << 63) as f32).to_bits())),
        _ => rng.random_range(0.0..2.0),
    };
    Residual { source: source(rng, element, shape), scale, zero }
}

/// Like scales; any at all now and then.
fn reals(rng: &mut Random, (_, k, n): (usize, usize, usize)) -> Vec<f64> {
    let usual = 1.0 / (50.0 * ((k + 1) as f64).sqrt());
    let ties = rng.random_bool(0.3);
    let one = |rng: &mut Random| match ties {
        true => 0.5f64.powi(rng.random_range(0..16)),
        false => usual * rng.random_range(0.01..2.0),
    };
    (0..if rng.random() { 1 } else { n }).map(|_| one(rng)).collect()
}

fn multipliers(rng: &mut Random, shape: (usize, usize, usize)) -> Multipliers {
    let usual = 1.0 / (50.0 * ((shape.1 + 1) as f64).sqrt());
    let kind = rng.random_range(0..8);
    let one = |rng: &mut Random| {
        let multiplier = match kind {
            0..5 => Multiplier::from_real(usual * rng.random_range(0.01..2.0)),
            5 => Multiplier::from_real(0.5f64.powi(rng.random_range(0..16))),
            _ => Multiplier::new(rng.random_range(1 << 30..=i32::MAX), rng.random_range(-31..=30)),
        };
        multiplier.expect("it is within the range of multipliers")
    };
    match rng.random() {
        true => Multipliers::One(one(rng)),
        false => Multipliers::Columns((0..shape.2).map(|_| one(rng)).collect()),
    }
}

/// Scales about that which spreads sums of K products over 8 bits; powers of two, which make ties; and
/// extreme ones.
fn factor(rng: &mut Random, (m, k, n): (usize, usize, usize)) -> Factor {
    let usual = 1.0 / (50.0 * ((k + 1) as f32).sqrt());
    let kind = rng.random_range(0..12);
    let one = |rng: &mut Random| match kind {
        0..7 => usual * rng.random_range(0.01..2.0f32),
        7 => 0.5f32.powi(rng.random_range(0..16)),
        8 => rng.random_range(1e-9..1e-6),
        9 => f32::from_bits(rng.random_range(0..=0x0080_0000)), // zero and denormal
        10 => f32::from_bits(rng.random_range(0..=f32::MAX.to_bits())),
        _ => 1.0,
    };
    let some = |rng: &mut Random, len| -> Vec<f32> { (0..len).map(|_| one(rng)).collect() };
    match rng.random_range(0..6) {
        0..3 => Factor::Columns(some(rng, n)),
        3 => Factor::Rows(some(rng, m)),
        // At most 1, so that every product is finite.
        4 => Factor::Both(some(rng, m), (0..n).map(|_| rng.random_range(0.0..1.0)).collect()),
        _ => Factor::One(one(rng)),
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let element = |data: &Bytes| if matches!(data, Bytes::I8(_)) { "i8" } else { "u8" };
        let strides = |layout: &Layout| format!("strides {} {}", layout.row_stride, layout.col_stride);
        let Self { m, k, n, a, b, c, .. } = self;
        writeln!(f, "  shape    M={m} K={k} N={n}, {} thread(s)", self.threads)?;
        writeln!(f, "  a        {}, {}, zero point {}", element(&a.data), strides(&a.layout), self.a_zero)?;
        let packed = self.packed_for.map_or("not packed ahead".into(), |a| format!("packed for {a}"));
        writeln!(
            f,
            "  b        {}, {}, {packed}, zero point {}",
            element(&b.data),
            strides(&b.layout),
            self.b_zero
        )?;
        writeln!(f, "  bias     {}", self.bias.as_deref().map_or("none".into(), brief))?;
        writeln!(f, "  c        {}", strides(c))?;
        match &self.output {
            Output::Sums { accumulate: true } => write!(f, "  output   i32, added to what is there"),
            Output::Sums { accumulate: false } => write!(f, "  output   i32"),
            Output::Bytes { element, scaling, zero, clamp, table } => {
                let clamp = clamp.map_or("no clamp".into(), |(lo, hi)| format!("clamp {lo},{hi}"));
                let table = if table.is_some() { "a table" } else { "no table" };
                write!(f, "  output   {element}, {scaling}, zero point {zero}, {clamp}, {table}")
            }
            Output::Floats { scale, bias, clamp } => {
                let bias = bias.as_deref().map_or("none".into(), brief);
                let clamp = clamp.map_or("no clamp".into(), |(lo, hi)| format!("clamp {lo},{hi}"));
                write!(f, "  output   f32, scale {scale}, bias {bias}, {clamp}")
            }
        }
    }
}

/// The first of many values.
fn brief<T: std::fmt::Debug>(values: &[T]) -> String {
    let more = if values.len() > 4 { format!(" and {} more", values.len() - 4) } else { String::new() };
    format!("{:?}{more}", &values[..values.len().min(4)])
}

impl std::fmt::Display for Zero {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Zero::One(zero) => write!(f, "{zero}"),
            Zero::Each(zeros) => f.write_str(&brief(zeros)),
        }
    }
}

impl std::fmt::Display for Scaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scaling::Float(scale, None) => write!(f, "scale {scale}"),
            Scaling::Float(scale, Some(Residual { source, scale: factor, zero })) => {
                let element = if matches!(source.data, Bytes::I8(_)) { "i8" } else { "u8" };
                let Layout { row_stride, col_stride, .. } = source.layout;
                write!(f, "scale {scale}, {element} residual with strides {row_stride} {col_stride}, ")?;
                write!(f, "scale {factor:e} and zero point {zero}")
            }
            Scaling::Fixed(Multipliers::One(one), rounding) => write!(f, "{one:?}, rounding {rounding:?}"),
            Scaling::Real(factors) => write!(f, "real factors {}", brief(factors)),
            Scaling::Fixed(Multipliers::Columns(each), rounding) => {
                write!(f, "per column {}, rounding {rounding:?}", brief(each))
            }
        }
    }
}

impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Factor::One(scale) => write!(f, "{scale:e}"),
            Factor::Columns(scales) => write!(f, "per column {}", brief(scales)),
            Factor::Rows(scales) => write!(f, "per row {}", brief(scales)),
            Factor::Both(rows, columns) => {
                write!(f, "per row {} times per column {}", brief(rows), brief(columns))
            }
        }
    }
}
