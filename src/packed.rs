//! The right-hand matrix, packed once.

use crate::columns::Columns;
use crate::dispatch::KernelInfo;
use crate::element::{ElementType, Operand};
use crate::gemm::ZeroPoint;
use crate::{Dispatch, Error};
use qgemm_kernels::{
    Caches, ColumnStats, Convert, Kernel, Line, MAX_NR, MAX_PACK_ROWS, PANELS_SIDE_BY_SIDE, PackJob, Ready,
    Source, Stored, Variant, pack_panel, pack_panels, packs_side_by_side, panel_value, prefer_huge,
    provable_i16_groups,
};
use std::fmt;
use std::ops::Range;

/// A K×N matrix in the layout that a kernel reads, with the column statistics that exactness needs.
///
/// Packed once, used by any number of products and threads. It holds
/// `ceil(K / KR)·KR × ceil(N / NR)·NR` elements of one byte (two for kernels whose name ends in `c1`, and the
/// portable one), at most 24 bytes per column and 24 per panel. Zero points are not part of it.
#[derive(Clone)]
pub struct PackedB {
    /// Exact for every panel.
    kernel: Ready,
    caches: Caches,
    k: usize,
    n: usize,
    /// The number of its first column. Not 0 only where a B that comes as it is is packed part by part.
    first: usize,
    element: ElementType,
    activations: ElementType,
    panels: Vec<Panel>,
    /// The elements of the panels, one after the other.
    lines: Vec<Line>,
    columns: Columns,
}

/// What multiplies a panel, and where it lies.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) kernel: Ready,
    pub(crate) variant: &'static Variant,
    /// In bytes.
    start: usize,
}

impl Panel {
    /// Whether both are multiplied in the same way.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kernel == other.kernel && std::ptr::eq(self.variant, other.variant)
    }
}

impl fmt::Debug for PackedB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedB")
            .field("k", &self.k)
            .field("n", &self.n)
            .field("element_type", &self.element)
            .field("activations", &self.activations)
            .field("kernel", &self.kernel.name)
            .finish_non_exhaustive()
    }
}

impl PackedB {
    /// Packs `b` for activations of the given type, for the kernel that suits it and this CPU.
    /// Activations of the other type can be multiplied too, a little slower.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough, [`Error::Kernel`] if `QGEMM_ISA` is wrong, [`Error::Variable`] if
    /// `QGEMM_CACHES` is.
    pub fn pack<'a>(b: impl Into<Operand<'a>>, activations: ElementType) -> Result<Self, Error> {
        Self::pack_with(Dispatch::auto()?, b, activations)
    }

    /// [`pack`](Self::pack), for one of the given kernels.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub fn pack_with<'a>(
        dispatch: &Dispatch,
        b: impl Into<Operand<'a>>,
        activations: ElementType,
    ) -> Result<Self, Error> {
        let b = b.into();
        let mut packed = Self::empty(dispatch, &b, activations);
        packed.refill(dispatch, b, 0..b.cols(), activations, Known::All)?;
        Ok(packed)
    }

    /// Nothing yet of such a matrix.
    pub(crate) fn empty(dispatch: &Dispatch, b: &Operand<'_>, activations: ElementType) -> Self {
        Self {
            kernel: dispatch.choose(b.cols()),
            caches: dispatch.caches(),
            k: 0,
            n: 0,
            first: 0,
            element: b.element,
            activations,
            panels: Vec::new(),
            lines: Vec::new(),
            columns: Columns::default(),
        }
    }

    /// How many columns of a B that comes as it is are best packed and multiplied at a time: so many that what they
    /// are packed to stays in the second-level cache (of Zen 4: 10 % of 64x4096x4096), in whole panels.
    pub(crate) fn columns_at_once(dispatch: &Dispatch, b: &Operand<'_>, activations: ElementType) -> usize {
        let kernel = dispatch.choose(b.cols());
        let stored = variant_for(kernel.table_row(), activations, b.element).b;
        let panel = kernel.panel_bytes(b.rows(), stored).unwrap_or(usize::MAX).max(1);
        (dispatch.caches().l2 / 4 * 3 / panel).max(AT_ONCE / kernel.nr).saturating_mul(kernel.nr)
    }

    /// Takes the memory that packing `n` columns of `b` needs at most, so that [`refill`](Self::refill) with them
    /// will not fail. What was packed is forgotten.
    pub(crate) fn make_room(
        &mut self,
        dispatch: &Dispatch,
        b: &Operand<'_>,
        n: usize,
        activations: ElementType,
    ) -> Result<(), Error> {
        let purpose = "packed b";
        let too_large = Error::Memory { purpose, bytes: usize::MAX };
        let kernel = dispatch.choose(n);
        let panels = n.div_ceil(kernel.nr);
        let padded = panels.checked_mul(kernel.nr).ok_or(too_large.clone())?;
        // Panels that are proven to allow another kernel take no more.
        let stored = variant_for(kernel.table_row(), activations, b.element).b;
        let bytes = kernel.panel_bytes(b.rows(), stored).and_then(|bytes| bytes.checked_mul(panels));
        let bytes = bytes.ok_or(too_large)?;
        (self.k, self.n) = (0, 0);
        make_room(&mut self.panels, panels, purpose)?;
        self.reserve_lines(bytes.div_ceil(64))?;
        self.columns.make_room(padded, b.rows(), purpose)
    }

    /// Packs some columns of another matrix into the memory that this one has, and learns of them what it must.
    pub(crate) fn refill(
        &mut self,
        dispatch: &Dispatch,
        b: Operand<'_>,
        columns: Range<usize>,
        activations: ElementType,
        known: Known<'_>,
    ) -> Result<(), Error> {
        let b = Operand { bits: b.bits.submatrix(0..b.rows(), columns.clone())?, ..b };
        let purpose = "packed b";
        let too_large = Error::Memory { purpose, bytes: usize::MAX };
        // Nothing of a matrix that could not be packed may look like one.
        (self.k, self.n) = (0, 0);
        let (k, n) = (b.rows(), b.cols());
        let kernel = dispatch.choose(n);
        let nr = kernel.nr;
        let padded = n.checked_next_multiple_of(nr).ok_or(too_large.clone())?;

        // Before any element is looked at: whatever the layout, an element takes a byte or more.
        let least = padded.checked_mul(k).ok_or(too_large.clone())?;
        self.reserve_lines(least / 64)?;
        let bytes = self.plan(dispatch, kernel, &b, activations)?.ok_or(too_large)?;
        let lines = bytes.div_ceil(64);
        self.reserve_lines(lines)?;
        // What is in them is all written below; only what is new need be given a value first.
        self.lines.truncate(lines);
        self.lines.resize(lines, Line([0; 64]));
        self.columns.clear(padded, k, purpose)?;

        let panels = 0..self.panels.len();
        let done = match known {
            Known::NoBounds { a_zero } if dispatch.proven_beside(&kernel).next().is_none() => {
                self.fill_several(nr, (activations, a_zero), &b)
            }
            _ => false,
        };
        if done {
            self.columns.know_no_more(b.element.range(), k);
        } else if b.bits.col_stride() == 1 {
            for ks in blocks(k, ROWS) {
                panels.clone().for_each(|index| self.fill(index, nr, ks.clone(), &b));
            }
        } else {
            for index in panels {
                blocks(k, COLUMN).for_each(|ks| self.fill(index, nr, ks, &b));
            }
        }
        self.columns.finish(n, k);
        if let Known::All = known {
            let signed = (activations == ElementType::I8, b.element == ElementType::I8);
            let shifts = self.panels.iter().map(|Panel { variant, .. }| {
                (variant.convert_a(signed.0).1, Convert::new(signed.1, variant.b).shift(signed.1))
            });
            self.columns.find_plain_terms(nr, k, shifts, purpose)?;
        }
        (self.kernel, self.caches, self.k, self.n) = (kernel, dispatch.caches(), k, n);
        (self.first, self.element, self.activations) = (columns.start, b.element, activations);
        Ok(())
    }

    /// Makes room for that many lines. What an earlier matrix left in them stays.
    fn reserve_lines(&mut self, lines: usize) -> Result<(), Error> {
        if self.lines.capacity() < lines {
            self.lines.clear();
            reserve(&mut self.lines, lines, "packed b")?;
            prefer_huge(self.lines.spare_capacity_mut());
        }
        Ok(())
    }

    /// Packs the rows `ks` of a panel's columns, and takes them into what is known of those; `ks` starts with a
    /// k-group.
    fn fill(&mut self, index: usize, nr: usize, ks: Range<usize>, b: &Operand<'_>) {
        let Panel { kernel, variant, start } = self.panels[index];
        let (j, signed) = (index * nr, b.element == ElementType::I8);
        let (rows, cols) = (ks.len(), nr.min(b.cols() - j));
        let source = source_at(b, j).from_row(ks.start);
        let bytes = kernel.panel_bytes(rows, variant.b).expect("the sum of all was computed");
        let lines = bytemuck::cast_slice_mut::<Line, u8>(&mut self.lines);
        let out = &mut lines[start + ks.start * nr * variant.b.size()..][..bytes];
        let mut stats = ColumnStats::NONE;
        let job = PackJob { source, rows, cols, signed, stored: variant.b };
        pack_panel(kernel, &job, out, &mut stats);
        let shift = Convert::new(signed, variant.b).shift(signed);
        self.columns.add(j, cols, &stats, i64::from(shift) * rows as i64);
    }

    /// Packs all panels, of one variant, if there is a way to pack several together, for activations of such a type
    /// and such zero points.
    fn fill_several(
        &mut self,
        nr: usize,
        (activations, a_zero): (ElementType, ZeroPoint<'_>),
        b: &Operand<'_>,
    ) -> bool {
        let (k, n) = (b.rows(), b.cols());
        let signed = b.element == ElementType::I8;
        let Some(&Panel { kernel, variant, .. }) = self.panels.first() else { return false };
        if k > MAX_PACK_ROWS || k == 0 || !packs_side_by_side(kernel, &source_at(b, 0)) {
            return false;
        }
        let (_, a_shift) = variant.convert_a(activations == ElementType::I8);
        // Otherwise they would be multiplied by 0.
        let want_sums = !matches!(a_zero, ZeroPoint::PerTensor(zero) if zero.wrapping_add(a_shift) == 0);
        let lines = bytemuck::cast_slice_mut::<Line, u8>(&mut self.lines);
        for (j, panels) in
            (0..n).step_by(PANELS_SIDE_BY_SIDE * nr).zip(self.panels.chunks(PANELS_SIDE_BY_SIDE))
        {
            let Panel { kernel, start, .. } = panels[0];
            let bytes = kernel.panel_bytes(k, variant.b).expect("the sum of all was computed");
            let cols = (n - j).min(PANELS_SIDE_BY_SIDE * nr);
            let mut sums = [0; PANELS_SIDE_BY_SIDE * MAX_NR];
            let out = &mut lines[start..][..panels.len() * bytes];
            let job = PackJob { source: source_at(b, j), rows: k, cols, signed, stored: variant.b };
            pack_panels(kernel, &job, out, want_sums.then_some(&mut sums[..]));
            let shift = Convert::new(signed, variant.b).shift(signed);
            self.columns.add_sums(j, &sums[..cols], i64::from(shift) * k as i64);
        }
        true
    }

    /// Chooses each panel's kernel, and returns the bytes that they take; none where that overflows.
    fn plan(
        &mut self,
        dispatch: &Dispatch,
        exact: Ready,
        b: &Operand<'_>,
        activations: ElementType,
    ) -> Result<Option<usize>, Error> {
        let (k, n) = (b.rows(), b.cols());
        let variant = variant_for(exact.table_row(), activations, b.element);
        let exact = Panel { kernel: exact, variant, start: 0 };
        let proven = dispatch.proven_beside(&exact.kernel);
        resize(&mut self.panels, n.div_ceil(exact.kernel.nr), exact, "packed b")?;
        let mut start = Some(0usize);
        for (panel, j) in self.panels.iter_mut().zip((0..n).step_by(exact.kernel.nr)) {
            if let Some(any) = proven.clone().next() {
                let cols = exact.kernel.nr.min(n - j);
                let signed = b.element == ElementType::I8;
                let job = PackJob { source: source_at(b, j), rows: k, cols, signed, stored: Stored::I8 };
                let groups = provable_i16_groups(any, &job);
                if let Some(kernel) = proven.clone().find(|kernel| kernel.i16_groups <= groups) {
                    *panel = Panel { kernel, variant: &kernel.table_row().variants[0], start: 0 };
                }
            }
            let (Some(at), Some(bytes)) = (start, panel.kernel.panel_bytes(k, panel.variant.b)) else {
                return Ok(None);
            };
            panel.start = at;
            start = at.checked_add(bytes);
        }
        Ok(start)
    }

    /// Number of rows, the common dimension of a product.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The type of the elements that were packed.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// The type of activations it was packed for.
    pub fn packed_for(&self) -> ElementType {
        self.activations
    }

    /// The kernel whose layout it has; the name tells the layout. Panels that are proven to allow a faster
    /// one have that one's: see [`panel_kernels`](Self::panel_kernels).
    pub fn kernel(&self) -> KernelInfo {
        KernelInfo::of(&self.kernel)
    }

    /// The kernel of each panel, that is, of each `kernel().nr` columns.
    pub fn panel_kernels(&self) -> impl ExactSizeIterator<Item = KernelInfo> {
        self.panels.iter().map(|panel| KernelInfo::of(&panel.kernel))
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.panels.len() * size_of::<Panel>() + self.columns.bytes()
    }

    /// The value of element (k, j), if there is one.
    pub fn get(&self, k: usize, j: usize) -> Option<i32> {
        if k >= self.k || j >= self.n {
            return None;
        }
        let nr = self.kernel.nr;
        let panel = &self.panels[j / nr];
        let stored = panel_value(&panel.kernel, panel.variant.b, self.bits(panel), k, j % nr);
        Some(i32::from(stored) - self.shift(panel.variant.b))
    }

    /// Of the whole matrix: what decides the blocks of a product.
    pub(crate) fn ready(&self) -> Ready {
        self.kernel
    }

    /// Those that blocks are cut for.
    pub(crate) fn caches(&self) -> Caches {
        self.caches
    }

    /// What is added to each value when it is stored like that.
    pub(crate) fn shift(&self, stored: Stored) -> i32 {
        let signed = self.element == ElementType::I8;
        Convert::new(signed, stored).shift(signed)
    }

    /// The numbers of its columns.
    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        self.first..self.first + self.n
    }

    /// The sums of the stored values of some columns, by number, modulo 2^32, in whole panels.
    #[inline]
    pub(crate) fn stored_sums(&self, columns: Range<usize>) -> &[i32] {
        // NR is a power of two.
        let end = (columns.end - self.first + self.kernel.nr - 1) & !(self.kernel.nr - 1);
        &self.columns.stored_sum[columns.start - self.first..end]
    }

    /// The sum of the stored values of a column, by number.
    pub(crate) fn exact_sum(&self, j: usize) -> i64 {
        self.columns.exact_sum(j - self.first)
    }

    /// What products with such activations add to some columns, by number, where both have zero points of 0 and there
    /// is no bias, if that is known; in whole panels.
    #[inline]
    pub(crate) fn plain_terms(&self, columns: Range<usize>, activations: ElementType) -> Option<&[i32]> {
        let known = activations == self.activations && !self.columns.plain_terms.is_empty();
        known.then(|| &self.columns.plain_terms[columns.start - self.first..])
    }

    #[inline]
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    #[inline]
    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// The k-groups of a panel that hold the rows from `ks.start`, a multiple of KR, to `ks.end`.
    #[inline]
    pub(crate) fn panel_rows(&self, panel: &Panel, ks: Range<usize>) -> &[u8] {
        let row = panel.kernel.nr * panel.variant.b.size();
        let end = panel.kernel.padded(ks.end).expect("it was packed");
        &self.bits(panel)[ks.start * row..end * row]
    }

    /// All k-groups of panels that follow each other, of one kernel.
    #[inline]
    pub(crate) fn whole_panels(&self, panels: &[Panel]) -> &[u8] {
        let (first, last) = (self.bits(&panels[0]), &panels[panels.len() - 1]);
        let start = panels[0].start;
        &bytemuck::cast_slice::<Line, u8>(&self.lines)[start..last.start + first.len()]
    }

    #[inline]
    fn bits(&self, panel: &Panel) -> &[u8] {
        let bytes = panel.kernel.panel_bytes(self.k, panel.variant.b).expect("it was packed");
        &bytemuck::cast_slice::<Line, u8>(&self.lines)[panel.start..][..bytes]
    }
}

/// The variant of `kernel` that reads such activations in place, and of those the one that stores `b`
/// as it is, if there are such.
fn variant_for(kernel: &'static Kernel, activations: ElementType, b: ElementType) -> &'static Variant {
    let kept = |element, stored| Convert::new(element == ElementType::I8, stored) == Convert::Copy;
    let find = |wanted: &dyn Fn(&&Variant) -> bool| kernel.variants.iter().find(wanted);
    find(&|v| kept(activations, v.a) && kept(b, v.b))
        .or(find(&|v| kept(activations, v.a)))
        .unwrap_or(&kernel.variants[0])
}

/// What must be known of the columns of a packed matrix.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// All.
    All,
    /// No bounds but those of the type, since the sums fit 32 bits anyway, or need not; and their sums only if products
    /// with such zero points of A take them.
    NoBounds { a_zero: ZeroPoint<'a> },
}

/// Columns that are packed at once at least: of rows that long, lines come from memory as streams.
const AT_ONCE: usize = 256;

/// Rows that are packed of all panels before the next ones: enough for a panel's part to be a few cache lines
/// on end, few enough to be read as streams.
const ROWS: usize = 256;
/// The same of one panel's columns, where those are slices.
const COLUMN: usize = 512;

/// `0..k` in blocks of `len`.
fn blocks(k: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..k).step_by(len).map(move |start| start..k.min(start + len))
}

/// `b` from column `j` on.
fn source_at<'a>(b: &Operand<'a>, j: usize) -> Source<'a> {
    let view = b.bits.transpose();
    Source { bits: view.data_from_row(j), row_stride: b.bits.row_stride(), col_stride: b.bits.col_stride() }
}

/// Makes `v` `len` values long; only growth beyond its capacity allocates, and may fail.
pub(crate) fn resize<T: Copy>(
    v: &mut Vec<T>,
    len: usize,
    value: T,
    purpose: &'static str,
) -> Result<(), Error> {
    v.clear();
    reserve(v, len, purpose)?;
    v.resize(len, value);
    Ok(())
}

/// Empties a vector and makes room for `len` values.
pub(crate) fn make_room<T>(v: &mut Vec<T>, len: usize, purpose: &'static str) -> Result<(), Error> {
    v.clear();
    reserve(v, len, purpose)
}

/// Makes room for `len` values in an empty vector.
fn reserve<T>(v: &mut Vec<T>, len: usize, purpose: &'static str) -> Result<(), Error> {
    let bytes = len.saturating_mul(size_of::<T>());
    v.try_reserve_exact(len).map_err(|_| Error::Memory { purpose, bytes })
}
