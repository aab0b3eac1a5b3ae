//! `--scale`, `--row-scale`, `--rounding`, `--multiplier`, `--shift`: the arithmetic from the sums to the output.

use crate::arguments::scales::{OwnedScale, scales};
use crate::arguments::values::{Axis, Values, integers};
use crate::errors::{invalid, missing};
use crate::matmul::names::{given_os, with_matmul_names};
use crate::matmul::out_type::OutType;
use anyhow::Result;
use qgemm::{Dequantize, Multiplier, OwnedDequantize, OwnedRequantize, Requantize, Rounding};
use std::ffi::{OsStr, OsString};

/// The options of scaling.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct ScalingOptions {
    /// Factor from the sums to the output: a number, or a file with one or one per column. Needed for f32, i8 and u8,
    /// unless --row-scale or --multiplier is given
    #[arg(long, value_name = "S|FILE")]
    scale: Option<OsString>,
    /// Factors of the rows, alone or times those of --scale: a file with one per row [default: none]
    #[arg(long, value_name = "FILE")]
    row_scale: Option<OsString>,
    #[arg(long, value_name = "NAME", help = rounding_help(), help_heading = "8-bit output")]
    rounding: Option<String>,
    /// The factor as integers, M * 2^(S - 31), M being 0 or in 2^30..2^31: one, or a file with one or one per column
    /// [default: made from --scale]
    #[arg(long, value_name = "M|FILE", requires = "shift", help_heading = "8-bit output")]
    multiplier: Option<OsString>,
    /// S in -31..=30: one, or a file with one or one per column. Needed with --multiplier
    #[arg(long, value_name = "S|FILE", requires = "multiplier", help_heading = "8-bit output")]
    shift: Option<OsString>,
}

/// The fixed-point roundings by the names of `--rounding`.
const ROUNDINGS: [(&str, Rounding); 4] = [
    ("gemmlowp", Rounding::Gemmlowp),
    ("ruy", Rounding::Ruy),
    ("single", Rounding::Single),
    ("reference", Rounding::Reference),
];

fn rounding_help() -> String {
    format!(
        "float (in f32, half to even), real (in f64, half away from zero), or in integers: {}, by a \
         multiplier made from --scale, or by --multiplier [default: float]",
        fixed_point_names()
    )
}

/// `gemmlowp, ruy, single or reference`
fn fixed_point_names() -> String {
    let [first @ .., last] = ROUNDINGS.map(|(name, _)| name);
    format!("{} or {last}", first.join(", "))
}

/// The arithmetic of an 8-bit output.
#[derive(Clone, Copy)]
pub enum Arithmetic {
    /// In f32, half to even.
    F32,
    /// In f64, half away from zero.
    F64,
    /// In integers, by multipliers made from scales.
    FromScale(Rounding),
    /// In integers, by multipliers as they are given.
    ByMultiplier(Rounding),
}

impl ScalingOptions {
    /// The options that were given, with their values.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let options = [
            ("--scale", given_os(&self.scale)),
            ("--row-scale", given_os(&self.row_scale)),
            ("--rounding", self.rounding.clone()),
            ("--multiplier", given_os(&self.multiplier)),
            ("--shift", given_os(&self.shift)),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The arithmetic that `--rounding` names, `float` if it is left out.
    pub fn arithmetic(&self) -> Result<Arithmetic> {
        let name = self.rounding_name();
        match (name, ROUNDINGS.iter().find(|(known, _)| name == *known)) {
            ("float", _) => Ok(Arithmetic::F32),
            ("real", _) => Ok(Arithmetic::F64),
            (_, Some((_, rounding))) if self.multiplier.is_some() => Ok(Arithmetic::ByMultiplier(*rounding)),
            (_, Some((_, rounding))) => Ok(Arithmetic::FromScale(*rounding)),
            (_, None) => {
                Err(invalid("--rounding", name, format_args!("float, real, {}", fixed_point_names())))
            }
        }
    }

    pub fn rounding_name(&self) -> &str {
        self.rounding.as_deref().unwrap_or("float")
    }

    /// The stage of an M×N output of 8 bits, `shape` being M and N.
    pub fn requantize(
        &self,
        arithmetic: Arithmetic,
        out_zero: i32,
        out_type: OutType,
        shape: (usize, usize),
    ) -> Result<OwnedRequantize> {
        let (_, n) = shape;
        let stage = match arithmetic {
            Arithmetic::F32 => {
                let scale = self.float_scale(out_type, shape)?;
                Requantize::new(scale.borrow(), out_zero).and_then(Requantize::into_owned)
            }
            Arithmetic::F64 => {
                let factors = self.f64_scale(out_type, n)?;
                Requantize::in_f64(factors.borrow(), out_zero).and_then(Requantize::into_owned)
            }
            Arithmetic::FromScale(rounding) => {
                let factors = self.f64_scale(out_type, n)?;
                let multipliers = factors.try_map(Multiplier::from_real).map_err(with_matmul_names)?;
                Requantize::fixed_point(multipliers.borrow(), rounding, out_zero)
                    .and_then(Requantize::into_owned)
            }
            Arithmetic::ByMultiplier(rounding) => {
                let multipliers = self.multipliers(n)?;
                Requantize::fixed_point(multipliers.borrow(), rounding, out_zero)
                    .and_then(Requantize::into_owned)
            }
        };
        stage.map_err(with_matmul_names)
    }

    /// The stage of an M×N output of f32, `shape` being M and N.
    pub fn dequantize(&self, bias: Option<&[f32]>, shape: (usize, usize)) -> Result<OwnedDequantize> {
        let scale = self.float_scale(OutType::F32, shape)?;
        let stage = Dequantize::new(scale.borrow()).map_err(with_matmul_names)?;
        let stage = bias.map_or(stage, |bias| stage.bias(bias));
        stage.into_owned().map_err(with_matmul_names)
    }

    fn required_scale(&self, out_type: OutType) -> Result<&OsStr> {
        let must = format_args!("given where --out-type is {out_type}");
        self.scale.as_deref().ok_or_else(|| missing("--scale", must))
    }

    /// `--scale` in f64.
    fn f64_scale(&self, out_type: OutType, n: usize) -> Result<Values<f64>> {
        scales("--scale", self.required_scale(out_type)?, Axis::ColumnsOfB(n))
    }

    /// `--scale` and `--row-scale` in f32.
    fn float_scale(&self, out_type: OutType, (m, n): (usize, usize)) -> Result<OwnedScale> {
        let (of_rows, of_columns) = (Axis::RowsOfA(m), Axis::ColumnsOfB(n));
        let columns = |scale| scales("--scale", scale, of_columns);
        let Some(rows) = &self.row_scale else {
            return Ok(match columns(self.required_scale(out_type)?)? {
                Values::PerTensor(scale) => OwnedScale::PerTensor(scale),
                Values::PerAxis(scales) => OwnedScale::PerColumn(scales),
            });
        };
        let rows = scales("--row-scale", rows, of_rows)?.expand(of_rows)?;
        Ok(match &self.scale {
            Some(scale) => OwnedScale::RowsByColumns { rows, columns: columns(scale)?.expand(of_columns)? },
            None => OwnedScale::PerRow(rows),
        })
    }

    /// `--multiplier` and `--shift`, each of which clap requires for the other.
    fn multipliers(&self, n: usize) -> Result<Values<Multiplier>> {
        let read = |name, value: &Option<OsString>| match value {
            Some(value) => integers(name, value, Axis::ColumnsOfB(n)),
            None => Err(missing(name, "given with the other of --multiplier and --shift")),
        };
        let (multipliers, shifts) = (read("--multiplier", &self.multiplier)?, read("--shift", &self.shift)?);
        multipliers.try_zip(shifts, Multiplier::new).map_err(with_matmul_names)
    }
}
