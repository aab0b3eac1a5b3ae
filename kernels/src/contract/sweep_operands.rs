//! The operands of a sweep: a few rows of A times a B that is not packed.

/// So many rows of A at most.
pub const MAX_SWEEP_ROWS: usize = 4;
/// StridedRows of sums are a multiple of this long.
pub const SWEEP_WIDTH: usize = 64;

/// StridedRows of 8-bit values.
#[derive(Clone, Copy)]
pub struct StridedRows<'a> {
    /// The first row's first value.
    pub bits: &'a [u8],
    /// From one row to the next.
    pub stride: usize,
}

/// What a sweep multiplies.
pub struct SweepOperands<'a> {
    /// StridedRows of A: one to [`MAX_SWEEP_ROWS`], of `k` values.
    pub a: StridedRows<'a>,
    /// Whether A is of i8, else u8. To the values of i8 the sweep adds 128.
    pub a_signed: bool,
    /// The common dimension.
    pub k: usize,
    /// `k` rows of i8, or `cols` columns.
    pub b: StridedRows<'a>,
    /// Whether they are columns.
    pub b_by_columns: bool,
    /// Of B.
    pub cols: usize,
}

/// What it finds.
pub struct SweepSums<'a> {
    /// A row for each row of A: `Σ_k A[i][k]·B[k][j]`, modulo 2^32.
    pub products: &'a mut [i32],
    /// From one to the next: `cols` or more, a multiple of [`SWEEP_WIDTH`].
    pub stride: usize,
    /// `Σ_k B[k][j]`, modulo 2^32, if they are wanted: as long as a row.
    pub of_b: Option<&'a mut [i32]>,
}
