//! Packed weights as bytes: written once, read or mapped by any number of processes.
//!
//! All numbers are little-endian. A file is a header of 192 bytes, then sections, each of which begins at a multiple of 64 bytes, so
//! that a mapped file is used in place. What is between them is 0.
//!
//! ```text
//!    0  8  "qgemm\0w\n"                     16  8  bytes of the whole
//!    8  4  version, 1                       24  4  CRC-32 (IEEE) of the whole, these four bytes taken as 0
//!   12  4  kind: 1 per column, 2 group-wise 28  4  0
//!         3 a snapshot
//!   32  8  K                                40  8  N
//! ```
//!
//! What follows in the header is described where each kind is written: in `columns.rs`, `groupwise.rs` and `snapshot.rs`.
//! Places of sections are two numbers of 8 bytes, the first byte and the number of bytes.

pub(crate) mod columns;
pub(crate) mod format;
pub(crate) mod groupwise;
pub(crate) mod info;
pub(crate) mod snapshot;
