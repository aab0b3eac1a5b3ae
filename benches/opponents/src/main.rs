//! Times other Rust libraries on the products that `qgemm bench` times, in the same CSV.
//!
//! ```sh
//! cd benches/opponents
//! cargo build --release
//! taskset -c 1 target/release/qgemm-opponents [OPTIONS] [SHAPES]
//! ```
//!
//! SHAPES is a file with a line "M K N" per shape, or a list "M,K,N;M,K,N"; without it, the list that
//! `qgemm bench` has.
//!
//! ```text
//! --threads N        threads to use (1)
//! --variants V,...   some of those that --help lists (all)
//! --quick            one call per case, to check the results without measuring times
//! ```
//!
//! Each library runs in its best setting: with weights packed ahead where it offers that (where packing is not
//! always faster, both ways are tried and the faster one is measured), inside a rayon pool of the given number of
//! threads, on the kernel that it chooses. A call's work on A (packing, sums) is timed. Results are compared with
//! exact sums: the column `exact` says so, or has `maxerr=` and the largest difference. The environment variables
//! `TRACT_CPU_ISA` and `GEMMKIT_REQUIRE_ISA` restrict tract-linalg and gemmkit to older instruction sets.

mod errors;
mod floats;
mod gemmkit_i8;
mod rten;
#[path = "../../../cli/src/shape.rs"]
mod shape;
#[path = "../../../cli/src/bench/shapes.rs"]
mod shapes;
#[path = "../../../cli/src/bench/timing.rs"]
mod timing;
mod tract;
mod work;

use crate::shape::Shape;
use crate::timing::Times;
use anyhow::{Context, Result, bail};
use std::process::ExitCode;
use work::{Measured, Work};

/// A library and its measurement.
struct Peer {
    /// Its name on crates.io.
    name: &'static str,
    /// The name of the measurement in the CSV.
    variant: &'static str,
    /// Measures the work on a number of threads; with the last argument (quick) it calls the library once.
    measure: fn(&Work, usize, bool) -> Result<Measured>,
}

const PEERS: [Peer; 5] = [
    Peer { name: "rten-gemm", variant: "rten_u8s8s32", measure: rten::measure },
    Peer { name: "tract-linalg", variant: "tract_s8s8s32", measure: tract::measure },
    Peer { name: "gemmkit", variant: "gemmkit_s8s8s32", measure: gemmkit_i8::measure },
    Peer { name: "gemm", variant: "f32_gemm", measure: floats::gemm },
    Peer { name: "matrixmultiply", variant: "f32_matrixmultiply", measure: floats::matrixmultiply },
];

impl Peer {
    /// The version in the lock file.
    fn version(&self) -> &'static str {
        let name = format!("name = \"{}\"", self.name);
        let mut lines = include_str!("../Cargo.lock").lines().skip_while(|line| *line != name);
        lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("unknown")
    }
}

struct Options {
    threads: usize,
    peers: Vec<&'static Peer>,
    quick: bool,
    shapes: Option<String>,
}

impl Options {
    /// `None` after `--help`.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self { threads: 1, peers: PEERS.iter().collect(), quick: false, shapes: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--threads" => {
                    let number = args.next().context("--threads: needs a number")?;
                    let threads = number.parse().ok().filter(|n| (1..=1024).contains(n));
                    options.threads =
                        threads.with_context(|| format!("--threads: was '{number}', must be 1 to 1024"))?;
                }
                "--variants" => {
                    let list = args.next().context("--variants: needs a list of names")?;
                    let find = |name| PEERS.iter().find(|peer| peer.variant == name);
                    options.peers = list
                        .split(',')
                        .map(find)
                        .collect::<Option<_>>()
                        .with_context(|| format!("--variants: was '{list}'; {}", variants()))?;
                }
                "--help" => {
                    println!("[--threads N] [--variants V,...] [--quick] [SHAPES]; {}", variants());
                    return Ok(None);
                }
                _ if arg.starts_with('-') || options.shapes.is_some() => bail!("'{arg}': see --help"),
                _ => options.shapes = Some(arg),
            }
        }
        Ok(Some(options))
    }
}

fn variants() -> String {
    format!("variants: {}", PEERS.map(|peer| peer.variant).join(" "))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else { return Ok(()) };
    let shapes = shapes::read(options.shapes.as_deref())?;
    let threads = options.threads;
    floats::set_matrixmultiply_threads(threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    println!("peer,version,isa,threads,m,k,n,variant,seconds,gmacs,exact,median,caller");
    for shape in shapes {
        let work = Work::new(shape);
        for peer in &options.peers {
            let Measured { isa, times: Times { least: seconds, median }, error } = pool
                .install(|| (peer.measure)(&work, threads, options.quick))
                .with_context(|| format!("{} of {shape}", peer.variant))?;
            let exact = if error == 0.0 { "exact".into() } else { format!("maxerr={error}") };
            let gmacs = shape.macs() / seconds / 1e9;
            let Shape { m, k, n } = shape;
            let (name, version, variant) = (peer.name, peer.version(), peer.variant);
            println!(
                "{name},{version},{isa},{threads},{m},{k},{n},{variant},{seconds:.6e},{gmacs:.4},{exact},{median:.6e},pool"
            );
        }
    }
    Ok(())
}
