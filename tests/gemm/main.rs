//! The library against its contract, through its public API.
//!
//! One binary: each costs seconds to start under an emulator. Two oracles: `qgemm::reference`, and
//! `spec`, which shares nothing with the library and computes in integers. `QGEMM_TEST_SCALE` (percent)
//! scales the number of cases.

#[cfg(qgemm_emulated_amx)]
use tiles_handler as _;

mod batch;
mod bias;
mod calibration;
mod conv2d;
mod debug;
mod digest;
mod dynamic;
mod empty;
mod epilogue;
mod errors;
mod formats;
mod gather;
mod gather_f32;
mod golden;
mod groupwise;
mod groupwise_errors;
mod half;
mod isa;
mod known_faults;
mod layouts;
mod linear;
mod observer;
mod parts;
mod per_channel;
mod plain;
mod products;
mod proven;
mod quantize_groups;
mod real;
mod residuals;
mod saved;
mod saved_headers;
mod scales;
mod scatter;
mod shapes;
mod spec;
mod stages;
mod stages_digest;
mod support;
#[cfg(feature = "rayon")]
mod threads;
mod views;
mod wide;
