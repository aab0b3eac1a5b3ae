//! A product of rows and panels by a micro-kernel: lengths are checked here, once.

use crate::block::BlockMut;
use crate::contract::args::{Args, Out};
use crate::contract::kernel::{Variant, tile_height};
use crate::contract::limits::{LEAST_TALL, MAX_NR, TALL};
use crate::contract::ready::Ready;
use crate::contract::stage::{OuterProduct, Output};

/// Terms of columns to which nothing is added. As wide as two panels, the most of a call, and the same for all: as many
/// as there are columns would have to come from memory.
static NO_COL: [i32; 2 * MAX_NR] = [0; 2 * MAX_NR];

/// A product of rows and panels: see the head of this crate.
pub struct PanelProduct<'a> {
    /// The common dimension.
    pub k: usize,
    /// Rows of `k` elements of the variant's type A; no byte past the last row's end is read.
    pub a: &'a [u8],
    /// Bytes from one row of A to the next.
    pub lda: usize,
    /// Panels, one after the other, as `pack` makes them.
    pub panels: &'a [u8],
    /// NR values per panel, added to every row, if anything is.
    pub col: Option<&'a [i32]>,
    /// A value per row, added to all its columns.
    pub row: &'a [i32],
    /// What is taken off.
    pub outer: &'a [OuterProduct<'a>],
}

impl Ready {
    /// How many of the rows, the first ones, are a tall product: a multiple of [`TALL`] beyond MR, or 0.
    #[inline(never)]
    fn tall_rows(
        &self,
        variant: &Variant,
        p: &PanelProduct<'_>,
        rows: usize,
        lda: usize,
        out: &Out<'_>,
    ) -> usize {
        if p.k > self.takes.tall || p.k == 0 || out.least_tall().is_none_or(|least| rows < least) {
            return 0;
        }
        // KR is a power of two.
        let whole = p.k & (self.kr - 1) == 0;
        if whole {
            rows / TALL * TALL
        } else if lda >= self.kr * variant.a.size() {
            // The last row's last k-group is not all there; that of others is, as the next row ends so much later.
            (rows - 1) / TALL * TALL
        } else {
            0
        }
    }

    /// Multiplies the rows of A by as many panels as `output` has columns for. It has as many rows as A, which are
    /// slices.
    ///
    /// # Panics
    /// If a slice is shorter than the shape needs, or a kernel that is not fused is to make other outputs than sums.
    pub fn run(&self, variant: &Variant, p: &PanelProduct<'_>, mut output: Output<'_, '_>) {
        let (rows, cols) = output.shape();
        if rows == 0 || cols == 0 {
            return;
        }
        let own = self.kernel.variants.iter().any(|v| core::ptr::eq(v, variant));
        assert!(own, "a variant of another kernel");
        // NR is a power of two, and this is called too often for a division.
        let padded =
            cols.checked_add(self.nr - 1).expect("columns beyond the address space") & !(self.nr - 1);
        let panels = padded >> self.nr.trailing_zeros();
        assert!(output.fits(rows, padded), "an output of another shape");
        assert!(self.fused || matches!(output, Output::Sums { .. }), "the kernel is not fused");
        let row_bytes = p.k.checked_mul(variant.a.size());
        // Of rows without elements nothing is read, wherever they are.
        let lda = if p.k == 0 { 0 } else { p.lda };
        let need_a = (rows - 1).checked_mul(lda).zip(row_bytes).and_then(|(x, y)| x.checked_add(y));
        assert!(need_a.is_some_and(|need| need <= p.a.len()), "A is too short");
        let panel_bytes = self.panel_bytes(p.k, variant.b).expect("a panel beyond the address space");
        let need_b = panel_bytes.checked_mul(panels);
        assert!(need_b.is_some_and(|need| need <= p.panels.len()), "the panels are too short");
        let col_fits = p.col.is_none_or(|col| col.len() >= padded);
        assert!(col_fits && p.row.len() >= rows, "the terms are too short");
        let long = |outer: &OuterProduct<'_>| outer.row.len() >= rows && outer.col.len() >= padded;
        assert!(p.outer.iter().all(long), "the outer terms are too short");

        let (out, ldc) = output.as_out();
        let tall = if rows < LEAST_TALL { 0 } else { self.tall_rows(variant, p, rows, lda, &out) };
        let (mut j, mut panel) = (0, 0);
        while j < cols {
            let two = rows <= self.takes.abreast && cols - j > 2 * self.nr - 16;
            let width = if two { 2 * self.nr } else { self.nr }.min(cols - j);
            let mut i = 0;
            while i < rows {
                let h = if i < tall { tall } else { tile_height(rows - i, self.mr) };
                // SAFETY: the witness shows the CPU to have the instructions. The asserts above show A to hold `rows`
                // rows of k elements, the panels to be whole, all terms and scales to be long enough (`NO_COL` is for
                // the one or two panels of this call); the output is a block of rows x cols elements whose rows are
                // contiguous, borrowed exclusively. i + h <= rows, so rows i..i+h of each lie within them; j is a
                // multiple of NR and j + width <= cols, so do columns j..j+width, and their panels. Two panels, and
                // more rows than MR, are asked only of kernels that take them, as they say; then row h - 1 has whole
                // k-groups, or row h ends at least a k-group after it.
                unsafe {
                    (variant.micro)(&Args {
                        k: p.k,
                        a: p.a.as_ptr().add(i * lda),
                        lda,
                        b: p.panels.as_ptr().add(panel * panel_bytes),
                        rows: h,
                        cols: width,
                        col: p.col.map_or(NO_COL.as_ptr(), |col| col.as_ptr().add(j)),
                        row: p.row.as_ptr().add(i),
                        outer: if self.fused { p.outer } else { &[] },
                        top: i,
                        left: j,
                        out: out.at(i * ldc + j),
                        ldc,
                        slow_stores: self.slow_stores,
                    });
                }
                i += h;
            }
            j += width;
            panel += if two { 2 } else { 1 };
        }
        if let (false, Output::Sums { c, .. }) = (self.fused, output) {
            take_off(p.outer, c);
        }
    }
}

/// Takes outer products off sums, modulo 2^32: for kernels that do not do it in registers.
pub(crate) fn take_off(outer: &[OuterProduct<'_>], c: &mut BlockMut<'_, i32>) {
    for outer in outer {
        for i in 0..c.rows() {
            let row = c.row_mut(i).expect("the rows are slices");
            take_off_row(row, outer.row[i], outer.col);
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx2"))]
fn take_off_row(row: &mut [i32], factor: i32, col: &[i32]) {
    for (sum, col) in row.iter_mut().zip(col) {
        *sum = sum.wrapping_sub(factor.wrapping_mul(*col));
    }
}
