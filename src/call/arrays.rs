//! Products as new arrays of the crate ndarray. They are row-major.

use crate::call::dynamic::DynamicGemm;
use crate::call::gemm::Gemm;
use crate::call::groupwise::GroupwiseGemm;
use crate::call::linear::layer::Linear;
use crate::element::Int8Element;
use crate::error::Error;
use crate::matrix::arrays::filled;
use crate::output::dequantize::Dequantize;
use crate::output::requantize::Requantize;
use crate::product::operands::{FloatLhs, Lhs};
use ndarray::Array2;

impl Gemm<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.arguments.a.rows(), self.arguments.b.shape().1)
    }

    /// [`run_i32`](Self::run_i32) to a new array.
    ///
    /// ```
    /// use ndarray::array;
    /// use qgemm::{Gemm, MatRef};
    ///
    /// let (a, b) = (array![[1u8, 2, 3], [4, 5, 6]], array![[1i8, -1], [0, 2], [3, 0]]);
    /// let c = Gemm::new(MatRef::try_from(&a)?, MatRef::try_from(&b)?).array_i32()?;
    /// assert_eq!(c, array![[10, 3], [22, 6]]);
    /// # Ok::<(), qgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run_i32`](Self::run_i32); [`Error::Memory`] if there is not enough for the array.
    pub fn array_i32(&self) -> Result<Array2<i32>, Error> {
        filled(self.shape(), |c| self.run_i32(c))
    }

    /// [`run_requantized`](Self::run_requantized) to a new array.
    ///
    /// # Errors
    /// Those of [`run_requantized`](Self::run_requantized); [`Error::Memory`] if there is not enough for the array.
    pub fn array_requantized<'o, T: Int8Element + Default>(
        &self,
        output: impl Into<Requantize<'o>>,
    ) -> Result<Array2<T>, Error> {
        filled(self.shape(), |c| self.run_requantized(c, output))
    }

    /// [`run_f32`](Self::run_f32) to a new array.
    ///
    /// # Errors
    /// Those of [`run_f32`](Self::run_f32); [`Error::Memory`] if there is not enough for the array.
    pub fn array_f32<'o>(&self, output: impl Into<Dequantize<'o>>) -> Result<Array2<f32>, Error> {
        filled(self.shape(), |c| self.run_f32(c, output))
    }
}

impl DynamicGemm<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.a.rows(), self.b.shape().1)
    }

    /// [`run_f32`](Self::run_f32) to a new array.
    ///
    /// # Errors
    /// Those of [`run_f32`](Self::run_f32); [`Error::Memory`] if there is not enough for the array.
    pub fn array_f32<'o>(&self, output: impl Into<Dequantize<'o>>) -> Result<Array2<f32>, Error> {
        filled(self.shape(), |c| self.run_f32(c, output))
    }

    /// [`run_requantized`](Self::run_requantized) to a new array.
    ///
    /// # Errors
    /// Those of [`run_requantized`](Self::run_requantized); [`Error::Memory`] if there is not enough for the array.
    pub fn array_requantized<'o, T: Int8Element + Default>(
        &self,
        output: impl Into<Requantize<'o>>,
    ) -> Result<Array2<T>, Error> {
        filled(self.shape(), |c| self.run_requantized(c, output))
    }
}

impl GroupwiseGemm<'_> {
    /// [`run_f32`](Self::run_f32) to a new array.
    ///
    /// # Errors
    /// Those of [`run_f32`](Self::run_f32); [`Error::Memory`] if there is not enough for the array.
    pub fn array_f32<'o>(&self, output: impl Into<Dequantize<'o>>) -> Result<Array2<f32>, Error> {
        filled((self.product.a.shape().0, self.product.b.n()), |c| self.run_f32(c, output))
    }
}

impl Linear {
    /// [`run_dynamic`](Self::run_dynamic) to a new array.
    ///
    /// # Errors
    /// Those of [`run_dynamic`](Self::run_dynamic); [`Error::Memory`] if there is not enough for the array.
    pub fn array_dynamic<'x>(&self, x: impl Into<FloatLhs<'x>>) -> Result<Array2<f32>, Error> {
        let x: FloatLhs<'_> = x.into();
        filled((x.rows(), self.out_features()), |y| self.run_dynamic(x, y))
    }

    /// [`run_f32`](Self::run_f32) to a new array.
    ///
    /// # Errors
    /// Those of [`run_f32`](Self::run_f32); [`Error::Memory`] if there is not enough for the array.
    pub fn array_f32<'x>(&self, x: impl Into<Lhs<'x>>) -> Result<Array2<f32>, Error> {
        let x: Lhs<'_> = x.into();
        filled((x.rows(), self.out_features()), |y| self.run_f32(x, y))
    }

    /// [`run_requantized`](Self::run_requantized) to a new array.
    ///
    /// # Errors
    /// Those of [`run_requantized`](Self::run_requantized); [`Error::Memory`] if there is not enough for the array.
    pub fn array_requantized<'x, T: Int8Element + Default>(
        &self,
        x: impl Into<Lhs<'x>>,
    ) -> Result<Array2<T>, Error> {
        let x: Lhs<'_> = x.into();
        filled((x.rows(), self.out_features()), |y| self.run_requantized(x, y))
    }
}
