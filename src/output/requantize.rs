//! The choice of an 8-bit output.

use crate::element::{ElementType, Int8Element};
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::output::activation::Table;
use crate::output::f64_factors::F64Factors;
use crate::output::fixed_point::{Multipliers, Rounding};
use crate::output::requant::{Requant, Residual, Scaling};
use crate::output::scale::Scale;
use qgemm_kernels::in_default_float_mode;

/// The greatest magnitude of an output zero point. Up to it every step is exact in f32.
const MAX_ZERO_POINT: i32 = 1 << 21;

/// An 8-bit output, made from the exact sums.
///
/// With float scales ([`new`](Self::new)), as ONNX QLinearMatMul means and ONNX Runtime computes:
/// `clamp(round_half_even(f32(acc + bias) · scale) + zero_point, lo, hi)`. `f32(·)` and the product each
/// round to nearest even. A [`residual`](Self::residual) is added before rounding.
///
/// In integers ([`fixed_point`](Self::fixed_point)), as TFLite, ruy and gemmlowp compute:
/// `clamp(round(acc + bias, multiplier) + zero_point, lo, hi)`.
///
/// In f64 ([`in_f64`](Self::in_f64)), as TFLite's reference kernels compute:
/// `clamp(round_half_away(f64(acc + bias) · factor) + zero_point, lo, hi)`.
///
/// `lo` and `hi` are the output type's range, narrowed by [`clamp_to`](Self::clamp_to). A [`table`](Self::table)
/// is looked up last.
#[derive(Clone, Copy, Debug)]
pub struct Requantize<'a> {
    scaling: Scaling<'a>,
    zero_point: i32,
    clamp: (i32, i32),
    residual: Option<Residual<'a>>,
    table: Option<(&'a [u8; 256], ElementType)>,
}

fn check_zero_point(argument: &'static str, zero_point: i32) -> Result<(), Error> {
    if (-MAX_ZERO_POINT..=MAX_ZERO_POINT).contains(&zero_point) {
        return Ok(());
    }
    let max = i64::from(MAX_ZERO_POINT);
    Err(Error::Range { argument, got: zero_point.into(), min: -max, max })
}

impl<'a> Requantize<'a> {
    /// Float scales, and the zero point of the output. `scale` is `scale_a · scale_b / scale_out`: one for all, or per
    /// column, per row or both (see [`Scale`]).
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite, [`Error::Range`] if the zero point is beyond ±2^21.
    pub fn new(scale: impl Into<Scale<'a>>, zero_point: i32) -> Result<Self, Error> {
        let scale = scale.into();
        scale.check()?;
        Self::with(Scaling::Float(scale), zero_point)
    }

    /// Integer multipliers, one or one per column, and the zero point of the output. `acc + bias` is saturated to i32,
    /// the domain of multipliers, then goes through [`Multiplier::apply`].
    ///
    /// # Errors
    /// [`Error::Range`] if the zero point is beyond ±2^21.
    ///
    /// [`Multiplier::apply`]: crate::Multiplier::apply
    pub fn fixed_point(
        multipliers: impl Into<Multipliers<'a>>,
        rounding: Rounding,
        zero_point: i32,
    ) -> Result<Self, Error> {
        Self::with(Scaling::FixedPoint(multipliers.into(), rounding), zero_point)
    }

    /// Factors in f64, one or one per column, and the zero point of the output. `f64(acc + bias)` and the product each
    /// round to nearest even, the result half away from zero. TFLite's reference kernels do this with the factor
    /// `f64(scale_a) · f64(scale_b) / f64(scale_out)`.
    ///
    /// # Errors
    /// [`Error::FloatRange`] if a factor is negative or not finite, [`Error::Range`] if the zero point is beyond ±2^21.
    pub fn in_f64(factors: impl Into<F64Factors<'a>>, zero_point: i32) -> Result<Self, Error> {
        let factors = factors.into();
        factors.check()?;
        Self::with(Scaling::F64(factors), zero_point)
    }

    fn with(scaling: Scaling<'a>, zero_point: i32) -> Result<Self, Error> {
        check_zero_point("output zero point", zero_point)?;
        Ok(Self { scaling, zero_point, clamp: (i32::MIN, i32::MAX), residual: None, table: None })
    }

    /// Limits the output to [lo, hi], in quantized units. ReLU is `clamp_to(zero_point, i32::MAX)`, with the zero point of
    /// the output.
    ///
    /// # Errors
    /// [`Error::Clamp`] if `lo > hi`.
    pub fn clamp_to(self, lo: i32, hi: i32) -> Result<Self, Error> {
        if lo > hi {
            return Err(Error::Clamp { got: (lo, hi), output: None });
        }
        Ok(Self { clamp: (lo, hi), ..self })
    }

    /// Adds a matrix of the output's shape, of `i8` or `u8`, before rounding: the sum of a residual block.
    /// `scale` is `scale_residual / scale_out`, `zero_point` that of the residual.
    ///
    /// ```text
    /// x = f32(acc + bias) · scale                       as without it
    /// r = f32(residual - residual_zero) · residual_scale
    /// y = clamp( round_half_even( x + r ) + zero_point, lo, hi )
    /// ```
    ///
    /// Each product and the sum round to nearest even, by themselves (no fused multiply-add).
    ///
    /// # Errors
    /// [`Error::FloatRange`] if the scale is not in 0..=2^64, [`Error::Range`] if the zero point is beyond ±2^21,
    /// [`Error::FloatOnly`] with multipliers or f64 factors. The shape is checked when a product is run.
    pub fn residual(
        self,
        matrix: impl Into<Operand<'a>>,
        scale: f32,
        zero_point: i32,
    ) -> Result<Self, Error> {
        // Up to this scale its product is finite. Two infinities of different sign would have no sum.
        const MAX: f64 = (1u128 << 64) as f64;
        in_default_float_mode(|| match f64::from(scale) {
            got if (0.0..=MAX).contains(&got) => Ok(()),
            got => Err(Error::FloatRange { argument: "residual scale", got, min: 0.0, max: MAX }),
        })?;
        check_zero_point("residual zero point", zero_point)?;
        if !matches!(self.scaling, Scaling::Float(_)) {
            return Err(Error::FloatOnly { argument: "residual" });
        }
        Ok(Self { residual: Some(Residual { matrix: matrix.into(), scale, zero_point }), ..self })
    }

    /// Replaces each clamped value by the table's value for it. The type of the table is checked when a product is run.
    #[must_use]
    pub fn table<T: Int8Element>(self, table: &'a Table<T>) -> Self {
        Self { table: Some((table.bytes(), T::TYPE)), ..self }
    }

    /// The stage for an M×N output of a type.
    ///
    /// # Errors
    /// Those of [`Gemm::run_requantized`](crate::Gemm::run_requantized) that depend on the output.
    #[inline(always)]
    pub(crate) fn for_output(&self, m: usize, n: usize, element: ElementType) -> Result<Requant<'a>, Error> {
        match self.scaling {
            Scaling::Float(scale) => scale.check_shape(m, n)?,
            Scaling::FixedPoint(multipliers, _) => multipliers.check_len("multipliers", n)?,
            Scaling::F64(factors) => factors.check_len("factors", n)?,
        }
        let (least, greatest) = element.range();
        let (lo, hi) = (self.clamp.0.max(least), self.clamp.1.min(greatest));
        if lo > hi {
            return Err(Error::Clamp { got: self.clamp, output: Some((least, greatest)) });
        }
        if let Some(Residual { matrix, .. }) = self.residual
            && (matrix.rows(), matrix.cols()) != (m, n)
        {
            let got = (matrix.rows(), matrix.cols());
            return Err(Error::Shape { argument: "residual", got, need: (m, n) });
        }
        if let Some((_, got)) = self.table
            && got != element
        {
            return Err(Error::Element { argument: "table", got, need: element });
        }
        let Self { scaling, zero_point, residual, table, .. } = *self;
        Ok(Requant { scaling, zero_point, lo, hi, residual, table: table.map(|(bytes, _)| bytes) })
    }
}
