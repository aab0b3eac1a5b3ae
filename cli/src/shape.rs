//! The size of a product.

/// The product C (M×N) = A (M×K) · B (K×N).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

impl Shape {
    /// Multiply-adds, in f64, which does not overflow.
    pub fn macs(&self) -> f64 {
        self.m as f64 * self.k as f64 * self.n as f64
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.k, self.n)
    }
}
