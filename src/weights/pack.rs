//! Packing: from a B as it comes to panels and column statistics.

use crate::buffer;
use crate::dispatch::select::Dispatch;
use crate::element::ElementType;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::weights::column_stats::ColumnStats;
use crate::weights::packed_columns::{PackedColumns, Panel, variant_for};
use crate::weights::storage::Storage;
use qgemm_kernels::{
    ColumnStats as PanelStats, Convert, Line, MAX_NR, MAX_PACK_ROWS, PANELS_SIDE_BY_SIDE, PackJob, Ready,
    Source, Stored, pack_panel, pack_panels, packs_side_by_side, prefer_huge, provable_i16_groups,
};
use std::ops::Range;

/// The purpose that errors name.
const PURPOSE: &str = "packed b";
/// No address space holds such a matrix.
pub(crate) const TOO_LARGE: Error = Error::Memory { purpose: PURPOSE, bytes: usize::MAX };

/// A B to be packed, for activations of a type and by the kernels of a dispatch.
#[derive(Clone, Copy)]
pub(crate) struct PackSource<'a> {
    pub(crate) b: Operand<'a>,
    pub(crate) activations: ElementType,
    pub(crate) dispatch: &'a Dispatch,
}

/// The column statistics that the products to come need.
#[derive(Clone, Copy)]
pub(crate) enum StatsNeeded {
    /// Sums, magnitudes and extremes.
    All,
    /// Sums alone, since the sums of products fit 32 bits anyway or are wanted modulo 2^32; magnitudes and extremes are
    /// set to the bounds of the element type. Column sums multiply the zero point of A: if that is one for all rows, it
    /// is given, and sums are left out if it is 0 for the values that kernels multiply.
    Sums { a_zero: Option<i32> },
}

/// Rows that are packed into all panels before the next rows, where rows of B are contiguous: enough for a panel's part
/// to be a few consecutive cache lines, few enough to be read as streams.
const ROWS_AT_A_TIME: usize = 256;
/// Rows of a panel that are packed at a time, where columns of B are contiguous.
const ROWS_OF_COLUMNS_AT_A_TIME: usize = 512;

/// `0..k` in blocks of `len`.
fn blocks(k: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..k).step_by(len).map(move |start| start..k.min(start + len))
}

/// `b` from column `j` on.
fn source_from_column<'a>(b: &Operand<'a>, j: usize) -> Source<'a> {
    let view = b.bits.transpose();
    Source { bits: view.data_from_row(j), row_stride: b.bits.row_stride(), col_stride: b.bits.col_stride() }
}

/// The bytes that `n` columns of panels of `kernel`, or of kernels with a proof beside it, take at most; `None` if that
/// overflows.
pub(crate) fn most_panel_bytes(
    dispatch: &Dispatch,
    kernel: &Ready,
    (k, n): (usize, usize),
    activations: ElementType,
    element: ElementType,
) -> Option<usize> {
    let stored = variant_for(kernel.table_row(), activations, element).b;
    // Kernels with a proof have k-groups of 4, so that a panel may be padded by more rows.
    dispatch.proven_beside(kernel).try_fold(kernel.panel_bytes(k, n, stored)?, |most, proven| {
        Some(most.max(proven.panel_bytes(k, n, Stored::I8)?))
    })
}

/// Places panels of `nr` columns, whose kernels are chosen, one after the other. Returns the bytes that they take; `None` if
/// that overflows.
pub(crate) fn place(panels: &mut [Panel], exact: &Ready, k: usize, n: usize) -> Option<usize> {
    let mut start = 0usize;
    for (panel, j) in panels.iter_mut().zip((0..n).step_by(exact.nr)) {
        panel.width = exact.padded_columns(exact.nr.min(n - j))?;
        panel.start = start;
        start = start.checked_add(panel.kernel.panel_bytes(k, panel.width, panel.variant.b)?)?;
    }
    Some(start)
}

impl PackSource<'_> {
    /// The bytes that a panel takes where no proof allows another kernel; `None` if that overflows.
    pub(crate) fn panel_bytes(&self) -> Option<usize> {
        let kernel = self.dispatch.choose(self.b.rows(), self.b.cols());
        let stored = variant_for(kernel.table_row(), self.activations, self.b.element).b;
        kernel.panel_bytes(self.b.rows(), kernel.nr, stored)
    }

    fn signed(&self) -> bool {
        self.b.element == ElementType::I8
    }
}

impl PackedColumns {
    /// No columns yet.
    pub(crate) fn empty(source: &PackSource<'_>) -> Self {
        Self {
            kernel: source.dispatch.choose(source.b.rows(), source.b.cols()),
            caches: source.dispatch.caches(),
            k: 0,
            n: 0,
            first: 0,
            element: source.b.element,
            activations: source.activations,
            panels: Vec::new(),
            lines: Storage::Own(Vec::new()),
            stats: ColumnStats::default(),
        }
    }

    /// Reserves the memory that [`pack`](Self::pack) of `n` columns takes at most, so that it will not fail. The columns
    /// that were packed are lost.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self, source: &PackSource<'_>, n: usize) -> Result<(), Error> {
        let (dispatch, k) = (source.dispatch, source.b.rows());
        // The kernel of all columns, as in `pack`: what a product reserves is for that one.
        let kernel = dispatch.choose(k, source.b.cols());
        let values = kernel.padded_values(n).ok_or(TOO_LARGE)?;
        let bytes = most_panel_bytes(dispatch, &kernel, (k, n), source.activations, source.b.element)
            .ok_or(TOO_LARGE)?;
        (self.k, self.n) = (0, 0);
        buffer::reserve(&mut self.panels, n.div_ceil(kernel.nr), PURPOSE)?;
        self.reserve_lines(bytes.div_ceil(64))?;
        self.stats.reserve(values, k, PURPOSE)
    }

    /// Packs some columns of a B, in place of those that were packed, and finds the statistics that are needed.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough; there are no columns then.
    pub(crate) fn pack(
        &mut self,
        source: &PackSource<'_>,
        columns: Range<usize>,
        needed: StatsNeeded,
    ) -> Result<(), Error> {
        let b = source.b.bits.submatrix(0..source.b.rows(), columns.clone())?;
        let part = PackSource { b: Operand { bits: b, ..source.b }, ..*source };
        // If this fails there is no matrix, not a part of one.
        (self.k, self.n) = (0, 0);
        let (k, n, dispatch) = (b.rows(), b.cols(), source.dispatch);
        let kernel = dispatch.choose(k, source.b.cols());
        self.lay_out(&part, kernel)?;
        if n > 0 {
            match needed {
                StatsNeeded::Sums { a_zero } if self.packs_side_by_side(&part, &kernel) => {
                    self.fill_side_by_side(&part, a_zero);
                    self.stats.set_type_bounds(source.b.element.range(), k);
                }
                _ => self.fill_one_by_one(&part),
            }
        }
        self.stats.finish(n, k);
        if let StatsNeeded::All = needed {
            let (a_signed, b_signed) = (source.activations == ElementType::I8, source.signed());
            let shifts = self.panels.iter().map(|Panel { variant, .. }| {
                (variant.convert_a(a_signed).1, Convert::new(b_signed, variant.b).shift(b_signed))
            });
            self.stats.find_sign_shift_terms(kernel.nr, k, shifts, PURPOSE)?;
        }
        (self.kernel, self.caches, self.k, self.n) = (kernel, dispatch.caches(), k, n);
        (self.first, self.element, self.activations) = (columns.start, source.b.element, source.activations);
        Ok(())
    }

    /// Chooses the kernel of each panel, and makes room for panels and statistics.
    fn lay_out(&mut self, source: &PackSource<'_>, kernel: Ready) -> Result<(), Error> {
        let (k, n) = (source.b.rows(), source.b.cols());
        let padded = kernel.padded_columns(n).ok_or(TOO_LARGE)?;
        // Checked before any element is read. Whatever the layout, an element takes a byte or more.
        self.reserve_lines(padded.checked_mul(k).ok_or(TOO_LARGE)? / 64)?;
        let bytes = self.choose_kernels(source, kernel)?.ok_or(TOO_LARGE)?;
        let lines = bytes.div_ceil(64);
        self.reserve_lines(lines)?;
        // Packing overwrites all lines; only lines that were never used are initialized here.
        let own = self.lines.own();
        own.truncate(lines);
        own.resize(lines, Line([0; 64]));
        self.stats.clear(kernel.padded_values(n).ok_or(TOO_LARGE)?, k, PURPOSE)
    }

    /// Chooses each panel's kernel and place. Returns the bytes that the panels take; `None` if that overflows.
    fn choose_kernels(&mut self, source: &PackSource<'_>, exact: Ready) -> Result<Option<usize>, Error> {
        let PackSource { b, activations, dispatch } = source;
        let (k, n) = (b.rows(), b.cols());
        let variant = variant_for(exact.table_row(), *activations, b.element);
        let exact = Panel { kernel: exact, variant, start: 0, width: exact.nr };
        let proven = dispatch.proven_beside(&exact.kernel);
        buffer::refill(&mut self.panels, n.div_ceil(exact.kernel.nr), exact, PURPOSE)?;
        if let Some(any) = proven.clone().next() {
            for (panel, j) in self.panels.iter_mut().zip((0..n).step_by(exact.kernel.nr)) {
                let cols = exact.kernel.nr.min(n - j);
                let source = source_from_column(b, j);
                let signed = b.element == ElementType::I8;
                let job = PackJob { source, rows: k, cols, signed, stored: Stored::I8 };
                let groups = provable_i16_groups(any, &job);
                if let Some(kernel) = proven.clone().find(|kernel| kernel.i16_groups <= groups) {
                    (panel.kernel, panel.variant) = (kernel, &kernel.table_row().variants[0]);
                }
            }
        }
        Ok(place(&mut self.panels, &exact.kernel, k, n))
    }

    /// Makes room for so many lines. Lines keep what an earlier matrix left in them.
    fn reserve_lines(&mut self, lines: usize) -> Result<(), Error> {
        let own = self.lines.own();
        if own.capacity() < lines {
            buffer::reserve(own, lines, PURPOSE)?;
            prefer_huge(own.spare_capacity_mut());
        }
        Ok(())
    }

    /// Packs all panels, one after the other or, where rows are contiguous, some rows of all before the next rows.
    fn fill_one_by_one(&mut self, source: &PackSource<'_>) {
        let (k, panels) = (source.b.rows(), 0..self.panels.len());
        if source.b.bits.col_stride() == 1 {
            for ks in blocks(k, ROWS_AT_A_TIME) {
                panels.clone().for_each(|index| self.fill(index, ks.clone(), source));
            }
        } else {
            for index in panels {
                blocks(k, ROWS_OF_COLUMNS_AT_A_TIME).for_each(|ks| self.fill(index, ks, source));
            }
        }
    }

    /// Packs rows `ks` of a panel's columns and adds their statistics. `ks.start` is a multiple of KR.
    fn fill(&mut self, index: usize, ks: Range<usize>, source: &PackSource<'_>) {
        let Panel { kernel, variant, start, width } = self.panels[index];
        let (b, signed) = (&source.b, source.signed());
        let j = index * kernel.nr;
        let (rows, cols) = (ks.len(), kernel.nr.min(b.cols() - j));
        let source = source_from_column(b, j).from_row(ks.start);
        let bytes = kernel.panel_bytes(rows, width, variant.b).expect("the sum of all was computed");
        let lines = bytemuck::cast_slice_mut::<Line, u8>(self.lines.own());
        let out = &mut lines[start + ks.start * width * variant.b.size()..][..bytes];
        let mut stats = PanelStats::NONE;
        let job = PackJob { source, rows, cols, signed, stored: variant.b };
        pack_panel(kernel, &job, out, &mut stats);
        let shift = Convert::new(signed, variant.b).shift(signed);
        self.stats.add(j, cols, &stats, i64::from(shift) * rows as i64);
    }

    /// Whether [`fill_side_by_side`](Self::fill_side_by_side) can pack this: all panels have one variant, and kernels
    /// have code for it.
    fn packs_side_by_side(&self, source: &PackSource<'_>, kernel: &Ready) -> bool {
        let rows = 1..=MAX_PACK_ROWS;
        source.dispatch.proven_beside(kernel).next().is_none()
            && rows.contains(&source.b.rows())
            && packs_side_by_side(*kernel, &source_from_column(&source.b, 0))
    }

    /// Packs several panels at a time, and adds the sums of columns unless A's one zero point is 0 for the values that
    /// kernels multiply.
    fn fill_side_by_side(&mut self, source: &PackSource<'_>, a_zero: Option<i32>) {
        let (b, signed) = (&source.b, source.signed());
        let (k, n) = (b.rows(), b.cols());
        let Panel { kernel, variant, .. } = self.panels[0];
        let (_, a_shift) = variant.convert_a(source.activations == ElementType::I8);
        let want_sums = a_zero.is_none_or(|zero| zero.wrapping_add(a_shift) != 0);
        let shifts = i64::from(Convert::new(signed, variant.b).shift(signed)) * k as i64;
        let lines = bytemuck::cast_slice_mut::<Line, u8>(self.lines.own());
        let width = PANELS_SIDE_BY_SIDE * kernel.nr;
        for (j, panels) in (0..n).step_by(width).zip(self.panels.chunks(PANELS_SIDE_BY_SIDE)) {
            let cols = (n - j).min(width);
            let bytes = kernel.panel_bytes(k, cols, variant.b).expect("the sum of all was computed");
            let mut sums = [0; PANELS_SIDE_BY_SIDE * MAX_NR];
            let out = &mut lines[panels[0].start..][..bytes];
            let job = PackJob { source: source_from_column(b, j), rows: k, cols, signed, stored: variant.b };
            pack_panels(kernel, &job, out, want_sums.then_some(&mut sums[..]));
            self.stats.add_sums(j, &sums[..cols], shifts);
        }
    }
}
