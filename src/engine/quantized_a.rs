//! An f32 A that a call quantizes, in memory that a thread keeps.

use crate::buffer::resize;
use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::plan::Needs;
use crate::engine::scratch::{self, Kept};
use crate::engine::threads::{Share, Threads, is_worth_sharing, share};
use crate::error::Error;
use crate::matrix::gather::Gather;
use crate::matrix::gather_f32::GatherF32;
use crate::matrix::half_matrix::HalfMatrix;
use crate::matrix::operand::Operand;
use crate::matrix::view::MatRef;
use crate::output::scale::{Scale, greatest_of};
use crate::product::operands::{FloatLhs, Lhs};
use crate::quantize::params::QuantParams;
use crate::quantize::rows::{
    RowsMut, quantize_by_scheme, quantize_copies, rows_copied, span_of_rows, transpose_rows,
};
use crate::quantize::scheme::Scheme;
use crate::quantize::span::Span;
use qgemm_kernels::{BlockMut, in_default_float_mode};
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
    pub(crate) a: FloatLhs<'a>,
    pub(crate) scheme: Scheme,
    /// Whether one scale and zero point serve all rows, else each has its own.
    pub(crate) per_tensor: bool,
}

/// Quantized rows of an A, or the quantized source that they are gathered from.
#[derive(Default)]
pub(crate) struct QuantizedA {
    bits: Vec<u8>,
    /// Rows of A.
    rows: usize,
    /// One scale per row of A, and perhaps more.
    scales: Vec<f32>,
    /// One zero point per row of A, and perhaps more.
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
    /// The gathered rows of which the source is quantized, since all have one scale, and a row of the source is in several
    /// of them.
    fn gathered_from_quantized(&self) -> Option<GatherF32<'_>> {
        match self.a {
            FloatLhs::Gathered(gather) if self.per_tensor && gather.picks().taps() > 1 => Some(gather),
            FloatLhs::Matrix(_) | FloatLhs::Half(_) | FloatLhs::Gathered(_) => None,
        }
    }

    /// The shape of the matrix that is quantized, for some rows of A.
    fn quantized_shape(&self, rows: usize) -> (usize, usize) {
        match self.gathered_from_quantized() {
            Some(gather) => (gather.source().rows(), gather.source().cols()),
            None => (rows, self.a.cols()),
        }
    }

    /// The parameters of all of A, whose values have this span.
    fn params_of_all(&self, span: Span) -> Result<QuantParams, Error> {
        let source = self.a.source();
        let (m, params) = (source.rows(), self.scheme.params(span));
        if !span.is_finite() {
            let is_finite = |i: usize, k| source.get(i, k).is_some_and(f32::is_finite);
            let wrong = |i: &usize| (0..source.cols()).any(|k| !is_finite(*i, k));
            let argument = if let FloatLhs::Gathered(_) = self.a { "source" } else { "a" };
            return Err(refusal(argument, &source, (0..m).find(wrong).unwrap_or(0)));
        }
        if params.scale.is_finite() { Ok(params) } else { Err(too_wide(span)) }
    }
}

/// How the rows of an A that is quantized for a product with `n` columns are shared.
pub(super) fn share_of_values((rows, k): (usize, usize), n: usize, threads: Threads<'_>) -> Share<'_> {
    /// The multiply-adds that take as long as a value: about 2 µs of work are 2^14 values.
    const VALUE: usize = 1 << 5;
    /// Those that count where the product is shared as well, so that a thread is woken anyway (15 % of 128x128x128 on
    /// Zen 4).
    const VALUE_BEFORE_SHARED_PRODUCT: usize = 1 << 7;
    let values = rows.saturating_mul(k);
    let shared = is_worth_sharing(values.saturating_mul(n), threads);
    let value = if shared { VALUE_BEFORE_SHARED_PRODUCT } else { VALUE };
    let mut share = share(values.saturating_mul(value), threads);
    share.parts = share.parts.min(rows).max(1);
    share
}

/// The reason that row `i` of `a` cannot be quantized.
pub(super) fn refusal(argument: &'static str, a: &FloatLhs<'_>, i: usize) -> Error {
    let values = || (0..a.cols()).map(|column| a.get(i, column).unwrap_or(0.0));
    for (column, got) in values().enumerate() {
        if !got.is_finite() {
            return Error::NotFinite { argument, row: i, column, got };
        }
    }
    too_wide(values().fold(Span::ZERO, |span, value| span.with(&[value])))
}

/// The error for values that span too wide a range.
fn too_wide(span: Span) -> Error {
    Error::QuantizationRange { got: (span.lo().into(), span.hi().into()) }
}

impl QuantizedA {
    /// Makes room for so many rows.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub(crate) fn reserve(&mut self, a: &FloatA<'_>, rows: usize) -> Result<(), Error> {
        let (quantized, k) = a.quantized_shape(rows);
        resize(&mut self.bits, quantized.saturating_mul(row_stride(k)), PURPOSE)?;
        resize(&mut self.scales, rows.max(quantized), PURPOSE)?;
        resize(&mut self.zeros, rows.max(quantized), PURPOSE)?;
        resize(&mut self.products, rows, PURPOSE)?;
        self.rows = rows;
        match copied_needs(a) {
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
            let source = a.a.source();
            let share = share_of_values((source.rows(), source.cols()), n, threads);
            let all = SpanRows { source, scheme: a.scheme, rows: 0..source.rows() };
            let span = divide(all, &share, Span::join)?;
            given = Some(in_default_float_mode(|| a.params_of_all(span))?);
        }
        let (quantized, k) = a.quantized_shape(rows.len());
        let share = share_of_values((quantized, k), n, threads);
        let bits =
            BlockMut::new(&mut self.bits, quantized, k, row_stride(k), 1).expect("it holds as many rows");
        let (scales, zeros) = (&mut self.scales[..quantized], &mut self.zeros[..quantized]);
        let out = RowsMut { bits, scales, zeros };
        if a.gathered_from_quantized().is_none() {
            let rows = QuantizeRows { a, first: rows.start, given, out };
            return divide(rows, &share, Result::and)?
                .map_err(|row| in_default_float_mode(|| refusal("a", &a.a, row)));
        }
        let source = &FloatA { a: a.a.source(), ..*a };
        let rows = QuantizeRows { a: source, first: 0, given, out };
        divide(rows, &share, Result::and)?
            .map_err(|row| in_default_float_mode(|| refusal("source", &source.a, row)))?;
        if let Some(params) = given {
            self.scales.fill(params.scale);
            self.zeros.fill(params.zero_point);
        }
        Ok(())
    }

    /// The rows that [`fill`](Self::fill) quantized, of which `rows` are those of A.
    pub(crate) fn lhs<'s>(&'s self, a: &'s FloatA<'_>, rows: Range<usize>) -> Result<Lhs<'s>, Error> {
        let (quantized, k) = a.quantized_shape(self.rows);
        let bits = MatRef::new(&self.bits, quantized, k, row_stride(k), 1)?;
        let quantized = Operand { bits, element: a.scheme.element() };
        Ok(match a.gathered_from_quantized() {
            None => Lhs::Matrix(quantized),
            Some(gather) => {
                // 0 is the zero point; all are one.
                let padding = self.zeros.first().map_or(0, |zero| *zero as u8);
                Lhs::Gathered(Gather::picked(quantized, gather.picks().of_rows(rows), padding))
            }
        })
    }

    /// Their zero points.
    pub(crate) fn zeros(&self) -> &[i32] {
        &self.zeros[..self.rows]
    }

    /// The parameters of each row.
    pub(crate) fn params(&self) -> impl Iterator<Item = QuantParams> {
        let each = self.scales[..self.rows].iter().zip(&self.zeros);
        each.map(|(&scale, &zero_point)| QuantParams { scale, zero_point })
    }

    /// Multiplies the scales of rows by those that `b` has for all or each of them.
    ///
    /// # Errors
    /// [`Error::Scale`] or [`Error::ScaleProduct`] if a product of scales is infinite.
    pub(crate) fn multiply_scales(&mut self, b: Scale<'_>) -> Result<(), Error> {
        let scales = self.scales[..self.rows].iter().zip(&mut self.products);
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
            Scale::PerColumn(columns) => Scale::RowsByColumns { rows: &self.scales[..self.rows], columns },
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
pub(super) fn row_stride(k: usize) -> usize {
    match k {
        0 => 1,
        _ if k.is_multiple_of(2048) => k.saturating_add(64),
        _ => k,
    }
}

/// Rows of a matrix whose span is wanted.
struct SpanRows<'a> {
    /// No gathered rows.
    source: FloatLhs<'a>,
    scheme: Scheme,
    rows: Range<usize>,
}

impl Work for SpanRows<'_> {
    type Output = Span;

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let (Self { source, scheme, rows }, here) = (self, parts / 2);
        let middle = rows.start + rows.len() * here / parts;
        let part = |rows| Self { source, scheme, rows };
        let (top, bottom) = (part(rows.start..middle), part(middle..rows.end));
        Ok(Halves { first: (top, here), second: (bottom, parts - here) })
    }

    fn run(self, _: usize) -> Result<Span, Undone<Self>> {
        let Self { source, scheme, rows } = &self;
        match source {
            FloatLhs::Matrix(source) => Ok(span_of_rows(source, rows.clone(), *scheme)),
            FloatLhs::Half(source) => {
                let span = with_copies(&copies_of(source.shape()), |copies| {
                    in_default_float_mode(|| span_of_half(source, rows.clone(), *scheme, copies))
                });
                span.map_err(|error| Undone { rest: self, error })
            }
            FloatLhs::Gathered(_) => unreachable!("the source is a matrix"),
        }
    }
}

/// [`span_of_rows`] of 16-bit floats, some rows of which `copies` has room for.
fn span_of_half(source: &HalfMatrix<'_>, rows: Range<usize>, scheme: Scheme, copies: &mut [f32]) -> Span {
    let k = source.shape().1;
    let mut span = Span::ZERO;
    for first in rows.clone().step_by(rows_copied(k)) {
        let count = rows_copied(k).min(rows.end - first);
        source.copy_rows(first..first + count, copies);
        span = scheme.extend(span, &copies[..count * k]);
    }
    span
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
        let (FloatA { a, scheme, .. }, given) = (*self.a, self.given);
        if let (FloatLhs::Matrix(a), None) = (&a, copied_needs(self.a)) {
            let Self { first, out, .. } = self;
            return Ok(in_default_float_mode(|| quantize_by_scheme(a, first, scheme, given, out)));
        }
        let needs = copied_needs(self.a).unwrap_or_default();
        let mut rest = Some(self);
        let quantized = with_copies(&needs, |memory| {
            let Self { first, out, .. } = rest.take().expect("it is called once");
            let copy = |rows: Range<usize>, copies: &mut [f32]| match &a {
                FloatLhs::Matrix(a) => transpose_rows(a, rows, copies),
                FloatLhs::Half(a) => a.copy_rows(rows, copies),
                FloatLhs::Gathered(a) => a.copy_rows(rows, copies),
            };
            in_default_float_mode(|| quantize_copies(a.cols(), first, scheme, given, out, memory, copy))
        });
        quantized.map_err(|error| Undone { rest: rest.expect("it was not called"), error })
    }
}

/// Calls `f` with scratch memory for copies of rows.
fn with_copies<R>(needs: &Needs, f: impl FnOnce(&mut [f32]) -> R) -> Result<R, Error> {
    buffers::with(needs, |scratch| {
        let sums = &mut scratch.buffers.sums;
        sums.resize(sums.len().max(needs.sums), 0);
        f(&mut bytemuck::cast_slice_mut(sums)[..needs.sums])
    })
}

/// The scratch memory that rows are copied to before they are quantized: transposed if columns are contiguous, widened, or
/// gathered; `None` for other matrices.
fn copied_needs(a: &FloatA<'_>) -> Option<Needs> {
    let matrix = match a.gathered_from_quantized() {
        Some(gather) => gather.source().into(),
        None => a.a,
    };
    let copied = match matrix {
        FloatLhs::Matrix(a) => !a.rows_are_slices() && a.transpose().rows_are_slices(),
        FloatLhs::Half(_) | FloatLhs::Gathered(_) => true,
    };
    copied.then(|| copies_of((matrix.rows(), matrix.cols())))
}

/// Memory for the rows of a matrix that are copied together.
fn copies_of((rows, k): (usize, usize)) -> Needs {
    Needs { sums: rows_copied(k).min(rows).saturating_mul(k), ..Needs::default() }
}
