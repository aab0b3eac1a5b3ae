//! Exact, fast int8 matrix multiplication with fused requantization.
#![forbid(unsafe_code)]

mod band;
mod dispatch;
mod driver;
mod element;
mod epilogue;
mod error;
mod gemm;
mod matrix;
mod output;
mod packed;
mod plan;
mod quant;
pub mod reference;
mod scratch;
mod sink;
mod width;

pub use dispatch::Dispatch;
pub use element::{ElementType, Operand, Quantized};
pub use error::Error;
pub use gemm::{Gemm, Rhs, ZeroPoint};
pub use matrix::{MatMut, MatRef};
pub use output::{Dequantize, Requantize, Scale};
pub use packed::PackedB;
pub use qgemm_kernels::{Caches, Features, Isa, Kernel};
pub use quant::{QuantParams, dequantize, dynamic_quantize_linear, fold_bias, quantize};
pub use scratch::release_thread_memory;
