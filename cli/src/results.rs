//! The results of `qgemm bench` as data: what `--json` writes, and `qgemm report` reads.

use crate::machine::Machine;
use serde::{Deserialize, Serialize};

/// The value of `format`: the number changes when a field loses its meaning.
pub const FORMAT: &str = "qgemm-bench-1";

/// The name of this library among others.
pub const OURS: &str = "qgemm";

/// A run of `qgemm bench`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: String,
    pub build: Build,
    pub machine: Machine,
    pub run: Run,
    pub limits: Vec<MeasuredLimit>,
    pub cases: Vec<Case>,
}

/// The program that measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    pub version: String,
    /// The last commit when it was compiled; changes that were not committed are not told. `None` if it was not compiled in
    /// the repository.
    pub commit: Option<String>,
    /// As `rustc -V` names it.
    pub compiler: String,
    /// The target triple.
    pub target: String,
    /// Compiled with optimisations, as far as debug assertions tell.
    pub optimized: bool,
}

impl Build {
    /// This program.
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: Some(env!("QGEMM_COMMIT").to_string()).filter(|commit| !commit.is_empty()),
            compiler: env!("QGEMM_COMPILER").into(),
            target: env!("QGEMM_TARGET").into(),
            optimized: !cfg!(debug_assertions),
        }
    }
}

/// The circumstances of the measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it began, UTC.
    pub date: String,
    pub seconds: f64,
    pub threads: usize,
    /// `plain` or `pool`.
    pub caller: String,
    /// Each case was called once: times mean little.
    pub quick: bool,
    /// Processes that ran or waited on average in the minute before, and in the last one.
    pub load_before: Option<f64>,
    pub load_after: Option<f64>,
    /// A peak was more than 3 % off after the measurements. `None` where no peak was measured twice.
    pub disturbed: Option<bool>,
}

/// A limit of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredLimit {
    /// `peak` of an instruction, `read` from a level of memory, or `call` for a product of 1 x 1 x 1.
    pub kind: String,
    /// The instruction and its bits; `L2`, `L3` or `DRAM`; `call`.
    pub name: String,
    /// The instruction set whose kernels it bounds; `None` for all.
    pub isa: Option<String>,
    /// GMAC/s of a peak, GB/s of reading, millions of calls a second.
    pub rate: f64,
    /// The rate after all cases, of peaks.
    pub rate_after: Option<f64>,
}

/// A measurement of one library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// `qgemm`, or another library.
    pub library: String,
    pub version: String,
    /// The full name of the kernel, as far as the library tells.
    pub kernel: String,
    pub variant: String,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    /// Seconds of a call: the least of all batches, their median, and that which nine in ten do not exceed.
    pub least: f64,
    pub median: f64,
    pub ninth: f64,
    /// The batches, and the calls of each.
    pub batches: usize,
    pub calls: u64,
    /// GMAC/s by the least time, or GB/s of packing.
    pub rate: f64,
    /// Bytes of A, B and C, each counted once.
    pub bytes: f64,
    /// Every output that was compared is exact.
    pub exact: bool,
    /// The largest difference from the exact value; `None` if it is not a number, or infinite.
    pub error: Option<f64>,
    /// The limit that binds: `peak`, `L2`, `L3`, `DRAM` or `call`. `None` if none of the measured ones does.
    pub limit: Option<String>,
    /// The least time that the limit allows, over the least time.
    pub share: Option<f64>,
}
