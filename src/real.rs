//! Loops over real numbers: the range that they span, and their rounding to 8 bits.
//!
//! `round_half_even(x)` of an f32 with |x| <= 2^22 is `(x + 1.5·2^23) - 1.5·2^23`: the sum lies where f32
//! has steps of 1, and rounds half to even. Its low bits are those of the integer. So
//!
//! ```text
//! saturate(round_half_even(x / scale) + zero)
//!     = round_half_even(clamp(x / scale, qmin - zero, qmax - zero)) + zero
//! ```
//!
//! needs no more than f32 where the two ends, which are integers, are exact in it and not beyond 2^22:
//! clamping to integers before rounding is clamping after it, and what is left is in reach of the trick.

use crate::element::ElementType;
use crate::matrix::MatRef;
use crate::quant::QuantParams;
use multiversion::multiversion;
use qgemm_kernels::{F32Rows, QuantizedRows, RowExtremes, RowParams};
use std::ops::Range;

/// The least and the greatest of some numbers, as integers that are in the same order: those of NaNs lie
/// beyond the infinities'. (Of floats themselves the compiler will not vectorize a minimum.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    lo: i32,
    hi: i32,
}

/// The bits of a negative number, but for the sign, descend as it does.
#[inline(always)]
fn key(bits: i32) -> i32 {
    bits ^ (bits >> 31 & i32::MAX)
}

impl Span {
    /// Of no numbers.
    pub(crate) const NONE: Span = Span { lo: i32::MAX, hi: i32::MIN };
    /// Of 0.
    pub(crate) const ZERO: Span = Span { lo: 0, hi: 0 };

    /// Of these numbers and those of `self`.
    #[inline(always)]
    fn with(self, x: &[f32]) -> Self {
        x.iter().fold(self, |Span { lo, hi }, x| {
            let key = key(x.to_bits() as i32);
            Span { lo: lo.min(key), hi: hi.max(key) }
        })
    }

    /// Of the magnitudes of these numbers and those of `self`.
    #[inline(always)]
    fn with_magnitudes(self, x: &[f32]) -> Self {
        let hi = x.iter().fold(self.hi, |hi, x| hi.max(x.abs().to_bits() as i32));
        Span { hi, ..self }
    }

    /// Of the numbers of both.
    pub(crate) fn join(self, other: Self) -> Self {
        Span { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Whether all are finite. (Of no numbers, none is not.)
    pub(crate) fn is_finite(self) -> bool {
        let infinity = f32::INFINITY.to_bits() as i32;
        self == Self::NONE || self.hi < infinity && self.lo > key(infinity | i32::MIN)
    }

    #[inline(always)]
    pub(crate) fn lo(self) -> f32 {
        f32::from_bits(key(self.lo) as u32)
    }

    #[inline(always)]
    pub(crate) fn hi(self) -> f32 {
        f32::from_bits(key(self.hi) as u32)
    }
}

/// The span of some numbers.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn span(x: &[f32]) -> Span {
    Span::NONE.with(x)
}

/// How real activations become 8-bit ones, from the numbers themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// i8 of -127..=127, scale max|x| / 127.
    Symmetric,
    /// u8, as ONNX DynamicQuantizeLinear does.
    Asymmetric,
}

impl Scheme {
    pub(crate) fn element(self) -> ElementType {
        match self {
            Scheme::Symmetric => ElementType::I8,
            Scheme::Asymmetric => ElementType::U8,
        }
    }

    /// The integers that it uses.
    fn range(self) -> (i32, i32) {
        match self {
            Scheme::Symmetric => (-127, 127),
            Scheme::Asymmetric => (0, 255),
        }
    }

    /// What it has to know of some numbers, besides those of `span`.
    #[inline(always)]
    fn span(self, span: Span, x: &[f32]) -> Span {
        match self {
            Scheme::Symmetric => span.with_magnitudes(x),
            Scheme::Asymmetric => span.with(x),
        }
    }

    /// For numbers of such extremes, if they and the scale are finite.
    #[inline(always)]
    fn params_of_extremes(self, RowExtremes { highest, lowest }: RowExtremes) -> Option<QuantParams> {
        let span = match self {
            Scheme::Symmetric => Span { lo: 0, hi: highest.max((lowest & i32::MAX as u32) as i32) },
            // Where no number has a sign, 0.
            Scheme::Asymmetric => Span { lo: key(lowest as i32).min(0), hi: highest },
        };
        let params = self.params(span);
        (span.is_finite() && params.scale.is_finite()).then_some(params)
    }

    /// For numbers of such a span, which holds 0. The scale is infinite if the width of the range is.
    #[inline(always)]
    pub(crate) fn params(self, span: Span) -> QuantParams {
        let (lo, hi) = (span.lo(), span.hi());
        let scale = match self {
            Scheme::Symmetric => hi / 127.0,
            Scheme::Asymmetric => (hi - lo) / 255.0,
        };
        // All are 0, or so small that the quotient is.
        let scale = if scale == 0.0 { 1.0 } else { scale };
        // 0 where the scheme is symmetric, whose spans start at 0.
        let zero = -lo / scale;
        let zero = if zero > 255.0 { 255.0 } else { zero };
        QuantParams { scale, zero_point: (zero + ROUND - ROUND) as i32 }
    }
}

/// 1.5·2^23: see the head of this file.
const ROUND: f32 = 12_582_912.0;
/// The greatest magnitude that it rounds.
const MAX_ROUND: i32 = 1 << 22;

/// `out = saturate(round_half_even(x / scale) + zero_point)` on [qmin, qmax]. Infinities saturate, NaN becomes
/// the zero point (saturated).
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn quantize(x: &[f32], params: QuantParams, (qmin, qmax): (i32, i32), out: &mut [u8]) {
    let zero = i64::from(params.zero_point);
    let (lo, hi) = (i64::from(qmin) - zero, i64::from(qmax) - zero);
    if lo.abs().max(hi.abs()) <= i64::from(MAX_ROUND) {
        return quantize_near(x, params, (qmin, qmax), out);
    }
    // The same in f64, where the ends are exact whatever the zero point.
    const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
    let (lo, hi) = (lo as f64, hi as f64);
    let nan = 0.0f64.max(lo).min(hi);
    for (&x, out) in x.iter().zip(out) {
        let steps = f64::from(x / params.scale);
        let steps = if steps.is_nan() { nan } else { steps };
        let steps = if steps < lo { lo } else { steps };
        let steps = if steps > hi { hi } else { steps };
        *out = ((steps + ROUND).to_bits() as u8).wrapping_add(params.zero_point as u8);
    }
}

/// The same for a zero point whose distance from [qmin, qmax] is at most [`MAX_ROUND`].
#[inline(always)]
fn quantize_near(x: &[f32], params: QuantParams, (qmin, qmax): (i32, i32), out: &mut [u8]) {
    let (lo, hi) = ((qmin - params.zero_point) as f32, (qmax - params.zero_point) as f32);
    let nan = 0.0f32.max(lo).min(hi);
    quantize_limited(x, params, out, |steps| {
        let steps = if steps.is_nan() { nan } else { steps };
        let steps = if steps < lo { lo } else { steps };
        if steps > hi { hi } else { steps }
    });
}

/// `out = round_half_even(limit(x / scale)) + zero_point`
#[inline(always)]
fn quantize_limited(x: &[f32], params: QuantParams, out: &mut [u8], limit: impl Fn(f32) -> f32) {
    let QuantParams { scale, zero_point } = params;
    for (&x, out) in x.iter().zip(out) {
        *out = ((limit(x / scale) + ROUND).to_bits() as u8).wrapping_add(zero_point as u8);
    }
}

impl Scheme {
    /// `quantize_near` of finite values with the parameters of their span, or of a wider one. Only the limits
    /// that such values can pass are kept, which is worth an eighth of the time.
    ///
    /// Where the scale is a normal number it is at least q·(1 - 2^-22), q being the quotient of which it is
    /// the rounded one (by a rounded width, where it has one). So
    ///
    /// - symmetric: |x| / scale is at most 127·(1 + 2^-21), which rounds to 127;
    /// - asymmetric: x / scale is not below lo / scale. That, rounded to f32 and to an integer, is minus the
    ///   zero point, since both kinds of rounding are the same on either side of 0, and since
    ///   -lo / scale <= 255·(1 + 2^-21) saturates nothing. Above, hi / scale and the zero point may each
    ///   have been rounded up, to 256 together.
    #[inline(always)]
    fn quantize(self, x: &[f32], params: QuantParams, out: &mut [u8]) {
        if params.scale < f32::MIN_POSITIVE {
            return quantize_near(x, params, self.range(), out);
        }
        match self {
            Scheme::Symmetric => quantize_limited(x, params, out, |steps| steps),
            Scheme::Asymmetric => {
                let hi = (255 - params.zero_point) as f32;
                quantize_limited(x, params, out, |steps| if steps > hi { hi } else { steps });
            }
        }
    }
}

/// Where rows of 8-bit values go, with their parameters.
pub(crate) struct Rows<'a> {
    /// Rows of `ld`, which is not 0.
    pub(crate) bits: &'a mut [u8],
    pub(crate) ld: usize,
    /// One per row.
    pub(crate) scales: &'a mut [f32],
    pub(crate) zeros: &'a mut [i32],
}

impl<'a> Rows<'a> {
    /// The rows before `at`, and those from it on.
    #[cfg(feature = "rayon")]
    pub(crate) fn split(self, at: usize) -> (Self, Self) {
        let Rows { bits, ld, scales, zeros } = self;
        let (bits, bits_below) = bits.split_at_mut(at * ld);
        let (scales, scales_below) = scales.split_at_mut(at);
        let (zeros, zeros_below) = zeros.split_at_mut(at);
        let below = Rows { bits: bits_below, ld, scales: scales_below, zeros: zeros_below };
        (Rows { bits, ld, scales, zeros }, below)
    }
}

/// Calls `f` with the parts of row `i`: all of it, or copies of as many values as fit a buffer.
#[inline(always)]
fn parts(x: &MatRef<'_, f32>, i: usize, mut f: impl FnMut(usize, &[f32])) {
    const BUFFER: usize = 256;
    if let Some(row) = x.row(i) {
        return f(0, row);
    }
    let mut copied = [0.0; BUFFER];
    for start in (0..x.cols()).step_by(BUFFER) {
        let copied = &mut copied[..BUFFER.min(x.cols() - start)];
        for (k, value) in (start..).zip(copied.iter_mut()) {
            *value = x.get(i, k).copied().unwrap_or(0.0);
        }
        f(start, copied);
    }
}

/// What `scheme` has to know of some rows, and of 0.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn span_of_rows(x: &MatRef<'_, f32>, rows: Range<usize>, scheme: Scheme) -> Span {
    let mut span = Span::ZERO;
    for i in rows {
        parts(x, i, |_, part| span = scheme.span(span, part));
    }
    span
}

/// Rows whose parameters are found together, so that one's division does not wait for another's maximum.
const TOGETHER: usize = 64;
/// At most that many values, for them to stay in the first-level cache until they are quantized.
const NEAR: usize = 4096;

/// Quantizes rows of `x` from the `first` on, each with parameters of its own, or all with those given. Where
/// some cannot be, for numbers that are not finite or a range that is not, the first such row.
pub(crate) fn quantize_rows(
    x: &MatRef<'_, f32>,
    first: usize,
    scheme: Scheme,
    given: Option<QuantParams>,
    out: Rows<'_>,
) -> Result<(), usize> {
    let reals = F32Rows::new(x.data_from_row(first), x.row_stride(), x.cols());
    let (Some(reals), true) = (reals, x.rows_are_slices()) else {
        return quantize_by_division(x, first, scheme, given, out);
    };
    let Rows { bits, ld, scales, zeros } = out;
    let out = QuantizedRows { bits, stride: ld, unsigned: scheme == Scheme::Asymmetric };
    let quantized = reals.quantize(
        scales.len(),
        given.is_none(),
        #[inline(always)]
        |i, extremes| {
            let params = match given {
                Some(params) => params,
                None => scheme.params_of_extremes(extremes)?,
            };
            (scales[i], zeros[i]) = (params.scale, params.zero_point);
            Some(RowParams { scale: params.scale, zero: params.zero_point })
        },
        out,
    );
    quantized.map_err(|row| first + row)
}

/// The same where there is no special code for it.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn quantize_by_division(
    x: &MatRef<'_, f32>,
    first: usize,
    scheme: Scheme,
    given: Option<QuantParams>,
    out: Rows<'_>,
) -> Result<(), usize> {
    let Rows { bits, ld, scales, zeros } = out;
    let together = (NEAR / x.cols().max(1)).clamp(1, TOGETHER);
    let mut spans = [Span::ZERO; TOGETHER];
    let parameters = scales.chunks_mut(together).zip(zeros.chunks_mut(together));
    for (part, (bits, (scales, zeros))) in bits.chunks_mut(ld * together).zip(parameters).enumerate() {
        let at = first + part * together;
        let rows = at..at + scales.len();
        if let Some(params) = given {
            scales.fill(params.scale);
            zeros.fill(params.zero_point);
        } else {
            for (i, span) in rows.clone().zip(&mut spans) {
                *span = Span::ZERO;
                parts(x, i, |_, part| *span = scheme.span(*span, part));
            }
            let mut finite = true;
            for ((span, scale), zero) in spans.iter().zip(scales.iter_mut()).zip(zeros.iter_mut()) {
                let params = scheme.params(*span);
                (*scale, *zero) = (params.scale, params.zero_point);
                finite &= span.is_finite() && params.scale.is_finite();
            }
            if !finite {
                let wrong = |i: &usize| !(spans[*i].is_finite() && scales[*i].is_finite());
                return Err(at + (0..scales.len()).find(wrong).unwrap_or(0));
            }
        }
        let params =
            scales.iter().zip(&*zeros).map(|(&scale, &zero_point)| QuantParams { scale, zero_point });
        for ((i, params), bits) in rows.zip(params).zip(bits.chunks_mut(ld)) {
            parts(x, i, |start, part| {
                scheme.quantize(part, params, &mut bits[start..start + part.len()]);
            });
        }
    }
    Ok(())
}
