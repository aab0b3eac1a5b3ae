//! From a checked product with group-wise weights to its output.

pub(crate) mod multiply;
pub(crate) mod rows;
pub(crate) mod run;
mod spread;
mod stage;
