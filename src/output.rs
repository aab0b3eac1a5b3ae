//! The output stage as plain data: how an exact sum becomes the value that is stored.

use crate::element::{ElementType, Int8Element, Operand};
use crate::factors::F64Factors;
use crate::fixed::{Multipliers, Rounding};
use crate::sink::{Bytes, Part};
use crate::{Error, Scale, Table};
use qgemm_kernels::TileResidual;

/// The greatest magnitude of an output zero point: up to it every step is exact in f32.
const MAX_ZERO_POINT: i32 = 1 << 21;

/// From the exact sum to an 8-bit output.
///
/// With float scales ([`new`](Self::new)) as ONNX QLinearMatMul does, and ONNX Runtime computes it:
/// `clamp(round_half_even(f32(acc + bias) · scale) + zero_point, lo, hi)`. `f32(·)` and the product each
/// round to nearest even. A [`residual`](Self::residual) is added before rounding.
///
/// In integers alone ([`fixed_point`](Self::fixed_point)) as TFLite, ruy and gemmlowp do:
/// `clamp(round(acc + bias, multiplier) + zero_point, lo, hi)`.
///
/// In f64 ([`in_f64`](Self::in_f64)) as TFLite's reference kernels do:
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

/// The first step from the sums to 8 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scaling<'a> {
    Float(Scale<'a>),
    Fixed(Multipliers<'a>, Rounding),
    Real(F64Factors<'a>),
}

/// A quantized matrix that is added in the scale of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residual<'a> {
    pub(crate) matrix: Operand<'a>,
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
}

impl<'a> Residual<'a> {
    /// A part of it, where rows are slices.
    pub(crate) fn part(self, part: &Part) -> TileResidual<'a> {
        let Self { matrix: Operand { bits, element }, scale, zero_point } = self;
        let from = bits.data_from_row(part.rows.start).get(part.columns.start..);
        let (stride, signed) = (bits.row_stride(), element == ElementType::I8);
        TileResidual { bits: from.unwrap_or(&[]), stride, signed, zero_point, scale }
    }

    /// What it adds to element (i, j), which must exist.
    pub(crate) fn at(&self, i: usize, j: usize) -> f32 {
        let value = self.matrix.get(i, j).expect("the shapes were checked");
        (value - self.zero_point) as f32 * self.scale
    }
}

fn check_zero_point(argument: &'static str, zero_point: i32) -> Result<(), Error> {
    if (-MAX_ZERO_POINT..=MAX_ZERO_POINT).contains(&zero_point) {
        return Ok(());
    }
    let max = i64::from(MAX_ZERO_POINT);
    Err(Error::Range { argument, got: zero_point.into(), min: -max, max })
}

impl<'a> Requantize<'a> {
    /// With a [`Scale`] (`scale_a · scale_b / scale_out`) and the zero point of the output.
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite, [`Error::Range`] if the zero point is beyond ±2^21.
    pub fn new(scale: impl Into<Scale<'a>>, zero_point: i32) -> Result<Self, Error> {
        let scale = scale.into();
        scale.check()?;
        Self::with(Scaling::Float(scale), zero_point)
    }

    /// With integer multipliers, one or one per column, and the zero point of the output. `acc + bias` is
    /// saturated to i32 first, as that is what the multipliers are defined for; then [`Multiplier::apply`]
    /// says what is computed.
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
        Self::with(Scaling::Fixed(multipliers.into(), rounding), zero_point)
    }

    /// With factors in f64, one or one per column, and the zero point of the output: `f64(acc + bias)` and the
    /// product each round to nearest even, the result half away from zero. So do TFLite's reference kernels,
    /// with the factor `f64(scale_a) · f64(scale_b) / f64(scale_out)`.
    ///
    /// # Errors
    /// [`Error::FloatRange`] if a factor is negative or not finite, [`Error::Range`] if the zero point is beyond ±2^21.
    pub fn in_f64(factors: impl Into<F64Factors<'a>>, zero_point: i32) -> Result<Self, Error> {
        let factors = factors.into();
        factors.check()?;
        Self::with(Scaling::Real(factors), zero_point)
    }

    fn with(scaling: Scaling<'a>, zero_point: i32) -> Result<Self, Error> {
        check_zero_point("output zero point", zero_point)?;
        Ok(Self { scaling, zero_point, clamp: (i32::MIN, i32::MAX), residual: None, table: None })
    }

    /// Narrows the output to [lo, hi], in output units (ReLU is `clamp_to(zero_point, i32::MAX)`).
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
    /// `scale` is its own scale over that of the output, `zero_point` its zero point.
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
    /// [`Error::FloatOnly`] with multipliers or real factors. The shape is checked when a product is run.
    pub fn residual(
        self,
        matrix: impl Into<Operand<'a>>,
        scale: f32,
        zero_point: i32,
    ) -> Result<Self, Error> {
        // So that the product is finite: two infinities would have no sum.
        const MAX: f64 = (1u128 << 64) as f64;
        if !(0.0..=MAX).contains(&f64::from(scale)) {
            let got = f64::from(scale);
            return Err(Error::FloatRange { argument: "residual scale", got, min: 0.0, max: MAX });
        }
        check_zero_point("residual zero point", zero_point)?;
        if !matches!(self.scaling, Scaling::Float(_)) {
            return Err(Error::FloatOnly { argument: "residual" });
        }
        Ok(Self { residual: Some(Residual { matrix: matrix.into(), scale, zero_point }), ..self })
    }

    /// Replaces each clamped value by the table's value for it: an activation, or any other function. The
    /// type of the table is checked when a product is run.
    #[must_use]
    pub fn table<T: Int8Element>(self, table: &'a Table<T>) -> Self {
        Self { table: Some((table.bytes(), T::TYPE)), ..self }
    }

    /// The stage for an M×N output of a type, once all that depends on those is checked.
    #[inline(always)]
    pub(crate) fn for_output(&self, m: usize, n: usize, element: ElementType) -> Result<Bytes<'a>, Error> {
        match self.scaling {
            Scaling::Float(scale) => scale.check_shape(m, n)?,
            Scaling::Fixed(multipliers, _) => multipliers.check_len("multipliers", n)?,
            Scaling::Real(factors) => factors.check_len("factors", n)?,
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
        Ok(Bytes { scaling, zero_point, lo, hi, residual, table: table.map(|(bytes, _)| bytes) })
    }
}

/// From the exact sum to f32: `clamp(f32(acc + bias) · scale + bias_f32, lo, hi)`, the conversion, the
/// product and the sum each rounded to nearest even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dequantize<'a> {
    pub(crate) scale: Scale<'a>,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) clamp: (f32, f32),
}

impl<'a> Dequantize<'a> {
    /// With a [`Scale`] (`scale_a · scale_b`).
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite.
    pub fn new(scale: impl Into<Scale<'a>>) -> Result<Self, Error> {
        let scale = scale.into();
        scale.check()?;
        Ok(Self { scale, bias: None, clamp: (f32::NEG_INFINITY, f32::INFINITY) })
    }

    /// Adds a bias, one value per column, after scaling; an integer bias of the product (see
    /// [`Gemm::bias`](crate::Gemm::bias)) is added before. Its values are the caller's affair: what is not
    /// finite there is not finite in the output.
    #[must_use]
    pub fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Limits the output to [lo, hi], which may be infinite (ReLU is `clamp_to(0.0, f32::INFINITY)`). A NaN,
    /// which only the bias can bring, stays NaN; a zero keeps its sign.
    ///
    /// # Errors
    /// [`Error::FloatClamp`] if a limit is NaN, or `lo > hi`.
    pub fn clamp_to(self, lo: f32, hi: f32) -> Result<Self, Error> {
        if lo <= hi {
            return Ok(Self { clamp: (lo, hi), ..self });
        }
        Err(Error::FloatClamp { got: (lo, hi) })
    }

    pub(crate) fn check_shape(&self, m: usize, n: usize) -> Result<(), Error> {
        self.scale.check_shape(m, n)?;
        match self.bias {
            Some(bias) if bias.len() != n => {
                Err(Error::Length { argument: "bias", got: bias.len(), need: n })
            }
            _ => Ok(()),
        }
    }
}
