//! Random products with group-wise weights.

use crate::arguments::scales::OwnedScale;
use crate::files::matrices::{Elements8, Matrix8};
use crate::shape::Shape;
use crate::verify::case::{Activations, Dynamic, Output, Per, Product, Static, Weights};
use crate::verify::draw::left::{dynamic_a, static_a, taps};
use crate::verify::draw::matrices::{destination, element_type, matrix_f32, matrix8};
use crate::verify::draw::output::float_stage;
use crate::verify::draw::zero_points::zero_points_within;
use crate::verify::groups::{GroupWeights, GroupZeros, RealValues, Reals};
use crate::verify::operands::MatrixF32;
use qgemm::half::{bf16, f16};
use qgemm::{CodeBits, ElementType};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::seq::IndexedRandom;

/// Rows of groups; the last is longer than most matrices.
const GROUPS: [usize; 9] = [8, 16, 24, 32, 64, 128, 128, 256, 1000];

/// A product of 8-bit or f32 activations and group-wise weights, to f32.
pub fn groupwise_product(rng: &mut Random, Shape { m, k, n }: Shape) -> Product {
    let (taps, k) = taps(rng, k);
    let shape = Shape { m, k, n };
    let (a, greatest) = if rng.random_bool(0.3) {
        let element = element_type(rng);
        let a_zero = zero_points_within(rng, m, element);
        let a = static_a(rng, element, (m, k), taps, &a_zero);
        (Activations::Static(Static { a, a_zero, bias: None }), None)
    } else {
        let (a, greatest) = dynamic_a(rng, (m, k), taps);
        let per = if rng.random() { Per::RowAndGroup } else { Per::Row };
        let asymmetric = per == Per::Row && rng.random();
        (Activations::Dynamic(Dynamic { a, asymmetric, per, with_params: false }), Some(greatest))
    };
    let b = Weights::Groups(weights(rng, (k, n)));
    let mut stage = float_stage(rng, shape, greatest);
    // The scale of `Dequantize::groupwise`.
    if rng.random() {
        stage.scale = OwnedScale::PerTensor(1.0);
    }
    Product { k, a, b, c: destination(rng, (m, n)), output: Output::F32(stage) }
}

fn weights(rng: &mut Random, (k, n): (usize, usize)) -> GroupWeights {
    let bits = if rng.random_bool(0.6) { CodeBits::Four } else { CodeBits::Eight };
    let group = if rng.random_bool(0.1) {
        // One group of all rows, of any length.
        k.max(1) + rng.random_range(0..3)
    } else {
        *GROUPS.choose(rng).expect("not empty")
    };
    let groups = k.div_ceil(group);
    let element = element_type(rng);
    let zeros = match rng.random_range(0..4) {
        0 => GroupZeros::Default,
        1 => {
            let (lo, hi) = element.range();
            GroupZeros::One(code(rng.random_range(lo..=hi), bits))
        }
        _ => GroupZeros::Each(codes(rng, element, bits, (groups, n))),
    };
    GroupWeights {
        bits,
        group,
        codes: codes(rng, element, bits, (k, n)),
        scales: reals(rng, (groups, n)),
        zeros,
        minimums: rng.random_bool(0.3).then(|| reals(rng, (groups, n))),
    }
}

/// The code that an 8-bit value becomes: the value itself, or its upper four bits. Extreme values become extreme codes.
fn code(value: i32, bits: CodeBits) -> i32 {
    if bits == CodeBits::Four { value >> 4 } else { value }
}

fn codes(rng: &mut Random, element: ElementType, bits: CodeBits, shape: (usize, usize)) -> Matrix8 {
    let mut codes = matrix8(rng, element, shape);
    match &mut codes.data {
        Elements8::I8(data) => data.iter_mut().for_each(|x| *x = code((*x).into(), bits) as i8),
        Elements8::U8(data) => data.iter_mut().for_each(|x| *x = code((*x).into(), bits) as u8),
    }
    codes
}

/// Finite numbers of a type that scales may have.
fn reals(rng: &mut Random, shape: (usize, usize)) -> Reals {
    let MatrixF32 { rows, cols, layout, data } = matrix_f32(rng, shape);
    let values = match rng.random_range(0..3) {
        0 => RealValues::F32(data),
        1 => {
            let within = |x: f32| x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32());
            RealValues::F16(data.into_iter().map(|x| f16::from_f32(within(x))).collect())
        }
        _ => RealValues::Bf16(data.into_iter().map(bf16::from_f32).collect()),
    };
    Reals { rows, cols, layout, values }
}
