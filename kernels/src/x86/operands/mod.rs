//! Loops over A and B that are no micro-kernels: packing, row sums, quantization, sweeps.

pub mod pack_avx2;
pub mod pack_avx512;
pub mod quantize_rows;
pub mod row_sums;
pub mod sweep_columns;
pub mod sweep_rows;
