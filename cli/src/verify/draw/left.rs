//! Random left operands.

use crate::arguments::values::Values;
use crate::verify::case::{OwnedFloats, OwnedLhs};
use crate::verify::draw::matrices::{gather_indices, matrix_f32, matrix8};
use crate::verify::operands::{GatheredFloats, GatheredRows, Picks, ZeroPoints};
use qgemm::ElementType;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus as Random;

/// The taps of gathered rows, if rows are gathered, and the elements of a row: `k`, or about as many if they must be a
/// whole number of rows of a source.
pub fn taps(rng: &mut Random, k: usize) -> (Option<usize>, usize) {
    let taps = rng.random_bool(0.2).then(|| rng.random_range(1..=9));
    (taps, taps.map_or(k, |taps| k / taps * taps))
}

/// An A of 8 bits, whose rows are gathered if there are taps.
pub fn static_a(
    rng: &mut Random,
    element: ElementType,
    shape: (usize, usize),
    taps: Option<usize>,
    a_zero: &ZeroPoints,
) -> OwnedLhs {
    match taps {
        None => OwnedLhs::Matrix(matrix8(rng, element, shape)),
        Some(taps) => OwnedLhs::Gathered(gathered_rows(rng, element, shape, taps, a_zero)),
    }
}

/// An A of f32, whose rows are gathered if there are taps, and its greatest magnitude.
pub fn dynamic_a(rng: &mut Random, shape: (usize, usize), taps: Option<usize>) -> (OwnedFloats, f32) {
    let a = match taps {
        None => OwnedFloats::Matrix(matrix_f32(rng, shape)),
        Some(taps) => OwnedFloats::Gathered(gathered_floats(rng, shape, taps)),
    };
    let (OwnedFloats::Matrix(values) | OwnedFloats::Gathered(GatheredFloats { source: values, .. })) = &a;
    let greatest = values.data.iter().fold(0f32, |max, x| max.max(x.abs()));
    (a, greatest)
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
