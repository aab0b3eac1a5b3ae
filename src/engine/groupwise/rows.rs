//! Rows of A for group-wise kernels: quantized, with their sums and scales, in memory that a thread keeps.

use crate::buffer::resize;
use crate::element::ElementType;
use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::groupwise::spread::{Format, spread};
use crate::engine::plan::Needs;
use crate::engine::quantized_a::{self, refusal, share_of_values};
use crate::engine::scratch::{self, Kept};
use crate::engine::threads::Threads;
use crate::error::Error;
use crate::matrix::view::MatRef;
use crate::output::scale::Scale;
use crate::product::groupwise::{GroupLhs, GroupProduct};
use crate::product::operands::{FloatLhs, Lhs};
use crate::quantize::rows::{RowsMut, quantize_by_scheme, rows_copied, transpose_rows};
use qgemm_kernels::{BlockMut, CodeBits, GroupRows, SIGN_SHIFT, in_default_float_mode, start_for_each};
use std::cell::Cell;
use std::ops::Range;

thread_local! {
    static ROWS: Cell<Kept<PreparedRows>> = const { Cell::new(Vec::new()) };
}

/// Frees the memory that this thread prepares rows in.
pub(crate) fn release() {
    scratch::release(&ROWS);
}

/// Rows of A as kernels read them.
#[derive(Default)]
pub(crate) struct PreparedRows {
    rows: usize,
    groups: usize,
    stride: usize,
    codes: Vec<u8>,
    starts: Vec<i32>,
    sums: Vec<f32>,
    group_scales: Vec<f32>,
    /// The scale that the call found for each row.
    found: Vec<f32>,
    /// Scales of rows with those of the output stage.
    row_scales: Vec<f32>,
    minus_zeros: Vec<i32>,
    /// Whether some row has a zero point, as kernels read it.
    has_zeros: bool,
}

/// The purpose that errors name.
const PURPOSE: &str = "quantized a";

/// Calls `f` with this thread's prepared rows.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for none; `f` is not called then.
pub(crate) fn with<R>(f: impl FnOnce(&mut PreparedRows) -> R) -> Result<R, Error> {
    scratch::borrow(&ROWS, PreparedRows::default, f)
}

/// Whether the kernel reads A as words.
pub(super) fn words(product: &GroupProduct<'_>) -> bool {
    product.b.kernel.words && product.b.bits() == CodeBits::Eight
}

/// Bytes from one row to the next.
pub(super) fn row_stride(product: &GroupProduct<'_>) -> usize {
    quantized_a::row_stride(product.b.shape.a_row_len(words(product)))
}

/// The start of a group's sums, whose values of A have the given sum.
pub(super) fn start(product: &GroupProduct<'_>, sum: i32) -> i32 {
    match product.b.one_zero() {
        Some(zero) => product.b.kernel.start_for_one(product.b.bits(), sum, zero),
        None => start_for_each(sum),
    }
}

impl PreparedRows {
    /// Makes room for so many rows.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self, product: &GroupProduct<'_>, rows: usize) -> Result<(), Error> {
        let GroupProduct { a, b } = product;
        (self.rows, self.groups, self.stride) = (rows, b.groups(), row_stride(product));
        let per_group = rows.saturating_mul(self.groups);
        resize(&mut self.codes, rows.saturating_mul(self.stride), PURPOSE)?;
        resize(&mut self.starts, per_group, PURPOSE)?;
        resize(&mut self.sums, if b.has_minimums() { per_group } else { 0 }, PURPOSE)?;
        resize(&mut self.group_scales, if a.has_group_scales() { per_group } else { 0 }, PURPOSE)?;
        resize(&mut self.found, if a.finds_row_scales() { rows } else { 0 }, PURPOSE)?;
        resize(&mut self.row_scales, rows, PURPOSE)?;
        resize(&mut self.minus_zeros, rows, PURPOSE)?;
        buffers::reserve(&needs(product, rows))
    }

    /// Prepares some rows of A, which a stage scales by `scale` (of these rows).
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough; [`Error::NotFinite`] or [`Error::QuantizationRange`] if a row cannot be
    /// quantized; [`Error::Scale`] if the scale of a row times that of the stage is not finite.
    pub(crate) fn fill(
        &mut self,
        product: &GroupProduct<'_>,
        rows: Range<usize>,
        scale: Scale<'_>,
        threads: Threads<'_>,
    ) -> Result<(), Error> {
        self.reserve(product, rows.len())?;
        let k = product.b.k();
        let share = share_of_values((rows.len(), k), product.b.n(), threads);
        let part = RowsPart {
            codes: &mut self.codes,
            starts: &mut self.starts,
            sums: &mut self.sums,
            group_scales: &mut self.group_scales,
            found: &mut self.found,
            minus_zeros: &mut self.minus_zeros,
        };
        let work = PrepareRows { product, rows: rows.clone(), stride: self.stride, part };
        divide(work, &share, Result::and)?.map_err(|row| match &product.a {
            GroupLhs::Float { a, .. } => in_default_float_mode(|| refusal("a", a, row)),
            GroupLhs::Quantized { .. } => unreachable!("values of 8 bits are not refused"),
        })?;
        self.has_zeros = self.minus_zeros.iter().any(|zero| *zero != 0);
        in_default_float_mode(|| {
            for (i, to) in self.row_scales.iter_mut().enumerate() {
                let found = self.found.get(i).copied().unwrap_or(1.0);
                let got = match scale {
                    Scale::PerTensor(scale) => found * scale,
                    Scale::PerRow(scales) | Scale::RowsByColumns { rows: scales, .. } => found * scales[i],
                    Scale::PerColumn(_) => found,
                };
                if !got.is_finite() {
                    return Err(Error::Scale {
                        argument: "scale",
                        index: rows.start + i,
                        got,
                        positive: false,
                    });
                }
                *to = got;
            }
            Ok(())
        })
    }

    /// The scales of rows, with those of the stage.
    pub(super) fn row_scales(&self) -> &[f32] {
        &self.row_scales
    }

    /// Some of the rows, as kernels read them; without scales of rows if the stage has them.
    pub(super) fn rows(&self, rows: Range<usize>, with_scales: bool) -> GroupRows<'_> {
        let per_group = rows.start * self.groups..rows.end * self.groups;
        let zeros = &self.minus_zeros[rows.clone()];
        GroupRows {
            rows: rows.len(),
            codes: &self.codes[rows.start * self.stride..rows.end * self.stride],
            stride: self.stride,
            starts: &self.starts[per_group.clone()],
            group_scales: self.group_scales.get(per_group.clone()).unwrap_or(&[]),
            row_scales: if with_scales { &self.row_scales[rows.clone()] } else { &[] },
            sums: self.sums.get(per_group).unwrap_or(&[]),
            minus_zeros: if self.has_zeros { zeros } else { &[] },
        }
    }

    /// Whether some row has a zero point, as kernels read it.
    pub(super) fn has_zeros(&self) -> bool {
        self.has_zeros
    }
}

/// The results for some rows.
struct RowsPart<'a> {
    codes: &'a mut [u8],
    starts: &'a mut [i32],
    sums: &'a mut [f32],
    group_scales: &'a mut [f32],
    found: &'a mut [f32],
    minus_zeros: &'a mut [i32],
}

/// Values before `at`, and those from it on, if there are some.
fn split<T>(values: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    values.split_at_mut(at.min(values.len()))
}

impl<'a> RowsPart<'a> {
    fn split(self, at: usize, stride: usize, groups: usize) -> (Self, Self) {
        let (codes, codes_below) = split(self.codes, at * stride);
        let (starts, starts_below) = split(self.starts, at * groups);
        let (sums, sums_below) = split(self.sums, at * groups);
        let (group_scales, group_scales_below) = split(self.group_scales, at * groups);
        let (found, found_below) = split(self.found, at);
        let (minus_zeros, minus_zeros_below) = split(self.minus_zeros, at);
        (
            Self { codes, starts, sums, group_scales, found, minus_zeros },
            Self {
                codes: codes_below,
                starts: starts_below,
                sums: sums_below,
                group_scales: group_scales_below,
                found: found_below,
                minus_zeros: minus_zeros_below,
            },
        )
    }
}

/// Rows to be prepared.
struct PrepareRows<'a> {
    product: &'a GroupProduct<'a>,
    rows: Range<usize>,
    stride: usize,
    part: RowsPart<'a>,
}

impl Work for PrepareRows<'_> {
    /// The first row that cannot be quantized is the error.
    type Output = Result<(), usize>;

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let Self { product, rows, stride, part } = self;
        let here = parts / 2;
        let at = rows.len() * here / parts;
        let (top, bottom) = part.split(at, stride, product.b.groups());
        let middle = rows.start + at;
        Ok(Halves {
            first: (Self { product, rows: rows.start..middle, stride, part: top }, here),
            second: (Self { product, rows: middle..rows.end, stride, part: bottom }, parts - here),
        })
    }

    fn run(self, _: usize) -> Result<Self::Output, Undone<Self>> {
        let mut rest = Some(self);
        let needs = rest.as_ref().map(|work| needs(work.product, work.rows.len())).unwrap_or_default();
        let done = buffers::with(&needs, |scratch| {
            let work = rest.take().expect("it is called once");
            let memory = &mut scratch.buffers.sums;
            memory.resize(memory.len().max(needs.sums), 0);
            let memory = &mut memory[..needs.sums];
            in_default_float_mode(|| work.prepare(memory))
        });
        done.map_err(|error| Undone { rest: rest.expect("it was not called"), error })
    }
}

/// Whether rows of a float A are copied before they are quantized.
fn are_copied(a: &FloatLhs<'_>) -> bool {
    match a {
        FloatLhs::Matrix(a) => !a.rows_are_slices(),
        FloatLhs::Half(_) | FloatLhs::Gathered(_) => true,
    }
}

/// The rows that are quantized together, and the 32-bit numbers of scratch memory that hold their copies and their bytes.
fn block(product: &GroupProduct<'_>, rows: usize) -> (usize, usize, usize) {
    let k = product.b.k();
    match &product.a {
        GroupLhs::Float { a, .. } => {
            let rows = rows_copied(k).min(rows);
            let values = rows.saturating_mul(k);
            (rows, if are_copied(a) { values } else { 0 }, values.div_ceil(4))
        }
        GroupLhs::Quantized { .. } => (1, 0, k.div_ceil(4)),
    }
}

fn needs(product: &GroupProduct<'_>, rows: usize) -> Needs {
    let (_, copied, bytes) = block(product, rows);
    Needs { sums: copied.saturating_add(bytes), ..Needs::default() }
}

impl PrepareRows<'_> {
    fn prepare(self, memory: &mut [i32]) -> Result<(), usize> {
        let Self { product, rows, stride, mut part } = self;
        let GroupProduct { a, b } = product;
        let (k, groups) = (b.k(), b.groups());
        let (together, copied, _) = block(product, rows.len());
        let (copies, bytes) = memory.split_at_mut(copied);
        let copies: &mut [f32] = bytemuck::cast_slice_mut(copies);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(bytes);
        let format = Format { flip: a.element() == ElementType::U8, words: words(product), group: b.group() };
        let row_len = b.shape.a_row_len(format.words);
        for first in rows.clone().step_by(together.max(1)) {
            let rows = first..rows.end.min(first + together);
            let (mut out, below) = part.split(rows.len(), stride, groups);
            if let GroupLhs::Float { a, .. } = a {
                let view = float_rows(a, rows.clone(), copies);
                quantize(product, &view, &mut out, bytes).map_err(|row| first + row)?;
            }
            for i in 0..rows.len() {
                let mut zero = out.minus_zeros[i];
                let row = match a {
                    GroupLhs::Float { .. } => &bytes[i * k..][..k],
                    GroupLhs::Quantized { a, zero: zeros } => {
                        zero = zeros.at(first + i);
                        row_bits(a, first + i, zero, bytes, k)
                    }
                };
                // As kernels read it.
                zero -= if format.flip { SIGN_SHIFT } else { 0 };
                out.minus_zeros[i] = -zero;
                let starts = &mut out.starts[i * groups..][..groups];
                spread(row, format, &mut out.codes[i * stride..][..row_len], starts);
                if b.has_minimums() {
                    for (g, (to, sum)) in out.sums[i * groups..].iter_mut().zip(&*starts).enumerate() {
                        let len = i64::try_from(b.shape.group_len(g)).unwrap_or(i64::MAX);
                        *to = (i64::from(*sum) - i64::from(zero) * len) as f32;
                    }
                }
                starts.iter_mut().for_each(|sum| *sum = start(product, *sum));
            }
            part = below;
        }
        Ok(())
    }
}

/// Rows of a float A: in place, or copied to `copies`.
fn float_rows<'r>(a: &FloatLhs<'r>, rows: Range<usize>, copies: &'r mut [f32]) -> MatRef<'r, f32> {
    let k = a.cols();
    match a {
        FloatLhs::Matrix(a) if a.rows_are_slices() => {
            return a.submatrix(rows, 0..k).expect("rows of the matrix");
        }
        FloatLhs::Matrix(a) if a.transpose().rows_are_slices() => transpose_rows(a, rows.clone(), copies),
        FloatLhs::Matrix(a) => {
            for (i, copy) in rows.clone().zip(copies.chunks_exact_mut(k.max(1))) {
                a.copy_row(i, 0, copy);
            }
        }
        FloatLhs::Half(a) => a.copy_rows(rows.clone(), copies),
        FloatLhs::Gathered(a) => a.copy_rows(rows.clone(), copies),
    }
    MatRef::row_major(copies, rows.len(), k).expect("there is room for the block")
}

/// Bits of row `i` of an 8-bit A: in place, or copied to `bytes`.
fn row_bits<'r>(a: &Lhs<'r>, i: usize, zero: i32, bytes: &'r mut [u8], k: usize) -> &'r [u8] {
    match a.in_place().and_then(|a| a.row(i)) {
        Some(row) => row,
        None => {
            let copy = &mut bytes[..k];
            a.copy_row(i, 0..k, zero, copy);
            copy
        }
    }
}

/// Quantizes rows to `bytes`, one after the other, and their scales and zero points to `out`.
///
/// # Errors
/// The first row that cannot be quantized.
fn quantize(
    product: &GroupProduct<'_>,
    view: &MatRef<'_, f32>,
    out: &mut RowsPart<'_>,
    bytes: &mut [u8],
) -> Result<(), usize> {
    let (rows, k) = (view.rows(), view.cols());
    let scheme = match product.a {
        GroupLhs::Float { activations, .. } => activations.scheme(),
        GroupLhs::Quantized { .. } => unreachable!("it is quantized already"),
    };
    if !product.a.has_group_scales() {
        let bits = BlockMut::new(bytes, rows, k, k.max(1), 1).expect("there is room for the block");
        let (scales, zeros) = (&mut out.found[..rows], &mut out.minus_zeros[..rows]);
        return quantize_by_scheme(view, 0, scheme, None, RowsMut { bits, scales, zeros });
    }
    let (group, groups) = (product.b.group(), product.b.groups());
    out.minus_zeros.fill(0);
    // Groups are rows of a matrix of their own.
    let as_rows = |values: &[f32], count: usize, len: usize, bytes: &mut [u8], scales: &mut [f32]| {
        let view = MatRef::row_major(values, count, len).expect("there are as many groups");
        let bits = BlockMut::new(bytes, count, len, len, 1).expect("there is room for them");
        quantize_by_scheme(&view, 0, scheme, None, RowsMut { bits, scales, zeros: &mut [] })
    };
    if k.is_multiple_of(group) && k > 0 && (view.row_stride() == k || rows == 1) {
        let count = rows * groups;
        return as_rows(view.data_from_row(0), count, group, bytes, &mut out.group_scales[..count])
            .map_err(|g| g / groups);
    }
    for i in 0..rows {
        let row = view.row(i).expect("rows are slices");
        let (whole, rest) = row.split_at(k / group * group);
        let (bytes, bytes_rest) = bytes[i * k..][..k].split_at_mut(whole.len());
        let scales = &mut out.group_scales[i * groups..][..groups];
        let (scales, scale_of_rest) = scales.split_at_mut(k / group);
        if !whole.is_empty() {
            as_rows(whole, k / group, group, bytes, scales).map_err(|_| i)?;
        }
        if !rest.is_empty() {
            as_rows(rest, 1, rest.len(), bytes_rest, scale_of_rest).map_err(|_| i)?;
        }
    }
    Ok(())
}
