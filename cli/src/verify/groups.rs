//! Group-wise weights that own their data.

use crate::files::matrices::Matrix8;
use crate::verify::destination::Layout;
use qgemm::half::{bf16, f16};
use qgemm::{CodeBits, Dispatch, ElementType, Error, GroupScales, GroupwiseB, MatRef};

/// Weights with a scale per column and group of rows; the data of a [`GroupwiseB`].
pub struct GroupWeights {
    pub bits: CodeBits,
    /// The rows of a group.
    pub group: usize,
    /// K×N.
    pub codes: Matrix8,
    /// groups×N.
    pub scales: Reals,
    pub zeros: GroupZeros,
    /// groups×N.
    pub minimums: Option<Reals>,
}

/// The zero points of codes.
pub enum GroupZeros {
    /// None is given, so that the library's default holds.
    Default,
    One(i32),
    /// groups×N.
    Each(Matrix8),
}

/// A matrix of real numbers, in any layout.
pub struct Reals {
    pub rows: usize,
    pub cols: usize,
    pub layout: Layout,
    pub values: RealValues,
}

/// Real numbers of the types that scales may have.
pub enum RealValues {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Reals {
    fn borrow(&self) -> Result<GroupScales<'_>, Error> {
        let Self { rows, cols, layout: Layout { row_stride, col_stride, .. }, values } = self;
        Ok(match values {
            RealValues::F32(values) => MatRef::new(values, *rows, *cols, *row_stride, *col_stride)?.into(),
            RealValues::F16(values) => MatRef::new(values, *rows, *cols, *row_stride, *col_stride)?.into(),
            RealValues::Bf16(values) => MatRef::new(values, *rows, *cols, *row_stride, *col_stride)?.into(),
        })
    }

    /// The number in a row and a column, exactly.
    fn get(&self, row: usize, column: usize) -> f32 {
        let at = row * self.layout.row_stride + column * self.layout.col_stride;
        match &self.values {
            RealValues::F32(values) => values[at],
            RealValues::F16(values) => values[at].to_f32(),
            RealValues::Bf16(values) => values[at].to_f32(),
        }
    }
}

impl GroupWeights {
    /// The weights for the group-wise kernel of `dispatch`.
    pub fn pack(&self, dispatch: &Dispatch) -> Result<GroupwiseB, Error> {
        Ok(self.pack_for_any()?.with_dispatch(dispatch))
    }

    /// The weights, whose elements were compared with those that were packed. The reference loops read them there.
    ///
    /// # Panics
    /// If one differs.
    pub fn pack_checked(&self) -> Result<GroupwiseB, Error> {
        let b = self.pack_for_any()?;
        let codes = self.codes.operand()?;
        let mut codes_at = (0..b.k()).flat_map(|k| (0..b.n()).map(move |j| (k, j)));
        assert!(
            codes_at.all(|(k, j)| b.code(k, j) == codes.get(k, j)),
            "a code is not the one that was packed"
        );
        for (g, j) in (0..b.groups()).flat_map(|g| (0..b.n()).map(move |j| (g, j))) {
            let bits = |x: Option<f32>| x.map(f32::to_bits);
            assert_eq!(bits(b.scale(g, j)), bits(Some(self.scales.get(g, j))), "scale {g}, {j}");
            let minimum = self.minimums.as_ref().map(|minimums| minimums.get(g, j));
            assert_eq!(bits(b.minimum(g, j)), bits(minimum), "minimum {g}, {j}");
            assert_eq!(b.zero(g, j), self.zero(g, j)?, "zero point {g}, {j}");
        }
        Ok(b)
    }

    fn pack_for_any(&self) -> Result<GroupwiseB, Error> {
        let builder = GroupwiseB::builder(self.bits, self.group);
        let builder = match &self.zeros {
            GroupZeros::Default => builder,
            GroupZeros::One(zero) => builder.zero(*zero),
            GroupZeros::Each(zeros) => builder.zeros(zeros.operand()?),
        };
        let builder = match &self.minimums {
            None => builder,
            Some(minimums) => builder.minimums(minimums.borrow()?),
        };
        builder.pack(self.codes.operand()?, self.scales.borrow()?)
    }

    fn zero(&self, g: usize, j: usize) -> Result<Option<i32>, Error> {
        let default = match (self.codes.data.element_type(), self.bits) {
            (ElementType::I8, _) => 0,
            (_, CodeBits::Four) => 8,
            (_, CodeBits::Eight) => 128,
        };
        Ok(match &self.zeros {
            GroupZeros::Default => Some(default),
            GroupZeros::One(zero) => Some(*zero),
            GroupZeros::Each(zeros) => zeros.operand()?.get(g, j),
        })
    }
}
