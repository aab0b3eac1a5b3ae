//! The operands of a measured shape.

use crate::memory::{check_available, zeros};
use crate::shape::Shape;
use anyhow::Result;
use qgemm::{Error, MatRef};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

/// Row-major matrices of a shape, the same in every run.
pub struct Operands {
    pub shape: Shape,
    /// A over the whole range of u8. The first row (half of it if there is no other) is 255.
    pub a_u8: Vec<u8>,
    /// The bytes of `a_u8` as i8. The first row (half of it if there is no other) is -128.
    pub a_i8: Vec<i8>,
    /// A as floats for dynamic quantization; empty if no variant needs it.
    pub a_f32: Vec<f32>,
    /// B over the whole range. Columns 0 and 1 are 127 and -128.
    pub b: Vec<i8>,
    /// One per column, chosen so that outputs spread over 8 bits.
    pub scales: Vec<f32>,
}

impl Operands {
    /// Refuses a shape whose measurement needs more memory than is available.
    pub fn check_memory(shape: Shape, with_floats: bool) -> Result<()> {
        let Shape { m, k, n } = shape;
        let [a, b, c] = [(m, k), (k, n), (m, n)].map(|(rows, cols)| rows as f64 * cols as f64);
        // Bytes. Of A: u8 and i8, and for dynamic quantization f32 and the quantized bytes; one of them in another order
        // too. Of B: i8, and twice packed with up to two bytes per element, once here and once by a thread. Of C: up to
        // four, in two orders.
        let floats = if with_floats { 9.0 * a } else { 0.0 };
        check_available("--shapes", shape, 3.0 * a + floats + 5.0 * b + 8.0 * c)
    }

    pub fn new(shape: Shape, with_floats: bool) -> Result<Self> {
        let Shape { m, k, n } = shape;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut a_u8: Vec<u8> = zeros("--shapes", shape, m.saturating_mul(k))?;
        let mut b: Vec<i8> = zeros("--shapes", shape, k.saturating_mul(n))?;
        let mut a_i8: Vec<i8> = zeros("--shapes", shape, m.saturating_mul(k))?;
        rng.fill_bytes(&mut a_u8);
        a_i8.iter_mut().zip(&a_u8).for_each(|(signed, unsigned)| *signed = *unsigned as i8);
        let extremes = if m > 1 { k } else { k / 2 };
        a_u8[..extremes].fill(255);
        a_i8[..extremes].fill(-128);
        b.iter_mut().for_each(|b| *b = rng.random());
        for row in b.chunks_exact_mut(n) {
            row[0] = 127;
            if n > 1 {
                row[1] = -128;
            }
        }
        let floats = if with_floats { m.saturating_mul(k) } else { 0 };
        let mut a_f32: Vec<f32> = zeros("--shapes", shape, floats)?;
        a_f32.iter_mut().for_each(|x| *x = rng.random_range(-3.0..5.0));
        // Values over the whole range of 8 bits have a standard deviation of about 74, sums of K products one of
        // 74·74·sqrt(K), and 8-bit outputs then one of about 35.
        let scale = 35.0 / (74.0 * 74.0 * (k as f32).sqrt());
        let scales = (0..n).map(|j| scale * (0.5 + (j % 16) as f32 / 32.0)).collect();
        Ok(Self { shape, a_u8, a_i8, a_f32, b, scales })
    }

    pub fn b(&self) -> Result<MatRef<'_, i8>, Error> {
        MatRef::row_major(&self.b, self.shape.k, self.shape.n)
    }
}
