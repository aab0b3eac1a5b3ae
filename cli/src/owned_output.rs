//! Output stages that own their data, for `qgemm matmul` and `qgemm verify`: the library's [`Requantize`] and
//! [`Dequantize`] borrow theirs.

use crate::arguments::values::Values;
use crate::files::matrices::Matrix8;
use qgemm::{Dequantize, Error, Int8Element, Multiplier, Requantize, Rounding, Scale, Table};

/// From sums to 8 bits; owns the data of a [`Requantize`].
pub struct OwnedRequantize<T> {
    pub scaling: Scaling,
    pub zero_point: i32,
    pub clamp: Option<(i32, i32)>,
    pub table: Option<Box<Table<T>>>,
}

/// The arithmetic that scales sums to 8 bits.
pub enum Scaling {
    /// In f32, half to even.
    F32 { scale: OwnedScale, residual: Option<Residual> },
    /// In f64, half away from zero.
    F64(Values<f64>),
    /// In integers.
    FixedPoint(Values<Multiplier>, Rounding),
}

/// A [`Scale`] that owns its values.
#[derive(Debug)]
pub enum OwnedScale {
    PerTensor(f32),
    PerColumn(Vec<f32>),
    PerRow(Vec<f32>),
    RowsByColumns { rows: Vec<f32>, columns: Vec<f32> },
}

/// A matrix of the output's shape that is added before rounding.
pub struct Residual {
    pub matrix: Matrix8,
    pub scale: f32,
    pub zero_point: i32,
}

/// From sums to f32; owns the data of a [`Dequantize`].
pub struct OwnedDequantize {
    pub scale: OwnedScale,
    pub bias: Option<Vec<f32>>,
    pub clamp: Option<(f32, f32)>,
}

/// The fixed-point roundings by the names of `--rounding`.
pub const ROUNDINGS: [(&str, Rounding); 4] = [
    ("gemmlowp", Rounding::Gemmlowp),
    ("ruy", Rounding::Ruy),
    ("single", Rounding::Single),
    ("reference", Rounding::Reference),
];

impl<T: Int8Element> OwnedRequantize<T> {
    pub fn borrow(&self) -> Result<Requantize<'_>, Error> {
        let Self { scaling, zero_point, clamp, table } = self;
        let mut output = match scaling {
            Scaling::F32 { scale, .. } => Requantize::new(scale.borrow(), *zero_point)?,
            Scaling::F64(factors) => Requantize::in_f64(factors.borrow(), *zero_point)?,
            Scaling::FixedPoint(multipliers, rounding) => {
                Requantize::fixed_point(multipliers.borrow(), *rounding, *zero_point)?
            }
        };
        if let Scaling::F32 { residual: Some(Residual { matrix, scale, zero_point }), .. } = scaling {
            output = output.residual(matrix.operand()?, *scale, *zero_point);
        }
        if let Some((lo, hi)) = *clamp {
            output = output.clamp_to(lo, hi);
        }
        Ok(match table {
            Some(table) => output.table(table),
            None => output,
        })
    }
}

impl OwnedDequantize {
    pub fn borrow(&self) -> Result<Dequantize<'_>, Error> {
        Ok(self.complete(Dequantize::new(self.scale.borrow())?))
    }

    /// The stage of a product that finds the scale of A.
    pub fn borrow_dynamic(&self) -> Result<Dequantize<'_>, Error> {
        Ok(self.complete(Dequantize::dynamic(self.scale.borrow())?))
    }

    fn complete<'a>(&'a self, mut output: Dequantize<'a>) -> Dequantize<'a> {
        if let Some(bias) = &self.bias {
            output = output.bias(bias);
        }
        match self.clamp {
            Some((lo, hi)) => output.clamp_to(lo, hi),
            None => output,
        }
    }
}

impl OwnedScale {
    pub fn borrow(&self) -> Scale<'_> {
        match self {
            OwnedScale::PerTensor(scale) => Scale::PerTensor(*scale),
            OwnedScale::PerColumn(scales) => Scale::PerColumn(scales),
            OwnedScale::PerRow(scales) => Scale::PerRow(scales),
            OwnedScale::RowsByColumns { rows, columns } => Scale::RowsByColumns { rows, columns },
        }
    }
}
