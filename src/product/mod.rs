//! A product: its arguments, and the proof that they fit each other.

pub(crate) mod accumulator;
pub(crate) mod groupwise;
pub(crate) mod operands;
pub(crate) mod zero_point;

use crate::dispatch::select::Dispatch;
use crate::error::{Error, check_length};
use crate::product::operands::{Lhs, Rhs};
use crate::product::zero_point::ZeroPoint;

/// The arguments of a product, as a builder collects them: nothing is checked yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) a: Lhs<'a>,
    pub(crate) b: Rhs<'a>,
    pub(crate) a_zero: ZeroPoint<'a>,
    pub(crate) b_zero: ZeroPoint<'a>,
    pub(crate) bias: Option<&'a [i32]>,
    /// The kernels for a B that is not packed; `None` for those of `Dispatch::auto`.
    pub(crate) dispatch: Option<&'a Dispatch>,
}

impl<'a> Arguments<'a> {
    /// A product without zero points or bias.
    pub(crate) fn new(a: Lhs<'a>, b: Rhs<'a>) -> Self {
        let zero = ZeroPoint::PerTensor(0);
        Self { a, b, a_zero: zero, b_zero: zero, bias: None, dispatch: None }
    }
}

/// Arguments that fit each other and the shape of the output: the input of the engine.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    arguments: &'a Arguments<'a>,
    /// Rows of A and of the output.
    pub(crate) m: usize,
    /// Columns of B and of the output.
    pub(crate) n: usize,
    /// Columns of A and rows of B.
    pub(crate) k: usize,
}

impl<'a> std::ops::Deref for Product<'a> {
    type Target = Arguments<'a>;
    #[inline]
    fn deref(&self) -> &Arguments<'a> {
        self.arguments
    }
}

impl<'a> Product<'a> {
    /// Checks that all arguments fit each other and an output of the given rows and columns.
    ///
    /// # Errors
    /// [`Error::InnerDimension`] if K of A and of B differ, [`Error::OutputShape`] if the output is not M×N,
    /// [`Error::Length`] if zero points or the bias have another length, [`Error::Range`] if padding of a gathered A
    /// would be a zero point that is no element.
    #[inline]
    pub(crate) fn new(arguments: &'a Arguments<'a>, output: (usize, usize)) -> Result<Self, Error> {
        let Arguments { a, b, a_zero, b_zero, bias, .. } = arguments;
        let product = Self::checked_before(arguments);
        let Self { m, n, k, .. } = product;
        let b_rows = b.shape().0;
        if b_rows != k {
            return Err(Error::InnerDimension { a_cols: k, b_rows });
        }
        if output != (m, n) {
            return Err(Error::OutputShape { got: output, need: (m, n) });
        }
        a_zero.check_len("a_zero", m)?;
        let (least, greatest) = a_zero.min_max();
        a.check_zero(least, greatest)?;
        b_zero.check_len("b_zero", n)?;
        bias.map_or(Ok(()), |bias| check_length("bias", bias.len(), n))?;
        Ok(product)
    }

    /// The product of arguments that passed [`new`](Self::new) earlier and did not change since.
    #[inline]
    pub(crate) fn checked_before(arguments: &'a Arguments<'a>) -> Self {
        Self { arguments, m: arguments.a.rows(), n: arguments.b.shape().1, k: arguments.a.cols() }
    }
}
