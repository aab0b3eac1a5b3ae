//! Operands that own their data: zero points, f32 matrices, gathered rows.

use crate::arguments::values::Values;
use crate::files::matrices::Matrix8;
use crate::verify::destination::Layout;
use qgemm::{Error, Gather, GatherF32, MatRef, ZeroPoint};

/// Zero points, of the types that calls take.
pub enum ZeroPoints {
    I32(Values<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl ZeroPoints {
    pub fn borrow(&self) -> ZeroPoint<'_> {
        match self {
            ZeroPoints::I32(zeros) => zeros.borrow().into(),
            ZeroPoints::I8(zeros) => zeros.into(),
            ZeroPoints::U8(zeros) => zeros.into(),
        }
    }

    /// All of them, as i32.
    pub fn widened(&self) -> Values<i32> {
        match self {
            ZeroPoints::I32(Values::PerTensor(zero)) => Values::PerTensor(*zero),
            ZeroPoints::I32(Values::PerAxis(zeros)) => Values::PerAxis(zeros.clone()),
            ZeroPoints::I8(zeros) => Values::PerAxis(zeros.iter().map(|&zero| zero.into()).collect()),
            ZeroPoints::U8(zeros) => Values::PerAxis(zeros.iter().map(|&zero| zero.into()).collect()),
        }
    }
}

/// A matrix of f32, in any layout.
pub struct MatrixF32 {
    pub rows: usize,
    pub cols: usize,
    pub layout: Layout,
    pub data: Vec<f32>,
}

impl MatrixF32 {
    pub fn view(&self) -> Result<MatRef<'_, f32>, Error> {
        let Layout { row_stride, col_stride, .. } = self.layout;
        MatRef::new(&self.data, self.rows, self.cols, row_stride, col_stride)
    }
}

/// The rows that are put together to those of A.
pub struct Picks {
    /// `taps` row numbers per row of A, or those of padding.
    pub indices: Vec<u32>,
    pub taps: usize,
}

/// Each row of A is some rows of `source`, one after another; the data of a [`Gather`].
pub struct GatheredRows {
    pub source: Matrix8,
    pub picks: Picks,
    /// The elements of rows that are padding; `None` for the zero point of A.
    pub padding: Option<i32>,
}

/// Each row of A is some rows of `source`, one after another; the data of a [`GatherF32`].
pub struct GatheredFloats {
    pub source: MatrixF32,
    pub picks: Picks,
}

impl GatheredFloats {
    pub fn gather(&self) -> Result<GatherF32<'_>, Error> {
        GatherF32::new(self.source.view()?, &self.picks.indices, self.picks.taps)
    }
}

impl GatheredRows {
    pub fn gather(&self) -> Result<Gather<'_>, Error> {
        let gather = Gather::new(self.source.operand()?, &self.picks.indices, self.picks.taps)?;
        match self.padding {
            Some(value) => gather.padding(value),
            None => Ok(gather),
        }
    }
}
