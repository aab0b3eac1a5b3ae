//! Random biases and output stages.

use crate::shape::Shape;
use crate::verify::case::Output;
use crate::verify::draw::matrices::{element_type, matrix_f32, matrix8};
use crate::verify::draw::scales::{f64_factors, fit_dynamic, multipliers, scale};
use crate::verify::stage::{Added, FloatStage, Limits, QuantizedResidual, QuantizedStage, Scaling, six};
use qgemm::ElementType::{self, I8, U8};
use qgemm::{Activation, Int8Element, Rounding, Table};
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// The largest magnitude of the zero points of outputs and residuals.
const MAX_OUTPUT_ZERO: i32 = 1 << 21;

const ROUNDINGS: [Rounding; 4] = [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single, Rounding::Reference];

pub fn bias(rng: &mut Random, n: usize) -> Vec<i32> {
    let most = *[100, 1 << 20, i32::MAX].choose(rng).expect("not empty");
    (0..n).map(|_| rng.random_range(-most..=most)).collect()
}

/// The output of a static product whose A is of type `a`.
pub fn static_output(rng: &mut Random, a: ElementType, shape: Shape) -> Output {
    match rng.random_range(0..8) {
        0..2 => Output::I32 { accumulate: false },
        2 => Output::I32 { accumulate: true },
        3 => Output::F32(float_stage(rng, shape, None)),
        // Mostly the type of A: the outputs of a layer are the activations of the next.
        _ => match if rng.random_bool(0.7) { a } else { element_type(rng) } {
            I8 => Output::I8(quantized_stage(rng, shape, None)),
            U8 => Output::U8(quantized_stage(rng, shape, None)),
        },
    }
}

/// The output of a dynamic product whose A has the `greatest` magnitude.
pub fn dynamic_output(rng: &mut Random, greatest: f32, shape: Shape) -> Output {
    match rng.random_range(0..4) {
        0..2 => Output::F32(float_stage(rng, shape, Some(greatest))),
        2 => Output::I8(quantized_stage(rng, shape, Some(greatest))),
        _ => Output::U8(quantized_stage(rng, shape, Some(greatest))),
    }
}

/// The stage of an f32 output. `greatest` is the greatest magnitude of an A that the call quantizes.
pub fn float_stage(rng: &mut Random, shape: Shape, greatest: Option<f32>) -> FloatStage {
    let most = *[1.0, 100.0, 1e6].choose(rng).expect("not empty");
    let mut scale = scale(rng, shape);
    if let Some(greatest) = greatest {
        fit_dynamic(rng, &mut scale, greatest);
    }
    FloatStage {
        scale,
        bias: rng.random_bool(0.5).then(|| (0..shape.n).map(|_| rng.random_range(-most..most)).collect()),
        residual: rng.random_bool(0.4).then(|| {
            if rng.random() { Added::InPlace } else { Added::Matrix(matrix_f32(rng, (shape.m, shape.n))) }
        }),
        limits: rng.random_bool(0.4).then(|| match rng.random_range(0..4) {
            0 => Limits::Relu,
            1 => Limits::Relu6(()),
            _ => Limits::Clamp(rng.random_range(-1e3..0.0), rng.random_range(0.0..f32::MAX)),
        }),
        activation: rng.random_bool(0.3).then(|| *Activation::ALL.choose(rng).expect("not empty")),
        is_kept: rng.random_bool(0.3),
    }
}

/// `greatest` is the greatest magnitude in the A of a dynamic product, whose scales are floats.
fn quantized_stage<T: Int8Element>(
    rng: &mut Random,
    shape: Shape,
    greatest: Option<f32>,
) -> QuantizedStage<T> {
    let (lo, hi) = T::TYPE.range();
    let zero_point = match rng.random_range(0..8) {
        0..2 => 0,
        2..6 => rng.random_range(lo..=hi),
        6 => rng.random_range(-300..=300),
        // Most outputs then saturate.
        _ => rng.random_range(-MAX_OUTPUT_ZERO..=MAX_OUTPUT_ZERO),
    };
    let limits = limits(rng, zero_point, (lo, hi));
    let scaling = match greatest {
        None => scaling(rng, shape),
        Some(greatest) => {
            let mut scale = scale(rng, shape);
            fit_dynamic(rng, &mut scale, greatest);
            Scaling::F32 { scale, residual: residual(rng, shape) }
        }
    };
    let table = rng.random_bool(0.25).then(|| {
        let mut bits = [0; 256];
        rng.fill_bytes(&mut bits);
        Box::new(Table::from_fn(|x: T| T::from_bits(bits[usize::from(x.to_bits())])))
    });
    QuantizedStage { scaling, zero_point, limits, table, is_kept: rng.random_bool(0.3) }
}

/// Limits that leave some of the output type's `lo..=hi`.
fn limits(rng: &mut Random, zero_point: i32, (lo, hi): (i32, i32)) -> Option<Limits<i32, f32>> {
    let (x, y) = (rng.random_range(lo..=hi), rng.random_range(lo..=hi));
    let output_scale = 6.0
        / match rng.random_range(0..8) {
            // So many steps that they do not fit i32.
            0 => 1e30,
            // Ties between two numbers of steps.
            1..4 => rng.random_range(0..200) as f32 + 0.5,
            _ => rng.random_range(0.3..400.0),
        };
    match rng.random_range(0..12) {
        0 => Some(Limits::Clamp(x, i32::MAX)),
        1 => Some(Limits::Clamp(i32::MIN, x)),
        2..4 => Some(Limits::Clamp(x.min(y), x.max(y))),
        4 if zero_point <= hi => Some(Limits::Relu),
        5 if zero_point <= hi && zero_point.saturating_add(six(output_scale)) >= lo => {
            Some(Limits::Relu6(output_scale))
        }
        _ => None,
    }
}

fn scaling(rng: &mut Random, shape: Shape) -> Scaling {
    match rng.random_range(0..10) {
        0..4 => {
            let multipliers = multipliers(rng, shape);
            Scaling::FixedPoint(multipliers, *ROUNDINGS.choose(rng).expect("not empty"))
        }
        4 => Scaling::F64(f64_factors(rng, shape)),
        _ => Scaling::F32 { scale: scale(rng, shape), residual: residual(rng, shape) },
    }
}

fn residual(rng: &mut Random, shape: Shape) -> Option<QuantizedResidual> {
    if rng.random_bool(0.6) {
        return None;
    }
    let zero_point = match rng.random_range(0..6) {
        0..2 => 0,
        2..5 => rng.random_range(-300..=300),
        _ => rng.random_range(-MAX_OUTPUT_ZERO..=MAX_OUTPUT_ZERO),
    };
    let scale = match rng.random_range(0..6) {
        0..2 => 0.5f32.powi(rng.random_range(-3..6)),
        // Any f32 up to 2^63.
        2 => f32::from_bits(rng.random_range(0..=((1u64 << 63) as f32).to_bits())),
        _ => rng.random_range(0.0..2.0),
    };
    let matrix = if rng.random() {
        Added::InPlace
    } else {
        let element = element_type(rng);
        Added::Matrix(matrix8(rng, element, (shape.m, shape.n)))
    };
    Some(QuantizedResidual { matrix, scale, zero_point })
}
