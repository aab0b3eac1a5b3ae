//! The `qgemm` command with other Rust libraries for `bench --compare`:
//!
//! ```sh
//! cd benches/opponents
//! cargo run --release -- bench --compare --shapes "64,64,64;1,4096,4096"
//! ```
//!
//! Each library runs in its best setting: with weights packed ahead where it offers that (where packing is not
//! always faster, both ways are tried and the faster one is measured), inside a rayon pool of the given number of
//! threads, on the kernel that it chooses. A call's work on A (packing, sums) is timed. The environment variables
//! `TRACT_CPU_ISA` and `GEMMKIT_REQUIRE_ISA` restrict tract-linalg and gemmkit to older instruction sets.

mod fastest;
mod floats;
mod gemmkit_i8;
mod rten;
mod tract;

use anyhow::Result;
use qgemm_cli::{Peer, PeerProduct, PeerTimes};
use std::io;
use std::process::ExitCode;

type Measure = fn(&PeerProduct<'_>) -> Result<PeerTimes>;

/// The libraries by their names on crates.io, and the work that they do. One in f32 does that of i8 sums on the same
/// values, for those whose network does not use int8; sums beyond 2^24 are rounded.
const PEERS: [(&str, &[&str], Measure); 4] = [
    ("rten-gemm", &["u8s8s32"], rten::measure),
    ("tract-linalg", &["s8s8s32"], tract::measure),
    ("gemmkit", &["s8s8s32"], gemmkit_i8::measure),
    ("gemm", &["s8s8s32"], floats::measure),
];

/// The version in the lock file.
fn version(name: &str) -> &'static str {
    let name = format!("name = \"{name}\"");
    let mut lines = include_str!("../Cargo.lock").lines().skip_while(|line| *line != name);
    lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("unknown")
}

fn main() -> ExitCode {
    let peers = PEERS.map(|(name, variants, measure)| Peer {
        name,
        version: version(name).into(),
        variants,
        measure: Box::new(measure),
    });
    match qgemm_cli::run_with(std::env::args_os(), &mut io::stdout(), peers.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
