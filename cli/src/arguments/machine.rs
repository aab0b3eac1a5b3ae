//! `--threads` and `--kernel`: the threads and kernels of this machine.

use crate::arguments::numbers::number;
use crate::errors::{invalid_because, with_option_names};
use anyhow::Result;

/// The largest value of `--threads`.
const MAX_THREADS: usize = 1024;

/// A pool of `--threads` threads; without the option, rayon chooses their number.
pub fn thread_pool(threads: Option<&str>) -> Result<rayon::ThreadPool> {
    let argument = "--threads";
    let count = threads.map(|text| number(argument, text, 1..=MAX_THREADS)).transpose()?;
    // With 0, rayon starts a thread per core, or as many as RAYON_NUM_THREADS says.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count.unwrap_or(0)).build();
    pool.map_err(|e| invalid_because(argument, threads.unwrap_or("automatic"), e, "fewer threads"))
}

/// The kernels that `--kernel` names: an instruction set's, or one by its full name.
pub fn dispatch(name: &str) -> Result<qgemm::Dispatch> {
    qgemm::Dispatch::named(name).map_err(|e| with_option_names(e, &[("kernel", "--kernel")]))
}

/// The full names of the kernels that `--kernel` names; `all` names every kernel that runs on this CPU.
pub fn kernel_names(name: &str) -> Result<Vec<&'static str>> {
    if name == "all" {
        return Ok(qgemm::Dispatch::available().iter().map(|kernel| kernel.name).collect());
    }
    Ok(dispatch(name)?.kernels().map(|kernel| kernel.name).collect())
}
