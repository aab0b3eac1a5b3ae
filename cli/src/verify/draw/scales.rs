//! Random scales: of f32, of f64 and of integers.

use crate::arguments::scales::OwnedScale;
use crate::arguments::values::Values;
use crate::shape::Shape;
use qgemm::Multiplier;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus as Random;

/// The factor by which sums of K products of random bytes spread over about 8 bits.
fn usual_factor(k: usize) -> f64 {
    1.0 / (50.0 * ((k + 1) as f64).sqrt())
}

/// Usual factors, or powers of two, which make ties.
pub fn f64_factors(rng: &mut Random, Shape { k, n, .. }: Shape) -> Values<f64> {
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
pub fn multipliers(rng: &mut Random, Shape { k, n, .. }: Shape) -> Values<Multiplier> {
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
pub fn scale(rng: &mut Random, Shape { m, k, n }: Shape) -> OwnedScale {
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

/// The scale of an output, made to fit a product that finds the scale of A, of which `greatest` is the greatest magnitude.
/// Most are divided by a usual scale of A. All are limited: products with a scale of A must be finite.
pub fn fit_dynamic(rng: &mut Random, scale: &mut OwnedScale, greatest: f32) {
    let by = if rng.random_bool(0.9) && greatest > 0.0 { (127.0 / greatest).min(1e33) } else { 1.0 };
    // A scale of A is at most 2/255 of the greatest magnitude, or 1.
    let most = 1e37 / greatest.max(1.0);
    let fit = |scale: &mut f32| *scale = (*scale * by).min(most);
    match scale {
        OwnedScale::PerTensor(scale) => fit(scale),
        // Scales of columns are at most 1 if there are scales of rows.
        OwnedScale::PerColumn(scales)
        | OwnedScale::PerRow(scales)
        | OwnedScale::RowsByColumns { rows: scales, .. } => scales.iter_mut().for_each(fit),
    }
}
