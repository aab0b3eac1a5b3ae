//! Random cases. A case depends on the seed and its index alone, so that any case can be drawn again.
//!
//! The order of all draws is part of that: if it changes, every seed gives other cases.

mod groups;
mod left;
mod matrices;
mod output;
mod scales;
mod shapes;
mod zero_points;

use crate::shape::Shape;
use crate::verify::case::{
    Activations, Call, Case, ColumnWeights, Dynamic, Output, Per, Product, Static, Weights,
};
use crate::verify::draw::groups::groupwise_product;
use crate::verify::draw::left::{dynamic_a, static_a, taps};
use crate::verify::draw::matrices::{destination, element_type, matrix8};
use crate::verify::draw::output::{bias, dynamic_output, static_output};
use crate::verify::draw::shapes::shape;
use crate::verify::draw::zero_points::zero_points;
use qgemm::ElementType::{self, I8, U8};
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::{RngExt, SeedableRng};

/// Case `index` of `seed`.
pub fn case(seed: u64, index: u64) -> Case {
    // An odd factor, so that the sums of small seeds and indices differ. The generator mixes its seed itself.
    let rng = &mut Random::seed_from_u64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let call = match rng.random_range(0..20) {
        0..2 => Call::Batch(batch(rng)),
        2..4 => {
            let product = match rng.random_range(0..10) {
                0..3 => dynamic_product_of_any_size(rng, false),
                3..6 => groupwise_product_of_any_size(rng),
                _ => static_product_of_any_size(rng),
            };
            Call::Parts(product, rng.random_range(1..=6))
        }
        4..7 => {
            let with_params = rng.random();
            Call::One(dynamic_product_of_any_size(rng, with_params))
        }
        7..12 => Call::One(groupwise_product_of_any_size(rng)),
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
        match rng.random_range(0..10) {
            0..3 => dynamic_product(rng, shape, false),
            3..5 => groupwise_product(rng, shape),
            _ => static_product(rng, shape),
        }
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
    let shape = shape_for_floats(rng);
    dynamic_product(rng, shape, with_params)
}

fn groupwise_product_of_any_size(rng: &mut Random) -> Product {
    let shape = shape_for_floats(rng);
    groupwise_product(rng, shape)
}

/// The shape of a product whose A may be quantized by the call: a quarter has so many elements of A that several threads
/// do that.
fn shape_for_floats(rng: &mut Random) -> Shape {
    let is_large = rng.random_bool(0.25);
    let large =
        Shape { m: rng.random_range(50..=300), k: rng.random_range(200..=600), n: rng.random_range(1..=20) };
    if is_large { large } else { shape(rng) }
}

fn static_product(rng: &mut Random, Shape { m, k, n }: Shape) -> Product {
    let element = element_type(rng);
    let (taps, k) = taps(rng, k);
    let output = static_output(rng, element, Shape { m, k, n });
    // i32 outputs are defined modulo 2^32. The others need exact sums, which must stay below 2^63.
    let any_zero = matches!(output, Output::I32 { .. });
    let a_zero = zero_points(rng, m, element, any_zero, 1 << 28);
    let a = static_a(rng, element, (m, k), taps, &a_zero);
    let bias = rng.random_bool(0.5).then(|| bias(rng, n));
    let a = Activations::Static(Static { a, a_zero, bias });
    product(rng, Shape { m, k, n }, a, output, element)
}

fn dynamic_product(rng: &mut Random, Shape { m, k, n }: Shape, with_params: bool) -> Product {
    let (taps, k) = taps(rng, k);
    let (a, greatest) = dynamic_a(rng, (m, k), taps);
    let asymmetric = rng.random();
    let per = if rng.random_bool(0.3) { Per::Tensor } else { Per::Row };
    let output = dynamic_output(rng, greatest, Shape { m, k, n });
    let a = Activations::Dynamic(Dynamic { a, asymmetric, per, with_params });
    product(rng, Shape { m, k, n }, a, output, if asymmetric { U8 } else { I8 })
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
    let b = ColumnWeights {
        b: matrix8(rng, b_type, (k, n)),
        packed_for: match rng.random_range(0..8) {
            0..5 => Some(a_type),
            5 => Some(if a_type == I8 { U8 } else { I8 }),
            _ => None,
        },
        zero: zero_points(rng, n, b_type, any_zero, 1 << 12),
    };
    Product { k, a, b: Weights::Columns(b), c: destination(rng, (m, n)), output }
}
