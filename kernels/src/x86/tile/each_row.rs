//! Loops over the rows of a tile, which leaves the accumulators in registers, and over tiles.

use crate::contract::args::Args;
use core::arch::asm;

/// Calls `f` with tiles of H rows, one below the other: `rows` is a multiple of H. Afterwards `t` is the rows below.
#[inline(always)]
pub fn each_tile<const H: usize>(t: &mut Args<'_>, mut f: impl FnMut(&Args<'_>)) {
    debug_assert!(t.rows.is_multiple_of(H));
    let mut left = t.rows;
    t.rows = H;
    while left > 0 {
        f(t);
        t.move_down(H);
        left -= H;
    }
}

/// Calls `f` with 0..H, for H up to 12. A loop might not be unrolled by the compiler, and then the accumulators would
/// be memory, here and in the loop over k.
#[inline(always)]
pub fn each_row<const H: usize>(mut f: impl FnMut(usize)) {
    const { assert!(1 <= H && H <= 12) };
    f(0);
    if H > 1 {
        f(1);
    }
    if H > 2 {
        f(2);
    }
    if H > 3 {
        f(3);
    }
    if H > 4 {
        f(4);
    }
    if H > 5 {
        f(5);
    }
    if H > 6 {
        f(6);
    }
    if H > 7 {
        f(7);
    }
    if H > 8 {
        f(8);
    }
    if H > 9 {
        f(9);
    }
    if H > 10 {
        f(10);
    }
    if H > 11 {
        f(11);
    }
}

/// Has the compiler load from memory what it uses of `t` from here on: else it would keep it in registers, which a loop
/// before this needs, or on the stack.
#[inline(always)]
pub fn reload(t: &Args<'_>) {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", in(reg) t, options(nostack, preserves_flags)) };
}
