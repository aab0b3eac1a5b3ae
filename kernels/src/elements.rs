//! The types of elements that kernels multiply, and how bytes of a matrix become such elements.

/// Inverting the sign bit of a byte adds this to an i8 read as u8 afterwards, and subtracts it from a u8 read as i8.
pub const SIGN_SHIFT: i32 = 128;

/// The sign bit of a byte.
pub const SIGN_BIT: u8 = SIGN_SHIFT as u8;

/// The number of bytes whose sum as u8 fits 31 bits: 255·2^23 < 2^31.
pub(crate) const BYTES_PER_I32_SUM: usize = 1 << 23;

/// The types that a kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// Values of either sign, widened to 16 bits.
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
    /// The bytes are copied.
    Copy,
    /// The sign bit is inverted, which turns i8 into u8 or u8 into i8 and shifts the value by 128.
    Flip,
    /// i8 is widened to i16.
    Extend,
    /// u8 is widened to i16.
    ZeroExtend,
}

impl Convert {
    /// The conversion from a source of i8 (`signed`) or u8 to `stored`.
    pub fn new(signed: bool, stored: Stored) -> Self {
        match (signed, stored) {
            (true, Stored::I8) | (false, Stored::U8) => Convert::Copy,
            (true, Stored::U8) | (false, Stored::I8) => Convert::Flip,
            (true, Stored::I16) => Convert::Extend,
            (false, Stored::I16) => Convert::ZeroExtend,
        }
    }

    /// The stored value minus the value of the source, which is i8 (`signed`) or u8.
    pub fn shift(self, signed: bool) -> i32 {
        match (self, signed) {
            (Convert::Flip, true) => SIGN_SHIFT,
            (Convert::Flip, false) => -SIGN_SHIFT,
            _ => 0,
        }
    }

    /// The bits that a byte of the source is XORed with: the sign bit for [`Convert::Flip`], else none.
    pub const fn mask(self) -> u8 {
        match self {
            Convert::Flip => SIGN_BIT,
            Convert::Copy | Convert::Extend | Convert::ZeroExtend => 0,
        }
    }
}

/// The mask that turns bytes into u8: the sign bit if they are `signed`, else none.
pub(crate) const fn mask_to_u8(signed: bool) -> u8 {
    if signed { SIGN_BIT } else { 0 }
}

/// The value of a byte as i8 (`signed`) or u8.
#[inline(always)]
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) const fn byte_value(byte: u8, signed: bool) -> i16 {
    if signed { byte as i8 as i16 } else { byte as i16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_shifts_are_those_of_the_stored_values() {
        for stored in [Stored::U8, Stored::I8] {
            for signed in [false, true] {
                let convert = Convert::new(signed, stored);
                for byte in 0..=255 {
                    let got = byte_value(byte ^ convert.mask(), stored == Stored::I8);
                    let want = i32::from(byte_value(byte, signed)) + convert.shift(signed);
                    assert_eq!(i32::from(got), want);
                }
            }
        }
    }
}
