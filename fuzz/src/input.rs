//! The bytes of an input, read as choices.

use arbitrary::Unstructured;
use std::ops::RangeInclusive;

/// Choices. Those for which there are no bytes left are the first of all: 0, no, the least.
pub struct Input<'a> {
    bytes: Unstructured<'a>,
}

impl<'a> Input<'a> {
    /// The choices of one input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: Unstructured::new(bytes) }
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes.arbitrary().unwrap_or(0)
    }

    /// Any 32 bits.
    pub fn word(&mut self) -> u32 {
        self.bytes.arbitrary().unwrap_or(0)
    }

    /// Any 64 bits.
    pub fn long(&mut self) -> u64 {
        self.bytes.arbitrary().unwrap_or(0)
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Whether something rare happens: once in `n` bytes.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }

    /// A number of a range.
    pub fn number(&mut self, range: RangeInclusive<usize>) -> usize {
        let least = *range.start();
        self.bytes.int_in_range(range).unwrap_or(least)
    }

    /// One of some values.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()].clone()
    }

    /// `Some` of a value, once in `n` bytes.
    pub fn rarely<T>(&mut self, n: u8, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(n) { Some(value(self)) } else { None }
    }

    /// The bytes that are left.
    pub fn rest(self) -> &'a [u8] {
        self.bytes.take_rest()
    }
}
