//! The oracle: the numerical contract as three loops, for tests, fuzzing and `qgemm verify`.
//!
//! The functions take the arguments of the methods of [`Gemm`](crate::Gemm), [`DynamicGemm`](crate::DynamicGemm)
//! and [`GroupwiseGemm`](crate::GroupwiseGemm) and check them alike, but compute by
//! other code: every sum is an i64, one product at a time, and rounding is the standard library's.

mod groupwise;
mod products;
mod real;

pub use crate::reference::groupwise::run_groupwise_f32;
pub use crate::reference::products::{
    accumulate_i32, run_dynamic_f32, run_dynamic_requantized, run_f32, run_i32, run_requantized,
};
