//! `.npy` files, read and written.

mod dtype;
pub mod matrices;
pub mod npy;
mod npy_header;
pub mod outfile;
