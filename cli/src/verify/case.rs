//! The products of a case, as data.

use crate::arguments::values::Values;
use crate::files::matrices::Matrix8;
use crate::owned_output::{OwnedDequantize, OwnedRequantize};
use qgemm::ElementType;

/// A call of the library, on a number of threads.
pub struct Case {
    pub call: Call,
    pub threads: usize,
}

pub enum Call {
    Single(Product<Static>),
    Dynamic(Product<Dynamic>),
    Batch(Vec<Product<Static>>),
}

/// A product C = A · B. `Q` says how A becomes integers, and has what depends on that: [`Static`] or [`Dynamic`].
pub struct Product<Q> {
    pub k: usize,
    pub quantization: Q,
    pub b: Matrix8,
    /// The element type of A that B is packed for, which may be another than A has; `None` if B is not packed ahead.
    pub packed_for: Option<ElementType>,
    pub b_zero: Values<i32>,
    pub c: Destination,
}

/// The matrix C within a buffer.
pub struct Destination {
    pub rows: usize,
    pub cols: usize,
    pub layout: Layout,
    /// A random number that the buffer's content before the call is made from.
    pub fill: u64,
}

/// The place of a matrix in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub row_stride: usize,
    pub col_stride: usize,
    /// Elements of the buffer.
    pub len: usize,
}

/// Static quantization: A is given as 8-bit integers.
pub struct Static {
    pub a: OwnedLhs,
    pub a_zero: Values<i32>,
    pub bias: Option<Vec<i32>>,
    pub output: Output,
}

/// A left operand that owns its data.
pub enum OwnedLhs {
    Matrix(Matrix8),
    Gathered(GatheredRows),
}

/// Each row of A is `taps` rows of `source`, one after another; the data of a [`qgemm::Gather`].
pub struct GatheredRows {
    pub source: Matrix8,
    /// `taps` row numbers per row of A.
    pub indices: Vec<u32>,
    pub taps: usize,
    /// The elements of rows that are padding; `None` for the zero point of A.
    pub padding: Option<i32>,
}

/// Dynamic quantization: A is given as f32, and the call quantizes it.
pub struct Dynamic {
    pub layout: Layout,
    pub a: Vec<f32>,
    pub asymmetric: bool,
    pub per_tensor: bool,
    pub output: OwnedDequantize,
}

/// The output of a [`Static`] product.
pub enum Output {
    I32 { accumulate: bool },
    I8(OwnedRequantize<i8>),
    U8(OwnedRequantize<u8>),
    F32(OwnedDequantize),
}

impl Case {
    /// The destinations of all outputs.
    pub fn destinations(&self) -> Vec<&Destination> {
        match &self.call {
            Call::Single(product) => vec![&product.c],
            Call::Dynamic(product) => vec![&product.c],
            Call::Batch(products) => products.iter().map(|product| &product.c).collect(),
        }
    }
}
