//! The calls of the library: products, products of f32 activations, batches, sums of rows by index.

#[cfg(feature = "ndarray")]
pub(crate) mod arrays;
pub(crate) mod batch;
pub(crate) mod dynamic;
pub(crate) mod gemm;
pub(crate) mod groupwise;
pub(crate) mod linear;
pub(crate) mod matmul;
pub(crate) mod memory;
pub(crate) mod scatter;
pub(crate) mod task;
