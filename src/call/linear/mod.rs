//! A linear layer: described, then run.

pub(crate) mod builder;
pub(crate) mod layer;
