//! The arguments of a micro-kernel, and the contract under which it accesses memory.

#[cfg(debug_assertions)]
use crate::contract::stage::{F64Terms, ResidualValues, TileResidual};
use crate::contract::stage::{OuterProduct, Output, TileDequantize, TileFixedPoint, TileRequantize};

/// The arguments of a micro-kernel: `rows` rows of A times a panel of B, of which `cols` columns are stored, for the
/// kernel's MR, NR, KR and the variant's types.
///
/// # The contract
///
/// `Ready::run` fulfils it, and all code below a [`MicroFn`] relies on it. WIDTH is `cols`, rounded up to the kernel's
/// `panel_step`; "the panels' columns" are `cols`, rounded up to its `lanes`. What is beyond `cols` is padding.
///
/// - `rows` is 1 or more (1..=MR for a single tile), `cols` is 1..=NR; or 2·NR - 15..=2·NR, two panels, where `rows` is
///   at most the kernel's `two_panels_up_to_rows`.
/// - `a`: `k` elements can be read at `a + i·lda` bytes, for each i < `rows`.
/// - `b`: ceil(k / KR)·KR·WIDTH elements can be read: a panel of WIDTH columns, or two of NR.
/// - `col`: the panels' columns can be read. `row`: `rows` values can be read.
/// - `outer`: of each, `row` holds `first_row + rows` values, and `col` the panels' columns from `first_col` on. A
///   kernel that is not fused gets none.
/// - `out`: `cols` elements can be read and written at `c + i·ldc` elements, for each i < `rows`, and nobody else
///   accesses them. A kernel that is not fused gets `Sums`.
/// - the stage in `out`: its values per column are the panels' columns from `first_col` on, its values per row are
///   `first_row + rows`. Its residual, if it is no part of `out`, holds `cols` elements at
///   `(first_row + i)·stride + first_col`, for each i < `rows`.
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
    /// Whether rows of A are expected in no cache.
    pub(crate) a_from_memory: bool,
    /// Whether few rows take parts of a panel side by side.
    pub(crate) side_by_side: bool,
    /// The panel after this one, if it is to be prefetched meanwhile; else null.
    pub(crate) next_panel: *const u8,
    /// A 64th of the bytes of a k-group of it that each row prefetches.
    pub(crate) next_per_row: usize,
    /// Whether a 512-bit store takes two cycles: see [`Features::slow_stores`](crate::Features::slow_stores).
    pub(crate) slow_stores: bool,
    /// The cycles that tile registers cost beside their products: see [`Features::amx_overhead`](crate::Features::amx_overhead).
    pub(crate) amx_overhead: u32,
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

/// A micro-kernel. It may leave any arguments behind: they are changed in place from tile to tile, since a copy of fields
/// that were just written takes longer than a small tile has.
///
/// # Safety
/// The CPU has the kernel's instructions, and the arguments keep the contract of [`Args`].
pub(crate) type MicroFn = unsafe fn(&mut Args<'_>);

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
}

impl<'a> Args<'a> {
    /// `cols` columns, from the panels' column `from` on, whose weights begin at `b`.
    #[inline(always)]
    pub(crate) fn columns(&self, from: usize, cols: usize, b: *const u8) -> Args<'a> {
        let (col, first_col) = (self.col.wrapping_add(from), self.first_col + from);
        Args { b, cols, col, first_col, out: self.out.at(from), ..*self }
    }
}

impl Args<'_> {
    /// Goes on to the rows below the first `rows`.
    #[inline(always)]
    pub(crate) fn move_down(&mut self, rows: usize) {
        self.a = self.a.wrapping_add(rows * self.lda);
        self.row = self.row.wrapping_add(rows);
        self.first_row += rows;
        let elements = rows * self.ldc;
        match &mut self.out {
            Out::Sums { c, .. } => *c = c.wrapping_add(elements),
            Out::Bytes { c, .. } | Out::FixedBytes { c, .. } => *c = c.wrapping_add(elements),
            Out::Floats { c, .. } => *c = c.wrapping_add(elements),
        }
    }

    /// The output of a kernel that is not fused: where the sums go, and whether to add to the values that are there.
    pub(crate) fn sums(&self) -> (*mut i32, bool) {
        match self.out {
            Out::Sums { c, accumulate } => (c, accumulate),
            _ => unreachable!("`Ready::run` gives such a kernel nothing else"),
        }
    }

    /// Restates the contract for a tile of these constants, as far as numbers show it, where debug assertions are on.
    #[inline(always)]
    pub(crate) fn debug_assert_contract(
        &self,
        mr: usize,
        nr_and_lanes: (usize, usize),
        extensions: Extensions,
    ) {
        #[cfg(debug_assertions)]
        self.assert_contract(mr, nr_and_lanes, extensions);
        #[cfg(not(debug_assertions))]
        let _ = (mr, nr_and_lanes, extensions);
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
    fn assert_contract(&self, mr: usize, (nr, lanes): (usize, usize), extensions: Extensions) {
        let Self { rows, cols, first_row, first_col, .. } = *self;
        let Extensions { two_panels_up_to_rows, .. } = extensions;
        assert!(1 <= rows && rows <= mr);
        if cols > nr {
            assert!(rows <= two_panels_up_to_rows && cols + 15 >= 2 * nr && cols <= 2 * nr);
        }
        let (end_row, end_col) = (first_row + rows, first_col + cols.next_multiple_of(lanes));
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
                if let Some(TileResidual { values: ResidualValues::Matrix { from, stride }, .. }) =
                    stage.residual
                {
                    assert!(from.len() >= (end_row - 1) * stride + first_col + cols);
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
                if let Some(ResidualValues::Matrix { from, stride }) = stage.residual {
                    assert!(from.len() >= (end_row - 1) * stride + first_col + cols);
                }
            }
        }
    }

    #[cfg(debug_assertions)]
    #[inline(never)]
    fn assert_tile(&self, height: usize, vectors: usize, lanes: usize) {
        assert_eq!((self.rows, self.cols.div_ceil(lanes)), (height, vectors));
    }
}

/// The calls that a kernel takes beside tiles of MR x NR: two panels at once, and a panel kept in registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// Up to this many rows are multiplied by two panels in one call, if the second panel lacks at most 15 columns.
    /// 0: never.
    pub(crate) two_panels_up_to_rows: usize,
    /// Up to this K it keeps a panel in registers for many rows: a number for the self-test. 0: never.
    pub(crate) b_stationary_up_to_k: usize,
}

impl Extensions {
    pub(crate) const NONE: Self = Self { two_panels_up_to_rows: 0, b_stationary_up_to_k: 0 };
}
