//! The instructions of AMX-TILE and AMX-INT8 in software, for CPUs that lack them: an invalid-opcode handler gives the
//! instruction's address and the general registers to [`Machine::execute`].
//!
//! The source is Intel's Software Developer's Manual, volume 2. Not there: `start_row` other than 0, which only an
//! interrupted load or store leaves, and the faults of memory, which happen to the handler instead.
#![no_std]

mod decode;
mod machine;

pub use decode::{Address, Instruction, decode};
pub use machine::{Fault, Machine};
