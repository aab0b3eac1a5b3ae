//! B in panels, with the statistics of its columns.

pub(crate) mod column_stats;
pub(crate) mod groupwise;
pub(crate) mod pack;
pub(crate) mod packed;
pub(crate) mod packed_columns;
pub(crate) mod saved;
pub(crate) mod storage;
