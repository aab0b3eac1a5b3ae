//! Random operands, and the check of a result.

use qgemm::{ElementType, Error, MatMut, MatRef, PackedB};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// M, K and N of a product.
pub type Shape = [usize; 3];

pub fn name([m, k, n]: Shape) -> String {
    format!("{m}x{k}x{n}")
}

/// Multiply-adds.
pub fn macs([m, k, n]: Shape) -> u64 {
    (m * k * n) as u64
}

/// Row-major matrices over the full range of their types.
pub struct Operands {
    pub shape: Shape,
    pub a: Vec<u8>,
    /// The bytes of `a` as i8.
    pub a_signed: Vec<i8>,
    pub b: Vec<i8>,
    /// One per column, chosen so that 8-bit outputs are neither all 0 nor all saturated.
    pub scales: Vec<f32>,
}

impl Operands {
    pub fn new(shape: Shape) -> Self {
        let [m, k, n] = shape;
        let mut rng = StdRng::seed_from_u64(7);
        let a: Vec<u8> = (0..m * k).map(|_| rng.random()).collect();
        // Random bytes have a standard deviation of about 74, sums of K products one of 74·74·sqrt(K), and outputs
        // then one of about 35.
        let usual = 35.0 / (74.0 * 74.0 * (k as f32).sqrt());
        Self {
            shape,
            a_signed: a.iter().map(|&a| a as i8).collect(),
            a,
            b: (0..k * n).map(|_| rng.random()).collect(),
            scales: (0..n).map(|_| usual * rng.random_range(0.5..1.0)).collect(),
        }
    }

    pub fn a(&self) -> MatRef<'_, u8> {
        MatRef::row_major(&self.a, self.shape[0], self.shape[1]).expect("the operands have this shape")
    }

    pub fn a_signed(&self) -> MatRef<'_, i8> {
        MatRef::row_major(&self.a_signed, self.shape[0], self.shape[1]).expect("the operands have this shape")
    }

    pub fn b(&self) -> MatRef<'_, i8> {
        MatRef::row_major(&self.b, self.shape[1], self.shape[2]).expect("the operands have this shape")
    }

    pub fn packed(&self, activations: ElementType) -> PackedB {
        PackedB::pack_for(self.b(), activations).expect("memory for B")
    }
}

/// A row-major view of `c` as the M×N output of a shape.
pub fn output<T>(c: &mut [T], [m, _, n]: Shape) -> MatMut<'_, T> {
    MatMut::row_major(c, m, n).expect("the output has this shape")
}

/// A product of more multiply-adds is checked in some rows only.
const MAX_CHECKED_MACS: u64 = 100_000_000;

/// Compares `c` with the result of `reference`, which is called with all rows of `a`, or for a large product with 9
/// rows at equal distances, the first and the last among them.
///
/// # Panics
/// If a row differs.
pub fn check<A, C: Copy + Default + PartialEq>(
    case: &str,
    shape @ [m, k, n]: Shape,
    a: &[A],
    c: &[C],
    reference: impl FnOnce(MatRef<'_, A>, MatMut<'_, C>) -> Result<(), Error>,
) {
    let rows = if macs(shape) <= MAX_CHECKED_MACS { m } else { m.min(9) };
    let step = (m - 1) / (rows - 1).max(1);
    let checked_rows = MatRef::new(a, rows, k, step * k, 1).expect("the rows lie within A");
    let mut want = vec![C::default(); rows * n];
    reference(checked_rows, output(&mut want, [rows, k, n])).expect("the arguments fit");
    let wrong = want.chunks(n).zip(c.chunks(step.max(1) * n)).position(|(want, got)| *want != got[..n]);
    assert_eq!(wrong.map(|row| row * step), None, "{case}: a wrong result in the row of that number");
}
