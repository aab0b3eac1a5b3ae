//! Rows of A as a kernel reads them: in place, or copied (flipped, widened, transposed, gathered) into a buffer that a
//! thread keeps.

use crate::engine::operation::{Operation, StoredPair};
use crate::engine::plan::row_lines;
use crate::matrix::view::MatRef;
use crate::product::operands::Lhs;
use qgemm_kernels::{BlockMut, Convert, Line, Stored, flip_signs, transpose, widen};
use std::ops::Range;

/// Up to this K rows of A are short enough for a CPU to see one stream in a tile of them: prefetches cost 2 % there. At 512
/// they gain a factor of three (Zen 4, 2026-11-29).
const MAX_K_OF_STREAMS: usize = 256;

/// Rows a multiple of 4 KiB apart share the sets of a cache: of a tile of 12, and those of the next, prefetches evict each
/// other. 16384x4096x16 loses 7 % by them, while 8192x4096x64, whose tiles have 6 rows, gains 2 % (Zen 4, 2026-11-29).
const MOST_ALIASED_ROWS: usize = 6;

/// Some values of k of some rows of A, in the type that a kernel reads.
#[derive(Clone, Copy)]
pub(crate) struct ARows<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) lda: usize,
    /// Values of k.
    pub(crate) k: usize,
    /// Whether they are expected in no cache.
    pub(crate) from_memory: bool,
}

/// The most values of a row that are copied at a time.
const MAX_PIECE: usize = 1024;

/// `ks` in the pieces in which rows of A are copied that are not contiguous: of a column-major A, the columns that share
/// a cache line; of a gathered A, pieces that hold several of the source's rows.
pub(crate) fn pieces(a: &Lhs<'_>, ks: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let len = match a {
        Lhs::Matrix(_) => 64,
        Lhs::Gathered(_) => MAX_PIECE,
    };
    ks.clone().step_by(len).map(move |start| start..ks.end.min(start + len))
}

/// A buffer for a piece.
pub(crate) const PIECE: [u8; MAX_PIECE] = [0; MAX_PIECE];

impl<'a> ARows<'a> {
    /// Values `ks` of `rows`: A itself, or converted copies in `lines`.
    #[inline]
    pub(crate) fn new(
        operation: &'a Operation<'_>,
        pair: &StoredPair,
        rows: Range<usize>,
        ks: Range<usize>,
        lines: &'a mut Vec<Line>,
    ) -> Self {
        if let (Some(bits), Convert::Copy) = (operation.product.a.in_place(), pair.convert) {
            let bytes = bits.data_from_row(rows.start).get(ks.start..).unwrap_or(&[]);
            // Sums of rows have just read them.
            let from_memory = operation.a_exceeds_l2
                && operation.k > MAX_K_OF_STREAMS
                && !(operation.mr > MOST_ALIASED_ROWS && bits.row_stride().is_multiple_of(4096))
                && !pair.row_sums;
            return Self { bytes, lda: bits.row_stride(), k: ks.len(), from_memory };
        }
        Self::copied(operation, pair, rows, ks, lines)
    }

    fn copied(
        operation: &'a Operation<'_>,
        pair: &StoredPair,
        rows: Range<usize>,
        ks: Range<usize>,
        lines: &'a mut Vec<Line>,
    ) -> Self {
        let k = ks.len();
        let lda = 64 * row_lines(k * pair.a.size());
        // The ends of rows keep what an earlier copy left there: kernels do not read it.
        let need = lda / 64 * rows.len();
        if lines.len() < need {
            lines.resize(need, Line([0; 64]));
        }
        let copy: &mut [u8] = bytemuck::cast_slice_mut(&mut lines[..need]);
        match pair.a {
            Stored::I16 => widen_rows(operation, pair.convert, rows, ks, (copy, lda)),
            Stored::U8 | Stored::I8 => copy_rows(operation, pair.convert, rows, ks, (copy, lda)),
        }
        Self { bytes: copy, lda, k, from_memory: false }
    }
}

/// Widens values `ks` of `rows` to i16, in rows `lda` bytes apart.
fn widen_rows(
    operation: &Operation<'_>,
    convert: Convert,
    rows: Range<usize>,
    ks: Range<usize>,
    (out, lda): (&mut [u8], usize),
) {
    let (a, k) = (&operation.product.a, ks.len());
    if let Some(bits) = a.in_place() {
        for (i, out) in rows.zip(out.chunks_exact_mut(lda)) {
            let row = bits.row(i).expect("the rows are slices");
            widen(&row[ks.clone()], convert, &mut bytemuck::cast_slice_mut(out)[..k]);
        }
        return;
    }
    if let Some(columns) = a.columns() {
        return widen_columns(&columns, convert, rows, ks, (out, lda));
    }
    let mut copied = PIECE;
    for piece in pieces(a, ks.clone()) {
        let at = piece.start - ks.start..piece.end - ks.start;
        for (i, out) in rows.clone().zip(out.chunks_exact_mut(lda)) {
            let copied = &mut copied[..piece.len()];
            a.copy_row(i, piece.clone(), operation.product.a_zero.at(i), copied);
            widen(copied, convert, &mut bytemuck::cast_slice_mut(out)[at.clone()]);
        }
    }
}

/// [`widen_rows`] of a matrix whose `columns` are contiguous, by blocks that stay in the first-level cache.
fn widen_columns(
    columns: &MatRef<'_, u8>,
    convert: Convert,
    rows: Range<usize>,
    ks: Range<usize>,
    (out, lda): (&mut [u8], usize),
) {
    const SIZE: usize = 64;
    let mut copied = [0; SIZE * SIZE];
    for k in ks.clone().step_by(SIZE) {
        let len = SIZE.min(ks.end - k);
        for (i, out) in rows.clone().step_by(SIZE).zip(out.chunks_mut(lda * SIZE)) {
            let height = SIZE.min(rows.end - i);
            let (from, stride) = columns_from(columns, i, k);
            let mut block = BlockMut::new(&mut copied, height, len, SIZE, 1).expect("it fits");
            transpose(from, stride, &mut block);
            for (copied, out) in copied.chunks_exact(SIZE).zip(out.chunks_exact_mut(lda)).take(height) {
                let out = &mut bytemuck::cast_slice_mut(out)[k - ks.start..][..len];
                widen(&copied[..len], convert, out);
            }
        }
    }
}

/// The elements of `columns` from row `i` and value `k` of A on, and the stride of k.
fn columns_from<'a>(columns: &MatRef<'a, u8>, i: usize, k: usize) -> (&'a [u8], usize) {
    (columns.data_from_row(k).get(i..).unwrap_or(&[]), columns.row_stride())
}

/// Copies values `ks` of `rows`, with sign bits inverted if `convert` asks for it, to rows `lda` bytes apart.
fn copy_rows(
    operation: &Operation<'_>,
    convert: Convert,
    rows: Range<usize>,
    ks: Range<usize>,
    (out, lda): (&mut [u8], usize),
) {
    let (a, k) = (&operation.product.a, ks.len());
    if let Some(bits) = a.in_place() {
        for (i, out) in rows.zip(out.chunks_exact_mut(lda)) {
            let row = bits.row(i).expect("the rows are slices");
            flip_signs(&row[ks.clone()], &mut out[..k]);
        }
        return;
    }
    if let Some(columns) = a.columns() {
        let (from, stride) = columns_from(&columns, rows.start, ks.start);
        let mut block = BlockMut::new(out, rows.len(), k, lda, 1).expect("the buffer holds the rows");
        transpose(from, stride, &mut block);
    } else if let Lhs::Gathered(gather) = a
        && gather.picks_slices()
    {
        gather.copy_picked(rows, ks, |i| operation.product.a_zero.at(i), (&mut *out, lda));
    } else {
        for piece in pieces(a, ks.clone()) {
            for (i, out) in rows.clone().zip(out.chunks_exact_mut(lda)) {
                let out = &mut out[piece.start - ks.start..piece.end - ks.start];
                a.copy_row(i, piece.clone(), operation.product.a_zero.at(i), out);
            }
        }
    }
    if convert == Convert::Flip {
        out.iter_mut().for_each(|byte| *byte ^= convert.mask());
    }
}
