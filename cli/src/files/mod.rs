//! `.npy` files, read and written.

pub mod matrices;
pub mod npy;
mod npy_header;
pub mod outfile;
