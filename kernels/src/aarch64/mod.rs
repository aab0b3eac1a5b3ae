//! 64-bit Arm.
//!
//! Instructions beyond NEON are written as `asm!`, one at a time with the registers left to the compiler:
//! their intrinsics are not stable yet. That works alike for Linux, macOS and Windows.

mod dot_tile;
pub mod dotprod;
pub mod groupwise_dot;
mod groupwise_matrix;
pub mod groupwise_neon;
mod groupwise_vector;
pub mod i8mm_dot;
pub mod i8mm_matrix;
pub mod neon;
mod tile;
