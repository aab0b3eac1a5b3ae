//! Target `c_abi`: the C binding, with what C programs pass to it, right and wrong.
//!
//! Cases are drawn with a few arguments that are wrong on purpose, each with the status that the header names for it
//! ([`expect`]). Memory that is not refused is there ([`promise`]), and unsafe code is in [`calls`] alone. Without
//! wrong arguments results are those of Rust's functions, or of its reference.

pub mod calls;
pub mod expect;
pub mod formats;
pub mod memory;
pub mod mirror;
pub mod packing;
pub mod products;
pub mod promise;
pub mod saving;
pub mod stages;
pub mod surroundings;

use crate::input::Input;
use memory::Memory;

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let (mut input, memory) = (Input::new(bytes), Memory::default());
    // What is refused on the way ends a case.
    let _ = match input.byte() % 8 {
        0..=3 => products::one(&mut input, &memory),
        4 | 5 => products::batch(&mut input, &memory),
        6 => saving::run(&mut input, &memory),
        _ => surroundings::run(&mut input, &memory),
    };
}
