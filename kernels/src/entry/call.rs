//! A product of rows and panels by a micro-kernel. All lengths are checked here, once.

use crate::block::BlockMut;
use crate::contract::args::Args;
use crate::contract::kernel::Variant;
use crate::contract::limits::MAX_NR;
use crate::contract::ready::Ready;
use crate::contract::stage::{OuterProduct, Output};
use core::ops::RangeInclusive;

/// The terms of columns that have none: two panels are the most columns of a call. All calls read these, so that they
/// stay in the first-level cache; zeros for all columns of a product would come from memory.
static NO_COL: [i32; 2 * MAX_NR] = [0; 2 * MAX_NR];

/// A product of rows of A and panels of B: the head of this crate has the formula.
pub struct PanelProduct<'a> {
    /// The common dimension.
    pub k: usize,
    /// Rows of `k` elements of the variant's type of A; no byte past the last row's end is read.
    pub a: &'a [u8],
    /// Bytes from one row of A to the next.
    pub lda: usize,
    /// Whether A is expected in no cache: its rows are then prefetched.
    pub a_from_memory: bool,
    /// Whether B is larger than the second-level cache: few rows then take parts of panels, or two panels, side by side.
    pub b_exceeds_l2: bool,
    /// Panels, one after the other, as [`pack_panel`](crate::pack_panel) makes them: the last is as narrow as its columns
    /// allow.
    pub panels: &'a [u8],
    /// [`padded_values`](crate::Kernel::padded_values) of the columns, added to all sums of their column; `None` adds
    /// nothing.
    pub col: Option<&'a [i32]>,
    /// A value per row, added to all its sums.
    pub row: &'a [i32],
    /// Products of a value per row and a value per column, subtracted from the sums.
    pub outer: &'a [OuterProduct<'a>],
}

/// Numbers of rows whose tiles prefetch the next panel of a B beyond the second-level cache. Otherwise the first tile of a
/// panel waits for memory, and memory for the others: 16x512x65536 gains 2 to 3 %, with 8-bit outputs 9 to 10 % (Zen 4,
/// 2026-11-29).
const PREFETCHING_ROWS: RangeInclusive<usize> = 8..=64;

/// The bytes of the longest panel that is prefetched so: a CPU recognises the stream in time where a panel is longer, and
/// loses 1 to 2 % to prefetches (Zen 4).
const LONGEST_PREFETCHED_PANEL: usize = 64 << 10;

/// The shape of a product whose slices were found long enough for it.
struct Checked {
    rows: usize,
    cols: usize,
    /// Bytes from one row of A to the next.
    lda: usize,
    /// Bytes of a column in a panel.
    column_bytes: usize,
}

impl Checked {
    /// Checks a product of one row and column at least. The numbers name what the proof in [`Ready::run`] takes from
    /// here.
    ///
    /// # Panics
    /// If one of the numbered claims does not hold.
    #[inline(always)]
    fn new(kernel: &Ready, variant: &Variant, p: &PanelProduct<'_>, output: &Output<'_, '_>) -> Self {
        let (rows, cols) = output.shape();
        // 1: the variant is the kernel's, whose MR, NR and KR its code has (`Kernel::new`).
        let own = kernel.table_row().variants.iter().any(|v| core::ptr::eq(v, variant));
        assert!(own, "a variant of another kernel");
        // 2: the output's rows are slices of `cols` elements; the values of its stage (scales, biases, multipliers, f64
        // terms) are there for `rows` rows and `values` columns; the residual holds rows of `cols` bytes.
        let values = kernel.padded_values(cols).expect("columns beyond the address space");
        assert!(output.fits(values), "an output of another shape");
        // 3: a kernel that is not fused stores sums only.
        assert!(kernel.fused || matches!(output, Output::Sums { .. }), "the kernel is not fused");
        // 4: A holds `rows` rows of k elements. Nothing is read of rows without elements, wherever they
        // are.
        let row_bytes = p.k.checked_mul(variant.a.size());
        let lda = if p.k == 0 { 0 } else { p.lda };
        let need_a = (rows - 1).checked_mul(lda).zip(row_bytes).and_then(|(x, y)| x.checked_add(y));
        assert!(need_a.is_some_and(|need| need <= p.a.len()), "A is too short");
        // 5: the panels are whole: `column_bytes` for each of `padded` columns.
        let padded = kernel.padded_columns(cols).expect("columns beyond the address space");
        let column_bytes = kernel.padded(p.k).and_then(|k| k.checked_mul(variant.b.size()));
        let need_b = column_bytes.and_then(|bytes| bytes.checked_mul(padded));
        assert!(need_b.is_some_and(|need| need <= p.panels.len()), "the panels are too short");
        // 6: there is a term for each row, and none or one for each of `values` columns.
        let col_fits = p.col.is_none_or(|col| col.len() >= values);
        assert!(col_fits && p.row.len() >= rows, "the terms are too short");
        // 7: as 6, for each outer product.
        let long = |outer: &OuterProduct<'_>| outer.row.len() >= rows && outer.col.len() >= values;
        assert!(p.outer.iter().all(long), "the outer terms are too short");
        Self { rows, cols, lda, column_bytes: column_bytes.expect("less than what is needed") }
    }
}

impl Ready {
    /// Multiplies the rows of A by as many panels as `output` has columns for. The output has as many rows as A, and
    /// each is contiguous.
    ///
    /// # Panics
    /// If a slice is shorter than the shape needs, `variant` is another kernel's, or the kernel is not fused and
    /// `output` is not [`Output::Sums`].
    pub fn run(&self, variant: &Variant, p: &PanelProduct<'_>, mut output: Output<'_, '_>) {
        let (rows, cols) = output.shape();
        if rows == 0 || cols == 0 {
            return;
        }
        let Checked { rows, cols, lda, column_bytes } = Checked::new(self, variant, p, &output);
        // Within the second-level cache one stream is the fastest way through B (245 GB/s on Zen 5, against 140 to 196 with
        // two, 2026-11-28), but not on Zen 4.
        let side_by_side = p.b_exceeds_l2 || self.slow_stores();
        let two_panels_up_to_rows = if side_by_side { self.extensions().two_panels_up_to_rows } else { 0 };
        let prefetches = p.b_exceeds_l2
            && PREFETCHING_ROWS.contains(&rows)
            && self.nr * column_bytes <= LONGEST_PREFETCHED_PANEL;
        let (out, ldc) = output.as_out();
        let mut j = 0;
        while j < cols {
            // With at most 15 columns less than two panels there is a second panel, as wide as the first, since panels
            // grow by 16 or more (`Variant::of`).
            let two = rows <= two_panels_up_to_rows && cols - j > 2 * self.nr - 16;
            let width = if two { 2 * self.nr } else { self.nr }.min(cols - j);
            // SAFETY: `self` is the witness that the CPU has the instructions. The contract of `Args`, line by line, with
            // the numbers of `Checked::new`; j + width <= cols throughout:
            // - rows, cols: 1 <= width <= NR or `two` as above; the code has this NR (1), and the extension asked for is
            //   the kernel's;
            // - a: (4);
            // - b: j is a multiple of NR, so the panels of columns 0..j take j·`column_bytes`; the next one, or two, are
            //   as wide as `width`, rounded up, which is as far as `padded` goes (5);
            // - col, row: (6), since vectors of the values go as far from any panel's first column; or `NO_COL`, which is as
            //   wide as two panels (`Variant::of`: NR <= MAX_NR);
            // - outer: (7), from first_col = j on; none if the kernel is not fused;
            // - out: columns j.. of an exclusively borrowed block of contiguous rows (2), and it is `Sums` if the kernel
            //   is not fused (3);
            // - the stage: (2), from first_col = j on; an absent bias is `NO_BIAS`, wide as `NO_COL`.
            unsafe {
                variant.micro()(&mut Args {
                    k: p.k,
                    a: p.a.as_ptr(),
                    lda,
                    b: p.panels.as_ptr().add(j * column_bytes),
                    rows,
                    cols: width,
                    col: p.col.map_or(NO_COL.as_ptr(), |col| col.as_ptr().add(j)),
                    row: p.row.as_ptr(),
                    outer: if self.fused { p.outer } else { &[] },
                    first_row: 0,
                    first_col: j,
                    out: out.at(j),
                    ldc,
                    // The first panel brings it into the cache.
                    a_from_memory: p.a_from_memory && j == 0,
                    side_by_side,
                    next_panel: if prefetches && j + width < cols {
                        p.panels.as_ptr().wrapping_add((j + width) * column_bytes)
                    } else {
                        core::ptr::null()
                    },
                    next_per_row: if prefetches { self.nr * self.kr * 64 / rows } else { 0 },
                    slow_stores: self.slow_stores(),
                    amx_overhead: self.amx_overhead(),
                });
            }
            j += width;
        }
        if !self.fused
            && let Output::Sums { c, .. } = output
        {
            subtract_outer_products(p.outer, c);
        }
    }
}

/// Subtracts outer products from sums, modulo 2^32: for kernels that do not do it in registers.
pub(crate) fn subtract_outer_products(outer: &[OuterProduct<'_>], c: &mut BlockMut<'_, i32>) {
    for outer in outer {
        for i in 0..c.rows() {
            let row = c.row_mut(i).expect("the rows are slices");
            subtract_multiple(row, outer.row[i], outer.col);
        }
    }
}

/// Subtracts `factor` times `col` from a row of sums.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn subtract_multiple(row: &mut [i32], factor: i32, col: &[i32]) {
    for (sum, col) in row.iter_mut().zip(col) {
        *sum = sum.wrapping_sub(factor.wrapping_mul(*col));
    }
}
