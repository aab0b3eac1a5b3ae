//! From the sums of some columns to the output: the stage of those columns, and its two implementations.

pub(crate) mod by_columns;
pub(crate) mod column_stage;
pub(crate) mod in_kernel;
pub(crate) mod scalar;
mod sum;
