//! Requantization as the engine needs it: checked against an output type and shape.

use crate::element::ElementType;
use crate::matrix::operand::Operand;
use crate::output::f64_factors::F64Factors;
use crate::output::fixed_point::{Multipliers, Rounding};
use crate::output::region::Region;
use crate::output::scale::Scale;
use qgemm_kernels::TileResidual;

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
    pub(crate) matrix: Operand<'a>,
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
}

impl<'a> Residual<'a> {
    /// The rows and columns of a region, for a kernel. The rows of the matrix are contiguous.
    pub(crate) fn of_region(self, region: &Region) -> TileResidual<'a> {
        let Self { matrix: Operand { bits, element }, scale, zero_point } = self;
        let from = bits.data_from_row(region.rows.start).get(region.columns.start..);
        let (stride, signed) = (bits.row_stride(), element == ElementType::I8);
        TileResidual { bits: from.unwrap_or(&[]), stride, signed, zero_point, scale }
    }

    /// The real number added to element (i, j).
    ///
    /// # Panics
    /// If there is no such element: the shape is checked with the output.
    pub(crate) fn at(&self, i: usize, j: usize) -> f32 {
        let value = self.matrix.get(i, j).expect("the shapes were checked");
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
