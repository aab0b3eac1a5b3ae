//! The tiles of the 256-bit and 512-bit kernels.
//!
//! A kernel's file gives an instruction; a tile is the loop over k around it and the epilogue after it. Both are
//! written once over the width of a vector: `vector` says what they take of it, `vector_256` and `vector_512` how it is
//! done, `dot` has the steps of the loop, `epilogue` makes the outputs, `epilogue_rare` those that have functions of
//! their own. `ymm` and `zmm` put a tile together, `b_stationary` keeps a panel in registers and loops over rows
//! instead, `along_k` is for few columns, and `tmm` is the tile of AMX, whose registers are
//! `tile_registers`.

pub mod along_k;
pub mod b_stationary;
pub mod dot;
pub mod each_row;
pub mod epilogue;
mod epilogue_rare;
pub mod tile_registers;
pub mod tmm;
pub mod vector;
mod vector_256;
mod vector_512;
pub mod ymm;
pub mod zmm;
