//! A product of 8-bit matrices: the builder, and the ways to store the result.

use crate::dispatch::select::Dispatch;
use crate::element::Int8Element;
use crate::engine;
use crate::engine::threads::Threads;
use crate::error::Error;
use crate::matrix::view::MatMut;
use crate::output::dequantize::Dequantize;
use crate::output::destination::Destination;
use crate::output::region::Extent;
use crate::output::requantize::Requantize;
use crate::output::scale::ScaleOfA;
use crate::product::accumulator;
use crate::product::operands::{Lhs, Rhs};
use crate::product::zero_point::ZeroPoint;
use crate::product::{Arguments, Product};

/// A quantized product, `acc = (A - a_zero) · (B - b_zero) + bias`, and the ways to store it.
///
/// A is M×K, B is K×N, each of `i8` or `u8`. `acc` is exact for every input: `i32` outputs are its
/// value modulo 2^32, the others come from its full value. M, N and K may be 0.
///
/// Large products are shared among threads: see [`threads`](Self::threads). The result does not depend on them.
///
/// ```
/// use qgemm::{ElementType, Gemm, MatMut, MatRef, PackedB, Requantize};
///
/// let weights = [1i8, -2, 3, 4, 5, -6]; // 3 x 2
/// let b = PackedB::pack_for(MatRef::row_major(&weights, 3, 2)?, ElementType::U8)?;
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
    pub(crate) arguments: Arguments<'a>,
    pub(crate) threads: Threads<'a>,
}

impl<'a> Gemm<'a> {
    /// The product of `a` (M×K, perhaps a [`Gather`](crate::Gather)) and `b` (K×N), without zero points or bias.
    ///
    /// B is the matrix that a [`PackedB`](crate::PackedB) holds: put the weights there, also if a framework writes them
    /// on the left.
    pub fn new(a: impl Into<Lhs<'a>>, b: impl Into<Rhs<'a>>) -> Self {
        Self { arguments: Arguments::new(a.into(), b.into()), threads: Threads::ALL }
    }

    /// The zero point of A: one, or M of them, one per row.
    #[must_use]
    pub fn a_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { arguments: Arguments { a_zero: zero.into(), ..self.arguments }, ..self }
    }

    /// The zero point of B: one, or N of them, one per column.
    #[must_use]
    pub fn b_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { arguments: Arguments { b_zero: zero.into(), ..self.arguments }, ..self }
    }

    /// A bias that is added to the sums: N values, in the scale of the sums (`scale_a · scale_b`).
    #[must_use]
    pub fn bias(self, bias: &'a [i32]) -> Self {
        Self { arguments: Arguments { bias: Some(bias), ..self.arguments }, ..self }
    }

    /// The kernels to choose from if B is not packed. A packed B has its own, and ignores these.
    #[must_use]
    pub fn dispatch(self, dispatch: &'a Dispatch) -> Self {
        Self { arguments: Arguments { dispatch: Some(dispatch), ..self.arguments }, ..self }
    }

    /// The threads that may do the work: at most so many, or an engine's own (see [`Threads`]). Without this they are
    /// [`Threads::ALL`]. The result does not depend on them.
    #[must_use]
    pub fn threads(self, threads: impl Into<Threads<'a>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// Stores `acc`, modulo 2^32.
    ///
    /// # Errors
    /// [`Error::InnerDimension`], [`Error::OutputShape`] or [`Error::Length`] if shapes disagree, [`Error::Range`] if a
    /// [`Gather`](crate::Gather) has padding without a value of its own and the zero point of any row of A is no
    /// element of its type, [`Error::Variable`] if `QGEMM_VERBOSE` is wrong, and if B is not packed, [`Error::Memory`] if
    /// there is not enough to pack it and [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong. `c` is then
    /// left as it was.
    pub fn run_i32(&self, c: MatMut<'_, i32>) -> Result<(), Error> {
        let product = self.product(shape(&c))?;
        self.run(&product, Destination::I32 { c: c.block, accumulate: false })
    }

    /// Adds `acc` to what `c` holds, modulo 2^32.
    ///
    /// # Errors
    /// Those of [`run_i32`](Self::run_i32).
    pub fn accumulate_i32(&self, c: MatMut<'_, i32>) -> Result<(), Error> {
        let product = self.product(shape(&c))?;
        self.run(&product, Destination::I32 { c: c.block, accumulate: true })
    }

    /// Stores 8-bit values, requantized from the exact sums.
    ///
    /// # Errors
    /// Those of [`run_i32`](Self::run_i32); also [`Error::Length`] if the number of scales, multipliers or factors is
    /// not that of the rows or columns, [`Error::Clamp`] if the clamp excludes all of `T`, [`Error::Shape`] if a
    /// residual is not M×N, [`Error::Element`] if a table is not for `T`, and if the exact sum could reach 2^63,
    /// [`Error::SumTooLarge`] for a zero point or [`Error::Range`] for K, which may be 10^14 if zero points are 0.
    pub fn run_requantized<'o, T: Int8Element>(
        &self,
        c: MatMut<'_, T>,
        output: impl Into<Requantize<'o>>,
    ) -> Result<(), Error> {
        let product = self.product(shape(&c))?;
        self.run(&product, bytes_destination(&product, c, &output.into())?)
    }

    /// Stores f32 values, scaled from the exact sums.
    ///
    /// # Errors
    /// Those of [`run_i32`](Self::run_i32); also [`Error::Length`] if the number of scales is not that of the
    /// rows or columns or that of bias values not N, and if the exact sum could reach 2^63, [`Error::SumTooLarge`] for
    /// a zero point or [`Error::Range`] for K, which may be 10^14 if zero points are 0.
    pub fn run_f32<'o>(&self, c: MatMut<'_, f32>, output: impl Into<Dequantize<'o>>) -> Result<(), Error> {
        let product = self.product(shape(&c))?;
        self.run(&product, f32_destination(&product, c, &output.into())?)
    }

    fn run(&self, product: &Product<'_>, mut destination: Destination<'_, '_>) -> Result<(), Error> {
        let all = Extent { rows: 0..product.m, columns: 0..product.n };
        engine::run::run(product, all, &mut destination, self.threads)
    }

    /// The arguments, once they are found to fit each other and the output.
    #[inline]
    pub(crate) fn product(&self, output: (usize, usize)) -> Result<Product<'_>, Error> {
        Product::new(&self.arguments, output)
    }
}

/// Rows and columns.
pub(crate) fn shape<T>(c: &MatMut<'_, T>) -> (usize, usize) {
    (c.rows(), c.cols())
}

/// All of an output.
pub(crate) fn all_of<T>(c: &MatMut<'_, T>) -> Extent {
    Extent { rows: 0..c.rows(), columns: 0..c.cols() }
}

/// An output of 8-bit values, once stage, product and type are found to fit each other.
#[inline(always)]
pub(crate) fn bytes_destination<'c, 'o, T: Int8Element>(
    product: &Product<'_>,
    c: MatMut<'c, T>,
    output: &Requantize<'o>,
) -> Result<Destination<'c, 'o>, Error> {
    accumulator::check_i64(product)?;
    let requant = output.for_output((product.m, product.n), T::TYPE, ScaleOfA::Included)?;
    Ok(Destination::Bytes { c: c.block.into_bits(), requant })
}

/// An output of f32 values, once stage and product are found to fit each other.
#[inline(always)]
pub(crate) fn f32_destination<'c, 'o>(
    product: &Product<'_>,
    c: MatMut<'c, f32>,
    output: &Dequantize<'o>,
) -> Result<Destination<'c, 'o>, Error> {
    accumulator::check_i64(product)?;
    output.check((product.m, product.n), ScaleOfA::Included)?;
    Ok(Destination::F32 { c: c.block, dequant: *output })
}
