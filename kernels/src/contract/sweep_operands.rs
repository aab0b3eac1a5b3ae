//! The operands of a sweep: a few rows of A times a B that is not packed.

/// The most rows of A.
pub const MAX_SWEEP_ROWS: usize = 4;
/// The length of a row of sums is a multiple of this.
pub const SWEEP_WIDTH: usize = 64;

/// Rows of 8-bit values.
#[derive(Clone, Copy)]
pub struct StridedRows<'a> {
    /// The bit patterns, from the first row's first value on.
    pub bits: &'a [u8],
    /// Values from one row to the next.
    pub stride: usize,
}

/// The factors of a product, A and B.
pub struct SweepOperands<'a> {
    /// The rows of A: one to [`MAX_SWEEP_ROWS`], of `k` values.
    pub a: StridedRows<'a>,
    /// Whether A holds i8, else u8. The sweep adds 128 to the values of i8.
    pub a_signed: bool,
    /// The common dimension.
    pub k: usize,
    /// B, of i8: its `k` rows, or its `cols` columns if `b_by_columns`.
    pub b: StridedRows<'a>,
    /// Whether `b` holds the columns of B.
    pub b_by_columns: bool,
    /// The number of columns of B.
    pub cols: usize,
}

/// The place for the sums that a sweep finds.
pub struct SweepSums<'a> {
    /// A row for each row of A: `Σ_k A[i][k]·B[k][j]`, modulo 2^32.
    pub products: &'a mut [i32],
    /// Sums from one row of `products` to the next: `cols` or more, a multiple of [`SWEEP_WIDTH`].
    pub stride: usize,
    /// The column sums `Σ_k B[k][j]`, modulo 2^32, if they are wanted: `stride` of them.
    pub of_b: Option<&'a mut [i32]>,
}
