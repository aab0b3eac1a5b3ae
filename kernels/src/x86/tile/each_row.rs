//! A loop over the rows of a tile that leaves the accumulators in registers.

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
