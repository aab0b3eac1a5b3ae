//! Products of real activations, which are quantized on the fly.

use crate::element::Operand;
use crate::gemm::{Rhs, ZeroPoint};
use crate::output::Dequantize;
use crate::real::{self, Rows, Scheme, Span};
use crate::scale::{Scale, greatest_of};
use crate::scratch;
use crate::width;
use crate::{Dispatch, Error, Gemm, MatMut, MatRef, QuantParams};
use std::ops::Range;

/// f32 in, f32 out: A is quantized, multiplied by an 8-bit B, and the exact sums are scaled, in one call.
///
/// ```text
/// q[m,k] = saturate(round_half_even(A[m,k] / s[m]) + z[m])
/// C[m,n] = f32(Σ_k (q[m,k] - z[m]) · (B[k,n] - zb[n])) · (s[m] · scale[n]) + bias[n]
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
/// [`U8`](crate::ElementType::U8) if they are asymmetric. The quantized A, M·K bytes and 8 per row, lies in
/// memory that the calling thread keeps (see [`release_thread_memory`](crate::release_thread_memory)).
#[derive(Clone, Copy, Debug)]
pub struct DynamicGemm<'a> {
    pub(crate) a: MatRef<'a, f32>,
    pub(crate) b: Rhs<'a>,
    pub(crate) b_zero: ZeroPoint<'a>,
    pub(crate) scheme: Scheme,
    pub(crate) per_tensor: bool,
    dispatch: Option<&'a Dispatch>,
}

impl<'a> DynamicGemm<'a> {
    /// The product of `a` (M×K) and `b` (K×N), each row of `a` quantized symmetrically.
    pub fn new(a: MatRef<'a, f32>, b: impl Into<Rhs<'a>>) -> Self {
        let b_zero = ZeroPoint::PerTensor(0);
        Self { a, b: b.into(), b_zero, scheme: Scheme::Symmetric, per_tensor: false, dispatch: None }
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

    /// The zero point of B: one, or one per column.
    #[must_use]
    pub fn b_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { b_zero: zero.into(), ..self }
    }

    /// The kernels to choose from when B is not packed yet; a packed B brings its own.
    #[must_use]
    pub fn dispatch(self, dispatch: &'a Dispatch) -> Self {
        Self { dispatch: Some(dispatch), ..self }
    }

    /// Stores f32 values, scaled from the exact sums. The scale of `output` is that of B; if it has factors
    /// for rows, those of A are multiplied by them first.
    ///
    /// # Errors
    /// As [`Gemm::run_f32`], and [`Error::NotFinite`] if a value of A is infinite or not a number,
    /// [`Error::QuantizationRange`] if the width of a range is infinite, [`Error::Scale`] or [`Error::ScaleProduct`]
    /// if a product of scales is, and [`Error::Memory`] if there is not enough for the quantized A. `c` is
    /// then left as it was.
    pub fn run_f32(&self, c: MatMut<'_, f32>, output: &Dequantize<'_>) -> Result<(), Error> {
        self.check((c.rows(), c.cols()), output)?;
        scratch::with_quantized(|quantized| {
            quantized.fill(self)?;
            quantized.scale_rows(output.scale);
            let scale = quantized.scale(output.scale);
            if !quantized.is_finite(scale) {
                scale.check()?;
            }
            self.with(quantized.operand(self)?, &quantized.zeros).run_f32(c, &Dequantize { scale, ..*output })
        })
    }

    /// That all arguments fit each other, whatever A holds.
    pub(crate) fn check(&self, c: (usize, usize), output: &Dequantize<'_>) -> Result<(), Error> {
        // Any zero point within the type bounds the sums alike.
        let bits = MatRef::new(&[0], self.a.rows(), self.a.cols(), 0, 0)?;
        let gemm = self.with(Operand { bits, element: self.scheme.element() }, &[]).a_zero(0);
        gemm.check(c)?;
        width::check(&gemm)?;
        output.check_shape(c.0, c.1)
    }

    /// The product with A quantized.
    pub(crate) fn with<'q>(&'q self, a: Operand<'q>, zeros: &'q [i32]) -> Gemm<'q> {
        let gemm = Gemm { dispatch: self.dispatch, ..Gemm::new(a, self.b) }.b_zero(self.b_zero);
        match self.scheme {
            Scheme::Symmetric => gemm,
            Scheme::Asymmetric if self.per_tensor => gemm.a_zero(zeros.first().copied().unwrap_or(0)),
            Scheme::Asymmetric => gemm.a_zero(zeros),
        }
    }

    /// Why row `i` cannot be quantized.
    pub(crate) fn refusal(&self, i: usize) -> Error {
        for column in 0..self.a.cols() {
            match self.a.get(i, column) {
                Some(&got) if !got.is_finite() => return Error::NotFinite { row: i, column, got },
                _ => (),
            }
        }
        self.too_wide(i..i + 1)
    }

    /// That the range of some rows is too wide.
    fn too_wide(&self, rows: Range<usize>) -> Error {
        let span = real::span_of_rows(&self.a, rows, self.scheme);
        Error::QuantizationRange { got: (span.lo().into(), span.hi().into()) }
    }
}

/// A quantized A, in memory that a thread keeps.
#[derive(Default)]
pub(crate) struct Quantized {
    bits: Vec<u8>,
    /// One per row.
    scales: Vec<f32>,
    zeros: Vec<i32>,
}

impl Quantized {
    fn fill(&mut self, gemm: &DynamicGemm<'_>) -> Result<(), Error> {
        let (m, ld) = (gemm.a.rows(), row_stride(gemm.a.cols()));
        resize(&mut self.bits, m.saturating_mul(ld))?;
        resize(&mut self.scales, m)?;
        resize(&mut self.zeros, m)?;
        let mut given = None;
        if gemm.per_tensor {
            let span = span(gemm, 0..m);
            let params = gemm.scheme.params(span);
            if !span.is_finite() {
                let wrong = |i: &usize| !real::span_of_rows(&gemm.a, *i..i + 1, gemm.scheme).is_finite();
                return Err(gemm.refusal((0..m).find(wrong).unwrap_or(0)));
            }
            if !params.scale.is_finite() {
                return Err(gemm.too_wide(0..m));
            }
            given = Some(params);
        }
        let rows = Rows { bits: &mut self.bits, ld, scales: &mut self.scales, zeros: &mut self.zeros };
        quantize(gemm, given, rows).map_err(|row| gemm.refusal(row))
    }

    fn operand(&self, gemm: &DynamicGemm<'_>) -> Result<Operand<'_>, Error> {
        let (m, k) = (gemm.a.rows(), gemm.a.cols());
        let bits = MatRef::new(&self.bits, m, k, row_stride(k), 1)?;
        Ok(Operand { bits, element: gemm.scheme.element() })
    }

    /// Multiplies the scales of rows by what `b` has for them.
    fn scale_rows(&mut self, b: Scale<'_>) {
        match b {
            Scale::PerTensor(b) => self.scales.iter_mut().for_each(|scale| *scale *= b),
            Scale::PerRow(rows) | Scale::RowsByColumns { rows, .. } => {
                self.scales.iter_mut().zip(rows).for_each(|(scale, row)| *scale *= row);
            }
            Scale::PerColumn(_) => (),
        }
    }

    /// Whether all scales are finite, and all their products: the greatest decide.
    fn is_finite(&self, scale: Scale<'_>) -> bool {
        let column = match scale {
            Scale::RowsByColumns { columns, .. } => greatest_of(columns),
            _ => 1.0,
        };
        (greatest_of(&self.scales) * column).is_finite()
    }

    /// The scale of the sums, where B has the given one and rows were scaled by it.
    fn scale<'s>(&'s self, b: Scale<'s>) -> Scale<'s> {
        match b {
            Scale::PerTensor(_) | Scale::PerRow(_) => Scale::PerRow(&self.scales),
            Scale::PerColumn(columns) | Scale::RowsByColumns { columns, .. } => {
                Scale::RowsByColumns { rows: &self.scales, columns }
            }
        }
    }
}

/// From one quantized row to the next: not a multiple of the distance at which lines share a place in the
/// first-level cache, where the rows of a tile would push each other out: worth 3 % at K = 2048 (Zen 4,
/// 2026-11-25), nothing at 1024.
fn row_stride(k: usize) -> usize {
    if k.is_multiple_of(2048) { k.saturating_add(64) } else { k }
}

/// Makes `v` `len` values long, of any value.
fn resize<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> Result<(), Error> {
    let bytes = len.saturating_mul(size_of::<T>());
    let more = len.saturating_sub(v.len());
    v.try_reserve_exact(more).map_err(|_| Error::Memory { purpose: "quantized a", bytes })?;
    v.resize(len, T::default());
    Ok(())
}

/// What the scheme has to know of some rows.
#[cfg(not(feature = "rayon"))]
fn span(gemm: &DynamicGemm<'_>, rows: Range<usize>) -> Span {
    real::span_of_rows(&gemm.a, rows, gemm.scheme)
}

/// Quantizes all rows; the first that cannot be is the error.
#[cfg(not(feature = "rayon"))]
fn quantize(gemm: &DynamicGemm<'_>, given: Option<QuantParams>, out: Rows<'_>) -> Result<(), usize> {
    real::quantize_rows(&gemm.a, 0, gemm.scheme, given, out)
}

#[cfg(feature = "rayon")]
use shared::{quantize, span};

/// The same on several threads.
#[cfg(feature = "rayon")]
mod shared {
    use super::*;
    use crate::driver;

    /// Values that are worth another thread: 2 µs or so; or that are where the product will be shared as well, so that
    /// the other thread has to be woken anyway (15 % of 128x128x128 on Zen 4).
    const GRAIN: usize = 1 << 14;
    const GRAIN_BEFORE_SHARED: usize = 1 << 12;

    /// Into how many parts the rows are cut.
    fn parts(gemm: &DynamicGemm<'_>) -> usize {
        let (m, k) = (gemm.a.rows(), gemm.a.cols());
        let product = m.saturating_mul(k).saturating_mul(gemm.b.shape().1);
        let shared = product / driver::GRAIN > 1;
        match m * k / if shared { GRAIN_BEFORE_SHARED } else { GRAIN } {
            0 | 1 => 1,
            worth => worth.min(m).min(rayon::current_num_threads()),
        }
    }

    pub(super) fn span(gemm: &DynamicGemm<'_>, rows: Range<usize>) -> Span {
        split_span(gemm, rows, parts(gemm))
    }

    fn split_span(gemm: &DynamicGemm<'_>, rows: Range<usize>, parts: usize) -> Span {
        if parts <= 1 {
            return real::span_of_rows(&gemm.a, rows, gemm.scheme);
        }
        let here = parts / 2;
        let middle = rows.start + rows.len() * here / parts;
        let (top, bottom) = rayon::join(
            || split_span(gemm, rows.start..middle, here),
            || split_span(gemm, middle..rows.end, parts - here),
        );
        top.join(bottom)
    }

    pub(super) fn quantize(
        gemm: &DynamicGemm<'_>,
        given: Option<QuantParams>,
        out: Rows<'_>,
    ) -> Result<(), usize> {
        split(gemm, 0, given, out, parts(gemm))
    }

    fn split(
        gemm: &DynamicGemm<'_>,
        first: usize,
        given: Option<QuantParams>,
        out: Rows<'_>,
        parts: usize,
    ) -> Result<(), usize> {
        if parts <= 1 {
            return real::quantize_rows(&gemm.a, first, gemm.scheme, given, out);
        }
        let here = parts / 2;
        let at = out.scales.len() * here / parts;
        let (top, bottom) = out.split(at);
        let (top, bottom) = rayon::join(
            || split(gemm, first, given, top, here),
            || split(gemm, first + at, given, bottom, parts - here),
        );
        top.and(bottom)
    }
}
