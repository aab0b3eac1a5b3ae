//! `--threads` and `--kernel`: the threads and kernels of this machine.

use crate::arguments::numbers::number;
use crate::errors::{invalid_because, with_option_names};
use anyhow::Result;
use qgemm::Dispatch;

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
pub fn dispatch(name: &str) -> Result<Dispatch> {
    Dispatch::named(name).map_err(|e| with_option_names(e, &[("kernel", "--kernel")]))
}

/// The full name of a kernel, which says what weights it multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KernelName {
    /// It is for weights with a scale per column at most.
    Columns(&'static str),
    /// It is for weights with a scale per column and group.
    Groups(&'static str),
}

impl KernelName {
    pub fn text(self) -> &'static str {
        match self {
            KernelName::Columns(name) | KernelName::Groups(name) => name,
        }
    }
}

/// The kernels that `--kernel` names: those of an instruction set, or those that a full name stands for; `all` names every
/// kernel that runs on this CPU.
pub fn kernel_names(name: &str) -> Result<Vec<KernelName>> {
    if name == "all" {
        let columns = Dispatch::available().into_iter().map(|kernel| KernelName::Columns(kernel.name));
        return Ok(columns.chain(Dispatch::available_groupwise().map(KernelName::Groups)).collect());
    }
    let dispatch = dispatch(name)?;
    let groups = dispatch.groupwise_kernel();
    if name == groups {
        return Ok(vec![KernelName::Groups(groups)]);
    }
    let columns: Vec<_> = dispatch.kernels().map(|kernel| kernel.name).collect();
    let is_full_name = columns.contains(&name);
    let groups = (!is_full_name).then_some(KernelName::Groups(groups));
    Ok(columns.into_iter().map(KernelName::Columns).chain(groups).collect())
}
