//! The bounds that hold for all kernels.

/// The widest panel of any kernel.
pub const MAX_NR: usize = 64;
/// The most steps of any kernel.
pub const MAX_I16_GROUPS: usize = 8;
/// The highest tile of any kernel.
pub const MAX_MR: usize = 12;

/// Tall products have a multiple of so many rows.
pub(crate) const TALL: usize = 4;
/// No output has a lower [`Out::least_tall`].
pub(crate) const LEAST_TALL: usize = 24;
