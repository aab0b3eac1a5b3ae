//! Bounds that all kernels keep.

/// No kernel has a larger NR.
pub const MAX_NR: usize = 64;
/// No kernel has a larger MR.
pub const MAX_MR: usize = 32;
/// No kernel sums more k-groups in 16 bits.
pub const MAX_I16_GROUPS: usize = 8;
