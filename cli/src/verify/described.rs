//! Products as the library's builders describe them.

use crate::verify::case::{Dynamic, Per, Static};
use qgemm::{Activations, DynamicGemm, FloatLhs, Gemm, GroupwiseB, GroupwiseGemm, Lhs, Rhs, ZeroPoint};

/// A product as its builder describes it.
pub enum Described<'a> {
    Gemm(Gemm<'a>),
    Dynamic(DynamicGemm<'a>),
    Groupwise(GroupwiseGemm<'a>),
}

impl Static {
    pub fn describe<'a>(
        &'a self,
        (a, a_zero): (Lhs<'a>, ZeroPoint<'a>),
        (b, b_zero): (Rhs<'a>, ZeroPoint<'a>),
    ) -> Gemm<'a> {
        let gemm = Gemm::new(a, b).a_zero(a_zero).b_zero(b_zero);
        self.bias.as_deref().map_or(gemm, |bias| gemm.bias(bias))
    }

    pub fn describe_groupwise<'a>(
        &self,
        (a, a_zero): (Lhs<'a>, ZeroPoint<'a>),
        b: &'a GroupwiseB,
    ) -> GroupwiseGemm<'a> {
        GroupwiseGemm::quantized(a, b).a_zero(a_zero)
    }
}

impl Dynamic {
    pub fn describe<'a>(&self, a: FloatLhs<'a>, (b, b_zero): (Rhs<'a>, ZeroPoint<'a>)) -> DynamicGemm<'a> {
        let gemm = DynamicGemm::new(a, b).b_zero(b_zero);
        let gemm = if self.asymmetric { gemm.asymmetric() } else { gemm };
        if self.per == Per::Tensor { gemm.per_tensor() } else { gemm }
    }

    pub fn describe_groupwise<'a>(&self, a: FloatLhs<'a>, b: &'a GroupwiseB) -> GroupwiseGemm<'a> {
        let activations = match (self.per, self.asymmetric) {
            (Per::RowAndGroup, _) => Activations::PerRowAndGroup,
            (Per::Row | Per::Tensor, true) => Activations::PerRowAsymmetric,
            (Per::Row | Per::Tensor, false) => Activations::PerRow,
        };
        GroupwiseGemm::new(a, b).activations(activations)
    }
}
