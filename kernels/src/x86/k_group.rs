//! K-groups: the 4 bytes of a row of A (KR values of k) that one instruction multiplies.

use crate::contract::kernel::Instruction;

/// The k-groups of a row of A.
#[derive(Clone, Copy)]
pub struct KGroups {
    /// Groups of 4 bytes.
    pub whole: usize,
    /// Bytes that follow them: 0 to 3.
    pub left: usize,
}

impl KGroups {
    /// The k-groups of `k` elements of A.
    #[inline(always)]
    pub fn new<I: Instruction>(k: usize) -> Self {
        const { assert!(I::KR * I::A.size() == 4) };
        let bytes = k * I::A.size();
        Self { whole: bytes / 4, left: bytes % 4 }
    }
}

/// The `left` bytes (1 to 3) that remain of a row, completed with zeros to a k-group. `follows`: a whole k-group lies
/// before them, so that one load suffices.
///
/// # Safety
/// `left` bytes are readable at `rest`, and, if `follows`, 4 before it.
#[inline(always)]
pub unsafe fn partial_group(rest: *const u8, left: usize, follows: bool) -> i32 {
    // SAFETY: the caller's promise; the 4 bytes that end with the rest begin at most 3 before it.
    unsafe {
        if follows {
            // The row's last 4 bytes, with those before the rest shifted out.
            let last = u32::from_ne_bytes(*rest.sub(4 - left).cast());
            return (last >> (8 * (4 - left))) as i32;
        }
        let second = if left > 1 { u32::from(*rest.add(1)) } else { 0 };
        let third = if left > 2 { u32::from(*rest.add(2)) } else { 0 };
        (u32::from(*rest) | second << 8 | third << 16) as i32
    }
}
