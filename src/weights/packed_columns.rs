//! Columns of B in panels, as the engine reads them. `pack` makes them.

use crate::element::ElementType;
use crate::weights::column_stats::ColumnStats;
use crate::weights::storage::Storage;
use qgemm_kernels::{Caches, Convert, Kernel, Line, Ready, Stored, Variant, panel_value};
use std::ops::Range;

/// Consecutive columns of a B, in panels: all of them, or a part of a B that is packed part by part.
///
/// Columns are named by their index in the whole B, from `range().start` on.
#[derive(Clone)]
pub(crate) struct PackedColumns {
    /// The kernel of the layout: exact for every panel.
    pub(super) kernel: Ready,
    pub(super) caches: Caches,
    pub(super) k: usize,
    pub(super) n: usize,
    /// The index of the first column.
    pub(super) first: usize,
    pub(super) element: ElementType,
    /// The type of A that the panels suit best.
    pub(super) activations: ElementType,
    pub(super) panels: Vec<Panel>,
    /// The elements of the panels, one panel after the other.
    pub(super) lines: Storage<Line>,
    pub(super) stats: ColumnStats,
}

/// A panel: the kernel that multiplies it, and the place of its elements.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) kernel: Ready,
    pub(crate) variant: &'static Variant,
    /// The offset of its first byte.
    pub(super) start: usize,
    /// The columns that it has room for.
    pub(super) width: usize,
}

impl Panel {
    /// Whether the same kernel and variant multiply both.
    pub(crate) fn same_kernel(&self, other: &Self) -> bool {
        self.kernel == other.kernel && std::ptr::eq(self.variant, other.variant)
    }
}

impl PackedColumns {
    /// The number of rows.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// The number of columns.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// The type of the elements that were packed.
    pub(crate) fn element_type(&self) -> ElementType {
        self.element
    }

    /// The type of A that the panels suit best.
    pub(crate) fn activations(&self) -> ElementType {
        self.activations
    }

    /// The kernel of the layout. It decides the blocks of a product; panels that are proven to allow a faster kernel of
    /// the same tile name that one.
    pub(crate) fn kernel(&self) -> Ready {
        self.kernel
    }

    /// The cache sizes, of which that of L2 decides the blocks.
    pub(crate) fn caches(&self) -> Caches {
        self.caches
    }

    /// The memory that panels and statistics take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.panels.len() * size_of::<Panel>() + self.stats.bytes()
    }

    /// The value of element (k, j), j counted from the first column; `None` if there is none.
    pub(crate) fn get(&self, k: usize, j: usize) -> Option<i32> {
        if k >= self.k || j >= self.n {
            return None;
        }
        let nr = self.kernel.nr;
        let panel = &self.panels[j / nr];
        let bytes = self.panel_bytes(panel);
        let stored = panel_value(&panel.kernel, panel.width, panel.variant.b, bytes, (k, j % nr));
        Some(i32::from(stored) - self.shift(panel.variant.b))
    }

    /// The amount that storing as `stored` adds to each value.
    pub(crate) fn shift(&self, stored: Stored) -> i32 {
        let signed = self.element == ElementType::I8;
        Convert::new(signed, stored).shift(signed)
    }

    /// The indices of the columns.
    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        self.first..self.first + self.n
    }

    /// The values per column that a kernel reads for so many columns, from the first one of a panel on.
    #[inline]
    pub(crate) fn padded_values(&self, columns: usize) -> usize {
        self.kernel.padded_values(columns).expect("columns of a matrix")
    }

    /// Sums modulo 2^32 of the stored values of `columns`, which begin with a panel, and of as many more as kernels read.
    #[inline]
    pub(crate) fn stored_sums(&self, columns: Range<usize>) -> &[i32] {
        &self.stats.stored_sum[columns.start - self.first..][..self.padded_values(columns.len())]
    }

    /// The sum of the stored values of column `j`.
    pub(crate) fn exact_sum(&self, j: usize) -> i64 {
        self.stats.exact_sum(j - self.first)
    }

    /// The column terms, modulo 2^32, of `columns` (and of those after them, as in [`stored_sums`](Self::stored_sums)) for
    /// activations of the given type, zero points 0 and no bias; `None` if they are not known.
    #[inline]
    pub(crate) fn sign_shift_terms(&self, columns: Range<usize>, activations: ElementType) -> Option<&[i32]> {
        let known = activations == self.activations && !self.stats.sign_shift_terms.is_empty();
        known.then(|| &self.stats.sign_shift_terms[columns.start - self.first..])
    }

    /// The statistics of the columns.
    #[inline]
    pub(crate) fn stats(&self) -> &ColumnStats {
        &self.stats
    }

    /// The panels: `kernel().nr` columns each, the last what is left.
    #[inline]
    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// The indices of the panels of some columns, which begin with a panel.
    #[inline]
    pub(crate) fn panels_of(&self, columns: Range<usize>) -> Range<usize> {
        if columns.len() == self.n {
            return 0..self.panels.len();
        }
        columns.start / self.kernel.nr..columns.end.div_ceil(self.kernel.nr)
    }

    /// The k-groups of a panel that hold rows `ks`. `ks.start` is a multiple of KR.
    #[inline]
    pub(crate) fn panel_rows(&self, panel: &Panel, ks: Range<usize>) -> &[u8] {
        let row = panel.width * panel.variant.b.size();
        let end = panel.kernel.padded(ks.end).expect("it was packed");
        &self.panel_bytes(panel)[ks.start * row..end * row]
    }

    /// All k-groups of consecutive panels of one kernel.
    #[inline]
    pub(crate) fn whole_panels(&self, panels: &[Panel]) -> &[u8] {
        let last = &panels[panels.len() - 1];
        let end = last.start + self.panel_bytes(last).len();
        &bytemuck::cast_slice::<Line, u8>(&self.lines)[panels[0].start..end]
    }

    /// All k-groups of a panel.
    #[inline]
    pub(super) fn panel_bytes(&self, panel: &Panel) -> &[u8] {
        let bytes = panel.kernel.panel_bytes(self.k, panel.width, panel.variant.b).expect("it was packed");
        &bytemuck::cast_slice::<Line, u8>(&self.lines)[panel.start..][..bytes]
    }
}

/// The variant of `kernel` that reads activations of the given type in place, and of several such the one that stores
/// B as it is; the first variant if none reads them in place.
pub(super) fn variant_for(
    kernel: &'static Kernel,
    activations: ElementType,
    b: ElementType,
) -> &'static Variant {
    let kept = |element, stored| Convert::new(element == ElementType::I8, stored) == Convert::Copy;
    let find = |wanted: &dyn Fn(&&Variant) -> bool| kernel.variants.iter().find(wanted);
    find(&|v| kept(activations, v.a) && kept(b, v.b))
        .or(find(&|v| kept(activations, v.a)))
        .unwrap_or(&kernel.variants[0])
}
