//! The tiles of the 256-bit and 512-bit kernels, and their epilogues.

pub mod stationary;
pub mod ymm;
pub mod ymm_epilogue;
pub mod zmm;
pub mod zmm_epilogue;
