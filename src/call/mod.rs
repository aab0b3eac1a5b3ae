//! The calls of the library: products, products of f32 activations, batches.

pub(crate) mod batch;
pub(crate) mod dynamic;
pub(crate) mod gemm;
pub(crate) mod matmul;
pub(crate) mod memory;
pub(crate) mod task;
