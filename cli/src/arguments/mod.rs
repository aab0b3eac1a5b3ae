//! Arguments as text, read into numbers, threads, kernels, scales and vectors.

pub mod machine;
pub mod numbers;
pub mod scales;
pub mod values;
