//! x86-64: a file per instruction set, and the tiles that they share. `operands` and `lookup` are no micro-kernels.

pub mod amx_int8;
pub mod avx2;
pub mod avx2_i16_sums;
pub mod avx512_bw;
pub mod avx512_vnni;
pub mod avx_vnni;
pub mod avx_vnni_int8;
mod groupwise;
pub mod groupwise_256;
pub mod groupwise_512;
mod k_group;
pub mod lookup;
pub mod operands;
pub mod tile;
