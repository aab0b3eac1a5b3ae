//! The panel layout, and the job of packing B into it.
//!
//! A panel holds NR columns of B, in groups of KR values of k. The last panel of a matrix is narrower: its WIDTH is that
//! of the columns that are left, rounded up to a multiple of the kernel's step. Columns that B lacks are stored as zeros:
//!
//! ```text
//!   WIDTH = 3, KR = 2, K = 3                 panel, left to right, row by row
//!
//!        j0 j1 j2
//!   k0   a  d  g                              a b  d e  g h     k-group 0
//!   k1   b  e  h                              c 0  f 0  i 0     k-group 1, padded with 0
//!   k2   c  f  i
//! ```
//!
//! Element (k, j) lies at `(k / KR · WIDTH + j) · KR + k % KR`. Kernels read the padding but its values do not matter
//! to them, because they take A as 0 there.

use crate::contract::kernel::Kernel;
use crate::elements::{Convert, Stored};
use crate::layout::extent;
use bytemuck::cast_slice;

/// 64 bytes with the alignment of a cache line: panels are kept in vectors of lines.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// The index, in elements, of element (k, j) of a panel that has room for `width` columns.
pub fn panel_index(kernel: &Kernel, width: usize, k: usize, j: usize) -> usize {
    (k / kernel.kr * width + j) * kernel.kr + k % kernel.kr
}

/// The stored value of element (k, j) of a panel that has room for `width` columns.
pub fn panel_value(
    kernel: &Kernel,
    width: usize,
    stored: Stored,
    panel: &[u8],
    (k, j): (usize, usize),
) -> i16 {
    let at = panel_index(kernel, width, k, j);
    match stored {
        Stored::I16 => cast_slice::<u8, i16>(panel)[at],
        Stored::U8 => i16::from(panel[at]),
        Stored::I8 => i16::from(panel[at] as i8),
    }
}

/// A matrix to pack: element (k, j) is `bits[k * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The bit patterns, from element (0, 0) on.
    pub bits: &'a [u8],
    /// Elements from one k to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub col_stride: usize,
}

impl<'a> Source<'a> {
    /// The matrix without its first `k` rows.
    ///
    /// # Panics
    /// If row `k` does not exist.
    pub fn from_row(self, k: usize) -> Self {
        let skipped = k.checked_mul(self.row_stride).expect("row k exists");
        Self { bits: &self.bits[skipped..], ..self }
    }

    /// Whether neighbouring columns are neighbouring bytes, so that each row is a slice.
    pub(crate) fn has_contiguous_rows(&self) -> bool {
        self.col_stride == 1
    }

    /// Whether neighbouring rows are neighbouring bytes, so that each column is a slice.
    pub(crate) fn has_contiguous_columns(&self) -> bool {
        self.row_stride == 1
    }
}

/// The most rows that [`pack_panel`](crate::pack_panel) takes at a time.
pub const MAX_PACK_ROWS: usize = 1 << 20;

/// The number of panels that [`pack_panels`](crate::pack_panels) packs side by side: with four, 256 consecutive bytes
/// of each row of B are read, which prefetches best.
pub const PANELS_SIDE_BY_SIDE: usize = 4;

/// Rows and columns of B, and how panels store their elements.
#[derive(Clone, Copy)]
pub struct PackJob<'a> {
    /// B, from the first element to be packed on.
    pub source: Source<'a>,
    /// The number of rows, which are values of k.
    pub rows: usize,
    /// The number of columns.
    pub cols: usize,
    /// Whether B holds i8, else u8.
    pub signed: bool,
    /// The type of the panel's elements.
    pub stored: Stored,
}

impl PackJob<'_> {
    pub(crate) fn convert(&self) -> Convert {
        Convert::new(self.signed, self.stored)
    }

    /// The job without its first `k` rows; row `k` must exist.
    pub(crate) fn without_first_rows(&self, k: usize) -> Self {
        Self { source: self.source.from_row(k), rows: self.rows - k, ..*self }
    }

    /// Whether columns are slices, and better read than rows: rows are no slices, or of one element.
    pub(crate) fn by_columns(&self) -> bool {
        self.source.has_contiguous_columns() && (self.cols == 1 || !self.source.has_contiguous_rows())
    }

    /// Whether rows are slices, and better read than columns.
    pub(crate) fn by_rows(&self) -> bool {
        self.source.has_contiguous_rows() && !self.by_columns()
    }

    /// # Panics
    /// If the source ends before the last element.
    pub(crate) fn check_source(&self) {
        assert!(self.source_is_long_enough(), "B is too short");
    }

    pub(crate) fn source_is_long_enough(&self) -> bool {
        let need = extent(self.rows, self.cols, self.source.row_stride, self.source.col_stride);
        need.is_some_and(|need| need <= self.source.bits.len())
    }
}

/// The place of a panel, of several panels one after the other, or of some k-groups of a panel.
pub(crate) struct PanelOut<'p, T = u8> {
    /// The elements, k-group by k-group.
    pub(crate) elements: &'p mut [T],
    /// The columns of a panel, padding included; of several panels, those of all but the last.
    pub(crate) nr: usize,
}
