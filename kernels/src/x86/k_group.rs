//! K-groups: the 4 bytes of a row of A that one instruction multiplies.

/// What a tile multiplies.
#[derive(Clone, Copy)]
pub struct Elements {
    /// Bytes of one, when it is multiplied.
    pub size: usize,
    /// Whether panels hold i8, which become i16 as they are read.
    pub widen: bool,
}

pub const BYTES: Elements = Elements { size: 1, widen: false };

/// The `left` bytes (1 to 3) that remain of a row, completed with zeros to a k-group. `whole`: whether a
/// whole k-group lies before them.
///
/// # Safety
/// That many bytes lie at `rest`, and if `whole`, 4 before.
#[inline(always)]
pub unsafe fn partial_group(rest: *const u8, left: usize, whole: bool) -> i32 {
    // SAFETY: the caller's promise: all reads lie within the row.
    unsafe {
        if whole {
            // The row's last 4 bytes, those before the rest shifted out.
            let last = rest.sub(4 - left).cast::<u32>().read_unaligned();
            return (last >> (8 * (4 - left))) as i32;
        }
        let second = if left > 1 { u32::from(*rest.add(1)) } else { 0 };
        let third = if left > 2 { u32::from(*rest.add(2)) } else { 0 };
        (u32::from(*rest) | second << 8 | third << 16) as i32
    }
}
