//! Files of matrices and of packed weights, read and written.

mod dtype;
pub mod matrices;
pub mod npy;
mod npy_header;
pub mod outfile;
mod safetensors;
pub mod saved;
