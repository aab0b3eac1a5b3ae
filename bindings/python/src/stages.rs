//! Output stages from the arguments of a call.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::Outs;
use crate::arrays::values::Values;
use crate::elements::{DType, Element};
use crate::errors::{raise, type_error, value_error};
use crate::parameters::{Bias, OneOrMany, Scales, factors, integer, limits, multipliers, real, rounding};
use pyo3::prelude::*;
use qgemm::{
    Activation, Dequantize, F64Factors, Int8Element, Multiplier, Multipliers, Requantize, Rounding, Table,
};

type Argument<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The arguments of a call that describe its output, as they were given.
#[derive(Default)]
pub struct StageArguments<'a, 'py> {
    pub scale: Argument<'a, 'py>,
    pub multipliers: Argument<'a, 'py>,
    pub rounding: Option<&'a str>,
    pub factors: Argument<'a, 'py>,
    pub out_zero: Argument<'a, 'py>,
    pub clamp: Argument<'a, 'py>,
    pub residual: Argument<'a, 'py>,
    pub residual_scale: Argument<'a, 'py>,
    pub residual_zero: Argument<'a, 'py>,
    pub activation: Option<&'a str>,
    pub table: Argument<'a, 'py>,
}

impl<'py> StageArguments<'_, 'py> {
    /// # Errors
    /// `ValueError` if one of the named arguments was given, which an output of this type does not have.
    fn refuse(&self, names: &[&str], dtype: DType) -> PyResult<()> {
        let given = [
            ("scale", self.scale.is_some()),
            ("multipliers", self.multipliers.is_some()),
            ("rounding", self.rounding.is_some()),
            ("factors", self.factors.is_some()),
            ("out_zero", self.out_zero.is_some_and(|zero| !zero.eq(0).unwrap_or(false))),
            ("clamp", self.clamp.is_some()),
            ("residual_scale", self.residual_scale.is_some()),
            ("residual_zero", self.residual_zero.is_some()),
            ("activation", self.activation.is_some()),
            ("table", self.table.is_some()),
        ];
        match given.iter().find(|(name, given)| *given && names.contains(name)) {
            Some((name, _)) => {
                let name_of_type = dtype.name();
                Err(value_error(name, format!("was given, must not be for an output of {name_of_type}")))
            }
            None => Ok(()),
        }
    }

    /// Whether the sums are added to what the output holds: the only stage of an i32 output.
    ///
    /// # Errors
    /// `ValueError` if something else was asked for.
    pub fn accumulate(&self, outs: Outs<'_, 'py>, bias: Option<&Bias>) -> PyResult<bool> {
        let others = [
            "scale",
            "multipliers",
            "rounding",
            "factors",
            "out_zero",
            "clamp",
            "residual_scale",
            "residual_zero",
            "activation",
            "table",
        ];
        self.refuse(&others, DType::I32)?;
        check_integers(bias, DType::I32)?;
        match self.residual {
            None => Ok(false),
            Some(residual) if outs.own.is_some_and(|out| out.is_same(residual)) => Ok(true),
            Some(_) => Err(value_error("residual", "was another array, must be out for an output of int32")),
        }
    }
}

/// # Errors
/// `TypeError` if a bias is of real numbers.
fn check_integers(bias: Option<&Bias>, dtype: DType) -> PyResult<()> {
    match bias {
        Some(Bias::Reals(_)) => {
            let name = dtype.name();
            Err(type_error("bias", format!("has real numbers, must have integers for an output of {name}")))
        }
        _ => Ok(()),
    }
}

/// A matrix that is added to the output.
enum Residual<'py> {
    Matrix(Matrix<'py>),
    Output,
}

impl<'py> Residual<'py> {
    fn new(residual: &Bound<'py, PyAny>, allowed: &[DType], outs: Outs<'_, 'py>) -> PyResult<Self> {
        match outs.own {
            Some(out) if out.is_same(residual) => Ok(Residual::Output),
            _ => Ok(Residual::Matrix(Matrix::new(residual, "residual", allowed, outs)?)),
        }
    }
}

enum Scaling {
    Float(Scales),
    FixedPoint(OneOrMany<Multiplier>, Rounding),
    F64(OneOrMany<f64>),
}

/// The stage of an 8-bit output.
pub struct BytesStage<'py> {
    scaling: Scaling,
    out_zero: i32,
    clamp: Option<(i32, i32)>,
    relu: bool,
    residual: Option<(Residual<'py>, f32, i32)>,
    /// The bits of the value for the bits of each argument.
    table: Option<[u8; 256]>,
}

impl<'py> BytesStage<'py> {
    pub fn new(
        given: &StageArguments<'_, 'py>,
        outs: Outs<'_, 'py>,
        dtype: DType,
        bias: Option<&Bias>,
    ) -> PyResult<Self> {
        check_integers(bias, dtype)?;
        if given.multipliers.is_none() && given.rounding.is_some() {
            return Err(value_error("rounding", "was given, must not be without multipliers"));
        }
        let scaling = match (given.scale, given.multipliers, given.factors) {
            (Some(scale), None, None) => Scaling::Float(Scales::new(scale)?),
            (None, Some(pair), None) => {
                Scaling::FixedPoint(multipliers(pair)?, rounding(given.rounding.unwrap_or("gemmlowp"))?)
            }
            (None, None, Some(given)) => Scaling::F64(factors(given)?),
            (None, None, None) => {
                let problem = format!("was not given, must be for an output of {}", dtype.name());
                return Err(value_error("scale", problem));
            }
            _ => return Err(value_error("scale", "must be the only one of scale, multipliers and factors")),
        };
        let relu = match given.activation {
            None => false,
            Some("relu") => true,
            Some(other) => {
                let problem =
                    format!("was {other}, must be relu, or in a table, for an output of {}", dtype.name());
                return Err(value_error("activation", problem));
            }
        };
        let clamp = match given.clamp {
            None => None,
            Some(_) if relu => return Err(value_error("clamp", "was given, must not be with relu")),
            Some(clamp) => {
                let [lo, hi] = limits(clamp)?;
                let limit = |limit: Option<Bound<'_, PyAny>>, none| {
                    limit.map_or(Ok(none), |limit| integer(&limit, "clamp"))
                };
                Some((limit(lo, i32::MIN)?, limit(hi, i32::MAX)?))
            }
        };
        let zero = |zero: Argument<'_, '_>, name| zero.map_or(Ok(0), |zero| integer(zero, name));
        let residual = match given.residual {
            None => {
                let without = "was given, must not be without residual";
                if given.residual_scale.is_some() {
                    return Err(value_error("residual_scale", without));
                }
                if given.residual_zero.is_some() {
                    return Err(value_error("residual_zero", without));
                }
                None
            }
            Some(residual) => {
                let missing = || value_error("residual_scale", "was not given, must be for residual");
                let scale = real(given.residual_scale.ok_or_else(missing)?, "residual_scale")? as f32;
                let residual = Residual::new(residual, &[DType::I8, DType::U8], outs)?;
                Some((residual, scale, zero(given.residual_zero, "residual_zero")?))
            }
        };
        let table = match given.table {
            None => None,
            Some(table) => {
                let table = Values::new(table, "table", &[dtype])?;
                let bytes = table.bytes()?.try_into();
                Some(bytes.map_err(|_| value_error("table", "must have 256 values"))?)
            }
        };
        Ok(Self { scaling, out_zero: zero(given.out_zero, "out_zero")?, clamp, relu, residual, table })
    }

    /// The function that is looked up last.
    pub fn table<T: Int8Element>(&self) -> Option<Table<T>> {
        let table = self.table.as_ref()?;
        Some(Table::from_fn(|x: T| T::from_bits(table[usize::from(x.to_bits())])))
    }

    /// The stage, with [`table`](Self::table), for a product that finds the scale of A if `dynamic` says so.
    pub fn stage<'a, T: Int8Element>(
        &'a self,
        table: Option<&'a Table<T>>,
        dynamic: bool,
    ) -> PyResult<Requantize<'a>> {
        let zero = self.out_zero;
        let stage = match &self.scaling {
            Scaling::Float(scale) if dynamic => Requantize::dynamic(scale.view(), zero),
            Scaling::Float(scale) => Requantize::new(scale.view(), zero),
            Scaling::FixedPoint(all, rounding) => {
                let all: Multipliers<'_> = match all {
                    OneOrMany::One(one) => Multipliers::PerTensor(*one),
                    OneOrMany::Many(all) => Multipliers::PerAxis(all),
                };
                Requantize::fixed_point(all, *rounding, zero)
            }
            Scaling::F64(all) => {
                let all: F64Factors<'_> = match all {
                    OneOrMany::One(one) => F64Factors::PerTensor(*one),
                    OneOrMany::Many(all) => F64Factors::PerAxis(all),
                };
                Requantize::in_f64(all, zero)
            }
        };
        let mut stage = stage.map_err(raise)?;
        if self.relu {
            stage = stage.relu();
        }
        if let Some((lo, hi)) = self.clamp {
            stage = stage.clamp_to(lo, hi);
        }
        match &self.residual {
            None => (),
            Some((Residual::Output, scale, zero)) => stage = stage.residual_in_place(*scale, *zero),
            Some((Residual::Matrix(matrix), scale, zero)) => {
                stage = stage.residual(matrix.operand()?, *scale, *zero);
            }
        }
        if let Some(table) = table {
            stage = stage.table(table);
        }
        Ok(stage)
    }
}

/// The stage of an f32 output.
pub struct FloatStage<'py> {
    scale: Scales,
    bias: Option<Vec<f32>>,
    residual: Option<Residual<'py>>,
    clamp: Option<(f32, f32)>,
    activation: Option<Activation>,
}

impl<'py> FloatStage<'py> {
    /// The stage with a bias in real numbers, and `usual` where no scale was given.
    pub fn new(
        given: &StageArguments<'_, 'py>,
        outs: Outs<'_, 'py>,
        bias: Option<Vec<f32>>,
        usual: Option<f32>,
    ) -> PyResult<Self> {
        let others =
            ["multipliers", "rounding", "factors", "out_zero", "residual_scale", "residual_zero", "table"];
        given.refuse(&others, DType::F32)?;
        let missing = || value_error("scale", "was not given, must be for an output of float32");
        let scale = match given.scale {
            Some(scale) => Scales::new(scale)?,
            None => Scales::One(usual.ok_or_else(missing)?),
        };
        let residual = match given.residual {
            None => None,
            Some(residual) => Some(Residual::new(residual, &[f32::DTYPE], outs)?),
        };
        let (relu, activation) = match given.activation {
            None => (None, None),
            Some("relu") => (Some((0.0, f32::INFINITY)), None),
            Some("relu6") => (Some((0.0, 6.0)), None),
            Some(name) => (None, Some(activation(name)?)),
        };
        let clamp = match given.clamp {
            None => relu,
            Some(_) if relu.is_some() => {
                return Err(value_error("clamp", "was given, must not be with relu or relu6"));
            }
            Some(clamp) => {
                let [lo, hi] = limits(clamp)?;
                let limit = |limit: Option<Bound<'_, PyAny>>, none| {
                    limit.map_or(Ok(none), |limit| Ok::<_, PyErr>(real(&limit, "clamp")? as f32))
                };
                Some((limit(lo, f32::NEG_INFINITY)?, limit(hi, f32::INFINITY)?))
            }
        };
        Ok(Self { scale, bias, residual, clamp, activation })
    }

    /// The stage, for a product that finds the scale of A if `dynamic` says so.
    pub fn stage(&self, dynamic: bool) -> PyResult<Dequantize<'_>> {
        let scale = self.scale.view();
        let stage = if dynamic { Dequantize::dynamic(scale) } else { Dequantize::new(scale) };
        let mut stage = stage.map_err(raise)?;
        if let Some(bias) = &self.bias {
            stage = stage.bias(bias);
        }
        match &self.residual {
            None => (),
            Some(Residual::Output) => stage = stage.residual_in_place(),
            Some(Residual::Matrix(matrix)) => stage = stage.residual(matrix.view::<f32>()?),
        }
        if let Some((lo, hi)) = self.clamp {
            stage = stage.clamp_to(lo, hi);
        }
        if let Some(activation) = self.activation {
            stage = stage.activation(activation);
        }
        Ok(stage)
    }
}

/// The names of activations, which are those that the library serializes.
const ACTIVATIONS: [(&str, Activation); 6] = [
    ("gelu", Activation::Gelu),
    ("gelu_tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("hard_swish", Activation::HardSwish),
];

/// The activation of a name.
pub fn activation(name: &str) -> PyResult<Activation> {
    let found = ACTIVATIONS.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation);
    found.ok_or_else(|| {
        let names = ACTIVATIONS.map(|(name, _)| name).join(", ");
        value_error("activation", format!("was {name}, must be relu, relu6, {names}"))
    })
}
