//! A product with group-wise weights: its arguments, checked once and borrowed.

use crate::element::ElementType;
use crate::error::Error;
use crate::product::operands::{FloatLhs, Lhs};
use crate::product::zero_point::ZeroPoint;
use crate::quantize::scheme::Scheme;
use crate::weights::groupwise::packed::GroupwiseB;

/// The way in which a [`GroupwiseGemm`](crate::GroupwiseGemm) quantizes f32 activations. With the greatest magnitude (or the
/// range, widened to hold 0) of some values of a row, by the formulas of [`DynamicGemm`](crate::DynamicGemm):
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activations {
    /// To i8, with a scale for each row and group of k: the most accurate. It is what ONNX Runtime's accuracy level 4
    /// and GGUF's `Q8_0` activations mean.
    #[default]
    PerRowAndGroup,
    /// To i8, with a scale for each row: a little faster.
    PerRow,
    /// To u8, with a scale and a zero point for each row.
    PerRowAsymmetric,
}

impl Activations {
    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Activations::PerRowAndGroup | Activations::PerRow => Scheme::Symmetric,
            Activations::PerRowAsymmetric => Scheme::Asymmetric,
        }
    }
}

/// A: of f32, which the call quantizes, or of 8 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupLhs<'a> {
    Float { a: FloatLhs<'a>, activations: Activations },
    Quantized { a: Lhs<'a>, zero: ZeroPoint<'a> },
}

impl GroupLhs<'_> {
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            GroupLhs::Float { a, .. } => (a.rows(), a.cols()),
            GroupLhs::Quantized { a, .. } => (a.rows(), a.cols()),
        }
    }

    /// The type of A, once it is quantized.
    pub(crate) fn element(&self) -> ElementType {
        match self {
            GroupLhs::Float { activations, .. } => activations.scheme().element(),
            GroupLhs::Quantized { a, .. } => a.element_type(),
        }
    }

    /// Whether each row and group has a scale of its own.
    pub(crate) fn has_group_scales(&self) -> bool {
        matches!(self, GroupLhs::Float { activations: Activations::PerRowAndGroup, .. })
    }

    /// Whether the call finds scales of rows.
    pub(crate) fn finds_row_scales(&self) -> bool {
        matches!(self, GroupLhs::Float { .. }) && !self.has_group_scales()
    }
}

/// A product with group-wise weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupProduct<'a> {
    pub(crate) a: GroupLhs<'a>,
    pub(crate) b: &'a GroupwiseB,
}

impl GroupProduct<'_> {
    /// Checks that the operands fit each other and an output of shape `c`.
    ///
    /// # Errors
    /// [`Error::InnerDimension`], [`Error::OutputShape`]; [`Error::Length`] if there is another number of zero points than
    /// rows, [`Error::Range`] if one is no value of A's type.
    pub(crate) fn check(&self, c: (usize, usize)) -> Result<(), Error> {
        let (m, a_cols) = self.a.shape();
        let b_rows = self.b.k();
        if a_cols != b_rows {
            return Err(Error::InnerDimension { a_cols, b_rows });
        }
        let need = (m, self.b.n());
        if c != need {
            return Err(Error::OutputShape { got: c, need });
        }
        if let GroupLhs::Quantized { a, zero } = &self.a {
            zero.check_len("a_zero", m)?;
            let ((least, greatest), (min, max)) = (zero.min_max(), a.element_type().range());
            for got in [least, greatest] {
                if !(min..=max).contains(&got) {
                    let (got, min, max) = (got.into(), min.into(), max.into());
                    return Err(Error::Range { argument: "a_zero", got, min, max });
                }
            }
        }
        Ok(())
    }
}
