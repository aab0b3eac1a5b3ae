//! Entry points: each checks its arguments and chooses the code for the CPU's instruction set.

pub mod call;
pub mod groupwise;
pub mod lookup;
pub mod pack;
pub mod proof;
pub mod quantize_rows;
pub mod rows;
pub mod sweep;
pub mod transpose;
