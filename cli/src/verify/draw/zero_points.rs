//! Random zero points of operands.

use crate::arguments::values::Values;
use crate::verify::operands::ZeroPoints;
use qgemm::ElementType;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus as Random;

/// One zero point, or `len` of them: within the element type, within ±300, within ±`most`, or, with `any`, any i32. Some
/// are given as i8 or u8, if they fit.
pub fn zero_points(rng: &mut Random, len: usize, element: ElementType, any: bool, most: i32) -> ZeroPoints {
    let (lo, hi) = element.range();
    let range = match rng.random_range(0..8) {
        0..3 => 0..=0,
        3..5 => lo..=hi,
        6 if any => i32::MIN..=i32::MAX,
        5..7 => -300..=300,
        // Most outputs of 8 bits then saturate.
        _ => -most..=most,
    };
    if !rng.random_bool(0.4) {
        return ZeroPoints::I32(Values::PerTensor(rng.random_range(range)));
    }
    let zeros: Vec<i32> = (0..len).map(|_| rng.random_range(range.clone())).collect();
    let (narrow, prefers_u8) = (rng.random_bool(0.7), rng.random());
    let as_i8: Option<Vec<i8>> = zeros.iter().map(|&zero| zero.try_into().ok()).collect();
    let as_u8: Option<Vec<u8>> = zeros.iter().map(|&zero| zero.try_into().ok()).collect();
    match (as_i8, as_u8) {
        (Some(_), Some(zeros)) if narrow && prefers_u8 => ZeroPoints::U8(zeros),
        (Some(zeros), _) if narrow => ZeroPoints::I8(zeros),
        (None, Some(zeros)) if narrow => ZeroPoints::U8(zeros),
        _ => ZeroPoints::I32(Values::PerAxis(zeros)),
    }
}

/// One zero point, or `len` of them, within the element type. Some are given in that type.
pub fn zero_points_within(rng: &mut Random, len: usize, element: ElementType) -> ZeroPoints {
    let (lo, hi) = element.range();
    match rng.random_range(0..4) {
        0 => ZeroPoints::I32(Values::PerTensor(0)),
        1 => ZeroPoints::I32(Values::PerTensor(rng.random_range(lo..=hi))),
        2 => ZeroPoints::I32(Values::PerAxis((0..len).map(|_| rng.random_range(lo..=hi)).collect())),
        _ => match element {
            ElementType::I8 => ZeroPoints::I8((0..len).map(|_| rng.random()).collect()),
            ElementType::U8 => ZeroPoints::U8((0..len).map(|_| rng.random()).collect()),
        },
    }
}
