//! The choice of an f32 output.

use crate::error::{Error, check_length, check_shape};
use crate::matrix::view::MatRef;
use crate::output::activation::Activation;
use crate::output::region::Region;
use crate::output::scale::{Scale, ScaleOfA};
use qgemm_kernels::ResidualValues;
use std::ops::Range;

/// An f32 output, made from the exact sums:
///
/// ```text
/// x = f32(acc + bias_i32) · scale
/// y = activation( clamp( x + bias + residual, lo, hi ) )
/// ```
///
/// The conversion of the exact sum, the product and each of the two sums round to nearest even by themselves. Without a
/// bias or a residual nothing is added. Methods that add to a stage are checked when a product is run.
///
/// ```
/// use qgemm::{Dequantize, Gemm, MatMut, MatRef};
///
/// let (a, b) = ([1i8, -2], [3i8, 4, 5, -6]); // 1 x 2, 2 x 2
/// let product = Gemm::new(MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 2)?);
/// let mut c = [0.0; 2];
/// let output = Dequantize::new(&[0.5, 0.25])?.bias(&[1.0, -2.0]).relu();
/// product.run_f32(MatMut::row_major(&mut c, 1, 2)?, &output)?;
/// assert_eq!(c, [0.0, 2.0]); // of -7 · 0.5 + 1 and 16 · 0.25 - 2
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// [`into_owned`](Self::into_owned) makes a stage that a layer can keep.
#[derive(Clone, Copy, Debug)]
pub struct Dequantize<'a> {
    pub(crate) scale: Scale<'a>,
    pub(crate) scale_of_a: ScaleOfA,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) residual: Option<FloatResidual<'a>>,
    pub(crate) clamp: (f32, f32),
    pub(crate) activation: Option<Activation>,
}

/// An f32 matrix that is added to the output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FloatResidual<'a> {
    Matrix(MatRef<'a, f32>),
    /// The values that the output holds before the product.
    Output,
}

impl<'a> FloatResidual<'a> {
    /// Whether the elements of each row are contiguous, where those of the output's rows are.
    pub(crate) fn rows_are_slices(&self) -> bool {
        match self {
            FloatResidual::Matrix(matrix) => matrix.rows_are_slices(),
            FloatResidual::Output => true,
        }
    }

    /// Some rows of it.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if it does not have them.
    pub(crate) fn of_rows(self, rows: Range<usize>) -> Result<Self, Error> {
        Ok(match self {
            FloatResidual::Matrix(matrix) => FloatResidual::Matrix(matrix.submatrix(rows, 0..matrix.cols())?),
            FloatResidual::Output => self,
        })
    }

    /// The rows and columns of a region, for a kernel. The rows are slices.
    pub(crate) fn of_region(self, region: &Region) -> ResidualValues<'a, f32> {
        match self {
            FloatResidual::Matrix(matrix) => {
                let from = matrix.data_from_row(region.rows.start).get(region.columns.start..);
                ResidualValues::Matrix { from: from.unwrap_or(&[]), stride: matrix.row_stride() }
            }
            FloatResidual::Output => ResidualValues::Output,
        }
    }
}

/// Whether `lo <= hi`, in integers, since every call asks it: the floating-point mode need not be known.
fn is_ascending(lo: f32, hi: f32) -> bool {
    /// An integer that is ordered like the number, and equal for both zeros.
    fn key(x: f32) -> i32 {
        let magnitude = (x.to_bits() & i32::MAX as u32) as i32;
        if x.to_bits() >> 31 == 1 { -magnitude } else { magnitude }
    }
    let numbers = key(f32::NEG_INFINITY)..=key(f32::INFINITY);
    numbers.contains(&key(lo)) && numbers.contains(&key(hi)) && key(lo) <= key(hi)
}

/// The clamp that limits nothing.
const NO_CLAMP: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

impl<'a> Dequantize<'a> {
    /// Scales the sums of a [`Gemm`](crate::Gemm). `scale` is `scale_a · scale_b`: one for all, or per column, per row or
    /// both (see [`Scale`]).
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is negative or not finite, [`Error::ScaleProduct`] if the product of a
    /// row's and a column's is not finite.
    pub fn new(scale: impl Into<Scale<'a>>) -> Result<Self, Error> {
        Self::with(scale.into(), ScaleOfA::Included)
    }

    /// Scales the sums of a [`DynamicGemm`](crate::DynamicGemm). `scale` is `scale_b` alone: the call finds the scales of A
    /// and multiplies by them first, as in the formula of that type.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn dynamic(scale: impl Into<Scale<'a>>) -> Result<Self, Error> {
        Self::with(scale.into(), ScaleOfA::Found)
    }

    /// Scales the sums of a [`GroupwiseGemm`](crate::GroupwiseGemm) of f32 activations by nothing but the scales that the
    /// weights have and the call finds: [`dynamic`](Self::dynamic) with 1.
    pub const fn groupwise() -> Self {
        Self {
            scale: Scale::PerTensor(1.0),
            scale_of_a: ScaleOfA::Found,
            bias: None,
            residual: None,
            clamp: NO_CLAMP,
            activation: None,
        }
    }

    fn with(scale: Scale<'a>, scale_of_a: ScaleOfA) -> Result<Self, Error> {
        scale.check()?;
        Ok(Self { scale, scale_of_a, bias: None, residual: None, clamp: NO_CLAMP, activation: None })
    }

    /// Adds a bias, one value per column, after scaling. (An integer bias, [`Gemm::bias`](crate::Gemm::bias), is added
    /// before scaling.) Its values are not checked: an infinity or NaN makes its column infinite or NaN.
    #[must_use]
    pub fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Adds a matrix of the output's shape, after the bias: the sum of a residual block. Its values are not checked. The
    /// shape is, when a product is run.
    #[must_use]
    pub fn residual(self, matrix: MatRef<'a, f32>) -> Self {
        Self { residual: Some(FloatResidual::Matrix(matrix)), ..self }
    }

    /// Adds the values that the output holds before the product, after the bias.
    #[must_use]
    pub fn residual_in_place(self) -> Self {
        Self { residual: Some(FloatResidual::Output), ..self }
    }

    /// Limits the output to [lo, hi], which may be infinite. A NaN stays NaN (only a bias or a residual can make one), a
    /// zero keeps its sign. Limits that are NaN, or `lo > hi`, are refused when a product is run.
    #[must_use]
    pub fn clamp_to(self, lo: f32, hi: f32) -> Self {
        Self { clamp: (lo, hi), ..self }
    }

    /// Limits the output to 0 and more: `clamp_to(0.0, f32::INFINITY)`.
    #[must_use]
    pub fn relu(self) -> Self {
        self.clamp_to(0.0, f32::INFINITY)
    }

    /// Limits the output to 0..=6: `clamp_to(0.0, 6.0)`.
    #[must_use]
    pub fn relu6(self) -> Self {
        self.clamp_to(0.0, 6.0)
    }

    /// Replaces each value, at last, by that of [`Activation::apply`].
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// Checks the stage for an M×N output, and whose scales it has.
    ///
    /// # Errors
    /// Those of [`Gemm::run_f32`](crate::Gemm::run_f32) that depend on the stage.
    #[inline]
    pub(crate) fn check(&self, (m, n): (usize, usize), scale_of_a: ScaleOfA) -> Result<(), Error> {
        self.scale_of_a.check(scale_of_a)?;
        self.check_clamp()?;
        self.scale.check_shape(m, n)?;
        if let Some(FloatResidual::Matrix(matrix)) = self.residual {
            check_shape("residual", (matrix.rows(), matrix.cols()), (m, n))?;
        }
        self.bias.map_or(Ok(()), |bias| check_length("bias", bias.len(), n))
    }

    /// # Errors
    /// [`Error::FloatClamp`] if a limit is NaN, or `lo > hi`.
    pub(crate) fn check_clamp(&self) -> Result<(), Error> {
        let (lo, hi) = self.clamp;
        if is_ascending(lo, hi) { Ok(()) } else { Err(Error::FloatClamp { got: (lo, hi) }) }
    }
}

impl<'a> From<&Dequantize<'a>> for Dequantize<'a> {
    #[inline(always)]
    fn from(stage: &Dequantize<'a>) -> Self {
        *stage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_is_what_numbers_say() {
        let tiny = f32::from_bits(1);
        let all = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -tiny,
            -0.0,
            0.0,
            tiny,
            1.0,
            f32::INFINITY,
            f32::NAN,
            -f32::NAN,
        ];
        for (lo, hi) in all.iter().flat_map(|lo| all.map(|hi| (*lo, hi))) {
            assert_eq!(is_ascending(lo, hi), lo <= hi, "{lo} {hi}");
        }
    }
}
