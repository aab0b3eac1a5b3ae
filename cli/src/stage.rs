//! Output stages as data that owns what the library borrows: those of `qgemm matmul` and of `qgemm verify`.

use crate::npy::Matrix8;
use crate::values::Values;
use qgemm::{Dequantize, Error, Int8Element, Multiplier, Requantize, Rounding, Scale, Table};

/// To 8 bits.
pub struct Stage<T> {
    pub scaling: Scaling,
    pub zero: i32,
    pub clamp: Option<(i32, i32)>,
    pub table: Option<Box<Table<T>>>,
}

/// How sums become 8 bits.
pub enum Scaling {
    Float(Factor, Option<Residual>),
    Real(Values<f64>),
    Fixed(Values<Multiplier>, Rounding),
}

/// A scale, or one per column, per row, or per row and column.
#[derive(Debug)]
pub enum Factor {
    One(f32),
    Columns(Vec<f32>),
    Rows(Vec<f32>),
    Both(Vec<f32>, Vec<f32>),
}

/// A matrix that is added.
pub struct Residual {
    pub matrix: Matrix8,
    pub scale: f32,
    pub zero: i32,
}

/// To f32.
pub struct FloatStage {
    pub scale: Factor,
    pub bias: Option<Vec<f32>>,
    pub clamp: Option<(f32, f32)>,
}

impl<T: Int8Element> Stage<T> {
    pub fn requantize(&self) -> Result<Requantize<'_>, Error> {
        let Self { scaling, zero, clamp, table } = self;
        let mut output = match scaling {
            Scaling::Float(scale, _) => Requantize::new(scale.as_argument(), *zero)?,
            Scaling::Real(Values::One(factor)) => Requantize::in_f64(*factor, *zero)?,
            Scaling::Real(Values::Each(factors)) => Requantize::in_f64(factors, *zero)?,
            Scaling::Fixed(Values::One(one), rounding) => Requantize::fixed_point(*one, *rounding, *zero)?,
            Scaling::Fixed(Values::Each(each), rounding) => Requantize::fixed_point(each, *rounding, *zero)?,
        };
        if let Scaling::Float(_, Some(Residual { matrix, scale, zero })) = scaling {
            output = output.residual(matrix.operand()?, *scale, *zero)?;
        }
        if let Some((lo, hi)) = *clamp {
            output = output.clamp_to(lo, hi)?;
        }
        Ok(match table {
            Some(table) => output.table(table),
            None => output,
        })
    }
}

impl FloatStage {
    pub fn dequantize(&self) -> Result<Dequantize<'_>, Error> {
        let mut output = Dequantize::new(self.scale.as_argument())?;
        if let Some(bias) = &self.bias {
            output = output.bias(bias);
        }
        match self.clamp {
            Some((lo, hi)) => output.clamp_to(lo, hi),
            None => Ok(output),
        }
    }
}

impl Factor {
    pub fn as_argument(&self) -> Scale<'_> {
        match self {
            Factor::One(scale) => Scale::PerTensor(*scale),
            Factor::Columns(scales) => Scale::PerColumn(scales),
            Factor::Rows(scales) => Scale::PerRow(scales),
            Factor::Both(rows, columns) => Scale::RowsByColumns { rows, columns },
        }
    }
}
