//! An f32 A that a call quantizes, in memory that a thread keeps.

use crate::buffer::resize;
use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::plan::Needs;
use crate::engine::scratch::{self, Kept};
use crate::engine::threads::{Share, Threads, is_worth_sharing, share};
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::matrix::view::{MatMut, MatRef};
use crate::output::scale::{Scale, greatest_of};
use crate::quantize::params::QuantParams;
use crate::quantize::rows::{
    RowsMut, quantize_by_scheme, quantize_transposed, rows_transposed, span_of_rows,
};
use crate::quantize::scheme::Scheme;
use crate::quantize::span::Span;
use qgemm_kernels::in_default_float_mode;
use std::cell::Cell;
use std::ops::Range;

thread_local! {
    static QUANTIZED: Cell<Kept<QuantizedA>> = const { Cell::new(Vec::new()) };
}

/// Frees the memory that this thread quantizes into.
pub(crate) fn release() {
    scratch::release(&QUANTIZED);
}

/// An A to be quantized.
#[derive(Clone, Copy)]
pub(crate) struct FloatA<'a> {
    pub(crate) a: MatRef<'a, f32>,
    pub(crate) scheme: Scheme,
    /// Whether one scale and zero point serve all rows, else each has its own.
    pub(crate) per_tensor: bool,
}

/// Quantized rows of an A.
#[derive(Default)]
pub(crate) struct QuantizedA {
    bits: Vec<u8>,
    /// One scale per row.
    scales: Vec<f32>,
    /// One zero point per row.
    zeros: Vec<i32>,
    /// Scales of rows, multiplied by those that an output has for all or each of them.
    products: Vec<f32>,
}

/// The purpose that errors name.
const PURPOSE: &str = "quantized a";

/// Calls `f` with this thread's quantized A.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for an empty one; `f` is not called then.
pub(crate) fn with<R>(f: impl FnOnce(&mut QuantizedA) -> R) -> Result<R, Error> {
    scratch::borrow(&QUANTIZED, QuantizedA::default, f)
}

impl FloatA<'_> {
    /// The parameters of all of A, whose values have this span.
    fn params_of_all(&self, span: Span) -> Result<QuantParams, Error> {
        let (m, params) = (self.a.rows(), self.scheme.params(span));
        if !span.is_finite() {
            let wrong = |i: &usize| !span_of_rows(&self.a, *i..i + 1, self.scheme).is_finite();
            return Err(self.refusal((0..m).find(wrong).unwrap_or(0)));
        }
        if params.scale.is_finite() { Ok(params) } else { Err(self.too_wide(0..m)) }
    }

    /// The reason that row `i` cannot be quantized.
    fn refusal(&self, i: usize) -> Error {
        for column in 0..self.a.cols() {
            match self.a.get(i, column) {
                Some(&got) if !got.is_finite() => {
                    return Error::NotFinite { argument: "a", row: i, column, got };
                }
                _ => (),
            }
        }
        self.too_wide(i..i + 1)
    }

    /// The error for rows whose range is too wide.
    fn too_wide(&self, rows: Range<usize>) -> Error {
        let span = span_of_rows(&self.a, rows, self.scheme);
        Error::QuantizationRange { got: (span.lo().into(), span.hi().into()) }
    }

    /// How the rows of a product with `n` columns are shared.
    fn share_of_rows<'t>(&self, rows: usize, n: usize, threads: Threads<'t>) -> Share<'t> {
        /// The multiply-adds that take as long as a value: about 2 µs of work are 2^14 values.
        const VALUE: usize = 1 << 5;
        /// Those that count where the product is shared as well, so that a thread is woken anyway (15 % of 128x128x128 on
        /// Zen 4).
        const VALUE_BEFORE_SHARED_PRODUCT: usize = 1 << 7;
        let values = rows.saturating_mul(self.a.cols());
        let shared = is_worth_sharing(values.saturating_mul(n), threads);
        let value = if shared { VALUE_BEFORE_SHARED_PRODUCT } else { VALUE };
        let mut share = share(values.saturating_mul(value), threads);
        share.parts = share.parts.min(rows).max(1);
        share
    }
}

impl QuantizedA {
    /// Makes room for so many rows.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self, a: &FloatA<'_>, rows: usize) -> Result<(), Error> {
        resize(&mut self.bits, rows.saturating_mul(row_stride(a.a.cols())), PURPOSE)?;
        resize(&mut self.scales, rows, PURPOSE)?;
        resize(&mut self.zeros, rows, PURPOSE)?;
        resize(&mut self.products, rows, PURPOSE)?;
        match transposed_needs(&a.a) {
            Some(needs) => buffers::reserve(&needs),
            None => Ok(()),
        }
    }

    /// Quantizes some rows of an A, for a product with `n` columns.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough. [`Error::NotFinite`] if a value is infinite or NaN,
    /// [`Error::QuantizationRange`] if the greatest less the least is.
    pub(crate) fn fill(
        &mut self,
        a: &FloatA<'_>,
        rows: Range<usize>,
        n: usize,
        threads: Threads<'_>,
    ) -> Result<(), Error> {
        self.reserve(a, rows.len())?;
        let mut given = None;
        if a.per_tensor {
            let all = 0..a.a.rows();
            let share = a.share_of_rows(all.len(), n, threads);
            let span = divide(SpanRows { a, rows: all }, &share, Span::join)?;
            given = Some(in_default_float_mode(|| a.params_of_all(span))?);
        }
        let share = a.share_of_rows(rows.len(), n, threads);
        let k = a.a.cols();
        let bits = MatMut::new(&mut self.bits, rows.len(), k, row_stride(k), 1)?.block;
        let out = RowsMut { bits, scales: &mut self.scales, zeros: &mut self.zeros };
        let rows = QuantizeRows { a, first: rows.start, given, out };
        divide(rows, &share, Result::and)?.map_err(|row| in_default_float_mode(|| a.refusal(row)))
    }

    /// The rows that [`fill`](Self::fill) quantized.
    pub(crate) fn operand(&self, a: &FloatA<'_>) -> Result<Operand<'_>, Error> {
        let (m, k) = (self.scales.len(), a.a.cols());
        let bits = MatRef::new(&self.bits, m, k, row_stride(k), 1)?;
        Ok(Operand { bits, element: a.scheme.element() })
    }

    /// Their zero points.
    pub(crate) fn zeros(&self) -> &[i32] {
        &self.zeros
    }

    /// The parameters of each row.
    pub(crate) fn params(&self) -> impl Iterator<Item = QuantParams> {
        let each = self.scales.iter().zip(&self.zeros);
        each.map(|(&scale, &zero_point)| QuantParams { scale, zero_point })
    }

    /// Multiplies the scales of rows by those that `b` has for all or each of them.
    ///
    /// # Errors
    /// [`Error::Scale`] or [`Error::ScaleProduct`] if a product of scales is infinite.
    pub(crate) fn multiply_scales(&mut self, b: Scale<'_>) -> Result<(), Error> {
        let scales = self.scales.iter().zip(&mut self.products);
        match b {
            Scale::PerTensor(b) => scales.for_each(|(scale, product)| *product = scale * b),
            Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => {
                scales.zip(rows).for_each(|((scale, product), row)| *product = scale * row);
            }
            Scale::PerColumn(_) => (),
        }
        let scale = self.scale(b);
        if is_finite(scale) { Ok(()) } else { scale.check() }
    }

    /// The scale of the sums, after [`multiply_scales`](Self::multiply_scales).
    pub(crate) fn scale<'s>(&'s self, b: Scale<'s>) -> Scale<'s> {
        match b {
            Scale::PerTensor(_) | Scale::PerRow(_) => Scale::PerRow(&self.products),
            Scale::PerColumn(columns) => Scale::RowsByColumns { rows: &self.scales, columns },
            Scale::RowsByColumns { columns, .. } => Scale::RowsByColumns { rows: &self.products, columns },
        }
    }
}

/// Whether all scales of rows, and their products with those of columns, are finite. The greatest decide.
fn is_finite(scale: Scale<'_>) -> bool {
    match scale {
        Scale::RowsByColumns { rows, columns } => (greatest_of(rows) * greatest_of(columns)).is_finite(),
        Scale::PerRow(scales) | Scale::PerColumn(scales) => greatest_of(scales).is_finite(),
        Scale::PerTensor(scale) => scale.is_finite(),
    }
}

/// The distance of quantized rows, in bytes. It is no multiple of the distance at which cache lines share a place in the
/// first-level cache, where the rows of a tile would evict each other: worth 3 % at K = 2048, nothing at 1024 (Zen 4,
/// 2026-11-25). Rows of no values are a byte apart.
fn row_stride(k: usize) -> usize {
    match k {
        0 => 1,
        _ if k.is_multiple_of(2048) => k.saturating_add(64),
        _ => k,
    }
}

/// Rows of A whose span is wanted.
struct SpanRows<'a> {
    a: &'a FloatA<'a>,
    rows: Range<usize>,
}

impl Work for SpanRows<'_> {
    type Output = Span;

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let (Self { a, rows }, here) = (self, parts / 2);
        let middle = rows.start + rows.len() * here / parts;
        let (top, bottom) = (rows.start..middle, middle..rows.end);
        Ok(Halves { first: (Self { a, rows: top }, here), second: (Self { a, rows: bottom }, parts - here) })
    }

    fn run(self, _: usize) -> Result<Span, Undone<Self>> {
        Ok(span_of_rows(&self.a.a, self.rows, self.a.scheme))
    }
}

/// Rows of A to be quantized, from row `first` on.
struct QuantizeRows<'a> {
    a: &'a FloatA<'a>,
    first: usize,
    given: Option<QuantParams>,
    out: RowsMut<'a>,
}

impl Work for QuantizeRows<'_> {
    /// The first row that cannot be quantized is the error.
    type Output = Result<(), usize>;

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let (Self { a, first, given, out }, here) = (self, parts / 2);
        let at = out.scales.len() * here / parts;
        let (top, bottom) = out.split(at);
        Ok(Halves {
            first: (Self { a, first, given, out: top }, here),
            second: (Self { a, first: first + at, given, out: bottom }, parts - here),
        })
    }

    fn run(self, _: usize) -> Result<Self::Output, Undone<Self>> {
        let (FloatA { a, scheme, .. }, given) = (self.a, self.given);
        let Some(needs) = transposed_needs(a) else {
            let Self { first, out, .. } = self;
            return Ok(in_default_float_mode(|| quantize_by_scheme(a, first, *scheme, given, out)));
        };
        let mut rest = Some(self);
        let quantized = buffers::with(&needs, |scratch| {
            let Self { first, out, .. } = rest.take().expect("it is called once");
            let sums = &mut scratch.buffers.sums;
            sums.resize(sums.len().max(needs.sums), 0);
            let memory = &mut bytemuck::cast_slice_mut(sums)[..needs.sums];
            in_default_float_mode(|| quantize_transposed(a, first, *scheme, given, out, memory))
        });
        quantized.map_err(|error| Undone { rest: rest.expect("it was not called"), error })
    }
}

/// The scratch memory that rows of a matrix of contiguous columns are transposed into; `None` for other matrices.
fn transposed_needs(a: &MatRef<'_, f32>) -> Option<Needs> {
    let by_columns = !a.rows_are_slices() && a.transpose().rows_are_slices();
    let sums = rows_transposed(a.cols()).min(a.rows()).saturating_mul(a.cols());
    by_columns.then(|| Needs { sums, ..Needs::default() })
}
