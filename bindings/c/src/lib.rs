//! The C binding of qgemm. `include/qgemm.h` is its documentation, and is made from these sources: comments on public
//! items are written for readers of C.
//!
//! Each exported function goes through [`status::guard`], which makes a status of errors and of panics. What C passes by
//! address is read by [`memory`] and [`matrix`] alone; they refuse what no promise of the caller's is needed to refuse.
//!
//! Modules with exported items are public for the fuzz target `c_abi`, which calls these in its own process.
#![allow(non_camel_case_types, reason = "the names are those of the header")]
#![allow(missing_docs, reason = "the header leaves out what a name says, such as `rows`")]

mod files;
pub mod formats;
pub mod groupwise;
pub mod matrix;
mod memory;
mod overlap;
pub mod product;
pub mod quantize;
pub mod run;
pub mod saved;
pub mod stage;
pub mod status;
pub mod threads;
pub mod version;
pub mod weights;
