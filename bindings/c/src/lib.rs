//! The C binding of qgemm. `include/qgemm.h` is its documentation, and is made from these sources: comments on public
//! items are written for readers of C.
//!
//! Each exported function goes through [`status::guard`], which makes a status of errors and of panics. What C passes by
//! address is read by [`memory`] and [`matrix`] alone; they refuse what no promise of the caller's is needed to refuse.
#![allow(non_camel_case_types, reason = "the names are those of the header")]

mod files;
mod formats;
mod groupwise;
mod matrix;
mod memory;
mod overlap;
mod product;
mod quantize;
mod run;
mod saved;
mod stage;
mod status;
mod threads;
mod version;
mod weights;
