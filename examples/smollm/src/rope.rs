//! Rotary position embedding.

use multiversion::multiversion;

/// Cosines and sines of the angles `position · base^(-2i / dimensions)`, computed in f64 by `libm` and rounded once.
pub struct Rope {
    frequencies: Vec<f64>,
    /// The cosine and the sine of each angle, position after position.
    table: Vec<[f32; 2]>,
}

impl Rope {
    /// Angles for heads of `dimensions` values, an even number, at positions below `positions`.
    pub fn new(base: f32, dimensions: usize, positions: usize) -> Self {
        let exponent = |i: usize| -2.0 * i as f64 / dimensions as f64;
        let frequencies = (0..dimensions / 2).map(|i| libm::pow(f64::from(base), exponent(i))).collect();
        let mut rope = Self { frequencies, table: Vec::with_capacity(positions * dimensions / 2) };
        for position in 0..positions {
            rope.table.extend(rope.frequencies.iter().map(|frequency| {
                let angle = position as f64 * frequency;
                [libm::cos(angle) as f32, libm::sin(angle) as f32]
            }));
        }
        rope
    }

    /// Turns each pair of neighbours in each head by its angle at `position`. `heads` holds one head after the other.
    pub fn rotate(&self, position: usize, heads: &mut [f32]) {
        let pairs = self.frequencies.len();
        rotate_heads(&self.table[position * pairs..][..pairs], heads);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn rotate_heads(angles: &[[f32; 2]], heads: &mut [f32]) {
    for head in heads.chunks_exact_mut(2 * angles.len()) {
        for (pair, [cos, sin]) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
            let [x, y] = *pair;
            *pair = [x * cos - y * sin, x * sin + y * cos];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_turned_by_their_angles() {
        let rope = Rope::new(100_000.0, 64, 8);
        let mut heads: Vec<f32> = (0..128).map(|i| (i as f32 * 0.7).cos()).collect();
        let before = heads.clone();
        rope.rotate(7, &mut heads);
        for i in 0..64 {
            let angle = 7.0 * 100_000f64.powf(-2.0 * (i % 32) as f64 / 64.0);
            let (x, y) = (f64::from(before[2 * i]), f64::from(before[2 * i + 1]));
            let want = [x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()];
            for (got, want) in heads[2 * i..].iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < 3e-7, "pair {i}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn position_0_changes_nothing() {
        let mut heads: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let before = heads.clone();
        Rope::new(100_000.0, 64, 1).rotate(0, &mut heads);
        assert_eq!(heads, before);
    }
}
