//! The options of `qgemm matmul` for its output, and the output that they ask for.

use crate::arguments::numbers::integer;
use crate::errors::invalid;
use crate::matmul::activation::{ActivationOptions, FloatActivation, QuantizedActivation};
use crate::matmul::limits::{both, float_clamp, integer_clamp};
use crate::matmul::out_type::OutType;
use crate::matmul::residual::{FloatResidual, QuantizedResidual, ResidualOptions};
use crate::matmul::scaling::{Arithmetic, ScalingOptions};
use anyhow::Result;
use qgemm::{
    Activation, Dequantize, ElementType, Error, Int8Element, OwnedDequantize, OwnedRequantize, Requantize,
    Table,
};

/// The options of the output.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Type of the output: i32 (the sums), f32, i8 or u8
    #[arg(long, value_name = "TYPE", default_value = "i32")]
    out_type: String,
    #[command(flatten)]
    scaling: ScalingOptions,
    /// Limits of an f32 or 8-bit output, in its own units [default: those of its type]
    #[arg(long, value_name = "LO,HI", help_heading = "Output")]
    clamp: Option<String>,
    /// Zero point of an 8-bit output [default: 0]
    #[arg(long, value_name = "Z", help_heading = "8-bit output")]
    out_zero: Option<String>,
    #[command(flatten)]
    residual: ResidualOptions,
    #[command(flatten)]
    activation: ActivationOptions,
}

/// The output that the options ask for.
pub enum Output {
    I32,
    F32(FloatStage),
    I8(QuantizedStage<i8>),
    U8(QuantizedStage<u8>),
}

/// From sums to f32.
pub struct FloatStage {
    scaling: OwnedDequantize,
    residual: Option<FloatResidual>,
    limits: Option<(f32, f32)>,
    activation: Option<Activation>,
}

/// From sums to 8 bits.
pub struct QuantizedStage<T> {
    scaling: OwnedRequantize,
    residual: Option<QuantizedResidual>,
    limits: Option<(i32, i32)>,
    table: Option<Box<Table<T>>>,
}

impl FloatStage {
    pub fn view(&self) -> Result<Dequantize<'_>, Error> {
        let mut stage = self.scaling.view();
        if let Some(residual) = &self.residual {
            stage = residual.add_to(stage)?;
        }
        if let Some((lo, hi)) = self.limits {
            stage = stage.clamp_to(lo, hi);
        }
        Ok(self.activation.map_or(stage, |activation| stage.activation(activation)))
    }
}

impl<T: Int8Element> QuantizedStage<T> {
    pub fn view(&self) -> Result<Requantize<'_>, Error> {
        let mut stage = self.scaling.view();
        if let Some(residual) = &self.residual {
            stage = residual.add_to(stage)?;
        }
        if let Some((lo, hi)) = self.limits {
            stage = stage.clamp_to(lo, hi);
        }
        Ok(self.table.as_deref().map_or(stage, |table| stage.table(table)))
    }
}

impl OutputOptions {
    pub fn out_type(&self) -> Result<OutType> {
        OutType::read(&self.out_type)
    }

    /// The output of an M×N product, `shape` being M and N. `bias` is that of an f32 output.
    pub fn output(&self, bias: Option<&[f32]>, shape: (usize, usize)) -> Result<Output> {
        Ok(match self.out_type()? {
            OutType::I32 => {
                self.refuse_all_but(&[], "--out-type is i32")?;
                Output::I32
            }
            OutType::F32 => Output::F32(self.float_stage(bias, shape)?),
            OutType::Int8(ElementType::I8) => Output::I8(self.quantized_stage(shape)?),
            OutType::Int8(ElementType::U8) => Output::U8(self.quantized_stage(shape)?),
        })
    }

    fn float_stage(&self, bias: Option<&[f32]>, shape: (usize, usize)) -> Result<FloatStage> {
        const ALLOWED: [&str; 5] = ["--scale", "--row-scale", "--clamp", "--residual", "--activation"];
        self.refuse_all_but(&ALLOWED, "--out-type is f32")?;
        let clamp = self.clamp.as_deref().map(float_clamp).transpose()?;
        let (of_activation, activation) = match self.activation.float()? {
            None => (None, None),
            Some(FloatActivation::Limits(lo, hi)) => (Some((lo, hi)), None),
            Some(FloatActivation::Function(activation)) => (None, Some(activation)),
        };
        Ok(FloatStage {
            scaling: self.scaling.dequantize(bias, shape)?,
            residual: self.residual.float(shape)?,
            limits: both(clamp, of_activation)?,
            activation,
        })
    }

    fn quantized_stage<T: Int8Element>(&self, shape: (usize, usize)) -> Result<QuantizedStage<T>> {
        let arithmetic = self.scaling.arithmetic()?;
        self.refuse_for(arithmetic)?;
        let out_zero = self.out_zero.as_deref().map_or(Ok(0), |text| integer("--out-zero", text))?;
        let out_type = OutType::Int8(T::TYPE);
        let scaling = self.scaling.requantize(arithmetic, out_zero, out_type, shape)?;
        let clamp = self.clamp.as_deref().map(integer_clamp).transpose()?;
        let (of_activation, table) = match self.activation.quantized(out_zero)? {
            None => (None, None),
            Some(QuantizedActivation::Limits(lo, hi)) => (Some((lo, hi)), None),
            Some(QuantizedActivation::Table(table)) => (None, Some(table)),
        };
        let residual = self.residual.quantized(out_type, shape)?;
        Ok(QuantizedStage { scaling, residual, limits: both(clamp, of_activation)?, table })
    }

    /// Refuses the options that have no meaning in an arithmetic of 8-bit outputs.
    fn refuse_for(&self, arithmetic: Arithmetic) -> Result<()> {
        const ALWAYS: [&str; 6] =
            ["--rounding", "--clamp", "--out-zero", "--activation", "--activation-in", "--activation-out"];
        let (allowed, condition): (&[_], _) = match arithmetic {
            Arithmetic::F32 => (
                &["--scale", "--row-scale", "--residual", "--residual-scale", "--residual-zero"],
                "--rounding is float".into(),
            ),
            Arithmetic::F64 | Arithmetic::FromScale(_) => {
                (&["--scale"], format!("--rounding is {}", self.scaling.rounding_name()))
            }
            Arithmetic::ByMultiplier(_) => (&["--multiplier", "--shift"], "--multiplier is given".into()),
        };
        self.refuse_all_but(&[&ALWAYS, allowed].concat(), &condition)
    }

    /// Refuses all options that were given but are not among `allowed`: they have no meaning where `condition` holds.
    fn refuse_all_but(&self, allowed: &[&str], condition: &str) -> Result<()> {
        let mut given = self.scaling.given();
        let own = [("--clamp", &self.clamp), ("--out-zero", &self.out_zero)];
        given.extend(own.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        given.extend(self.residual.given());
        given.extend(self.activation.given());
        match given.into_iter().find(|(name, _)| !allowed.contains(name)) {
            Some((name, value)) => Err(invalid(name, value, format_args!("left out where {condition}"))),
            None => Ok(()),
        }
    }
}
