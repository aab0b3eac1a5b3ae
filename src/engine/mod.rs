//! From a checked product to its output. Every file is private to the library.

mod a_rows;
pub(crate) mod buffers;
pub(crate) mod divide;
mod epilogue;
mod few_rows;
pub(crate) mod groupwise;
#[cfg(feature = "rayon")]
pub(crate) mod helpers;
mod loops;
mod operation;
pub(crate) mod packed;
#[cfg(feature = "rayon")]
mod patience;
pub(crate) mod plan;
pub(crate) mod quantized_a;
mod row_block;
pub(crate) mod run;
pub(crate) mod scratch;
mod small;
pub(crate) mod threads;
mod told;
pub(crate) mod unpacked;
mod wide_terms;
mod zero_points;
