//! The two factors of a product, in every form in which callers may give them.

use crate::element::{ElementType, Int8Element};
use crate::error::Error;
use crate::matrix::gather::Gather;
use crate::matrix::gather_f32::GatherF32;
use crate::matrix::half_matrix::HalfMatrix;
use crate::matrix::operand::Operand;
use crate::matrix::view::MatRef;
use crate::weights::packed::PackedB;
use half::{bf16, f16};
use std::ops::Range;
use std::sync::Arc;

/// The left-hand matrix A (M×K): a matrix view, or rows gathered from one.
///
/// Made by `into()` from a [`MatRef`] of `i8` or `u8`, or from a [`Gather`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Lhs<'a> {
    /// A matrix; read in place where its rows are contiguous and the kernel takes its type as it is.
    Matrix(Operand<'a>),
    /// Rows put together from rows of another matrix.
    Gathered(Gather<'a>),
}

impl<'a, T: Int8Element> From<MatRef<'a, T>> for Lhs<'a> {
    fn from(a: MatRef<'a, T>) -> Self {
        Lhs::Matrix(a.into())
    }
}

impl<'a> From<Operand<'a>> for Lhs<'a> {
    fn from(a: Operand<'a>) -> Self {
        Lhs::Matrix(a)
    }
}

impl<'a> From<Gather<'a>> for Lhs<'a> {
    fn from(a: Gather<'a>) -> Self {
        Lhs::Gathered(a)
    }
}

impl<'a> Lhs<'a> {
    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Lhs::Matrix(a) => a.element,
            Lhs::Gathered(a) => a.element_type(),
        }
    }

    /// Number of rows: M.
    pub fn rows(&self) -> usize {
        match self {
            Lhs::Matrix(a) => a.rows(),
            Lhs::Gathered(a) => a.shape().0,
        }
    }

    /// Number of columns: K.
    pub fn cols(&self) -> usize {
        match self {
            Lhs::Matrix(a) => a.cols(),
            Lhs::Gathered(a) => a.shape().1,
        }
    }

    /// The value of element (i, k), where `zero` is the zero point of row i; `None` if there is no such element.
    pub(crate) fn get(&self, i: usize, k: usize, zero: i32) -> Option<i32> {
        match self {
            Lhs::Matrix(a) => a.get(i, k),
            Lhs::Gathered(a) => a.get(i, k, zero),
        }
    }

    /// The bits of the elements, if rows are contiguous and so can be read in place.
    pub(crate) fn in_place(&self) -> Option<MatRef<'a, u8>> {
        match self {
            Lhs::Matrix(a) if a.bits.rows_are_slices() => Some(a.bits),
            _ => None,
        }
    }

    /// The transpose of the bits, if columns are contiguous.
    pub(crate) fn columns(&self) -> Option<MatRef<'a, u8>> {
        match self {
            Lhs::Matrix(a) => Some(a.bits.transpose()).filter(MatRef::rows_are_slices),
            Lhs::Gathered(_) => None,
        }
    }

    /// Copies the bits of elements `ks` of row `i`, whose zero point is `zero`.
    pub(crate) fn copy_row(&self, i: usize, ks: Range<usize>, zero: i32, out: &mut [u8]) {
        match self {
            Lhs::Matrix(a) => a.bits.copy_row(i, ks.start, out),
            Lhs::Gathered(a) => a.copy_row(i, ks, zero, out),
        }
    }

    /// Checks that the zero points of all rows are values of the element type, if padding takes them.
    ///
    /// # Errors
    /// [`Error::Range`] if `least` or `greatest`, the least and the greatest zero point, is not.
    pub(crate) fn check_zero(&self, least: i32, greatest: i32) -> Result<(), Error> {
        match self {
            Lhs::Matrix(_) => Ok(()),
            Lhs::Gathered(a) => a.check_zero(least, greatest),
        }
    }
}

/// The left-hand matrix A (M×K) of a product that quantizes it: a view of f32, f16 or bf16, or rows gathered from one of f32.
///
/// Made by `into()` from a [`MatRef`] of `f32`, `f16` or `bf16` (of [`half`](crate::half)), or from a [`GatherF32`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FloatLhs<'a> {
    /// A matrix.
    Matrix(MatRef<'a, f32>),
    /// A matrix of 16-bit floats, each of which is a value of f32: the result is that of an f32 A with these values.
    Half(HalfMatrix<'a>),
    /// Rows put together from rows of another matrix.
    Gathered(GatherF32<'a>),
}

impl<'a> From<MatRef<'a, f32>> for FloatLhs<'a> {
    fn from(a: MatRef<'a, f32>) -> Self {
        FloatLhs::Matrix(a)
    }
}

impl<'a> From<MatRef<'a, f16>> for FloatLhs<'a> {
    fn from(a: MatRef<'a, f16>) -> Self {
        FloatLhs::Half(a.into())
    }
}

impl<'a> From<MatRef<'a, bf16>> for FloatLhs<'a> {
    fn from(a: MatRef<'a, bf16>) -> Self {
        FloatLhs::Half(a.into())
    }
}

impl<'a> From<GatherF32<'a>> for FloatLhs<'a> {
    fn from(a: GatherF32<'a>) -> Self {
        FloatLhs::Gathered(a)
    }
}

impl<'a> FloatLhs<'a> {
    /// Number of rows: M.
    pub fn rows(&self) -> usize {
        match self {
            FloatLhs::Matrix(a) => a.rows(),
            FloatLhs::Half(a) => a.shape().0,
            FloatLhs::Gathered(a) => a.shape().0,
        }
    }

    /// Number of columns: K.
    pub fn cols(&self) -> usize {
        match self {
            FloatLhs::Matrix(a) => a.cols(),
            FloatLhs::Half(a) => a.shape().1,
            FloatLhs::Gathered(a) => a.shape().1,
        }
    }

    /// Element (i, k); `None` if there is none.
    pub(crate) fn get(&self, i: usize, k: usize) -> Option<f32> {
        match self {
            FloatLhs::Matrix(a) => a.get(i, k).copied(),
            FloatLhs::Half(a) => a.get(i, k),
            FloatLhs::Gathered(a) => a.get(i, k),
        }
    }

    /// The matrix that all elements, but padding, come from: A itself, or the source of gathered rows.
    pub(crate) fn source(&self) -> Self {
        match self {
            FloatLhs::Matrix(_) | FloatLhs::Half(_) => *self,
            FloatLhs::Gathered(a) => a.source().into(),
        }
    }
}

/// The right-hand matrix B (K×N): packed ahead, or not.
///
/// Made by `into()` from a [`&PackedB`](PackedB), also in an [`Arc`], or from a [`MatRef`] of `i8` or `u8`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Rhs<'a> {
    /// Packed ahead, for many products.
    Packed(&'a PackedB),
    /// Not packed, for one product. The call packs it, unless A has so few rows that it multiplies without packing.
    Unpacked(Operand<'a>),
}

impl<'a> From<&'a PackedB> for Rhs<'a> {
    fn from(b: &'a PackedB) -> Self {
        Rhs::Packed(b)
    }
}

impl<'a> From<&'a Arc<PackedB>> for Rhs<'a> {
    fn from(b: &'a Arc<PackedB>) -> Self {
        Rhs::Packed(b)
    }
}

impl<'a, T: Int8Element> From<MatRef<'a, T>> for Rhs<'a> {
    fn from(b: MatRef<'a, T>) -> Self {
        Rhs::Unpacked(b.into())
    }
}

impl<'a> From<Operand<'a>> for Rhs<'a> {
    fn from(b: Operand<'a>) -> Self {
        Rhs::Unpacked(b)
    }
}

impl Rhs<'_> {
    /// K and N.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Rhs::Packed(b) => (b.k(), b.n()),
            Rhs::Unpacked(b) => (b.rows(), b.cols()),
        }
    }

    /// The type of the elements.
    pub(crate) fn element_type(&self) -> ElementType {
        match self {
            Rhs::Packed(b) => b.element_type(),
            Rhs::Unpacked(b) => b.element,
        }
    }

    /// The value of element (k, j); `None` if there is none.
    pub(crate) fn get(&self, k: usize, j: usize) -> Option<i32> {
        match self {
            Rhs::Packed(b) => b.get(k, j),
            Rhs::Unpacked(b) => b.get(k, j),
        }
    }
}
