//! A product in files, and its sums computed here.

use crate::support::{Files, noise};

pub const M: usize = 13;
pub const K: usize = 70;
pub const N: usize = 67;

/// Random u8 and i8 matrices in files, of more than a tile in each dimension.
pub struct Product {
    pub files: Files,
    pub a: Vec<u8>,
    pub b: Vec<i8>,
}

impl Product {
    pub fn new() -> Self {
        let a: Vec<u8> = noise(1).map(|x| x as u8).take(M * K).collect();
        let b: Vec<i8> = noise(2).map(|x| x as i8).take(K * N).collect();
        let files = Files::new();
        files.write("a.npy", &[M, K], &a);
        files.write("b.npy", &[K, N], &b);
        Self { files, a, b }
    }

    pub fn run(&self, rest: &str) {
        self.files.run(&format!("matmul --a a.npy --b b.npy --out y.npy {rest}")).ok();
    }

    /// The sum of (a - za)(b - zb) for row i and column j.
    pub fn sum(&self, i: usize, j: usize, za: i64, zb: i64) -> i64 {
        let term = |k: usize| (i64::from(self.a[i * K + k]) - za) * (i64::from(self.b[k * N + j]) - zb);
        // A sum with extreme zero points exceeds i64. It wraps around modulo 2^64, which leaves its low 32 bits exact.
        (0..K).map(term).fold(0, i64::wrapping_add)
    }
}

/// Checks every element of a matrix.
pub fn each<T: PartialEq + std::fmt::Debug>(y: &[T], expected: impl Fn(usize, usize) -> T) {
    for i in 0..M {
        for j in 0..N {
            assert_eq!(y[i * N + j], expected(i, j), "row {i}, column {j}");
        }
    }
}

/// Rounds half to even, as the library does in f32.
pub fn round(x: f32) -> i64 {
    x.round_ties_even() as i64
}
