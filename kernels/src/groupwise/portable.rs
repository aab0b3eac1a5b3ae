//! The tile in arrays of 4 columns, for targets without a kernel of their own.

use crate::detect::Isa;
use crate::groupwise::args::{GroupArgs, start_times};
use crate::groupwise::fma::{f32_of_bf16, f32_of_f16, fma};
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::scalar;
use crate::groupwise::tile::{each_column, each_height};
use crate::groupwise::vector::GroupVector;
use core::array::from_fn;

pub static KERNEL: GroupKernel = GroupKernel {
    name: "portable-g2x16",
    isa: Isa::Portable,
    needs_fma: false,
    mr: 2,
    words: false,
    signed_codes: false,
    any_group: false,
    run,
};

/// Vectors of a tile.
const V: usize = 4;

/// # Safety
/// The contract of [`GroupArgs`].
unsafe fn run(t: &GroupArgs) {
    /// # Safety
    /// The contract of [`each_column`], for 1 or 2 rows.
    unsafe fn tiles(t: &GroupArgs) {
        // SAFETY: the caller's promise.
        unsafe { if t.rows == 1 { each_column::<Arrays, 1, V>(t) } else { each_column::<Arrays, 2, V>(t) } }
    }
    // SAFETY: the caller's promise; heights are 1 or 2.
    unsafe { each_height(t, 2, tiles) }
}

struct Arrays;

/// The sum of the products of the bytes of a lane, unsigned, and 4 i8.
#[inline(always)]
fn dot(sum: i32, codes: i32, a: [i8; 4]) -> i32 {
    codes.to_le_bytes().into_iter().zip(a).fold(sum, |sum, (code, a)| sum + i32::from(code) * i32::from(a))
}

// SAFETY: plain Rust; memory is read and written where the trait says.
unsafe impl GroupVector for Arrays {
    type Int = [i32; 4];
    type Real = [f32; 4];
    type Partial = [i32; 4];
    const LANES: usize = 4;
    const RUN_4: usize = usize::MAX - 1;
    const RUN_8: usize = usize::MAX;
    const WORDS: bool = false;
    const NIBBLES_APART: bool = false;

    #[inline(always)]
    unsafe fn splat(value: i32) -> [i32; 4] {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(x: [i32; 4], to: *mut i32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn multiply_add(acc: [i32; 4], x: [i32; 4], y: [i32; 4]) -> [i32; 4] {
        from_fn(|l| acc[l].wrapping_add(x[l].wrapping_mul(y[l])))
    }

    #[inline(always)]
    unsafe fn start(start: i32, zeros: [i32; 4]) -> [i32; 4] {
        zeros.map(|zero| start_times(start, zero as u8))
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[u8; 4]>().read_unaligned().map(i32::from) }
    }

    #[inline(always)]
    unsafe fn nibble(x: [i32; 4], high: bool) -> [i32; 4] {
        x.map(|x| if high { x >> 4 } else { x & 15 })
    }

    #[inline(always)]
    unsafe fn load_codes(from: *const u8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        let bytes = unsafe { from.cast::<[[u8; 4]; 4]>().read_unaligned() };
        bytes.map(i32::from_le_bytes)
    }

    #[inline(always)]
    unsafe fn nibbles(codes: [i32; 4]) -> ([i32; 4], [i32; 4]) {
        (codes.map(|x| x & 0x0f0f_0f0f), codes.map(|x| x >> 4 & 0x0f0f_0f0f))
    }

    #[inline(always)]
    unsafe fn begin(acc: [i32; 4]) -> [i32; 4] {
        acc
    }

    #[inline(always)]
    unsafe fn begin_beside() -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn join(x: [i32; 4], y: [i32; 4]) -> [i32; 4] {
        from_fn(|l| x[l].wrapping_add(y[l]))
    }

    #[inline(always)]
    unsafe fn finish_4(_: [i32; 4], partial: [i32; 4]) -> [i32; 4] {
        partial
    }

    #[inline(always)]
    unsafe fn finish_8(_: [i32; 4], partial: [i32; 4]) -> [i32; 4] {
        partial
    }

    #[inline(always)]
    unsafe fn dot_4(partial: [i32; 4], codes: [i32; 4], a: *const u8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        let a = unsafe { a.cast::<[i8; 4]>().read_unaligned() };
        from_fn(|l| dot(partial[l], codes[l], a))
    }

    #[inline(always)]
    unsafe fn dot_8(partial: [i32; 4], codes: [i32; 4], a: *const u8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { Self::dot_4(partial, codes, a) }
    }

    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn splat_real(value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load_real(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[u16; 4]>().read_unaligned().map(f32_of_f16) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[u16; 4]>().read_unaligned().map(f32_of_bf16) }
    }

    #[inline(always)]
    unsafe fn store_real(x: [f32; 4], to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn to_real(x: [i32; 4]) -> [f32; 4] {
        x.map(|x| x as f32)
    }

    #[inline(always)]
    unsafe fn multiply(x: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        from_fn(|l| x[l] * y[l])
    }

    #[inline(always)]
    unsafe fn add(x: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        from_fn(|l| x[l] + y[l])
    }

    #[inline(always)]
    unsafe fn fused(x: [f32; 4], y: [f32; 4], z: [f32; 4]) -> [f32; 4] {
        from_fn(|l| fma(x[l], y[l], z[l]))
    }

    #[inline(always)]
    unsafe fn clamp(x: [f32; 4], lo: [f32; 4], hi: [f32; 4]) -> [f32; 4] {
        from_fn(|l| scalar::clamp(x[l], lo[l], hi[l]))
    }
}
