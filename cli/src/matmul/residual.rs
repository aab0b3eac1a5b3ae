//! `--residual`: a matrix of the output's shape that is added to it.

use crate::arguments::numbers::{factor, integer};
use crate::errors::{invalid_because, missing};
use crate::files::matrices::{FloatMatrix, Matrix8};
use crate::matmul::names::given_path;
use crate::matmul::out_type::OutType;
use anyhow::Result;
use qgemm::{Dequantize, Error, MatRef, Requantize};
use std::path::{Path, PathBuf};

/// The options of a residual.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct ResidualOptions {
    /// M x N, added to the output: a .npy file of float32 or float64 for an f32 output; of int8 or uint8 for an 8-bit
    /// one, then added before rounding [default: none]
    #[arg(long, value_name = "FILE")]
    residual: Option<PathBuf>,
    /// Factor from the residual to the output. Needed with --residual
    #[arg(long, value_name = "S", requires = "residual", help_heading = "8-bit output")]
    residual_scale: Option<String>,
    /// Zero point of the residual [default: 0]
    #[arg(long, value_name = "Z", requires = "residual", help_heading = "8-bit output")]
    residual_zero: Option<String>,
}

/// The residual of an 8-bit output.
pub struct QuantizedResidual {
    matrix: Matrix8,
    scale: f32,
    zero_point: i32,
}

/// The residual of an f32 output, row-major.
pub struct FloatResidual {
    shape: (usize, usize),
    data: Vec<f32>,
}

impl QuantizedResidual {
    pub fn add_to<'a>(&'a self, stage: Requantize<'a>) -> Result<Requantize<'a>, Error> {
        Ok(stage.residual(self.matrix.operand()?, self.scale, self.zero_point))
    }
}

impl FloatResidual {
    pub fn add_to<'a>(&'a self, stage: Dequantize<'a>) -> Result<Dequantize<'a>, Error> {
        let (m, n) = self.shape;
        Ok(stage.residual(MatRef::row_major(&self.data, m, n)?))
    }
}

impl ResidualOptions {
    /// The options that were given, with their values.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let options = [
            ("--residual", given_path(&self.residual)),
            ("--residual-scale", self.residual_scale.clone()),
            ("--residual-zero", self.residual_zero.clone()),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The residual of an M×N output of type `out_type`, i8 or u8.
    pub fn quantized(&self, out_type: OutType, shape: (usize, usize)) -> Result<Option<QuantizedResidual>> {
        let Some(path) = &self.residual else { return Ok(None) };
        let Some(scale) = &self.residual_scale else {
            let must = format_args!("given with --residual where --out-type is {out_type}");
            return Err(missing("--residual-scale", must));
        };
        let scale = factor("--residual-scale", scale, "a number from 0 to 2^64")?;
        let zero_point =
            self.residual_zero.as_deref().map_or(Ok(0), |text| integer("--residual-zero", text))?;
        let matrix = Matrix8::read("--residual", path)?;
        check_shape(path, (matrix.rows, matrix.cols), shape)?;
        Ok(Some(QuantizedResidual { matrix, scale, zero_point }))
    }

    /// The residual of an M×N output of f32.
    pub fn float(&self, shape: (usize, usize)) -> Result<Option<FloatResidual>> {
        let Some(path) = &self.residual else { return Ok(None) };
        let matrix = FloatMatrix::read("--residual", path)?;
        check_shape(path, (matrix.rows, matrix.cols), shape)?;
        Ok(Some(FloatResidual { shape, data: matrix.into_f32() }))
    }
}

fn check_shape(path: &Path, got: (usize, usize), (m, n): (usize, usize)) -> Result<()> {
    if got == (m, n) {
        return Ok(());
    }
    let why = format_args!("{}x{}", got.0, got.1);
    Err(invalid_because("--residual", path.display(), why, format_args!("{m}x{n}")))
}
