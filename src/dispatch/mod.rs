//! The kernels that may run, and the cache sizes, of which that of L2 decides the blocks.

mod amx_overhead;
pub(crate) mod caches;
pub(crate) mod select;
