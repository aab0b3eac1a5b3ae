//! The two 8-bit element types, as values and as Rust types.

/// An 8-bit integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ElementType {
    /// -128..=127
    I8,
    /// 0..=255
    U8,
}

impl ElementType {
    /// The least and the greatest value.
    pub fn range(self) -> (i32, i32) {
        match self {
            ElementType::I8 => (-128, 127),
            ElementType::U8 => (0, 255),
        }
    }

    /// The value of a bit pattern.
    pub(crate) fn value(self, bits: u8) -> i32 {
        match self {
            ElementType::I8 => i32::from(bits as i8),
            ElementType::U8 => i32::from(bits),
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ElementType::I8 => "i8",
            ElementType::U8 => "u8",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
}

/// `i8` or `u8`: the element type of operands and requantized outputs. No other type implements it.
#[diagnostic::on_unimplemented(
    message = "matrices of `{Self}` are no 8-bit matrices",
    label = "must be `i8` or `u8`",
    note = "`DynamicGemm` multiplies `f32` activations by 8-bit weights; `quantize` and `quantize_columns` make 8 bits of `f32`"
)]
pub trait Int8Element: bytemuck::Pod + Send + Sync + sealed::Sealed {
    /// This type as a value.
    const TYPE: ElementType;
    /// The value.
    fn to_i32(self) -> i32;
    /// The bit pattern.
    fn to_bits(self) -> u8;
    /// The value with this bit pattern.
    fn from_bits(bits: u8) -> Self;
}

impl Int8Element for i8 {
    const TYPE: ElementType = ElementType::I8;
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
    fn to_bits(self) -> u8 {
        self as u8
    }
    fn from_bits(bits: u8) -> Self {
        bits as i8
    }
}

impl Int8Element for u8 {
    const TYPE: ElementType = ElementType::U8;
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
    fn to_bits(self) -> u8 {
        self
    }
    fn from_bits(bits: u8) -> Self {
        bits
    }
}
