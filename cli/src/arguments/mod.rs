//! Arguments as text, read into numbers, threads, kernels, groups, scales and vectors.

pub mod groups;
pub mod machine;
pub mod numbers;
pub mod scales;
pub mod values;
