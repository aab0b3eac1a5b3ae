//! 64-bit Arm.
//!
//! Instructions beyond NEON are written as `asm!`, one at a time with the registers left to the compiler:
//! their intrinsics are not stable yet. That works alike for Linux, macOS and Windows.

pub mod dotprod;
pub mod i8mm;
mod lanes;
pub mod neon;
mod tile;
