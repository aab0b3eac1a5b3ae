//! The types of elements that kernels multiply, and how bytes of a matrix become such elements.

/// The types that a kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// Both, widened to 16 bits.
    I16,
}

impl Stored {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Stored::U8 | Stored::I8 => 1,
            Stored::I16 => 2,
        }
    }
}

/// How the bytes of a source become stored elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    /// As they are.
    Copy,
    /// Sign bit inverted: between u8 and i8, a shift of the value by 128.
    Flip,
    /// i8 to i16.
    Extend,
    /// u8 to i16.
    ZeroExtend,
}

impl Convert {
    /// From a source of i8 (`signed`) or u8 to `stored`.
    pub fn new(signed: bool, stored: Stored) -> Self {
        match (signed, stored) {
            (true, Stored::I8) | (false, Stored::U8) => Convert::Copy,
            (true, Stored::U8) | (false, Stored::I8) => Convert::Flip,
            (true, Stored::I16) => Convert::Extend,
            (false, Stored::I16) => Convert::ZeroExtend,
        }
    }

    /// What to add to a value of the source to get the stored value.
    pub fn shift(self, signed: bool) -> i32 {
        match (self, signed) {
            (Convert::Flip, true) => 128,
            (Convert::Flip, false) => -128,
            _ => 0,
        }
    }
}
