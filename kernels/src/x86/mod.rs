//! x86-64.

pub mod avx2;
pub mod avx2_proven;
pub mod avx512_bw;
pub mod avx512_vnni;
pub mod avx_vnni;
mod ymm;
mod zmm;

/// The `left` bytes (1 to 3) that remain of a row, completed with zeros to a k-group.
///
/// # Safety
/// That many bytes lie at `rest`.
#[inline(always)]
unsafe fn partial_group(rest: *const u8, left: usize) -> i32 {
    let mut group = [0; 4];
    for (l, byte) in group.iter_mut().enumerate().take(left) {
        // SAFETY: l < left.
        *byte = unsafe { *rest.add(l) };
    }
    i32::from_le_bytes(group)
}
