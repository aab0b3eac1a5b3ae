//! Arguments as text, read into numbers, threads, kernels and vectors.

pub mod machine;
pub mod numbers;
pub mod values;
