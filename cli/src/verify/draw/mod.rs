//! Random cases. A case depends on the seed and its index alone, so that any case can be drawn again.
//!
//! The order of all draws is part of that: if it changes, every seed gives other cases.

mod matrices;
mod output;
mod shapes;

use crate::arguments::values::Values;
use crate::shape::Shape;
use crate::verify::case::{
    Call, Case, Destination, Dynamic, GatheredRows, Output, OwnedLhs, Product, Static,
};
use crate::verify::draw::matrices::{
    element_type, float_values, gather_indices, input_layout, matrix8, output_layout,
};
use crate::verify::draw::output::{bias, dequantize, limit_scale, output, zero_point};
use crate::verify::draw::shapes::shape;
use qgemm::ElementType::{self, I8, U8};
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::{RngExt, SeedableRng};

/// Case `index` of `seed`.
pub fn case(seed: u64, index: u64) -> Case {
    // An odd factor, so that the sums of small seeds and indices differ. The generator mixes its seed itself.
    let rng = &mut Random::seed_from_u64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let call = match rng.random_range(0..16) {
        0..2 => Call::Batch(batch(rng)),
        2..4 => Call::Dynamic(dynamic_product(rng)),
        _ => {
            let shape = shape(rng);
            Call::Single(static_product(rng, shape))
        }
    };
    Case { call, threads: rng.random_range(1..=3) }
}

fn batch(rng: &mut Random) -> Vec<Product<Static>> {
    let count = rng.random_range(0..=6);
    // Products of equal shapes are shared among threads in another way than products of different ones.
    let common = rng.random_bool(0.3).then(|| small_shape(rng));
    let product = |_| {
        let shape = common.unwrap_or_else(|| small_shape(rng));
        static_product(rng, shape)
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

fn static_product(rng: &mut Random, Shape { m, k, n }: Shape) -> Product<Static> {
    let element = element_type(rng);
    let taps = rng.random_bool(0.2).then(|| rng.random_range(1..=9));
    // A gathered row is a whole number of rows of the source.
    let k = taps.map_or(k, |taps| k / taps * taps);
    let output = output(rng, element, Shape { m, k, n });
    // i32 outputs are defined modulo 2^32. The others need exact sums, which must stay below 2^63.
    let any_zero = matches!(output, Output::I32 { .. });
    let a_zero = zero_point(rng, m, element, any_zero, 1 << 28);
    let a = match taps {
        None => OwnedLhs::Matrix(matrix8(rng, element, (m, k))),
        Some(taps) => OwnedLhs::Gathered(gathered_rows(rng, element, (m, k), taps, &a_zero)),
    };
    let bias = rng.random_bool(0.5).then(|| bias(rng, n));
    product(rng, Shape { m, k, n }, Static { a, a_zero, bias, output }, element, any_zero)
}

fn dynamic_product(rng: &mut Random) -> Product<Dynamic> {
    // A quarter has so many elements of A that several threads quantize it.
    let is_large = rng.random_bool(0.25);
    let large =
        Shape { m: rng.random_range(50..=300), k: rng.random_range(200..=600), n: rng.random_range(1..=20) };
    let shape = if is_large { large } else { shape(rng) };
    let quantization = dynamic(rng, shape);
    let quantized_type = if quantization.asymmetric { U8 } else { I8 };
    product(rng, shape, quantization, quantized_type, false)
}

/// A product with a random B and C. With `any_zero` the zero points of B may be any i32.
fn product<Q>(
    rng: &mut Random,
    Shape { m, k, n }: Shape,
    quantization: Q,
    a_type: ElementType,
    any_zero: bool,
) -> Product<Q> {
    let b_type = element_type(rng);
    Product {
        k,
        quantization,
        b: matrix8(rng, b_type, (k, n)),
        packed_for: match rng.random_range(0..8) {
            0..5 => Some(a_type),
            5 => Some(if a_type == I8 { U8 } else { I8 }),
            _ => None,
        },
        b_zero: zero_point(rng, n, b_type, any_zero, 1 << 12),
        c: Destination { rows: m, cols: n, layout: output_layout(rng, (m, n)), fill: rng.random() },
    }
}

/// An A of M×K whose rows are gathered, some of them padding.
fn gathered_rows(
    rng: &mut Random,
    element: ElementType,
    (m, k): (usize, usize),
    taps: usize,
    a_zero: &Values<i32>,
) -> GatheredRows {
    let rows = rng.random_range(1..=m.max(2));
    let source = matrix8(rng, element, (rows, k / taps));
    let indices = gather_indices(rng, m * taps, rows);
    let (lo, hi) = element.range();
    let zeros = match a_zero {
        Values::PerTensor(zero) => std::slice::from_ref(zero),
        Values::PerAxis(zeros) => zeros,
    };
    // Padding with the zero point is an error if an element cannot hold it.
    let needs_value = !zeros.iter().all(|zero| (lo..=hi).contains(zero));
    let padding = (needs_value || rng.random_bool(0.3)).then(|| rng.random_range(lo..=hi));
    GatheredRows { source, indices, taps, padding }
}

fn dynamic(rng: &mut Random, shape: Shape) -> Dynamic {
    let layout = input_layout(rng, (shape.m, shape.k));
    let a = float_values(rng, layout.len);
    let mut output = dequantize(rng, shape);
    // The product with the scale of A must be finite.
    limit_scale(&mut output.scale, 1e6);
    Dynamic { layout, a, asymmetric: rng.random(), per_tensor: rng.random_bool(0.3), output }
}
