//! Products as the library's builders describe them.

use crate::verify::case::{Dynamic, Static};
use qgemm::{DynamicGemm, FloatLhs, Gemm, Lhs, Rhs, ZeroPoint};

/// A product as its builder describes it.
pub enum Described<'a> {
    Gemm(Gemm<'a>),
    Dynamic(DynamicGemm<'a>),
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
}

impl Dynamic {
    pub fn describe<'a>(&self, a: FloatLhs<'a>, (b, b_zero): (Rhs<'a>, ZeroPoint<'a>)) -> DynamicGemm<'a> {
        let gemm = DynamicGemm::new(a, b).b_zero(b_zero);
        let gemm = if self.asymmetric { gemm.asymmetric() } else { gemm };
        if self.per_tensor { gemm.per_tensor() } else { gemm }
    }
}
