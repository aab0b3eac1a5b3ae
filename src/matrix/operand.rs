//! An input matrix of either 8-bit element type.

use crate::element::{ElementType, Int8Element};
use crate::matrix::view::MatRef;

/// An input matrix of `i8` or `u8`. Made by `into()` from a [`MatRef`] of either.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The elements' bit patterns.
    pub(crate) bits: MatRef<'a, u8>,
    pub(crate) element: ElementType,
}

impl Operand<'_> {
    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.bits.rows()
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.bits.cols()
    }

    /// The value of element (i, j), if there is one.
    pub fn get(&self, i: usize, j: usize) -> Option<i32> {
        self.bits.get(i, j).map(|&bits| self.element.value(bits))
    }
}

impl<'a, T: Int8Element> From<MatRef<'a, T>> for Operand<'a> {
    fn from(view: MatRef<'a, T>) -> Self {
        Self { bits: view.as_bits(), element: T::TYPE }
    }
}
