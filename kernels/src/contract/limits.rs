//! Bounds that all kernels keep.

/// No kernel has a larger NR.
pub const MAX_NR: usize = 64;
/// No kernel has a larger MR.
pub const MAX_MR: usize = 12;
/// No kernel sums more k-groups in 16 bits.
pub const MAX_I16_GROUPS: usize = 8;

/// The rows of a call with a stationary panel are a multiple of this.
pub(crate) const B_STATIONARY_ROW_STEP: usize = 4;
/// No output is made with a stationary panel for fewer rows: the lowest `Out::min_b_stationary_rows`.
pub(crate) const MIN_B_STATIONARY_ROWS: usize = 24;
