//! Random products for `qgemm verify`. A case is a function of the seed and its index, nothing else,
//! so that any one of them can be made again.

use crate::npy::{Bytes, Matrix8};
use crate::stage::{Factor, FloatStage, Residual, Scaling, Stage};
use crate::values::Values;
use qgemm::ElementType::{self, I8, U8};
use qgemm::{Gather, Int8Element, Multiplier, Rounding, Table};
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

/// What is computed, on so many threads.
pub struct Case {
    pub kind: Kind,
    pub threads: usize,
}

pub enum Kind {
    Single(Product<Integers>),
    Dynamic(Product<Reals>),
    Batch(Vec<Product<Integers>>),
}

/// A product with everything that can be said about it.
pub struct Product<A> {
    pub k: usize,
    /// A, with what depends on it.
    pub a: A,
    pub b: Matrix8,
    /// What B is packed for, which A need not be; `None`: it is not packed ahead.
    pub packed_for: Option<ElementType>,
    pub b_zero: Values<i32>,
    pub c: Target,
}

/// Where C goes.
pub struct Target {
    pub rows: usize,
    pub cols: usize,
    pub layout: Layout,
    /// What the slice holds before, as bit patterns.
    pub fill: u64,
}

pub struct Integers {
    pub rows: Rows,
    pub zero: Values<i32>,
    pub bias: Option<Vec<i32>>,
    pub output: Output,
}

pub enum Rows {
    Plain(Matrix8),
    Gathered { source: Matrix8, indices: Vec<u32>, taps: usize, padding: Option<i32> },
}

/// To be quantized by the product.
pub struct Reals {
    pub layout: Layout,
    pub data: Vec<f32>,
    pub asymmetric: bool,
    pub per_tensor: bool,
    pub output: FloatStage,
}

/// What is stored.
pub enum Output {
    Sums { accumulate: bool },
    Signed(Stage<i8>),
    Unsigned(Stage<u8>),
    Floats(FloatStage),
}

type Random = Xoshiro256PlusPlus;

type Shape = (usize, usize, usize);

impl Case {
    /// Case `index` of `seed`.
    pub fn new(seed: u64, index: u64) -> Self {
        // Both are mixed by the generator's own seeding; the odd factor keeps their sums apart.
        let rng = &mut Random::seed_from_u64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let kind = match rng.random_range(0..16) {
            0..2 => Kind::Batch(batch(rng)),
            2..4 => {
                // Sometimes enough values for threads.
                let large = rng.random_bool(0.25);
                let many =
                    (rng.random_range(50..=300), rng.random_range(200..=600), rng.random_range(1..=20));
                let shape = if large { many } else { shape(rng) };
                let reals = reals(rng, shape);
                let element = if reals.asymmetric { U8 } else { I8 };
                Kind::Dynamic(product(rng, shape, reals, element, false))
            }
            _ => {
                let shape = shape(rng);
                Kind::Single(integers(rng, shape))
            }
        };
        Self { kind, threads: rng.random_range(1..=3) }
    }

    /// Where the outputs go.
    pub fn targets(&self) -> Vec<&Target> {
        match &self.kind {
            Kind::Single(product) => vec![&product.c],
            Kind::Dynamic(product) => vec![&product.c],
            Kind::Batch(products) => products.iter().map(|product| &product.c).collect(),
        }
    }
}

fn batch(rng: &mut Random) -> Vec<Product<Integers>> {
    let small = |rng: &mut Random| loop {
        let (m, k, n) = shape(rng);
        if m * k * n <= 1 << 19 {
            return (m, k, n);
        }
    };
    let count = rng.random_range(0..=6);
    // Equal ones are shared among threads in another way.
    let same = rng.random_bool(0.3).then(|| small(rng));
    let one = |_| {
        let shape = same.unwrap_or_else(|| small(rng));
        integers(rng, shape)
    };
    (0..count).map(one).collect()
}

fn integers(rng: &mut Random, (m, k, n): Shape) -> Product<Integers> {
    let element = element(rng);
    let taps = rng.random_bool(0.2).then(|| rng.random_range(1..=9));
    // Whole rows of the source.
    let k = taps.map_or(k, |taps| k / taps * taps);
    let output = output(rng, element, (m, k, n));
    // Where the exact sum is needed it has to stay below 2^63.
    let far = matches!(output, Output::Sums { .. });
    let zero = zero(rng, m, element, far, 1 << 28);
    let rows = match taps {
        None => Rows::Plain(source(rng, element, (m, k))),
        Some(taps) => gathered(rng, element, (m, k), taps, &zero),
    };
    let bias = rng.random_bool(0.5).then(|| bias(rng, n));
    product(rng, (m, k, n), Integers { rows, zero, bias, output }, element, far)
}

fn product<A>(rng: &mut Random, (m, k, n): Shape, a: A, a_type: ElementType, far: bool) -> Product<A> {
    let b_type = element(rng);
    Product {
        k,
        a,
        b: source(rng, b_type, (k, n)),
        packed_for: match rng.random_range(0..8) {
            0..5 => Some(a_type),
            5 => Some(if a_type == I8 { U8 } else { I8 }),
            _ => None,
        },
        b_zero: zero(rng, n, b_type, far, 1 << 12),
        c: Target { rows: m, cols: n, layout: layout(rng, (m, n), false), fill: rng.random() },
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

fn shape(rng: &mut Random) -> Shape {
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

fn source(rng: &mut Random, element: ElementType, shape: (usize, usize)) -> Matrix8 {
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
    let strides = (layout.row_stride, layout.col_stride);
    Matrix8 { rows: shape.0, cols: shape.1, strides, data: Bytes::from_bits(element, bits) }
}

/// Rows put together from those of a source, some of them padding.
fn gathered(
    rng: &mut Random,
    element: ElementType,
    (m, k): (usize, usize),
    taps: usize,
    a_zero: &Values<i32>,
) -> Rows {
    let rows = rng.random_range(1..=m.max(2));
    let source = source(rng, element, (rows, k / taps));
    let padded = if rng.random() { rng.random_range(0.0..1.0) } else { 0.0 };
    let consecutive = rng.random_bool(0.5);
    let mut indices: Vec<u32> = Vec::new();
    for _ in 0..m * taps {
        indices.push(match indices.last() {
            _ if rng.random_bool(padded) => Gather::PADDING,
            // Neighbours in an image, which are copied in one go.
            Some(&last) if consecutive && last != Gather::PADDING && (last as usize) < rows - 1 => last + 1,
            _ => rng.random_range(0..rows as u32),
        });
    }
    let (lo, hi) = element.range();
    let zeros = match a_zero {
        Values::One(zero) => std::slice::from_ref(zero),
        Values::Each(zeros) => zeros,
    };
    // A zero point that is no element cannot be that of padding.
    let must = !zeros.iter().all(|zero| (lo..=hi).contains(zero));
    let padding = (must || rng.random_bool(0.3)).then(|| rng.random_range(lo..=hi));
    Rows::Gathered { source, indices, taps, padding }
}

fn reals(rng: &mut Random, (m, k, n): Shape) -> Reals {
    let layout = layout(rng, (m, k), true);
    let most = *[1.0f32, 1.0, 100.0, 1e-30, 1e-41, 1e30].choose(rng).expect("not empty");
    let (lo, hi) = match rng.random_range(0..6) {
        0 => (0.0, most),
        1 => (-most, 0.0),
        2 => (0.9 * most, most),
        _ => (-most, most),
    };
    let kind = rng.random_range(0..8);
    let one = |i: usize| match kind {
        0 => hi,
        // Many halves of steps.
        1 => most * (rng.random_range(-254..=254) as f32 / 254.0),
        // Zeros among others: whole rows or columns of them.
        2 if i % 128 < 64 => 0.0,
        _ => lo + (hi - lo) * rng.random::<f32>(),
    };
    let data = (0..layout.len).map(one).collect();
    let mut output = float_stage(rng, (m, k, n));
    // So that the product with a scale of A is finite.
    let limit = |scales: &mut Vec<f32>| scales.iter_mut().for_each(|scale| *scale = scale.min(1e6));
    match &mut output.scale {
        Factor::One(scale) => *scale = scale.min(1e6),
        Factor::Columns(scales) | Factor::Rows(scales) | Factor::Both(scales, _) => limit(scales),
    }
    Reals { layout, data, asymmetric: rng.random(), per_tensor: rng.random_bool(0.3), output }
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

fn zero(rng: &mut Random, len: usize, element: ElementType, far: bool, most: i32) -> Values<i32> {
    let (lo, hi) = element.range();
    let range = match rng.random_range(0..6) {
        0..2 => 0..=0,
        2 => lo..=hi,
        3 => -300..=300,
        4 if far => i32::MIN..=i32::MAX,
        _ => -most..=most,
    };
    if rng.random_bool(0.4) {
        Values::Each((0..len).map(|_| rng.random_range(range.clone())).collect())
    } else {
        Values::One(rng.random_range(range))
    }
}

fn bias(rng: &mut Random, n: usize) -> Vec<i32> {
    let most = *[100, 1 << 20, i32::MAX].choose(rng).expect("not empty");
    (0..n).map(|_| rng.random_range(-most..=most)).collect()
}

fn output(rng: &mut Random, a: ElementType, shape: Shape) -> Output {
    match rng.random_range(0..8) {
        0..2 => Output::Sums { accumulate: false },
        2 => Output::Sums { accumulate: true },
        3 => Output::Floats(float_stage(rng, shape)),
        // Mostly the type of the activations, as in a network.
        _ => match if rng.random_bool(0.7) { a } else { element(rng) } {
            I8 => Output::Signed(stage(rng, shape)),
            U8 => Output::Unsigned(stage(rng, shape)),
        },
    }
}

fn float_stage(rng: &mut Random, shape: Shape) -> FloatStage {
    let most = *[1.0, 100.0, 1e6].choose(rng).expect("not empty");
    FloatStage {
        scale: factor(rng, shape),
        bias: rng.random_bool(0.5).then(|| (0..shape.2).map(|_| rng.random_range(-most..most)).collect()),
        clamp: rng.random_bool(0.3).then(|| (rng.random_range(-1e3..0.0), rng.random_range(0.0..f32::MAX))),
    }
}

fn stage<T: Int8Element>(rng: &mut Random, shape: Shape) -> Stage<T> {
    let (lo, hi) = T::TYPE.range();
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
        4 => Scaling::Real(real_factors(rng, shape)),
        _ => Scaling::Float(
            factor(rng, shape),
            rng.random_bool(0.3).then(|| residual(rng, (shape.0, shape.2))),
        ),
    };
    let table = rng.random_bool(0.25).then(|| {
        let mut bits = [0; 256];
        rng.fill_bytes(&mut bits);
        Box::new(Table::from_fn(|x: T| T::from_bits(bits[usize::from(x.to_bits())])))
    });
    Stage { scaling, zero, clamp, table }
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
    Residual { matrix: source(rng, element, shape), scale, zero }
}

/// Like scales; any at all now and then.
fn real_factors(rng: &mut Random, (_, k, n): Shape) -> Values<f64> {
    let usual = 1.0 / (50.0 * ((k + 1) as f64).sqrt());
    let ties = rng.random_bool(0.3);
    let one = |rng: &mut Random| match ties {
        true => 0.5f64.powi(rng.random_range(0..16)),
        false => usual * rng.random_range(0.01..2.0),
    };
    match rng.random() {
        true => Values::One(one(rng)),
        false => Values::Each((0..n).map(|_| one(rng)).collect()),
    }
}

fn multipliers(rng: &mut Random, shape: Shape) -> Values<Multiplier> {
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
        true => Values::One(one(rng)),
        false => Values::Each((0..shape.2).map(|_| one(rng)).collect()),
    }
}

/// Scales about that which spreads sums of K products over 8 bits; powers of two, which make ties; and
/// extreme ones.
fn factor(rng: &mut Random, (m, k, n): Shape) -> Factor {
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
