//! What the fuzz targets do, each with the bytes of one input: see README.md.
//!
//! A case is first read whole, as data that own their memory, and then run twice: by the library and by its reference.
//! Bytes are choices, not values: matrices come from generators with a small seed, so that inputs stay short and a change
//! of one byte changes one thing.

pub mod batch;
pub mod byte_stage;
pub mod c_abi;
pub mod command;
pub mod command_files;
pub mod command_line;
pub mod compare;
pub mod dynamic;
pub mod engines;
pub mod float_lhs;
pub mod float_stage;
pub mod gemm;
pub mod group_formats;
pub mod group_weights;
pub mod groupwise;
pub mod input;
pub mod layers;
pub mod moving;
pub mod operands;
pub mod place;
pub mod quantizing;
pub mod saved;
pub mod scales;
pub mod shape;
pub mod values;
