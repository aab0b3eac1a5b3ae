//! `info`: the CPU as the library sees it.

use crate::errors::raise;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use qgemm::Dispatch;

/// The version, the kernels that run on this CPU and those that are chosen, the caches that blocks are cut for, and the
/// cores, as a dict. `python -m qgemm` prints it.
///
/// >>> import qgemm
/// >>> info = qgemm.info()
/// >>> set(info["chosen"]) <= {kernel["name"] for kernel in info["kernels"]}
/// True
#[pyfunction]
pub fn info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dispatch = Dispatch::auto().map_err(raise)?;
    let kernels = PyList::empty(py);
    for kernel in Dispatch::available() {
        let row = PyDict::new(py);
        row.set_item("name", kernel.name)?;
        row.set_item("isa", kernel.isa.name())?;
        row.set_item("mr", kernel.mr)?;
        row.set_item("nr", kernel.nr)?;
        row.set_item("kr", kernel.kr)?;
        kernels.append(row)?;
    }
    let found = dispatch.caches();
    let caches = PyDict::new(py);
    caches.set_item("l1d", found.l1d)?;
    caches.set_item("l2", found.l2)?;
    caches.set_item("l3", found.l3)?;
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("arch", std::env::consts::ARCH)?;
    info.set_item("cores", std::thread::available_parallelism().map_or(1, usize::from))?;
    info.set_item("caches", caches)?;
    info.set_item("kernels", kernels)?;
    info.set_item("chosen", dispatch.kernels().map(|kernel| kernel.name).collect::<Vec<_>>())?;
    info.set_item("groupwise_kernels", Dispatch::available_groupwise().collect::<Vec<_>>())?;
    info.set_item("chosen_groupwise", dispatch.groupwise_kernel())?;
    Ok(info)
}

/// Frees the memory that the calling thread, and the library's own threads, keep for later calls.
#[pyfunction]
pub fn release_thread_memory(py: Python<'_>) {
    py.detach(qgemm::release_thread_memory);
}
