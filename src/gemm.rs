//! The entry point: what to multiply, checked once, then handed to the driver.

use crate::element::{Int8Element, Operand};
use crate::gather::Lhs;
use crate::one_or_each::OneOrEach;
use crate::output::{Dequantize, Requantize};
use crate::packed::PackedB;
use crate::sink::Sink;
use crate::{Dispatch, Error, MatMut, driver, width};

/// Zero points: one for a matrix, or one per row of A or per column of B. Any i32.
pub type ZeroPoint<'a> = OneOrEach<'a, i32>;

/// The right-hand matrix: packed once, or as it comes.
///
/// Made by `into()` from a [`&PackedB`](PackedB), or from a [`MatRef`](crate::MatRef) of `i8` or `u8`.
#[derive(Clone, Copy, Debug)]
pub enum Rhs<'a> {
    /// Packed ahead, for many products.
    Packed(&'a PackedB),
    /// Packed by the call, for one product, if at all.
    Unpacked(Operand<'a>),
}

impl<'a> From<&'a PackedB> for Rhs<'a> {
    fn from(b: &'a PackedB) -> Self {
        Rhs::Packed(b)
    }
}

impl<'a, T> From<T> for Rhs<'a>
where
    Operand<'a>: From<T>,
{
    fn from(b: T) -> Self {
        Rhs::Unpacked(b.into())
    }
}

impl Rhs<'_> {
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Rhs::Packed(b) => (b.k(), b.n()),
            Rhs::Unpacked(b) => (b.rows(), b.cols()),
        }
    }
}

/// A quantized product, `acc = (A - a_zero) · (B - b_zero) + bias`, and the ways to store it.
///
/// A is M×K, B is K×N, each of `i8` or `u8`. `acc` is exact for every input: `i32` outputs are its
/// value modulo 2^32, the others come from its full value. M, N and K may be 0.
///
/// The work runs in the rayon pool of the calling thread (or on that thread alone, where it is
/// small), and the result does not depend on the number of threads.
///
/// ```
/// use qgemm::{ElementType, Gemm, MatMut, MatRef, PackedB, Requantize};
///
/// let weights = [1i8, -2, 3, 4, 5, -6]; // 3 x 2
/// let b = PackedB::pack(MatRef::row_major(&weights, 3, 2)?, ElementType::U8)?;
/// let a = [10u8, 20, 30]; // 1 x 3, zero point 10
/// let product = Gemm::new(MatRef::row_major(&a, 1, 3)?, &b).a_zero(10).bias(&[1, 2]);
///
/// let mut sums = [0i32; 2];
/// product.run_i32(MatMut::row_major(&mut sums, 1, 2)?)?;
/// assert_eq!(sums, [131, -78]);
///
/// let mut bytes = [0i8; 2];
/// let output = Requantize::new(0.5, -3)?;
/// product.run_requantized(MatMut::row_major(&mut bytes, 1, 2)?, &output)?;
/// assert_eq!(bytes, [63, -42]); // 131 / 2 rounds half to even
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gemm<'a> {
    pub(crate) a: Lhs<'a>,
    pub(crate) b: Rhs<'a>,
    pub(crate) a_zero: ZeroPoint<'a>,
    pub(crate) b_zero: ZeroPoint<'a>,
    pub(crate) bias: Option<&'a [i32]>,
    pub(crate) dispatch: Option<&'a Dispatch>,
}

impl<'a> Gemm<'a> {
    /// The product of `a` (M×K, perhaps a [`Gather`](crate::Gather)) and `b` (K×N), without zero points or bias.
    pub fn new(a: impl Into<Lhs<'a>>, b: impl Into<Rhs<'a>>) -> Self {
        let zero = ZeroPoint::PerTensor(0);
        Self { a: a.into(), b: b.into(), a_zero: zero, b_zero: zero, bias: None, dispatch: None }
    }

    /// The zero point of A: one, or one per row.
    #[must_use]
    pub fn a_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { a_zero: zero.into(), ..self }
    }

    /// The zero point of B: one, or one per column.
    #[must_use]
    pub fn b_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { b_zero: zero.into(), ..self }
    }

    /// A bias added to the sums, one per column, in their scale.
    #[must_use]
    pub fn bias(self, bias: &'a [i32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// The kernels to choose from when B is not packed yet; a packed B brings its own.
    #[must_use]
    pub fn dispatch(self, dispatch: &'a Dispatch) -> Self {
        Self { dispatch: Some(dispatch), ..self }
    }

    /// Stores `acc`, modulo 2^32.
    ///
    /// # Errors
    /// [`Error::InnerDimension`], [`Error::OutputShape`] or [`Error::Length`] if shapes disagree,
    /// [`Error::Range`] if padding of a [`Gather`](crate::Gather) is a zero point that is no element,
    /// and if B is not packed, [`Error::Memory`] if there is not enough to pack it and [`Error::Kernel`] or
    /// [`Error::Variable`] if the environment is wrong. `c` is then left as it was.
    pub fn run_i32(&self, c: MatMut<'_, i32>) -> Result<(), Error> {
        self.run(self.sums(c, false)?)
    }

    /// Adds `acc` to what `c` holds, modulo 2^32.
    ///
    /// # Errors
    /// As [`run_i32`](Self::run_i32).
    pub fn accumulate_i32(&self, c: MatMut<'_, i32>) -> Result<(), Error> {
        self.run(self.sums(c, true)?)
    }

    /// Stores 8-bit values, requantized from the exact sums.
    ///
    /// # Errors
    /// As [`run_i32`](Self::run_i32); also [`Error::Length`] if the number of scales or multipliers is not
    /// that of the rows or columns, [`Error::Clamp`] if the clamp excludes all of `T`, [`Error::Shape`] if a
    /// residual is not M×N, [`Error::Element`] if a table is not for `T`, and [`Error::SumTooLarge`] if the
    /// exact sum could reach 2^63.
    pub fn run_requantized<T: Int8Element>(
        &self,
        c: MatMut<'_, T>,
        output: &Requantize<'_>,
    ) -> Result<(), Error> {
        self.run(self.bytes(c, output)?)
    }

    /// Stores f32 values, scaled from the exact sums.
    ///
    /// # Errors
    /// As [`run_i32`](Self::run_i32); also [`Error::Length`] if the number of scales is not that of the
    /// rows or columns or that of bias values not N, and [`Error::SumTooLarge`] if the exact sum could reach 2^63.
    pub fn run_f32(&self, c: MatMut<'_, f32>, output: &Dequantize<'_>) -> Result<(), Error> {
        self.run(self.floats(c, output)?)
    }

    fn run(&self, mut sink: Sink<'_, '_>) -> Result<(), Error> {
        driver::run(self, &mut sink, usize::MAX)
    }

    /// Sums as an output, if that fits.
    #[inline(always)]
    pub(crate) fn sums<'c>(&self, c: MatMut<'c, i32>, accumulate: bool) -> Result<Sink<'c, 'static>, Error> {
        self.check((c.rows(), c.cols()))?;
        Ok(Sink::I32 { c: c.block, accumulate })
    }

    /// 8-bit values as an output, if that fits.
    #[inline(always)]
    pub(crate) fn bytes<'c, 'o, T: Int8Element>(
        &self,
        c: MatMut<'c, T>,
        output: &Requantize<'o>,
    ) -> Result<Sink<'c, 'o>, Error> {
        self.check((c.rows(), c.cols()))?;
        width::check(self)?;
        let output = output.for_output(c.rows(), c.cols(), T::TYPE)?;
        Ok(Sink::Bytes { c: c.block.into_bits(), output })
    }

    /// f32 values as an output, if that fits.
    #[inline(always)]
    pub(crate) fn floats<'c, 'o>(
        &self,
        c: MatMut<'c, f32>,
        output: &Dequantize<'o>,
    ) -> Result<Sink<'c, 'o>, Error> {
        self.check((c.rows(), c.cols()))?;
        width::check(self)?;
        output.check_shape(c.rows(), c.cols())?;
        Ok(Sink::F32 { c: c.block, output: *output })
    }

    /// M, N and K.
    pub(crate) fn shape(&self) -> (usize, usize, usize) {
        (self.a.rows(), self.b.shape().1, self.a.cols())
    }

    /// That all arguments fit each other and the output.
    pub(crate) fn check(&self, output: (usize, usize)) -> Result<(), Error> {
        let (m, n, k) = self.shape();
        let b_rows = self.b.shape().0;
        if b_rows != k {
            return Err(Error::InnerDimension { a_cols: k, b_rows });
        }
        if output != (m, n) {
            return Err(Error::OutputShape { got: output, need: (m, n) });
        }
        self.a_zero.check_len("a_zero", m)?;
        let (least, greatest) = self.a_zero.min_max();
        self.a.check_zero(least, greatest)?;
        self.b_zero.check_len("b_zero", n)?;
        match self.bias {
            Some(bias) if bias.len() != n => {
                Err(Error::Length { argument: "bias", got: bias.len(), need: n })
            }
            _ => Ok(()),
        }
    }
}
