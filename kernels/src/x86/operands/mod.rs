//! Loops over A and B around the micro-kernels: packing, row sums, quantization, and sweeps of B that is not packed.

mod k_group_avx512;
mod lanes;
pub mod pack_avx2;
pub mod pack_avx512;
pub mod pack_panels_avx512;
pub mod quantize_rows;
pub mod row_sums;
mod sweep_columns;
pub mod sweep_rows;
pub mod transpose;
