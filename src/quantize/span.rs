//! The range that f32 values span.

use crate::error::Error;
use multiversion::multiversion;

/// The least and the greatest of some f32 values.
///
/// Both are kept as integer keys that are ordered like the values (see [`key`]), because the compiler vectorizes
/// minima of integers but not those of floats. Keys of NaNs lie beyond those of the infinities, so a span with a NaN is
/// not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    lo: i32,
    hi: i32,
}

/// An integer that orders f32 values by their bits: the bits themselves for positive values; for negative ones, whose
/// bits ascend as the values descend, all bits but the sign are inverted. It is its own inverse.
#[inline(always)]
pub(crate) fn key(bits: i32) -> i32 {
    bits ^ (bits >> 31 & i32::MAX)
}

impl Span {
    /// The span of no values.
    pub(crate) const EMPTY: Span = Span { lo: i32::MAX, hi: i32::MIN };
    /// The span of the value 0.
    pub(crate) const ZERO: Span = Span { lo: 0, hi: 0 };

    /// The span from 0 to the greatest magnitude, from the greatest bits of a row (see `RowExtremes`).
    #[inline(always)]
    pub(crate) fn of_magnitudes(highest: i32, lowest: u32) -> Self {
        Span { lo: 0, hi: highest.max((lowest & i32::MAX as u32) as i32) }
    }

    /// The span of 0 and the values of a row, from the greatest bits of the row (see `RowExtremes`). `lowest` is 0 if
    /// no value is negative.
    #[inline(always)]
    pub(crate) fn of_extremes(highest: i32, lowest: u32) -> Self {
        Span { lo: key(lowest as i32).min(0), hi: highest }
    }

    /// Extends the span to hold `x`.
    #[inline(always)]
    pub(crate) fn with(self, x: &[f32]) -> Self {
        x.iter().fold(self, |Span { lo, hi }, x| {
            let key = key(x.to_bits() as i32);
            Span { lo: lo.min(key), hi: hi.max(key) }
        })
    }

    /// Extends the span to hold the magnitudes of `x`.
    #[inline(always)]
    pub(crate) fn with_magnitudes(self, x: &[f32]) -> Self {
        let hi = x.iter().fold(self.hi, |hi, x| hi.max(x.abs().to_bits() as i32));
        Span { hi, ..self }
    }

    /// The span of the values of both.
    pub(crate) fn join(self, other: Self) -> Self {
        Span { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Whether all values are finite; true of no values.
    pub(crate) fn is_finite(self) -> bool {
        let infinity = f32::INFINITY.to_bits() as i32;
        self == Self::EMPTY || self.hi < infinity && self.lo > key(infinity | i32::MIN)
    }

    /// The least value.
    #[inline(always)]
    pub(crate) fn lo(self) -> f32 {
        f32::from_bits(key(self.lo) as u32)
    }

    /// The greatest value.
    #[inline(always)]
    pub(crate) fn hi(self) -> f32 {
        f32::from_bits(key(self.hi) as u32)
    }
}

/// The span of some values.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn span(x: &[f32]) -> Span {
    Span::EMPTY.with(x)
}

/// The span of some values; that of 0 if there are none.
///
/// # Errors
/// [`Error::QuantizationRange`] if a value is infinite or NaN.
pub(crate) fn finite_span(data: &[f32]) -> Result<Span, Error> {
    if data.is_empty() {
        return Ok(Span::ZERO);
    }
    let span = span(data);
    if span.is_finite() {
        return Ok(span);
    }
    let wrong = f64::from(*data.iter().find(|x| !x.is_finite()).unwrap_or(&f32::NAN));
    Err(Error::QuantizationRange { got: (wrong, wrong) })
}
