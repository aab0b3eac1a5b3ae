//! Matrix views: read-only, mutable, of either 8-bit type, gathered row by row; their parts and batches; convolutions.

#[cfg(feature = "ndarray")]
pub(crate) mod arrays;
pub(crate) mod batch;
pub(crate) mod conv2d;
pub(crate) mod gather;
pub(crate) mod gather_f32;
pub(crate) mod half_matrix;
pub(crate) mod operand;
pub(crate) mod raw_parts;
pub(crate) mod row_picks;
pub(crate) mod split;
pub(crate) mod view;
