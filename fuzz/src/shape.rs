//! The size of products: mostly small, bounded so that one takes milliseconds.

use crate::input::Input;

/// The most multiply-adds of most products, and of a few. From 2^20 on they are shared among threads.
const USUAL: usize = 1 << 15;
const LARGE: usize = 3 << 20;

/// M, N and K of a product.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
}

fn size(input: &mut Input<'_>) -> usize {
    match input.byte() {
        class @ 0..=99 => usize::from(class) % 25,
        100..=199 => input.number(0..=80),
        _ => input.number(0..=400),
    }
}

impl Shape {
    /// Any shape that is not too large.
    pub fn read(input: &mut Input<'_>) -> Self {
        let class = input.byte();
        let mut shape = Self { m: size(input), n: size(input), k: size(input) };
        let most = if class >= 250 { LARGE } else { USUAL };
        if class == 255 {
            // Beyond 32,768 sums are made of several blocks of K.
            shape.k = input.number(30_000..=70_000);
        }
        while shape.m.max(1) * shape.n.max(1) * shape.k.max(1) > most {
            let Self { m, n, k } = &mut shape;
            let largest = if m >= n && (m >= k || class == 255) {
                m
            } else if n >= k || class == 255 {
                n
            } else {
                k
            };
            *largest /= 2;
        }
        shape
    }
}
