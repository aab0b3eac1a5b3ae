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

/// The weights that a kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KernelKind {
    /// Weights with a scale per column at most.
    Columns,
    /// Weights with a scale per column and group.
    Groups,
}

/// A kernel by its full name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamedKernel {
    pub name: &'static str,
    pub kind: KernelKind,
}

impl NamedKernel {
    fn of_columns(name: &'static str) -> Self {
        Self { name, kind: KernelKind::Columns }
    }

    fn of_groups(name: &'static str) -> Self {
        Self { name, kind: KernelKind::Groups }
    }
}

/// The kernels that `--kernel` names: those of an instruction set, or those that a full name stands for; `all` names every
/// kernel that runs on this CPU.
pub fn named_kernels(name: &str) -> Result<Vec<NamedKernel>> {
    if name == "all" {
        let columns = Dispatch::available().into_iter().map(|kernel| NamedKernel::of_columns(kernel.name));
        return Ok(columns.chain(Dispatch::available_groupwise().map(NamedKernel::of_groups)).collect());
    }
    let dispatch = dispatch(name)?;
    let groups = NamedKernel::of_groups(dispatch.groupwise_kernel());
    if name == groups.name {
        return Ok(vec![groups]);
    }
    let columns: Vec<_> = dispatch.kernels().map(|kernel| NamedKernel::of_columns(kernel.name)).collect();
    let is_full_name = columns.iter().any(|kernel| kernel.name == name);
    Ok(columns.into_iter().chain((!is_full_name).then_some(groups)).collect())
}
