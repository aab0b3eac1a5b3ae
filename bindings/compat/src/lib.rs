//! The integer products of other libraries, under their names: `dnnl_gemm_u8s8s32` and `dnnl_gemm_s8s8s32` of oneDNN, and
//! `gemm_s8u8s32` of Intel MKL with its packing. README.md has what they replace, and where results differ.
//!
//! [`product`] has the arithmetic, in row-major order; [`onednn`] and [`mkl`] bring their arguments there. What C passes by
//! address is read by [`memory`] alone.

mod memory;
mod mkl;
mod onednn;
mod product;
mod threads;
