//! Random output stages, zero points and biases.

use crate::arguments::values::Values;
use crate::owned_output::{OwnedDequantize, OwnedRequantize, OwnedScale, ROUNDINGS, Residual, Scaling};
use crate::shape::Shape;
use crate::verify::case::Output;
use crate::verify::draw::matrices::{element_type, matrix8};
use qgemm::ElementType::{self, I8, U8};
use qgemm::{Int8Element, Multiplier, Table};
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// The largest magnitude of the zero points of outputs and residuals.
const MAX_OUTPUT_ZERO: i32 = 1 << 21;

/// One zero point, or `len` of them: within the element type, within ±300, within ±`most`, or, with `any`, any i32.
pub fn zero_point(rng: &mut Random, len: usize, element: ElementType, any: bool, most: i32) -> Values<i32> {
    let (lo, hi) = element.range();
    let range = match rng.random_range(0..6) {
        0..2 => 0..=0,
        2 => lo..=hi,
        3 => -300..=300,
        4 if any => i32::MIN..=i32::MAX,
        _ => -most..=most,
    };
    if rng.random_bool(0.4) {
        Values::PerAxis((0..len).map(|_| rng.random_range(range.clone())).collect())
    } else {
        Values::PerTensor(rng.random_range(range))
    }
}

pub fn bias(rng: &mut Random, n: usize) -> Vec<i32> {
    let most = *[100, 1 << 20, i32::MAX].choose(rng).expect("not empty");
    (0..n).map(|_| rng.random_range(-most..=most)).collect()
}

/// The output of a product whose A is of type `a`.
pub fn output(rng: &mut Random, a: ElementType, shape: Shape) -> Output {
    match rng.random_range(0..8) {
        0..2 => Output::I32 { accumulate: false },
        2 => Output::I32 { accumulate: true },
        3 => Output::F32(dequantize(rng, shape)),
        _ => {
            // Mostly the type of A: the outputs of a layer are the activations of the next.
            let element = if rng.random_bool(0.7) { a } else { element_type(rng) };
            match element {
                I8 => Output::I8(requantize(rng, shape)),
                U8 => Output::U8(requantize(rng, shape)),
            }
        }
    }
}

pub fn dequantize(rng: &mut Random, shape: Shape) -> OwnedDequantize {
    let most = *[1.0, 100.0, 1e6].choose(rng).expect("not empty");
    OwnedDequantize {
        scale: scale(rng, shape),
        bias: rng.random_bool(0.5).then(|| (0..shape.n).map(|_| rng.random_range(-most..most)).collect()),
        clamp: rng.random_bool(0.3).then(|| (rng.random_range(-1e3..0.0), rng.random_range(0.0..f32::MAX))),
    }
}

fn requantize<T: Int8Element>(rng: &mut Random, shape: Shape) -> OwnedRequantize<T> {
    let (lo, hi) = T::TYPE.range();
    let zero_point = match rng.random_range(0..4) {
        0 => 0,
        1..3 => rng.random_range(lo..=hi),
        _ => rng.random_range(-MAX_OUTPUT_ZERO..=MAX_OUTPUT_ZERO),
    };
    let clamp = rng.random_bool(0.4).then(|| {
        let (x, y) = (rng.random_range(lo..=hi), rng.random_range(lo..=hi));
        match rng.random_range(0..4) {
            // ReLU has no upper limit.
            0 => (x, i32::MAX),
            1 => (i32::MIN, x),
            _ => (x.min(y), x.max(y)),
        }
    });
    let scaling = scaling(rng, shape);
    let table = rng.random_bool(0.25).then(|| {
        let mut bits = [0; 256];
        rng.fill_bytes(&mut bits);
        Box::new(Table::from_fn(|x: T| T::from_bits(bits[usize::from(x.to_bits())])))
    });
    OwnedRequantize { scaling, zero_point, clamp, table }
}

fn scaling(rng: &mut Random, shape: Shape) -> Scaling {
    match rng.random_range(0..10) {
        0..4 => {
            let multipliers = multipliers(rng, shape);
            let (_, rounding) = *ROUNDINGS.choose(rng).expect("not empty");
            Scaling::FixedPoint(multipliers, rounding)
        }
        4 => Scaling::F64(f64_factors(rng, shape)),
        _ => Scaling::F32 {
            scale: scale(rng, shape),
            residual: rng.random_bool(0.3).then(|| residual(rng, (shape.m, shape.n))),
        },
    }
}

fn residual(rng: &mut Random, shape: (usize, usize)) -> Residual {
    let element = element_type(rng);
    let zero_point = match rng.random_range(0..3) {
        0 => 0,
        1 => rng.random_range(-300..=300),
        _ => rng.random_range(-MAX_OUTPUT_ZERO..=MAX_OUTPUT_ZERO),
    };
    let scale = match rng.random_range(0..4) {
        0 => 0.5f32.powi(rng.random_range(-3..6)),
        // Any f32 up to 2^63.
        1 => f32::from_bits(rng.random_range(0..=((1u64 << 63) as f32).to_bits())),
        _ => rng.random_range(0.0..2.0),
    };
    Residual { matrix: matrix8(rng, element, shape), scale, zero_point }
}

/// The factor by which sums of K products of random bytes spread over about 8 bits.
fn usual_factor(k: usize) -> f64 {
    1.0 / (50.0 * ((k + 1) as f64).sqrt())
}

/// Usual factors, or powers of two, which make ties.
fn f64_factors(rng: &mut Random, Shape { k, n, .. }: Shape) -> Values<f64> {
    let powers_of_two = rng.random_bool(0.3);
    let factor = |rng: &mut Random| {
        if powers_of_two {
            0.5f64.powi(rng.random_range(0..16))
        } else {
            usual_factor(k) * rng.random_range(0.01..2.0)
        }
    };
    one_or_each(rng, n, factor)
}

/// Usual multipliers, powers of two, which make ties, or any.
fn multipliers(rng: &mut Random, Shape { k, n, .. }: Shape) -> Values<Multiplier> {
    let kind = rng.random_range(0..8);
    let multiplier = |rng: &mut Random| {
        let multiplier = match kind {
            0..5 => Multiplier::from_real(usual_factor(k) * rng.random_range(0.01..2.0)),
            5 => Multiplier::from_real(0.5f64.powi(rng.random_range(0..16))),
            _ => Multiplier::new(rng.random_range(1 << 30..=i32::MAX), rng.random_range(-31..=30)),
        };
        multiplier.expect("it is within the range of multipliers")
    };
    one_or_each(rng, n, multiplier)
}

/// One value, or `len` of them.
fn one_or_each<T>(rng: &mut Random, len: usize, mut value: impl FnMut(&mut Random) -> T) -> Values<T> {
    if rng.random() {
        Values::PerTensor(value(rng))
    } else {
        Values::PerAxis((0..len).map(|_| value(rng)).collect())
    }
}

/// Usual scales, powers of two, which make ties, or extreme ones.
fn scale(rng: &mut Random, Shape { m, k, n }: Shape) -> OwnedScale {
    let usual = 1.0 / (50.0 * ((k + 1) as f32).sqrt());
    let kind = rng.random_range(0..12);
    let one = |rng: &mut Random| match kind {
        0..7 => usual * rng.random_range(0.01..2.0f32),
        7 => 0.5f32.powi(rng.random_range(0..16)),
        8 => rng.random_range(1e-9..1e-6),
        // Zero and subnormal numbers.
        9 => f32::from_bits(rng.random_range(0..=0x0080_0000)),
        // Any number that is not negative.
        10 => f32::from_bits(rng.random_range(0..=f32::MAX.to_bits())),
        _ => 1.0,
    };
    let several = |rng: &mut Random, len| -> Vec<f32> { (0..len).map(|_| one(rng)).collect() };
    match rng.random_range(0..6) {
        0..3 => OwnedScale::PerColumn(several(rng, n)),
        3 => OwnedScale::PerRow(several(rng, m)),
        4 => OwnedScale::RowsByColumns {
            rows: several(rng, m),
            // At most 1, so that all products of two scales are finite.
            columns: (0..n).map(|_| rng.random_range(0.0..1.0)).collect(),
        },
        _ => OwnedScale::PerTensor(one(rng)),
    }
}

/// Limits a scale to `most`; of a scale of rows by columns, that of the rows.
pub fn limit_scale(scale: &mut OwnedScale, most: f32) {
    match scale {
        OwnedScale::PerTensor(scale) => *scale = scale.min(most),
        OwnedScale::PerColumn(scales)
        | OwnedScale::PerRow(scales)
        | OwnedScale::RowsByColumns { rows: scales, .. } => {
            scales.iter_mut().for_each(|scale| *scale = scale.min(most));
        }
    }
}
