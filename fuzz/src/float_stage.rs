//! Output stages to f32 that own their data.

use crate::float_lhs::FloatMatrix;
use crate::input::Input;
use crate::operands::length;
use crate::scales::OwnedScale;
use crate::values::Reals;
use qgemm::{Activation, Dequantize, Error};

#[derive(Debug)]
enum Residual {
    Matrix(FloatMatrix),
    /// The values that the output holds.
    InPlace,
}

/// A stage to f32.
#[derive(Debug)]
pub struct FloatStage {
    scale: OwnedScale,
    bias: Option<Vec<f32>>,
    residual: Option<Residual>,
    clamp: Option<(f32, f32)>,
    activation: Option<Activation>,
    /// Whether the stage is for a call that finds the scale of A.
    dynamic: bool,
    /// Whether the library runs a copy of it that owns its data.
    kept: bool,
}

impl FloatStage {
    /// Any stage of an M×N output. Those of a call that finds the scale of A are made for one, mostly.
    pub fn read(input: &mut Input<'_>, (m, n): (usize, usize), finds_scale: bool) -> Self {
        let scale = OwnedScale::read(input, (m, n));
        let dynamic = finds_scale != input.one_in(128);
        let bias = input.rarely(3, |input| {
            let len = length(input, n);
            Reals::read(input).reals(len)
        });
        let residual = input.rarely(4, |input| {
            if input.flag() {
                return Residual::InPlace;
            }
            let rows = length(input, m);
            Residual::Matrix(FloatMatrix::read(input, (rows, n)))
        });
        let clamp = input.rarely(4, |input| match input.byte() % 4 {
            0 => (0.0, f32::INFINITY),
            1 => (0.0, 6.0),
            _ => (Reals::read(input).real(), Reals::read(input).real()),
        });
        let activation = input.rarely(4, |input| input.one_of(&Activation::ALL));
        Self { scale, bias, residual, clamp, activation, dynamic, kept: input.one_in(4) }
    }

    /// Whether a function is the last step.
    pub fn has_activation(&self) -> bool {
        self.activation.is_some()
    }

    /// The stage.
    ///
    /// # Errors
    /// Those of making it. A wrong scale has to be one.
    pub fn build(&self) -> Result<Dequantize<'_>, Error> {
        let scale = self.scale.borrow();
        let made = if self.dynamic { Dequantize::dynamic(scale) } else { Dequantize::new(scale) };
        assert_eq!(made.is_err(), self.scale.is_wrong(), "{made:?} of {self:?}");
        let mut stage = made?;
        if let Some(bias) = &self.bias {
            stage = stage.bias(bias);
        }
        stage = match &self.residual {
            Some(Residual::Matrix(matrix)) => stage.residual(matrix.view()?),
            Some(Residual::InPlace) => stage.residual_in_place(),
            None => stage,
        };
        if let Some((lo, hi)) = self.clamp {
            stage = stage.clamp_to(lo, hi);
        }
        Ok(self.activation.map_or(stage, |activation| stage.activation(activation)))
    }

    /// Calls `run` with the stage, or with a copy that owns its data, which gives the same results.
    ///
    /// # Errors
    /// Those of `run`.
    pub fn run_kept(
        &self,
        stage: &Dequantize<'_>,
        run: impl FnOnce(&Dequantize<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match stage.into_owned() {
            Ok(owned) if self.kept => run(&owned.view()),
            _ => run(stage),
        }
    }
}
