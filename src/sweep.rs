//! A few rows times a B that comes as it is: packing it would take several times as long as the product.

use crate::Dispatch;
use crate::element::{ElementType, Operand};
use crate::epilogue::Stage;
use crate::gemm::{Gemm, ZeroPoint};
use crate::matrix::MatRef;
use crate::scratch::{self, Buffers, Scratch};
use crate::sink::{Part, Sink};
use crate::{store, terms};
use qgemm_kernels::{
    MAX_NR, MAX_SWEEP_ROWS, Ready, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums, add_row_sums,
};
use std::ops::Range;

/// Columns whose sums are kept at a time, in the first-level cache if there is one row.
const AT_ONCE: usize = 4096;

/// Such a product.
#[derive(Clone, Copy)]
pub(crate) struct Sweep<'a> {
    gemm: &'a Gemm<'a>,
    a: MatRef<'a, u8>,
    b: MatRef<'a, u8>,
    kernel: Ready,
}

impl<'a> Sweep<'a> {
    /// If it is one: A has few rows that are read in place, B rows or columns of i8, and a kernel can.
    pub(crate) fn of(gemm: &'a Gemm<'a>, b: Operand<'a>, dispatch: &Dispatch) -> Option<Self> {
        let (a, kernel) = (gemm.a.in_place()?, dispatch.choose(b.cols()));
        let slices = b.bits.rows_are_slices() || b.bits.transpose().rows_are_slices();
        let few = a.rows() <= MAX_SWEEP_ROWS && kernel.sweeps() && b.element == ElementType::I8 && slices;
        few.then_some(Self { gemm, a, b: b.bits, kernel })
    }

    /// Computes some columns, whose exact sums fit 32 bits or are wanted modulo 2^32; `sink` is that part of the output.
    pub(crate) fn run(&self, columns: Range<usize>, sink: &mut Sink<'_, '_>) {
        scratch::with(|scratch| {
            for start in columns.clone().step_by(AT_ONCE) {
                let part = start..columns.end.min(start + AT_ONCE);
                self.part(part, start - columns.start, sink, scratch);
            }
        });
    }

    /// The same of at most [`AT_ONCE`] columns, from column `left` of the sink on.
    fn part(&self, columns: Range<usize>, left: usize, sink: &mut Sink<'_, '_>, scratch: &mut Scratch) {
        let Buffers { sums, columns: room, .. } = &mut scratch.buffers;
        let (m, ld) = (self.a.rows(), columns.len().next_multiple_of(SWEEP_WIDTH));
        if sums.len() < (m + 1) * ld {
            sums.resize((m + 1) * ld, 0);
        }
        let (sums, of_b) = sums[..(m + 1) * ld].split_at_mut(m * ld);
        self.sums(columns.clone(), sums, of_b);
        if let Sink::I32 { c, accumulate } = sink {
            for (i, sums) in sums.chunks_exact(ld).enumerate() {
                let mut row = c.part(i, left, 1, columns.len());
                let sums = &sums[..columns.len()];
                match row.row_mut(0) {
                    Some(row) if !*accumulate => row.copy_from_slice(sums),
                    Some(row) => terms::take_off(row, sums, -1),
                    None => {
                        for (j, sum) in sums.iter().enumerate() {
                            let c = row.get_mut(0, j).expect("the part has this shape");
                            *c = if *accumulate { *c } else { 0 }.wrapping_add(*sum);
                        }
                    }
                }
            }
            return;
        }
        for j in (0..columns.len()).step_by(MAX_NR) {
            let some = columns.start + j..columns.end.min(columns.start + j + MAX_NR);
            let stage = Stage::new(sink, some.clone(), MAX_NR, room.all());
            let part = Part { rows: 0..m, columns: some, top: 0, left: left + j };
            store::store(&sums[j..], ld, &stage, sink, &part);
        }
    }

    /// StridedRows of sums with all terms (see `terms` for the algebra), each as long as `of_b`, which is filled with anything.
    fn sums(&self, columns: Range<usize>, sums: &mut [i32], of_b: &mut [i32]) {
        let Self { gemm, a, b, kernel } = *self;
        let (m, k, ld) = (a.rows(), a.cols(), of_b.len());
        let a_signed = gemm.a.element_type() == ElementType::I8;
        let shift = if a_signed { 128 } else { 0 };
        let a_zero = |i: usize| gemm.a_zero.at(i).wrapping_add(shift);
        let any_a_zero = (0..m).any(|i| a_zero(i) != 0);
        let columns_of_b = b.transpose();
        // Of a single column both may be slices.
        let b_by_columns = !b.rows_are_slices() || (b.cols() == 1 && columns_of_b.rows_are_slices());
        let stride = if b_by_columns { columns_of_b.row_stride() } else { b.row_stride() };
        let factors = SweepOperands {
            a: StridedRows { bits: a.data_from_row(0), stride: a.row_stride() },
            a_signed,
            k,
            b: StridedRows { bits: columns_of_b.data_from_row(columns.start), stride },
            b_by_columns,
            cols: columns.len(),
        };
        let found = SweepSums { products: sums, stride: ld, of_b: any_a_zero.then_some(&mut *of_b) };
        kernel.sweep(m, &factors, found);

        let any_b_zero = !matches!(gemm.b_zero, ZeroPoint::PerTensor(0));
        if any_b_zero {
            let mut of_a = [0; MAX_SWEEP_ROWS];
            add_row_sums(a.data_from_row(0), a.row_stride(), k, a_signed, &mut of_a[..m]);
            for (l, j) in columns.clone().enumerate() {
                let zero = gemm.b_zero.at(j);
                of_b[l] = of_b[l].wrapping_sub(zero.wrapping_mul(k as i32));
                for (i, of_a) in of_a[..m].iter().enumerate() {
                    let of_a = (*of_a as i32).wrapping_add(shift.wrapping_mul(k as i32));
                    sums[i * ld + l] = sums[i * ld + l].wrapping_sub(zero.wrapping_mul(of_a));
                }
            }
        }
        for (i, sums) in sums.chunks_exact_mut(ld).enumerate() {
            if any_a_zero {
                terms::take_off(sums, of_b, a_zero(i));
            }
            if let Some(bias) = gemm.bias {
                terms::take_off(sums, &bias[columns.clone()], -1);
            }
        }
    }
}
