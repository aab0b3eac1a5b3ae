//! A few rows of A times a B that is not packed: packing it would take several times as long as the product. A kernel
//! finds the sums of products; this file adds the zero points' terms and the bias, and stores the output.

use crate::dispatch::select::Dispatch;
use crate::element::ElementType;
use crate::engine::buffers::{self, Buffers, Scratch};
use crate::engine::epilogue::column_stage::ColumnStage;
use crate::engine::epilogue::scalar;
use crate::engine::plan::Needs;
use crate::engine::zero_points::subtract_product;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::matrix::view::MatRef;
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::product::Product;
use crate::product::zero_point::ZeroPoint;
use qgemm_kernels::{
    BlockMut, MAX_NR, MAX_SWEEP_ROWS, Ready, SIGN_SHIFT, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums,
    add_row_sums,
};
use std::ops::Range;

/// Columns whose sums are kept at a time: in the first-level cache if there is one row.
const SWEEP_COLUMNS: usize = 4096;

/// A product that a kernel computes without packing B.
#[derive(Clone, Copy)]
pub(crate) struct Sweep<'a> {
    product: &'a Product<'a>,
    a: MatRef<'a, u8>,
    b: MatRef<'a, u8>,
    kernel: Ready,
}

impl<'a> Sweep<'a> {
    /// The product as a sweep; `None` unless A has few rows that are read in place, B has contiguous rows or columns of
    /// i8, and a kernel of the dispatch sweeps.
    pub(crate) fn new(product: &'a Product<'a>, b: Operand<'a>, dispatch: &Dispatch) -> Option<Self> {
        let (a, kernel) = (product.a.in_place()?, dispatch.choose(b.rows(), b.cols()));
        let slices = b.bits.rows_are_slices() || b.bits.transpose().rows_are_slices();
        let few = a.rows() <= MAX_SWEEP_ROWS && kernel.sweeps() && b.element == ElementType::I8 && slices;
        few.then_some(Self { product, a, b: b.bits, kernel })
    }

    /// Computes some columns, whose exact sums fit 32 bits or are wanted modulo 2^32. `destination` holds these columns
    /// only.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough scratch memory. Nothing was written then.
    pub(crate) fn run(
        &self,
        columns: Range<usize>,
        destination: &mut Destination<'_, '_>,
    ) -> Result<(), Error> {
        buffers::with(&self.needs(columns.len()), |scratch| {
            for start in columns.clone().step_by(SWEEP_COLUMNS) {
                let some = start..columns.end.min(start + SWEEP_COLUMNS);
                destination.in_its_float_mode(|destination| {
                    self.run_some(some, start - columns.start, destination, scratch);
                });
            }
        })
    }

    /// The scratch memory that so many columns take.
    pub(crate) fn needs(&self, columns: usize) -> Needs {
        let ld = columns.min(SWEEP_COLUMNS).next_multiple_of(SWEEP_WIDTH);
        Needs { sums: (self.a.rows() + 1) * ld, ..Needs::default() }
    }

    /// Computes at most [`SWEEP_COLUMNS`] columns, from column `left` of the destination on.
    fn run_some(
        &self,
        columns: Range<usize>,
        left: usize,
        destination: &mut Destination<'_, '_>,
        scratch: &mut Scratch,
    ) {
        let Buffers { sums, columns: scratch_of_columns, .. } = &mut scratch.buffers;
        let (m, ld) = (self.a.rows(), columns.len().next_multiple_of(SWEEP_WIDTH));
        if sums.len() < (m + 1) * ld {
            sums.resize((m + 1) * ld, 0);
        }
        let (sums, sums_of_b) = sums[..(m + 1) * ld].split_at_mut(m * ld);
        self.exact_sums(columns.clone(), sums, sums_of_b);
        if let Destination::I32 { c, accumulate } = destination {
            for (i, sums) in sums.chunks_exact(ld).enumerate() {
                store_i32(&sums[..columns.len()], c.part(i, left, 1, columns.len()), *accumulate);
            }
            return;
        }
        for j in (0..columns.len()).step_by(MAX_NR) {
            let some = columns.start + j..columns.end.min(columns.start + j + MAX_NR);
            let stage = ColumnStage::new(destination, some.clone(), MAX_NR, scratch_of_columns.pad_buffers());
            let region = Region { rows: 0..m, columns: some, top: 0, left: left + j };
            scalar::store(&sums[j..], ld, &stage, destination, &region);
        }
    }

    /// Fills rows of sums with all terms added. Each row is as long as `sums_of_b`, which is scratch.
    fn exact_sums(&self, columns: Range<usize>, sums: &mut [i32], sums_of_b: &mut [i32]) {
        let Self { product, a, .. } = *self;
        let (m, k, ld) = (a.rows(), a.cols(), sums_of_b.len());
        let a_signed = product.a.element_type() == ElementType::I8;
        let shift = if a_signed { SIGN_SHIFT } else { 0 };
        let a_zero = |i: usize| product.a_zero.at(i).wrapping_add(shift);
        let any_a_zero = (0..m).any(|i| a_zero(i) != 0);
        self.sweep(columns.clone(), sums, any_a_zero.then_some(&mut *sums_of_b), ld);

        // See `zero_points` for the algebra. B is not shifted.
        if !matches!(product.b_zero, ZeroPoint::PerTensor(0)) {
            let mut sums_of_a = [0; MAX_SWEEP_ROWS];
            add_row_sums(a.data_from_row(0), a.row_stride(), k, a_signed, &mut sums_of_a[..m]);
            for (l, j) in columns.clone().enumerate() {
                let zero = product.b_zero.at(j);
                sums_of_b[l] = sums_of_b[l].wrapping_sub(zero.wrapping_mul(k as i32));
                for (i, sum_of_a) in sums_of_a[..m].iter().enumerate() {
                    let sum_of_a = (*sum_of_a as i32).wrapping_add(shift.wrapping_mul(k as i32));
                    sums[i * ld + l] = sums[i * ld + l].wrapping_sub(zero.wrapping_mul(sum_of_a));
                }
            }
        }
        for (i, sums) in sums.chunks_exact_mut(ld).enumerate() {
            if any_a_zero {
                subtract_product(sums, sums_of_b, a_zero(i));
            }
            if let Some(bias) = product.bias {
                subtract_product(sums, &bias[columns.clone()], -1);
            }
        }
    }

    /// Sums of products of the columns, in rows of `ld`, and sums of the columns themselves if they are wanted.
    fn sweep(&self, columns: Range<usize>, sums: &mut [i32], sums_of_b: Option<&mut [i32]>, ld: usize) {
        let Self { product, a, b, kernel } = *self;
        let columns_of_b = b.transpose();
        // Rows and columns of a single column are both contiguous.
        let b_by_columns = !b.rows_are_slices() || (b.cols() == 1 && columns_of_b.rows_are_slices());
        let stride = if b_by_columns { columns_of_b.row_stride() } else { b.row_stride() };
        let operands = SweepOperands {
            a: StridedRows { bits: a.data_from_row(0), stride: a.row_stride() },
            a_signed: product.a.element_type() == ElementType::I8,
            k: a.cols(),
            b: StridedRows { bits: columns_of_b.data_from_row(columns.start), stride },
            b_by_columns,
            cols: columns.len(),
        };
        kernel.sweep(a.rows(), &operands, SweepSums { products: sums, stride: ld, of_b: sums_of_b });
    }
}

/// Stores sums to a row of C, or adds them to it.
fn store_i32(sums: &[i32], mut row: BlockMut<'_, i32>, accumulate: bool) {
    match row.row_mut(0) {
        Some(row) if accumulate => subtract_product(row, sums, -1),
        Some(row) => row.copy_from_slice(sums),
        None => {
            for (j, sum) in sums.iter().enumerate() {
                let c = row.get_mut(0, j).expect("the row has as many columns");
                let start = if accumulate { *c } else { 0 };
                *c = start.wrapping_add(*sum);
            }
        }
    }
}
