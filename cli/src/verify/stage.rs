//! Output stages as data, and the library's stages that they describe.

use crate::arguments::scales::OwnedScale;
use crate::arguments::values::Values;
use crate::files::matrices::Matrix8;
use crate::verify::operands::MatrixF32;
use qgemm::{Activation, Dequantize, Error, Int8Element, MatRef, Multiplier, Requantize, Rounding, Table};

/// Whether the scales of a stage hold that of A.
#[derive(Clone, Copy)]
pub enum ScaleOfA {
    Included,
    /// The call finds it.
    Found,
}

/// From sums to 8 bits; the data of a [`Requantize`].
pub struct QuantizedStage<T> {
    pub scaling: Scaling,
    pub zero_point: i32,
    /// ReLU6 has the scale of the output.
    pub limits: Option<Limits<i32, f32>>,
    pub table: Option<Box<Table<T>>>,
    /// It is run through the view of a [`qgemm::OwnedRequantize`].
    pub is_kept: bool,
}

/// The arithmetic that scales sums to 8 bits.
pub enum Scaling {
    /// In f32, half to even.
    F32 { scale: OwnedScale, residual: Option<QuantizedResidual> },
    /// In f64, half away from zero.
    F64(Values<f64>),
    /// In integers.
    FixedPoint(Values<Multiplier>, Rounding),
}

/// A matrix that is added to an 8-bit output before rounding.
pub struct QuantizedResidual {
    pub matrix: Added<Matrix8>,
    pub scale: f32,
    pub zero_point: i32,
}

/// From sums to f32; the data of a [`Dequantize`].
pub struct FloatStage {
    pub scale: OwnedScale,
    pub bias: Option<Vec<f32>>,
    pub residual: Option<Added<MatrixF32>>,
    pub limits: Option<Limits<f32, ()>>,
    pub activation: Option<Activation>,
    /// It is run through the view of a [`qgemm::OwnedDequantize`].
    pub is_kept: bool,
}

/// The matrix of a residual.
pub enum Added<M> {
    Matrix(M),
    /// The output itself, as it is before the call.
    InPlace,
}

/// The limits of an output, in the form in which a stage is given them.
#[derive(Clone, Copy)]
pub enum Limits<T, S> {
    Clamp(T, T),
    Relu,
    Relu6(S),
}

impl<T: Int8Element> QuantizedStage<T> {
    /// The stage without a residual's matrix, which one that is kept cannot have.
    pub fn without_matrix(&self, of_a: ScaleOfA) -> Result<Requantize<'_>, Error> {
        let stage = self.scaled(of_a)?;
        let stage = match self.residual() {
            Some(QuantizedResidual { matrix: Added::InPlace, scale, zero_point }) => {
                stage.residual_in_place(*scale, *zero_point)
            }
            _ => stage,
        };
        Ok(match self.limits {
            None => stage,
            Some(Limits::Clamp(lo, hi)) => stage.clamp_to(lo, hi),
            Some(Limits::Relu) => stage.relu(),
            Some(Limits::Relu6(output_scale)) => stage.relu6(output_scale)?,
        })
    }

    /// `stage` with the matrix of the residual, if there is one.
    pub fn with_matrix<'a>(&'a self, stage: Requantize<'a>) -> Result<Requantize<'a>, Error> {
        match self.residual() {
            Some(QuantizedResidual { matrix: Added::Matrix(matrix), scale, zero_point }) => {
                Ok(stage.residual(matrix.operand()?, *scale, *zero_point))
            }
            _ => Ok(stage),
        }
    }

    /// The stage for the reference, with limits as numbers, and the output `before` the call as a matrix of its own.
    pub fn spelled_out<'a>(&'a self, of_a: ScaleOfA, before: MatRef<'a, T>) -> Result<Requantize<'a>, Error> {
        let stage = self.with_matrix(self.scaled(of_a)?)?;
        let stage = match self.residual() {
            Some(QuantizedResidual { matrix: Added::InPlace, scale, zero_point }) => {
                stage.residual(before, *scale, *zero_point)
            }
            _ => stage,
        };
        let zero = self.zero_point;
        Ok(match self.limits {
            None => stage,
            Some(Limits::Clamp(lo, hi)) => stage.clamp_to(lo, hi),
            Some(Limits::Relu) => stage.clamp_to(zero, i32::MAX),
            Some(Limits::Relu6(output_scale)) => stage.clamp_to(zero, zero.saturating_add(six(output_scale))),
        })
    }

    /// The stage with scales, zero point and table alone.
    fn scaled(&self, of_a: ScaleOfA) -> Result<Requantize<'_>, Error> {
        let stage = match (&self.scaling, of_a) {
            (Scaling::F32 { scale, .. }, ScaleOfA::Included) => {
                Requantize::new(scale.borrow(), self.zero_point)
            }
            (Scaling::F32 { scale, .. }, ScaleOfA::Found) => {
                Requantize::dynamic(scale.borrow(), self.zero_point)
            }
            (Scaling::F64(factors), _) => Requantize::in_f64(factors.borrow(), self.zero_point),
            (Scaling::FixedPoint(multipliers, rounding), _) => {
                Requantize::fixed_point(multipliers.borrow(), *rounding, self.zero_point)
            }
        }?;
        Ok(self.table.as_deref().map_or(stage, |table| stage.table(table)))
    }
}

impl<T> QuantizedStage<T> {
    pub fn residual(&self) -> Option<&QuantizedResidual> {
        match &self.scaling {
            Scaling::F32 { residual, .. } => residual.as_ref(),
            Scaling::F64(_) | Scaling::FixedPoint(..) => None,
        }
    }
}

impl FloatStage {
    /// The stage without a residual's matrix, which one that is kept cannot have.
    pub fn without_matrix(&self, of_a: ScaleOfA) -> Result<Dequantize<'_>, Error> {
        let stage = self.scaled(of_a)?;
        let stage = match self.residual {
            Some(Added::InPlace) => stage.residual_in_place(),
            _ => stage,
        };
        Ok(match self.limits {
            None => stage,
            Some(Limits::Clamp(lo, hi)) => stage.clamp_to(lo, hi),
            Some(Limits::Relu) => stage.relu(),
            Some(Limits::Relu6(())) => stage.relu6(),
        })
    }

    /// `stage` with the matrix of the residual, if there is one.
    pub fn with_matrix<'a>(&'a self, stage: Dequantize<'a>) -> Result<Dequantize<'a>, Error> {
        match &self.residual {
            Some(Added::Matrix(matrix)) => Ok(stage.residual(matrix.view()?)),
            _ => Ok(stage),
        }
    }

    /// The stage for the reference, with limits as numbers, and the output `before` the call as a matrix of its own.
    pub fn spelled_out<'a>(
        &'a self,
        of_a: ScaleOfA,
        before: MatRef<'a, f32>,
    ) -> Result<Dequantize<'a>, Error> {
        let stage = self.with_matrix(self.scaled(of_a)?)?;
        let stage = match self.residual {
            Some(Added::InPlace) => stage.residual(before),
            _ => stage,
        };
        Ok(match self.limits {
            None => stage,
            Some(Limits::Clamp(lo, hi)) => stage.clamp_to(lo, hi),
            Some(Limits::Relu) => stage.clamp_to(0.0, f32::INFINITY),
            Some(Limits::Relu6(())) => stage.clamp_to(0.0, 6.0),
        })
    }

    /// Whether the call reads the output before it writes it.
    pub fn reads_output(&self) -> bool {
        matches!(self.residual, Some(Added::InPlace))
    }

    /// The stage with scales, bias and activation alone.
    fn scaled(&self, of_a: ScaleOfA) -> Result<Dequantize<'_>, Error> {
        let stage = match of_a {
            ScaleOfA::Included => Dequantize::new(self.scale.borrow()),
            ScaleOfA::Found => Dequantize::dynamic(self.scale.borrow()),
        }?;
        let stage = self.bias.as_deref().map_or(stage, |bias| stage.bias(bias));
        Ok(self.activation.map_or(stage, |activation| stage.activation(activation)))
    }
}

/// The steps from 0 to 6, by definition.
pub fn six(output_scale: f32) -> i32 {
    (6.0 / output_scale).round_ties_even() as i32
}
