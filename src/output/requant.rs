//! Requantization as the engine needs it: checked against an output type and shape.

use crate::element::ElementType;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::output::f64_factors::F64Factors;
use crate::output::fixed_point::{Multipliers, Rounding};
use crate::output::region::Region;
use crate::output::scale::Scale;
use qgemm_kernels::{ResidualValues, TileResidual};
use std::ops::Range;

/// The step from sums to real numbers or integers in units of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scaling<'a> {
    /// A product in f32, rounded half to even.
    Float(Scale<'a>),
    /// A product of integers with a shift.
    FixedPoint(Multipliers<'a>, Rounding),
    /// A product in f64, rounded half away from zero.
    F64(F64Factors<'a>),
}

/// A quantized matrix that is added in units of the output, before rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residual<'a> {
    pub(crate) matrix: ResidualMatrix<'a>,
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
}

/// The place of a residual's values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResidualMatrix<'a> {
    Operand(Operand<'a>),
    /// The output before the product, of this type.
    Output(ElementType),
}

impl ResidualMatrix<'_> {
    /// The type of the values.
    pub(crate) fn element_type(&self) -> ElementType {
        match self {
            ResidualMatrix::Operand(matrix) => matrix.element,
            ResidualMatrix::Output(element) => *element,
        }
    }
}

impl<'a> Residual<'a> {
    /// Whether the elements of each row are contiguous, where those of the output's rows are.
    pub(crate) fn rows_are_slices(&self) -> bool {
        match self.matrix {
            ResidualMatrix::Operand(matrix) => matrix.bits.rows_are_slices(),
            ResidualMatrix::Output(_) => true,
        }
    }

    /// Some rows of it.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if it does not have them.
    pub(crate) fn of_rows(self, rows: Range<usize>) -> Result<Self, Error> {
        let matrix = match self.matrix {
            ResidualMatrix::Operand(Operand { bits, element }) => {
                ResidualMatrix::Operand(Operand { bits: bits.submatrix(rows, 0..bits.cols())?, element })
            }
            ResidualMatrix::Output(_) => self.matrix,
        };
        Ok(Self { matrix, ..self })
    }

    /// Whether the values are those of the output.
    pub(crate) fn is_output(&self) -> bool {
        matches!(self.matrix, ResidualMatrix::Output(_))
    }

    /// The rows and columns of a region, for a kernel. The rows of the matrix are contiguous.
    pub(crate) fn of_region(self, region: &Region) -> TileResidual<'a> {
        let Self { matrix, scale, zero_point } = self;
        let (values, element) = match matrix {
            ResidualMatrix::Operand(Operand { bits, element }) => {
                let from = bits.data_from_row(region.rows.start).get(region.columns.start..);
                (ResidualValues::Matrix { from: from.unwrap_or(&[]), stride: bits.row_stride() }, element)
            }
            ResidualMatrix::Output(element) => (ResidualValues::Output, element),
        };
        TileResidual { values, signed: element == ElementType::I8, zero_point, scale }
    }

    /// The real number that a value of the matrix adds.
    pub(crate) fn real(&self, value: i32) -> f32 {
        (value - self.zero_point) as f32 * self.scale
    }
}

/// The stage of an 8-bit output. `lo..=hi` lies within the output type.
#[derive(Clone, Copy)]
pub(crate) struct Requant<'a> {
    pub(crate) scaling: Scaling<'a>,
    pub(crate) zero_point: i32,
    pub(crate) lo: i32,
    pub(crate) hi: i32,
    pub(crate) residual: Option<Residual<'a>>,
    /// The stored bits for the bits of each clamped value.
    pub(crate) table: Option<&'a [u8; 256]>,
}

impl<'a> Requant<'a> {
    /// The scales of a region's rows; `None` if rows have none.
    pub(crate) fn row_scale(&self, region: &Region) -> Option<&'a [f32]> {
        match self.scaling {
            Scaling::Float(scale) => scale.rows(region.rows.clone()),
            Scaling::FixedPoint(..) | Scaling::F64(_) => None,
        }
    }
}
