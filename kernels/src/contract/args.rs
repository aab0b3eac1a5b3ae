//! The arguments of a micro-kernel, and the contract under which it accesses memory.

#[cfg(debug_assertions)]
use crate::contract::limits::B_STATIONARY_ROW_STEP;
use crate::contract::limits::MIN_B_STATIONARY_ROWS;
#[cfg(debug_assertions)]
use crate::contract::stage::F64Terms;
use crate::contract::stage::{OuterProduct, Output, TileDequantize, TileFixedPoint, TileRequantize};

/// The arguments of a micro-kernel: `rows` rows of A times `cols` columns of B, for the kernel's MR, NR, KR and the
/// variant's types.
///
/// # The contract
///
/// `Ready::run` fulfils it, and all code below a [`MicroFn`] relies on it. "The panels' columns" are NR values, or 2·NR
/// if `cols` is more than NR; those from `cols` on are padding.
///
/// - `rows` is 1..=MR, `cols` is 1..=NR. If the kernel has the [`Extensions`]: more rows, which
///   `B_STATIONARY_ROW_STEP` divides, where `k` is 1..=`b_stationary_up_to_k`; or two panels, 2·NR - 15..=2·NR columns,
///   where `rows` is at most `two_panels_up_to_rows`.
/// - `a`: `k` elements can be read at `a + i·lda` bytes, for each i < `rows`; if `rows` is more than MR, whole
///   k-groups.
/// - `b`: ceil(k / KR)·KR·NR elements can be read, a panel; or two panels, twice as many.
/// - `col`: the panels' columns can be read. `row`: `rows` values can be read.
/// - `outer`: of each, `row` holds `first_row + rows` values, and `col` the panels' columns from `first_col` on. A
///   kernel that is not fused gets none.
/// - `out`: `cols` elements can be read and written at `c + i·ldc` elements, for each i < `rows`, and nobody else
///   accesses them. A kernel that is not fused gets `Sums`.
/// - the stage in `out`: its values per column are the panels' columns from `first_col` on, its values per row are
///   `first_row + rows`. Its residual holds `cols` bytes at `(first_row + i)·stride + first_col`, for each i < `rows`.
///
/// No address need be aligned beyond what its element type asks for, and 16-bit elements of A and B need not
/// be aligned at all.
#[derive(Clone, Copy)]
// No kernel of another target is fused.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) struct Args<'a> {
    /// The common dimension.
    pub(crate) k: usize,
    /// The first row of A.
    pub(crate) a: *const u8,
    /// Bytes from one row of A to the next.
    pub(crate) lda: usize,
    /// A panel of B, or two one after the other.
    pub(crate) b: *const u8,
    /// Rows of A, and of the output.
    pub(crate) rows: usize,
    /// Columns of B that are stored: of a panel, or of two.
    pub(crate) cols: usize,
    /// Added to all sums of a column.
    pub(crate) col: *const i32,
    /// Added to all sums of a row.
    pub(crate) row: *const i32,
    /// Subtracted from the sums.
    pub(crate) outer: &'a [OuterProduct<'a>],
    /// The index of the first row in `outer` and in the values per row of the stage.
    pub(crate) first_row: usize,
    /// The index of the first column in `outer` and in the values per column of the stage.
    pub(crate) first_col: usize,
    pub(crate) out: Out<'a>,
    /// Elements from one row of the output to the next.
    pub(crate) ldc: usize,
    /// Whether a 512-bit store takes two cycles: see [`Features::slow_stores`](crate::Features::slow_stores).
    pub(crate) slow_stores: bool,
}

/// The output of a micro-kernel: `c` points at the element of the first row and column.
#[derive(Clone, Copy)]
pub(crate) enum Out<'a> {
    /// The sums are stored, or added to the values that are there.
    Sums { c: *mut i32, accumulate: bool },
    /// The bit patterns of 8-bit values are stored.
    Bytes { c: *mut u8, stage: &'a TileRequantize<'a> },
    /// The bit patterns of 8-bit values made in integers are stored.
    FixedBytes { c: *mut u8, stage: &'a TileFixedPoint<'a> },
    /// f32 values are stored.
    Floats { c: *mut f32, stage: &'a TileDequantize<'a> },
}

/// A micro-kernel.
///
/// # Safety
/// The CPU has the kernel's instructions, and the arguments keep the contract of [`Args`].
pub(crate) type MicroFn = unsafe fn(&Args<'_>);

impl<'o> Output<'o, '_> {
    /// The output as kernels take it, and the elements from one row to the next.
    pub(crate) fn as_out(&mut self) -> (Out<'_>, usize) {
        match self {
            Output::Sums { c, accumulate } => {
                (Out::Sums { c: c.as_mut_ptr(), accumulate: *accumulate }, c.row_stride())
            }
            Output::Bytes { c, stage } => (Out::Bytes { c: c.as_mut_ptr(), stage }, c.row_stride()),
            Output::FixedBytes { c, stage } => (Out::FixedBytes { c: c.as_mut_ptr(), stage }, c.row_stride()),
            Output::Floats { c, stage } => (Out::Floats { c: c.as_mut_ptr(), stage }, c.row_stride()),
        }
    }
}

impl Out<'_> {
    /// The output from `offset` elements after this one's first on.
    pub(crate) fn at(self, offset: usize) -> Self {
        match self {
            Out::Sums { c, accumulate } => Out::Sums { c: c.wrapping_add(offset), accumulate },
            Out::Bytes { c, stage } => Out::Bytes { c: c.wrapping_add(offset), stage },
            Out::FixedBytes { c, stage } => Out::FixedBytes { c: c.wrapping_add(offset), stage },
            Out::Floats { c, stage } => Out::Floats { c: c.wrapping_add(offset), stage },
        }
    }

    /// The number of rows from which on a stationary panel is faster than tiles, which have less to do before the first
    /// product and more after the last (24 for sums, 48 for bytes: Zen 4, 2026-11-27). `None` for outputs that are not
    /// made with a stationary panel.
    pub(crate) fn min_b_stationary_rows(&self) -> Option<usize> {
        match self {
            Out::Sums { accumulate: false, .. } => Some(MIN_B_STATIONARY_ROWS),
            Out::Bytes {
                stage: TileRequantize { f64_terms: None, residual: None, row_scale: None, .. },
                ..
            } => Some(48),
            _ => None,
        }
    }
}

impl Args<'_> {
    /// The output of a kernel that is not fused: where the sums go, and whether to add to the values that are there.
    pub(crate) fn sums(&self) -> (*mut i32, bool) {
        match self.out {
            Out::Sums { c, accumulate } => (c, accumulate),
            _ => unreachable!("`Ready::run` gives such a kernel nothing else"),
        }
    }

    /// Restates the contract for a kernel of these constants, as far as numbers show it, where debug assertions are on.
    #[inline(always)]
    pub(crate) fn debug_assert_contract(&self, mr: usize, nr: usize, extensions: Extensions) {
        #[cfg(debug_assertions)]
        self.assert_contract(mr, nr, extensions);
        #[cfg(not(debug_assertions))]
        let _ = (mr, nr, extensions);
    }

    /// Restates that a tile has `height` rows, and columns for that many vectors of `lanes` columns, where debug
    /// assertions are on.
    #[inline(always)]
    pub(crate) fn debug_assert_tile(&self, height: usize, vectors: usize, lanes: usize) {
        #[cfg(debug_assertions)]
        self.assert_tile(height, vectors, lanes);
        #[cfg(not(debug_assertions))]
        let _ = (height, vectors, lanes);
    }

    /// Not inlined: kernels are many, and the image of the bare-metal rig is small.
    #[cfg(debug_assertions)]
    #[inline(never)]
    fn assert_contract(&self, mr: usize, nr: usize, extensions: Extensions) {
        let Self { k, rows, cols, first_row, first_col, .. } = *self;
        let Extensions { two_panels_up_to_rows, b_stationary_up_to_k } = extensions;
        if rows > mr {
            assert!(1 <= k && k <= b_stationary_up_to_k && rows.is_multiple_of(B_STATIONARY_ROW_STEP));
            assert!(self.out.min_b_stationary_rows().is_some());
        }
        let panels = if cols <= nr { 1 } else { 2 };
        if panels == 2 {
            assert!(rows <= two_panels_up_to_rows && cols + 15 >= 2 * nr && cols <= 2 * nr);
        }
        let (end_row, end_col) = (first_row + rows, first_col + panels * nr);
        let per_row = |values: Option<usize>| assert!(values.is_none_or(|len| len >= end_row));
        let per_col = |len: usize| assert!(len >= end_col);
        for outer in self.outer {
            per_row(Some(outer.row.len()));
            per_col(outer.col.len());
        }
        let f64_terms = |terms: Option<F64Terms<'_>>| {
            if let Some(terms) = terms {
                per_row(terms.row.map(<[f64]>::len));
                per_col(terms.col.len());
            }
        };
        match self.out {
            Out::Sums { .. } => (),
            Out::Bytes { stage, .. } => {
                f64_terms(stage.f64_terms);
                per_row(stage.row_scale.map(<[f32]>::len));
                per_col(stage.scale.len());
                if let Some(residual) = stage.residual {
                    assert!(residual.bits.len() >= (end_row - 1) * residual.stride + first_col + cols);
                }
            }
            Out::FixedBytes { stage: TileFixedPoint { m, nudge, negative, before, one, .. }, .. } => {
                [m, nudge, negative, before, one].iter().for_each(|values| per_col(values.len()));
            }
            Out::Floats { stage, .. } => {
                f64_terms(stage.f64_terms);
                per_row(stage.row_scale.map(<[f32]>::len));
                per_col(stage.scale.len());
                stage.bias.iter().for_each(|bias| per_col(bias.len()));
            }
        }
    }

    #[cfg(debug_assertions)]
    #[inline(never)]
    fn assert_tile(&self, height: usize, vectors: usize, lanes: usize) {
        assert_eq!((self.rows, self.cols.div_ceil(lanes)), (height, vectors));
    }
}

/// Calls of a micro-kernel that are larger than a tile of MR x NR.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// Up to this many rows are multiplied by two panels in one call, if the second panel lacks at most 15 columns.
    /// 0: never.
    pub(crate) two_panels_up_to_rows: usize,
    /// Up to this K a call may have any number of rows beyond MR that `B_STATIONARY_ROW_STEP` divides; the panel stays
    /// in registers. Each row of A is then read to the end of its last k-group, and the output is one that has an
    /// [`Out::min_b_stationary_rows`]. 0: never.
    pub(crate) b_stationary_up_to_k: usize,
}

impl Extensions {
    pub(crate) const NONE: Self = Self { two_panels_up_to_rows: 0, b_stationary_up_to_k: 0 };
}
