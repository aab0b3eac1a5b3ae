//! The choice of an 8-bit output.

use crate::element::{ElementType, Int8Element};
use crate::error::{Error, check_shape};
use crate::matrix::operand::Operand;
use crate::output::f64_factors::F64Factors;
use crate::output::fixed_point::{Multipliers, Rounding};
use crate::output::requant::{Requant, Residual, ResidualMatrix, Scaling};
use crate::output::scale::{Scale, ScaleOfA};
use crate::output::table::Table;
use crate::quantize::params::{MAX_ZERO_POINT, QuantParams};
use qgemm_kernels::in_default_float_mode;

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
/// `lo` and `hi` are the output type's range, narrowed by [`clamp_to`](Self::clamp_to) or [`relu`](Self::relu). A
/// [`table`](Self::table) is looked up last. Methods that add to a stage are checked when a product is run.
/// [`into_owned`](Self::into_owned) makes a stage that a layer can keep.
#[derive(Clone, Copy, Debug)]
pub struct Requantize<'a> {
    pub(crate) scaling: Scaling<'a>,
    pub(crate) scale_of_a: ScaleOfA,
    pub(crate) zero_point: i32,
    pub(crate) clamp: (i32, i32),
    pub(crate) residual: Option<ChosenResidual<'a>>,
    pub(crate) table: Option<(&'a [u8; 256], ElementType)>,
}

/// A residual as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChosenResidual<'a> {
    /// The matrix; `None` for the output itself.
    pub(crate) matrix: Option<Operand<'a>>,
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
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

    /// Float scales for a [`DynamicGemm`](crate::DynamicGemm), and the zero point of the output. `scale` is
    /// `scale_b / scale_out`: the call finds the scales of A and multiplies by them first, as in the formula of that type.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn dynamic(scale: impl Into<Scale<'a>>, zero_point: i32) -> Result<Self, Error> {
        Ok(Self { scale_of_a: ScaleOfA::Found, ..Self::new(scale, zero_point)? })
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
        let (scale_of_a, clamp) = (ScaleOfA::Included, (i32::MIN, i32::MAX));
        Ok(Self { scaling, scale_of_a, zero_point, clamp, residual: None, table: None })
    }

    /// Limits the output to [lo, hi], in quantized units. `lo > hi`, and limits outside the output type, are refused when a
    /// product is run.
    #[must_use]
    pub fn clamp_to(self, lo: i32, hi: i32) -> Self {
        Self { clamp: (lo, hi), ..self }
    }

    /// Limits the output to real numbers from 0 on: `clamp_to(zero_point, i32::MAX)`, with the zero point of the output.
    #[must_use]
    pub fn relu(self) -> Self {
        self.clamp_to(self.zero_point, i32::MAX)
    }

    /// Limits the output to the real numbers 0 to 6: `clamp_to(zero_point, zero_point + round_half_even(6 / output_scale))`,
    /// with a division in f32, saturated. It is the output of a ReLU6 in real numbers that is quantized afterwards, by
    /// [`quantize`](crate::quantize).
    ///
    /// # Errors
    /// [`Error::Scale`] if the scale of the output is not finite and positive.
    pub fn relu6(self, output_scale: f32) -> Result<Self, Error> {
        let six = in_default_float_mode(|| {
            QuantParams { scale: output_scale, zero_point: 0 }.check()?;
            Ok((6.0 / output_scale).round_ties_even() as i32)
        })?;
        Ok(self.clamp_to(self.zero_point, self.zero_point.saturating_add(six)))
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
    /// When a product is run, the shape is checked, and refused are a scale that is not in 0..=2^64, a zero point beyond
    /// ±2^21, and a residual with multipliers or f64 factors.
    #[must_use]
    pub fn residual(self, matrix: impl Into<Operand<'a>>, scale: f32, zero_point: i32) -> Self {
        Self { residual: Some(ChosenResidual { matrix: Some(matrix.into()), scale, zero_point }), ..self }
    }

    /// [`residual`](Self::residual), where the matrix is the output itself: the values that it holds before the product.
    #[must_use]
    pub fn residual_in_place(self, scale: f32, zero_point: i32) -> Self {
        Self { residual: Some(ChosenResidual { matrix: None, scale, zero_point }), ..self }
    }

    /// Replaces each clamped value by the table's value for it. The type of the table is checked when a product is run.
    #[must_use]
    pub fn table<T: Int8Element>(self, table: &'a Table<T>) -> Self {
        Self { table: Some((table.bytes(), T::TYPE)), ..self }
    }

    /// The stage for an M×N output of a type, of a product that has or finds the scale of A.
    ///
    /// # Errors
    /// Those of [`Gemm::run_requantized`](crate::Gemm::run_requantized) that depend on the output.
    #[inline(always)]
    pub(crate) fn for_output(
        &self,
        (m, n): (usize, usize),
        element: ElementType,
        scale_of_a: ScaleOfA,
    ) -> Result<Requant<'a>, Error> {
        self.scale_of_a.check(scale_of_a)?;
        match self.scaling {
            Scaling::Float(scale) => scale.check_shape(m, n)?,
            Scaling::FixedPoint(multipliers, _) => multipliers.check_len("multipliers", n)?,
            Scaling::F64(factors) => factors.check_len("factors", n)?,
        }
        self.check_clamp()?;
        let (least, greatest) = element.range();
        let (lo, hi) = (self.clamp.0.max(least), self.clamp.1.min(greatest));
        if lo > hi {
            return Err(Error::Clamp { got: self.clamp, output: Some((least, greatest)) });
        }
        if let Some((_, got)) = self.table
            && got != element
        {
            return Err(Error::Element { argument: "table", got, need: element });
        }
        let residual = match self.residual {
            None => None,
            Some(residual) => Some(self.checked_residual(residual, (m, n), element)?),
        };
        let Self { scaling, zero_point, table, .. } = *self;
        Ok(Requant { scaling, zero_point, lo, hi, residual, table: table.map(|(bytes, _)| bytes) })
    }

    /// # Errors
    /// [`Error::Clamp`] if `lo > hi`.
    pub(crate) fn check_clamp(&self) -> Result<(), Error> {
        let (lo, hi) = self.clamp;
        if lo > hi { Err(Error::Clamp { got: (lo, hi), output: None }) } else { Ok(()) }
    }

    /// # Errors
    /// Those that [`residual`](Self::residual) names.
    #[inline(never)]
    pub(crate) fn check_residual(
        &self,
        ChosenResidual { scale, zero_point, .. }: &ChosenResidual<'_>,
    ) -> Result<(), Error> {
        // Up to this scale its product is finite. Two infinities of different sign would have no sum.
        const MAX: f64 = (1u128 << 64) as f64;
        in_default_float_mode(|| match f64::from(*scale) {
            got if (0.0..=MAX).contains(&got) => Ok(()),
            got => Err(Error::FloatRange { argument: "residual scale", got, min: 0.0, max: MAX }),
        })?;
        check_zero_point("residual zero point", *zero_point)?;
        match self.scaling {
            Scaling::Float(_) => Ok(()),
            Scaling::FixedPoint(..) | Scaling::F64(_) => Err(Error::FloatOnly { argument: "residual" }),
        }
    }

    #[inline(never)]
    fn checked_residual(
        &self,
        residual: ChosenResidual<'a>,
        need: (usize, usize),
        element: ElementType,
    ) -> Result<Residual<'a>, Error> {
        self.check_residual(&residual)?;
        let ChosenResidual { matrix, scale, zero_point } = residual;
        let matrix = match matrix {
            None => ResidualMatrix::Output(element),
            Some(matrix) => {
                check_shape("residual", (matrix.rows(), matrix.cols()), need)?;
                ResidualMatrix::Operand(matrix)
            }
        };
        Ok(Residual { matrix, scale, zero_point })
    }
}

impl<'a> From<&Requantize<'a>> for Requantize<'a> {
    #[inline(always)]
    fn from(stage: &Requantize<'a>) -> Self {
        *stage
    }
}
