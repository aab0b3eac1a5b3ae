//! Rows of A as a kernel reads them: in place, or copied into a strip that a thread keeps.

use crate::driver::{Call, Way};
use crate::element::ElementType;
use crate::gather::Lhs;
use qgemm_kernels::{Convert, Line, Stored, add_row_sums as add_sums, flip_signs};
use std::ops::Range;

/// Some values of k of some rows.
#[derive(Clone, Copy)]
pub(crate) struct Strip<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) lda: usize,
    /// Values of k.
    pub(crate) k: usize,
}

/// Values of a row of A that are taken at a time where it is no slice: as many as share a cache line where
/// A is column-major; gathered rows are in pieces that may be long.
fn step(a: &Lhs<'_>) -> usize {
    match a {
        Lhs::Matrix(_) => 64,
        Lhs::Gathered(_) => MAX_STEP,
    }
}

const MAX_STEP: usize = 1024;

/// `ks` in such steps.
fn steps(a: &Lhs<'_>, ks: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let step = step(a);
    ks.clone().step_by(step).map(move |start| start..ks.end.min(start + step))
}

impl<'a> Strip<'a> {
    /// Values `ks` of `rows` of A: A itself, or copied or converted into `lines`.
    #[inline]
    pub(crate) fn new(
        call: &'a Call<'_>,
        way: &Way,
        rows: Range<usize>,
        ks: Range<usize>,
        lines: &'a mut Vec<Line>,
    ) -> Self {
        if let (Some(bits), Convert::Copy) = (call.gemm.a.in_place(), way.convert) {
            let bytes = bits.data_from_row(rows.start).get(ks.start..).unwrap_or(&[]);
            return Strip { bytes, lda: bits.row_stride(), k: ks.len() };
        }
        Self::copied(call, way, rows, ks, lines)
    }

    fn copied(
        call: &'a Call<'_>,
        way: &Way,
        rows: Range<usize>,
        ks: Range<usize>,
        lines: &'a mut Vec<Line>,
    ) -> Self {
        let (a, k) = (&call.gemm.a, ks.len());
        let in_place = a.in_place();
        let ld = (k * way.a.size()).next_multiple_of(64).max(64);
        // What an earlier strip left stays where a row ends: kernels do not read it.
        let need = ld / 64 * rows.len();
        if lines.len() < need {
            lines.resize(need, Line([0; 64]));
        }
        let strip: &mut [u8] = bytemuck::cast_slice_mut(&mut lines[..need]);
        match (way.a, in_place) {
            (Stored::I16, Some(bits)) => {
                for (i, out) in rows.zip(strip.chunks_exact_mut(ld)) {
                    let row = bits.row(i).expect("the rows are slices");
                    widen(&row[ks.clone()], way.convert, 0..k, out);
                }
            }
            (Stored::I16, None) => {
                let mut copied = [0; MAX_STEP];
                for part in steps(a, ks.clone()) {
                    let at = part.start - ks.start..part.end - ks.start;
                    for (i, out) in rows.clone().zip(strip.chunks_exact_mut(ld)) {
                        let copied = &mut copied[..part.len()];
                        a.fill(i, part.clone(), call.gemm.a_zero.at(i), copied);
                        widen(copied, way.convert, at.clone(), out);
                    }
                }
            }
            (Stored::U8 | Stored::I8, Some(bits)) => {
                for (i, out) in rows.zip(strip.chunks_exact_mut(ld)) {
                    let row = bits.row(i).expect("the rows are slices");
                    flip_signs(&row[ks.clone()], &mut out[..k]);
                }
            }
            (Stored::U8 | Stored::I8, None) => {
                let flip = if way.convert == Convert::Flip { 0x80 } else { 0 };
                for part in steps(a, ks.clone()) {
                    for (i, out) in rows.clone().zip(strip.chunks_exact_mut(ld)) {
                        let out = &mut out[part.start - ks.start..part.end - ks.start];
                        a.fill(i, part.clone(), call.gemm.a_zero.at(i), out);
                        if flip != 0 {
                            out.iter_mut().for_each(|byte| *byte ^= flip);
                        }
                    }
                }
            }
        }
        Strip { bytes: strip, lda: ld, k }
    }
}

/// Widens a part of a row to the elements `at` of a row of 16-bit values.
fn widen(part: &[u8], convert: Convert, at: Range<usize>, row: &mut [u8]) {
    let row: &mut [i16] = bytemuck::cast_slice_mut(row);
    qgemm_kernels::widen(part, convert, &mut row[at]);
}

/// Adds to each of `sums` the sum of a row of A.
pub(crate) fn add_row_sums(call: &Call<'_>, rows: Range<usize>, sums: &mut [i64]) {
    let a = &call.gemm.a;
    let signed = a.element_type() == ElementType::I8;
    if let Some(bits) = a.in_place() {
        return add_sums(bits.data_from_row(rows.start), bits.row_stride(), call.k, signed, sums);
    }
    let mut copied = [0; MAX_STEP];
    for (i, sum) in rows.zip(sums) {
        for ks in steps(a, 0..call.k) {
            let copied = &mut copied[..ks.len()];
            a.fill(i, ks, call.gemm.a_zero.at(i), copied);
            add_sums(copied, copied.len(), copied.len(), signed, std::slice::from_mut(sum));
        }
    }
}
