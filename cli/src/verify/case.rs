//! The products of a case, as data.

use crate::arguments::machine::KernelKind;
use crate::files::matrices::Matrix8;
use crate::verify::destination::Destination;
use crate::verify::groups::GroupWeights;
use crate::verify::operands::{GatheredFloats, GatheredRows, MatrixF32, ZeroPoints};
use crate::verify::stage::{FloatStage, QuantizedStage, ScaleOfA};
use qgemm::{ElementType, Error, FloatLhs, Lhs};
use std::slice;

/// A call of the library, on a number of threads.
pub struct Case {
    pub call: Call,
    pub threads: usize,
}

pub enum Call {
    /// One product, by a method of its builder.
    One(Product),
    /// One product, as a task that is cut into at most so many parts.
    Parts(Product, usize),
    /// A batch of products.
    Batch(Vec<Product>),
}

/// A product C = A · B.
pub struct Product {
    pub k: usize,
    pub a: Activations,
    pub b: Weights,
    pub c: Destination,
    pub output: Output,
}

/// The right operand.
pub enum Weights {
    Columns(ColumnWeights),
    /// The output is then of f32.
    Groups(GroupWeights),
}

/// The 8-bit right operand of a [`qgemm::Gemm`] or [`qgemm::DynamicGemm`].
pub struct ColumnWeights {
    pub b: Matrix8,
    /// The element type of A that B is packed for, which may be another than A has; `None` if B is not packed ahead.
    pub packed_for: Option<ElementType>,
    pub zero: ZeroPoints,
}

/// The left operand, with what depends on how it becomes integers.
pub enum Activations {
    /// A is given as 8-bit integers.
    Static(Static),
    /// A is given as f32, and the call quantizes it.
    Dynamic(Dynamic),
}

/// The 8-bit left operand, and the bias that is added to the sums, which group-wise weights do not have.
pub struct Static {
    pub a: OwnedLhs,
    pub a_zero: ZeroPoints,
    pub bias: Option<Vec<i32>>,
}

/// A left operand that owns its data.
pub enum OwnedLhs {
    Matrix(Matrix8),
    Gathered(GatheredRows),
}

/// A left operand of f32 that owns its data.
pub enum OwnedFloats {
    Matrix(MatrixF32),
    Gathered(GatheredFloats),
}

/// The f32 left operand, and how it is quantized.
pub struct Dynamic {
    pub a: OwnedFloats,
    pub asymmetric: bool,
    pub per: Per,
    /// The call hands back the scales and zero points that it finds. A task cannot.
    pub with_params: bool,
}

/// The values of A that have one scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Per {
    /// All; not with group-wise weights.
    Tensor,
    Row,
    /// Those of a row and group, with group-wise weights alone, and symmetric.
    RowAndGroup,
}

/// The output of a product.
pub enum Output {
    /// The sums, of 8-bit operands alone.
    I32 {
        accumulate: bool,
    },
    I8(QuantizedStage<i8>),
    U8(QuantizedStage<u8>),
    F32(FloatStage),
}

impl Case {
    pub fn products(&self) -> &[Product] {
        match &self.call {
            Call::One(product) | Call::Parts(product, _) => slice::from_ref(product),
            Call::Batch(products) => products,
        }
    }

    /// Whether kernels of a kind multiply any of its products. A batch without products runs on all.
    pub fn runs_on(&self, kind: KernelKind) -> bool {
        self.products().is_empty() || self.products().iter().any(|product| product.kernel_kind() == kind)
    }
}

impl OwnedLhs {
    pub fn lhs(&self) -> Result<Lhs<'_>, Error> {
        Ok(match self {
            OwnedLhs::Matrix(a) => a.operand()?.into(),
            OwnedLhs::Gathered(rows) => rows.gather()?.into(),
        })
    }
}

impl OwnedFloats {
    pub fn lhs(&self) -> Result<FloatLhs<'_>, Error> {
        Ok(match self {
            OwnedFloats::Matrix(a) => a.view()?.into(),
            OwnedFloats::Gathered(rows) => rows.gather()?.into(),
        })
    }
}

impl Product {
    /// The kind of kernels that it runs on.
    pub fn kernel_kind(&self) -> KernelKind {
        match self.b {
            Weights::Columns(_) => KernelKind::Columns,
            Weights::Groups(_) => KernelKind::Groups,
        }
    }

    pub fn hands_back_params(&self) -> bool {
        matches!(self.a, Activations::Dynamic(Dynamic { with_params: true, .. }))
    }

    pub fn scale_of_a(&self) -> ScaleOfA {
        match self.a {
            Activations::Static(_) => ScaleOfA::Included,
            Activations::Dynamic(_) => ScaleOfA::Found,
        }
    }
}
