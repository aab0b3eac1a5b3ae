//! The kernels that may run, and the caches that blocks are cut for.

pub(crate) mod caches;
pub(crate) mod select;
