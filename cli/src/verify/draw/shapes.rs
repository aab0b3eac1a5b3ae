//! Random shapes: at the edges of tiles and blocks, and beyond them.

use crate::shape::Shape;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::seq::IndexedRandom;

/// Sizes at and next to the edges of tiles, panels and k-groups.
const EDGES: [usize; 38] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64,
    65, 95, 96, 97, 127, 128, 129, 191, 193, 256,
];

/// 2^15 and 2^16, and the largest K for which all sums of u8 by u8 (33,025), of u8 by i8 (65,793) and of i8 by i8
/// (131,071) fit 32 bits.
const LONG_K: [usize; 5] = [32768, 33025, 65536, 65793, 131071];

/// The largest M·K·N of most shapes, so that the reference loops stay quick.
const MAX_MACS: usize = 1 << 20;

pub fn shape(rng: &mut Random) -> Shape {
    let mut edge = |share: f64, most: usize| {
        if rng.random_bool(share) {
            *EDGES.choose(rng).expect("not empty")
        } else {
            rng.random_range(0..=most)
        }
    };
    let (m, k, n) = (edge(0.6, 40), edge(0.5, 150), edge(0.6, 150));
    let (m, k, n) = match rng.random_range(0..100) {
        // An empty dimension.
        0 => (0, k, n),
        1 => (m, 0, n),
        2 => (m, k, 0),
        // K of several blocks.
        3..6 => (rng.random_range(1..=14), rng.random_range(8193..=34000), rng.random_range(1..=20)),
        // K about a limit of 32-bit sums.
        6..8 => {
            let limit = *LONG_K.choose(rng).expect("not empty");
            (rng.random_range(1..=3), limit - 2 + rng.random_range(0..=5), rng.random_range(1..=3))
        }
        // M or N of several blocks.
        8..10 => (rng.random_range(1000..=1400), rng.random_range(1..=40), rng.random_range(1..=40)),
        10..12 => (rng.random_range(1..=14), rng.random_range(1..=60), rng.random_range(500..=2500)),
        // Enough work for several threads.
        12 => (rng.random_range(100..=220), rng.random_range(100..=220), rng.random_range(100..=220)),
        // One row or a few.
        13..21 => (rng.random_range(1..=4), rng.random_range(1..=600), rng.random_range(1..=400)),
        _ if m * k * n > MAX_MACS => (m % 50, k, n),
        _ => (m, k, n),
    };
    Shape { m, k, n }
}
