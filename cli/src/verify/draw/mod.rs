//! Random cases. A case depends on the seed and its index alone, so that any case can be drawn again.
//!
//! The order of all draws is part of that: if it changes, every seed gives other cases.

mod matrices;
mod output;
mod scales;
mod shapes;
mod zero_points;

use crate::arguments::values::Values;
use crate::shape::Shape;
use crate::verify::case::{Activations, Call, Case, Dynamic, Output, OwnedFloats, OwnedLhs, Product, Static};
use crate::verify::destination::Destination;
use crate::verify::draw::matrices::{element_type, gather_indices, matrix_f32, matrix8, output_layout};
use crate::verify::draw::output::{bias, dynamic_output, static_output};
use crate::verify::draw::shapes::shape;
use crate::verify::draw::zero_points::zero_points;
use crate::verify::operands::{GatheredFloats, GatheredRows, Picks, ZeroPoints};
use qgemm::ElementType::{self, I8, U8};
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::{RngExt, SeedableRng};

/// Case `index` of `seed`.
pub fn case(seed: u64, index: u64) -> Case {
    // An odd factor, so that the sums of small seeds and indices differ. The generator mixes its seed itself.
    let rng = &mut Random::seed_from_u64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let call = match rng.random_range(0..16) {
        0..2 => Call::Batch(batch(rng)),
        2..4 => {
            let product = if rng.random_bool(0.3) {
                dynamic_product_of_any_size(rng, false)
            } else {
                static_product_of_any_size(rng)
            };
            Call::Parts(product, rng.random_range(1..=6))
        }
        4..7 => {
            let with_params = rng.random();
            Call::One(dynamic_product_of_any_size(rng, with_params))
        }
        _ => Call::One(static_product_of_any_size(rng)),
    };
    Case { call, threads: rng.random_range(1..=3) }
}

fn batch(rng: &mut Random) -> Vec<Product> {
    let count = rng.random_range(0..=6);
    // Products of equal shapes are shared among threads in another way than products of different ones.
    let common = rng.random_bool(0.3).then(|| small_shape(rng));
    let product = |_| {
        let shape = common.unwrap_or_else(|| small_shape(rng));
        if rng.random_bool(0.3) { dynamic_product(rng, shape, false) } else { static_product(rng, shape) }
    };
    (0..count).map(product).collect()
}

fn small_shape(rng: &mut Random) -> Shape {
    loop {
        let shape @ Shape { m, k, n } = shape(rng);
        if m * k * n <= 1 << 19 {
            return shape;
        }
    }
}

fn static_product_of_any_size(rng: &mut Random) -> Product {
    let shape = shape(rng);
    static_product(rng, shape)
}

fn dynamic_product_of_any_size(rng: &mut Random, with_params: bool) -> Product {
    // A quarter has so many elements of A that several threads quantize it.
    let is_large = rng.random_bool(0.25);
    let large =
        Shape { m: rng.random_range(50..=300), k: rng.random_range(200..=600), n: rng.random_range(1..=20) };
    let shape = if is_large { large } else { shape(rng) };
    dynamic_product(rng, shape, with_params)
}

fn static_product(rng: &mut Random, Shape { m, k, n }: Shape) -> Product {
    let element = element_type(rng);
    let (taps, k) = taps(rng, k);
    let output = static_output(rng, element, Shape { m, k, n });
    // i32 outputs are defined modulo 2^32. The others need exact sums, which must stay below 2^63.
    let any_zero = matches!(output, Output::I32 { .. });
    let a_zero = zero_points(rng, m, element, any_zero, 1 << 28);
    let a = match taps {
        None => OwnedLhs::Matrix(matrix8(rng, element, (m, k))),
        Some(taps) => OwnedLhs::Gathered(gathered_rows(rng, element, (m, k), taps, &a_zero)),
    };
    let bias = rng.random_bool(0.5).then(|| bias(rng, n));
    let a = Activations::Static(Static { a, a_zero, bias });
    product(rng, Shape { m, k, n }, a, output, element)
}

fn dynamic_product(rng: &mut Random, Shape { m, k, n }: Shape, with_params: bool) -> Product {
    let (taps, k) = taps(rng, k);
    let a = match taps {
        None => OwnedFloats::Matrix(matrix_f32(rng, (m, k))),
        Some(taps) => OwnedFloats::Gathered(gathered_floats(rng, (m, k), taps)),
    };
    let (asymmetric, per_tensor) = (rng.random(), rng.random_bool(0.3));
    let (OwnedFloats::Matrix(values) | OwnedFloats::Gathered(GatheredFloats { source: values, .. })) = &a;
    let greatest = values.data.iter().fold(0f32, |max, x| max.max(x.abs()));
    let output = dynamic_output(rng, greatest, Shape { m, k, n });
    let a = Activations::Dynamic(Dynamic { a, asymmetric, per_tensor, with_params });
    product(rng, Shape { m, k, n }, a, output, if asymmetric { U8 } else { I8 })
}

/// The taps of gathered rows, if rows are gathered, and the elements of a row: `k`, or about as many if they must be a
/// whole number of rows of a source.
fn taps(rng: &mut Random, k: usize) -> (Option<usize>, usize) {
    let taps = rng.random_bool(0.2).then(|| rng.random_range(1..=9));
    (taps, taps.map_or(k, |taps| k / taps * taps))
}

/// A product with a random B and C. The integers of A are of type `a_type`.
fn product(
    rng: &mut Random,
    Shape { m, k, n }: Shape,
    a: Activations,
    output: Output,
    a_type: ElementType,
) -> Product {
    let b_type = element_type(rng);
    // As for the zero points of A.
    let any_zero = matches!(output, Output::I32 { .. });
    Product {
        k,
        a,
        b: matrix8(rng, b_type, (k, n)),
        packed_for: match rng.random_range(0..8) {
            0..5 => Some(a_type),
            5 => Some(if a_type == I8 { U8 } else { I8 }),
            _ => None,
        },
        b_zero: zero_points(rng, n, b_type, any_zero, 1 << 12),
        c: Destination { rows: m, cols: n, layout: output_layout(rng, (m, n)), fill: rng.random() },
        output,
    }
}

/// An A of M×K whose rows are gathered, some of them padding.
fn gathered_rows(
    rng: &mut Random,
    element: ElementType,
    (m, k): (usize, usize),
    taps: usize,
    a_zero: &ZeroPoints,
) -> GatheredRows {
    let rows = rng.random_range(1..=m.max(2));
    let source = matrix8(rng, element, (rows, k / taps));
    let picks = Picks { indices: gather_indices(rng, m * taps, rows), taps };
    let (lo, hi) = element.range();
    // Padding with the zero point is an error if an element cannot hold it.
    let needs_value = match a_zero.widened() {
        Values::PerTensor(zero) => !(lo..=hi).contains(&zero),
        Values::PerAxis(zeros) => !zeros.iter().all(|zero| (lo..=hi).contains(zero)),
    };
    let padding = (needs_value || rng.random_bool(0.3)).then(|| rng.random_range(lo..=hi));
    GatheredRows { source, picks, padding }
}

/// An A of M×K floats whose rows are gathered, some of them padding.
fn gathered_floats(rng: &mut Random, (m, k): (usize, usize), taps: usize) -> GatheredFloats {
    let rows = rng.random_range(1..=m.max(2));
    let source = matrix_f32(rng, (rows, k / taps));
    GatheredFloats { source, picks: Picks { indices: gather_indices(rng, m * taps, rows), taps } }
}
