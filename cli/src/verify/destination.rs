//! The place of a matrix in a buffer, and what the buffer of an output holds before the call.

use qgemm::{Error, MatMut, MatRef};

/// The place of a matrix in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub row_stride: usize,
    pub col_stride: usize,
    /// Elements of the buffer.
    pub len: usize,
}

/// The matrix C within a buffer.
pub struct Destination {
    pub rows: usize,
    pub cols: usize,
    pub layout: Layout,
    /// A random number that the buffer's content before the call is made from.
    pub fill: u64,
}

impl Destination {
    /// The buffer before the call, of 32 random bits per element: equal for the definition and for kernels.
    pub fn before<T>(&self, from_bits: impl Fn(u32) -> T) -> Vec<T> {
        let bits = |i: u64| (self.fill.wrapping_mul(2 * i + 1) >> 32) as u32;
        (0..self.layout.len as u64).map(|i| from_bits(bits(i))).collect()
    }

    /// A finite buffer before the call, for outputs that are read: which bits the sum of two NaNs has is not defined. The
    /// greatest magnitude is a power of two that depends on the case.
    pub fn finite_before(&self) -> Vec<f32> {
        let unit = 0.5f32.powi((self.fill % 64) as i32);
        self.before(|bits| bits as i32 as f32 * unit)
    }

    pub fn view<'c, T>(&self, c: &'c [T]) -> Result<MatRef<'c, T>, Error> {
        let Layout { row_stride, col_stride, .. } = self.layout;
        MatRef::new(c, self.rows, self.cols, row_stride, col_stride)
    }

    pub fn view_mut<'c, T>(&self, c: &'c mut [T]) -> Result<MatMut<'c, T>, Error> {
        let Layout { row_stride, col_stride, .. } = self.layout;
        MatMut::new(c, self.rows, self.cols, row_stride, col_stride)
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }
}
