//! Products of f32 activations, which the call quantizes.

use crate::buffer::resize;
use crate::call::gemm::{Gemm, shape};
use crate::dispatch::select::Dispatch;
use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::plan::Needs;
use crate::engine::scratch::{self, Kept};
use crate::engine::threads::{Share, Threads, is_worth_sharing, share};
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::matrix::view::{MatMut, MatRef};
use crate::output::dequantize::Dequantize;
use crate::output::scale::{Scale, greatest_of};
use crate::product::operands::Rhs;
use crate::product::{ZeroPoint, accumulator};
use crate::quantize::params::QuantParams;
use crate::quantize::rows::{RowsMut, quantize_columns, quantize_rows, rows_transposed, span_of_rows};
use crate::quantize::scheme::Scheme;
use crate::quantize::span::Span;
use qgemm_kernels::in_default_float_mode;
use std::cell::Cell;
use std::ops::Range;

/// f32 in, f32 out: A is quantized, multiplied by an 8-bit B, and the exact sums are scaled, in one call.
///
/// ```text
/// q[m,k] = saturate(round_half_even(A[m,k] / s[m]) + z[m])
/// C[m,n] = clamp(f32(Σ_k (q[m,k] - z[m]) · (B[k,n] - zb[n])) · (s[m] · scale[n]) + bias[n])
/// ```
///
/// Every division, product and sum rounds to nearest even, by itself. The scale s and the zero point z come
/// from each row of A, or from all of it:
///
/// | | q | s | z |
/// |---|---|---|---|
/// | symmetric (default) | i8, -127..=127 | max\|a\| / 127 | 0 |
/// | [`asymmetric`](Self::asymmetric) | u8 | (hi - lo) / 255 | saturate(round_half_even(-lo / s)) |
///
/// where [lo, hi] is the range of the values, widened to hold 0: ONNX DynamicQuantizeLinear. Where the
/// quotient is 0, as for values that are all 0, s is 1.
///
/// ```
/// use qgemm::{Dequantize, DynamicGemm, ElementType, MatMut, MatRef, PackedB};
///
/// let weights = [64i8, -127, 127, 1]; // 2 x 2
/// let b = PackedB::pack(MatRef::row_major(&weights, 2, 2)?, ElementType::I8)?;
/// let output = Dequantize::new(&[0.5, 0.25])?.bias(&[1.0, 0.0]); // steps of the columns of B
///
/// let a = [127.0f32, -64.0, 254.0, 2.0]; // 2 x 2, quantized to (127, -64) by 1 and (127, 1) by 2
/// let mut c = [0f32; 4];
/// DynamicGemm::new(MatRef::row_major(&a, 2, 2)?, &b).run_f32(MatMut::row_major(&mut c, 2, 2)?, &output)?;
/// assert_eq!(c, [1.0, -16_193.0 * 0.25, 8255.0 + 1.0, -16_128.0 * 0.5]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// B is best packed for [`ElementType::I8`](crate::ElementType::I8) activations, and for
/// [`U8`](crate::ElementType::U8) if they are asymmetric. The quantized A, M·K bytes and 8 to 72 per row, lies in
/// memory that the calling thread keeps (see [`release_thread_memory`](crate::release_thread_memory)).
#[derive(Clone, Copy, Debug)]
pub struct DynamicGemm<'a> {
    pub(crate) a: MatRef<'a, f32>,
    pub(crate) b: Rhs<'a>,
    pub(crate) b_zero: ZeroPoint<'a>,
    pub(crate) scheme: Scheme,
    pub(crate) per_tensor: bool,
    dispatch: Option<&'a Dispatch>,
    threads: Threads<'a>,
}

impl<'a> DynamicGemm<'a> {
    /// The product of `a` (M×K) and `b` (K×N), each row of `a` quantized symmetrically.
    pub fn new(a: MatRef<'a, f32>, b: impl Into<Rhs<'a>>) -> Self {
        let b_zero = ZeroPoint::PerTensor(0);
        Self {
            a,
            b: b.into(),
            b_zero,
            scheme: Scheme::Symmetric,
            per_tensor: false,
            dispatch: None,
            threads: Threads::ALL,
        }
    }

    /// Quantizes to u8, with a zero point.
    #[must_use]
    pub fn asymmetric(self) -> Self {
        Self { scheme: Scheme::Asymmetric, ..self }
    }

    /// Quantizes all of A by one scale and zero point.
    #[must_use]
    pub fn per_tensor(self) -> Self {
        Self { per_tensor: true, ..self }
    }

    /// The zero point of B: one, or N of them, one per column.
    #[must_use]
    pub fn b_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { b_zero: zero.into(), ..self }
    }

    /// The kernels to choose from if B is not packed. A packed B has its own, and ignores these.
    #[must_use]
    pub fn dispatch(self, dispatch: &'a Dispatch) -> Self {
        Self { dispatch: Some(dispatch), ..self }
    }

    /// The threads that may do the work: at most so many, or an engine's own (see [`Threads`]). Without this they are
    /// [`Threads::ALL`]. The result does not depend on them.
    #[must_use]
    pub fn threads(self, threads: impl Into<Threads<'a>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// Stores f32 values, scaled from the exact sums. The scale of `output` is that of B alone, since those of A come
    /// from its values; scales per row, if `output` has them, are multiplied with those of A first.
    ///
    /// # Errors
    /// Those of [`Gemm::run_f32`]; [`Error::NotFinite`] if a value of A is infinite or NaN,
    /// [`Error::QuantizationRange`] if the greatest value less the least is infinite, [`Error::Scale`] or
    /// [`Error::ScaleProduct`] if a scale of A times one of `output` is infinite, and [`Error::Memory`] if there is not
    /// enough for the quantized A. `c` is then left as it was. If `c` is empty, values of A are not read, and no error
    /// depends on them.
    pub fn run_f32(&self, c: MatMut<'_, f32>, output: &Dequantize<'_>) -> Result<(), Error> {
        self.check(shape(&c), output)?;
        if c.rows() == 0 || c.cols() == 0 {
            return Ok(());
        }
        scratch::borrow(&QUANTIZED, QuantizedA::default, |quantized| {
            quantized.fill(self)?;
            in_default_float_mode(|| quantized.multiply_scales(output.scale))?;
            let scale = quantized.scale(output.scale);
            let gemm = self.quantized(quantized.operand(self)?, &quantized.zeros);
            gemm.run_f32(c, &Dequantize { scale, ..*output })
        })?
    }

    /// Checks that all arguments fit each other and an output of shape `c`, whatever A holds.
    ///
    /// # Errors
    /// Those of [`run_f32`](Self::run_f32), but those that depend on values of A.
    pub(crate) fn check(&self, c: (usize, usize), output: &Dequantize<'_>) -> Result<(), Error> {
        // All zero points within the type bound the sums alike.
        let bits = MatRef::new(&[0], self.a.rows(), self.a.cols(), 0, 0)?;
        let any_a = Operand { bits, element: self.scheme.element() };
        let gemm = self.quantized(any_a, &[]).a_zero(0);
        accumulator::check_i64(&gemm.product(c)?)?;
        output.check_shape(c.0, c.1)
    }

    /// The product of a quantized A, whose rows have the given zero points.
    pub(crate) fn quantized<'q>(&'q self, a: Operand<'q>, zeros: &'q [i32]) -> Gemm<'q> {
        let mut gemm = Gemm::new(a, self.b).b_zero(self.b_zero).threads(self.threads);
        gemm.arguments.dispatch = self.dispatch;
        match self.scheme {
            Scheme::Symmetric => gemm,
            Scheme::Asymmetric if self.per_tensor => gemm.a_zero(zeros.first().copied().unwrap_or(0)),
            Scheme::Asymmetric => gemm.a_zero(zeros),
        }
    }

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
}

thread_local! {
    static QUANTIZED: Cell<Kept<QuantizedA>> = const { Cell::new(Vec::new()) };
}

/// Frees the memory that this thread quantizes into.
pub(crate) fn release() {
    scratch::release(&QUANTIZED);
}

/// A quantized A, in memory that a thread keeps.
#[derive(Default)]
struct QuantizedA {
    bits: Vec<u8>,
    /// One scale per row.
    scales: Vec<f32>,
    /// One zero point per row.
    zeros: Vec<i32>,
}

impl QuantizedA {
    /// Quantizes the A of a product.
    fn fill(&mut self, gemm: &DynamicGemm<'_>) -> Result<(), Error> {
        const PURPOSE: &str = "quantized a";
        let (m, ld) = (gemm.a.rows(), row_stride(gemm.a.cols()));
        resize(&mut self.bits, m.saturating_mul(ld), PURPOSE)?;
        resize(&mut self.scales, m, PURPOSE)?;
        resize(&mut self.zeros, m, PURPOSE)?;
        if let Some(needs) = transposed_needs(&gemm.a) {
            buffers::reserve(&needs)?;
        }
        let share = share_of_rows(gemm);
        let mut given = None;
        if gemm.per_tensor {
            let span = divide(SpanRows { gemm, rows: 0..m }, &share, Span::join)?;
            given = Some(in_default_float_mode(|| gemm.params_of_all(span))?);
        }
        let out = RowsMut { bits: &mut self.bits, ld, scales: &mut self.scales, zeros: &mut self.zeros };
        let rows = QuantizeRows { gemm, first: 0, given, out };
        divide(rows, &share, Result::and)?.map_err(|row| in_default_float_mode(|| gemm.refusal(row)))
    }

    fn operand(&self, gemm: &DynamicGemm<'_>) -> Result<Operand<'_>, Error> {
        let (m, k) = (gemm.a.rows(), gemm.a.cols());
        let bits = MatRef::new(&self.bits, m, k, row_stride(k), 1)?;
        Ok(Operand { bits, element: gemm.scheme.element() })
    }

    /// Multiplies the scales of rows by those that `b` has for all or each of them.
    ///
    /// # Errors
    /// [`Error::Scale`] or [`Error::ScaleProduct`] if a product of scales is infinite.
    fn multiply_scales(&mut self, b: Scale<'_>) -> Result<(), Error> {
        match b {
            Scale::PerTensor(b) => self.scales.iter_mut().for_each(|scale| *scale *= b),
            Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => {
                self.scales.iter_mut().zip(rows).for_each(|(scale, row)| *scale *= row);
            }
            Scale::PerColumn(_) => (),
        }
        let scale = self.scale(b);
        if self.is_finite(scale) { Ok(()) } else { scale.check() }
    }

    /// Whether all scales and all their products are finite. The greatest decide.
    fn is_finite(&self, scale: Scale<'_>) -> bool {
        let column = match scale {
            Scale::RowsByColumns { columns, .. } => greatest_of(columns),
            _ => 1.0,
        };
        (greatest_of(&self.scales) * column).is_finite()
    }

    /// The scale of the sums, after the scales of rows were multiplied by those of `b`.
    fn scale<'s>(&'s self, b: Scale<'s>) -> Scale<'s> {
        match b {
            Scale::PerTensor(_) | Scale::PerRow(_) => Scale::PerRow(&self.scales),
            Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => {
                Scale::RowsByColumns { rows: &self.scales, columns }
            }
        }
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

/// How the rows are shared.
fn share_of_rows<'a>(gemm: &DynamicGemm<'a>) -> Share<'a> {
    /// The multiply-adds that take as long as a value: about 2 µs of work are 2^14 values.
    const VALUE: usize = 1 << 5;
    /// Those that count where the product is shared as well, so that a thread is woken anyway (15 % of 128x128x128 on
    /// Zen 4).
    const VALUE_BEFORE_SHARED_PRODUCT: usize = 1 << 7;
    let (m, k) = (gemm.a.rows(), gemm.a.cols());
    let product = m.saturating_mul(k).saturating_mul(gemm.b.shape().1);
    let shared = is_worth_sharing(product, gemm.threads);
    let value = if shared { VALUE_BEFORE_SHARED_PRODUCT } else { VALUE };
    let mut share = share(m.saturating_mul(k).saturating_mul(value), gemm.threads);
    share.parts = share.parts.min(m).max(1);
    share
}

/// Rows of A whose span is wanted.
struct SpanRows<'a> {
    gemm: &'a DynamicGemm<'a>,
    rows: Range<usize>,
}

impl Work for SpanRows<'_> {
    type Output = Span;

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let (Self { gemm, rows }, here) = (self, parts / 2);
        let middle = rows.start + rows.len() * here / parts;
        let (top, bottom) = (rows.start..middle, middle..rows.end);
        Ok(Halves {
            first: (Self { gemm, rows: top }, here),
            second: (Self { gemm, rows: bottom }, parts - here),
        })
    }

    fn run(self, _: usize) -> Result<Span, Undone<Self>> {
        Ok(span_of_rows(&self.gemm.a, self.rows, self.gemm.scheme))
    }
}

/// Rows of A to be quantized, from row `first` on.
struct QuantizeRows<'a> {
    gemm: &'a DynamicGemm<'a>,
    first: usize,
    given: Option<QuantParams>,
    out: RowsMut<'a>,
}

impl Work for QuantizeRows<'_> {
    /// The first row that cannot be quantized is the error.
    type Output = Result<(), usize>;

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let (Self { gemm, first, given, out }, here) = (self, parts / 2);
        let at = out.scales.len() * here / parts;
        let (top, bottom) = out.split(at);
        Ok(Halves {
            first: (Self { gemm, first, given, out: top }, here),
            second: (Self { gemm, first: first + at, given, out: bottom }, parts - here),
        })
    }

    fn run(self, _: usize) -> Result<Self::Output, Undone<Self>> {
        let (DynamicGemm { a, scheme, .. }, given) = (self.gemm, self.given);
        let Some(needs) = transposed_needs(a) else {
            let Self { first, out, .. } = self;
            return Ok(in_default_float_mode(|| quantize_rows(a, first, *scheme, given, out)));
        };
        let mut rest = Some(self);
        let quantized = buffers::with(&needs, |scratch| {
            let Self { first, out, .. } = rest.take().expect("it is called once");
            let sums = &mut scratch.buffers.sums;
            sums.resize(sums.len().max(needs.sums), 0);
            let memory = &mut bytemuck::cast_slice_mut(sums)[..needs.sums];
            in_default_float_mode(|| quantize_columns(a, first, *scheme, given, out, memory))
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
