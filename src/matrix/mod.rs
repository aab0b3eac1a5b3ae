//! Matrix views: read-only, mutable, of either 8-bit type, gathered row by row.

pub(crate) mod gather;
pub(crate) mod operand;
pub(crate) mod view;
