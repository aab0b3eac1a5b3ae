//! The loop nest of all group-wise vector kernels: a tile of H rows and V vectors of columns.
//!
//! ```text
//!   for each group of k:   sums start from the zero points                            H·V integer accumulators
//!     for each step:       load V vectors of codes, split nibbles, and for each row
//!                          multiply by 4 values of A in all lanes, twice for 4 bits
//!     sums become f32, are multiplied by the scales and added                         H·V real accumulators
//! ```
//!
//! Every lane is a chain over all groups in their order, so that no result depends on the tile.

use crate::groupwise::args::{GroupArgs, GroupOutput, ScaleBits, ScalePtr};
use crate::groupwise::layout::{CodeBits, PANEL};
use crate::groupwise::vector::{GroupVector, NextStep};

/// Runs rows in tiles of at most `mr`, as even as may be. `tiles` is [`each_column`] compiled for the instruction set, for a
/// height that it is given.
///
/// # Safety
/// The arguments keep the contract of [`GroupArgs`], and `tiles` may be called with those of any rows up to `mr`.
#[inline(always)]
pub unsafe fn each_height(t: &GroupArgs, mr: usize, tiles: unsafe fn(&GroupArgs)) {
    t.debug_assert_contract();
    let mut first = 0;
    while first < t.rows {
        let left = t.rows - first;
        let height = left.div_ceil(left.div_ceil(mr));
        // SAFETY: so many rows are left.
        unsafe { tiles(&t.rows_from(first, height)) };
        first += height;
    }
}

/// Runs the columns of H rows in tiles of V vectors.
///
/// # Safety
/// The contract of [`tile`], for all columns.
#[inline(always)]
pub unsafe fn each_column<X: GroupVector, const H: usize, const V: usize>(t: &GroupArgs) {
    const { assert!(PANEL.is_multiple_of(V * X::LANES)) };
    for first in (0..t.cols).step_by(V * X::LANES) {
        // SAFETY: the caller's promise; a tile begins below `cols`.
        unsafe {
            match t.bits {
                CodeBits::Four => tile::<X, H, V, false>(t, first),
                CodeBits::Eight => tile::<X, H, V, true>(t, first),
            }
        }
    }
}

/// A tile of H rows and V vectors, from column `first` of the panel on. 8-bit codes if `EIGHT`.
///
/// # Safety
/// The CPU has the instructions of `X`; the arguments keep the contract of [`GroupArgs`], with H rows and codes of that
/// size; `first + V·LANES <= PANEL`, and `first` is below `cols` and a multiple of `V·LANES`.
#[inline(always)]
pub unsafe fn tile<X: GroupVector, const H: usize, const V: usize, const EIGHT: bool>(
    t: &GroupArgs,
    first: usize,
) {
    debug_assert!(t.rows == H && EIGHT == (t.bits == CodeBits::Eight) && first + V * X::LANES <= PANEL);
    // SAFETY: the caller's promise; every pointer stays in the rows, groups, steps and columns that there are.
    unsafe {
        let mut total = [[X::zero(); V]; H];
        let codes = t.codes.add(4 * first);
        let mut next = NextStep { a: t.a, a_stride: t.a_stride, codes, step_bytes: 4 * t.cols };
        for g in 0..t.groups {
            let mut acc = start::<X, H, V>(t, g, first);
            let mut left = t.steps(g);
            while left > 0 {
                let count = left.min(if EIGHT { X::RUN_8 } else { X::RUN_4 / 2 });
                X::add_products::<H, V, EIGHT>(&mut next, count, &mut acc);
                left -= count;
            }
            if let (1, GroupOutput::Sums(sums)) = (H, t.output) {
                for v in 0..V {
                    X::store(acc[0][v], sums.add(g * PANEL + first + v * X::LANES));
                }
                continue;
            }
            subtract_zero_of_a::<X, H, V>(t, g, first, &mut acc);
            scale::<X, H, V>(t, g, first, acc, &mut total);
        }
        if let GroupOutput::Rows { c, stride } = t.output {
            store::<X, H, V>(t, first, total, c, stride);
        }
    }
}

/// The sums of a group before its first product.
///
/// # Safety
/// The contract of [`tile`]; `g` is a group.
#[inline(always)]
unsafe fn start<X: GroupVector, const H: usize, const V: usize>(
    t: &GroupArgs,
    g: usize,
    first: usize,
) -> [[X::Int; V]; H] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[X::splat(0); V]; H];
        if t.zeros.is_null() {
            for i in 0..H {
                acc[i] = [X::splat(*t.starts.add(i * t.groups + g)); V];
            }
            return acc;
        }
        let mut zeros = [X::splat(0); V];
        let row = t.zeros.add(g * t.zeros_row);
        for v in 0..V {
            let column = first + v * X::LANES;
            zeros[v] = match t.bits {
                CodeBits::Eight => X::load_zeros_8(row.add(column)),
                CodeBits::Four => {
                    X::nibble(X::load_bytes(row.add(column % (PANEL / 2))), column >= PANEL / 2)
                }
            };
        }
        for i in 0..H {
            for v in 0..V {
                acc[i][v] = X::start(*t.starts.add(i * t.groups + g), zeros[v]);
            }
        }
        acc
    }
}

/// Subtracts the zero points of A times the sums of the weights.
///
/// # Safety
/// The contract of [`tile`]; `g` is a group.
#[inline(always)]
unsafe fn subtract_zero_of_a<X: GroupVector, const H: usize, const V: usize>(
    t: &GroupArgs,
    g: usize,
    first: usize,
    acc: &mut [[X::Int; V]; H],
) {
    if t.d.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        for v in 0..V {
            let d = X::load(t.d.add(g * PANEL + first + v * X::LANES));
            for i in 0..H {
                acc[i][v] = X::multiply_add(acc[i][v], d, X::splat(*t.minus_a_zeros.add(i)));
            }
        }
    }
}

/// V vectors of scales of a group.
///
/// # Safety
/// The contract of [`tile`]; `g` is a group, and `values` are not null.
#[inline(always)]
unsafe fn load_scales<X: GroupVector, const V: usize>(
    t: &GroupArgs,
    values: ScalePtr,
    g: usize,
    first: usize,
) -> [X::Real; V] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut loaded = [X::zero(); V];
        let at = g * t.cols + first;
        match values.bits {
            ScaleBits::F32 => {
                for v in 0..V {
                    loaded[v] = X::load_real(values.ptr.cast::<f32>().add(at + v * X::LANES));
                }
            }
            ScaleBits::F16 => {
                for v in 0..V {
                    loaded[v] = X::load_f16(values.ptr.cast::<u16>().add(at + v * X::LANES));
                }
            }
            ScaleBits::Bf16 => {
                for v in 0..V {
                    loaded[v] = X::load_bf16(values.ptr.cast::<u16>().add(at + v * X::LANES));
                }
            }
        }
        loaded
    }
}

/// Adds the sums of a group, times its scales.
///
/// # Safety
/// The contract of [`tile`]; `g` is a group.
#[inline(always)]
unsafe fn scale<X: GroupVector, const H: usize, const V: usize>(
    t: &GroupArgs,
    g: usize,
    first: usize,
    acc: [[X::Int; V]; H],
    total: &mut [[X::Real; V]; H],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let scales = load_scales::<X, V>(t, t.scales, g, first);
        if t.a_scales.is_null() {
            for i in 0..H {
                for v in 0..V {
                    total[i][v] = X::fused(X::to_real(acc[i][v]), scales[v], total[i][v]);
                }
            }
        } else {
            for i in 0..H {
                let of_a = X::splat_real(*t.a_scales.add(i * t.groups + g));
                for v in 0..V {
                    total[i][v] = X::fused(X::to_real(acc[i][v]), X::multiply(of_a, scales[v]), total[i][v]);
                }
            }
        }
        if t.minimums.ptr.is_null() {
            return;
        }
        let minimums = load_scales::<X, V>(t, t.minimums, g, first);
        for i in 0..H {
            let sum = X::splat_real(*t.a_sums.add(i * t.groups + g));
            for v in 0..V {
                let u = if t.a_scales.is_null() {
                    minimums[v]
                } else {
                    X::multiply(X::splat_real(*t.a_scales.add(i * t.groups + g)), minimums[v])
                };
                total[i][v] = X::fused(sum, u, total[i][v]);
            }
        }
    }
}

/// Stores the rows: scaled, with the bias, clamped.
///
/// # Safety
/// The contract of [`tile`].
#[inline(always)]
unsafe fn store<X: GroupVector, const H: usize, const V: usize>(
    t: &GroupArgs,
    first: usize,
    total: [[X::Real; V]; H],
    c: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise: rows of C and the bias have `cols` values, and what there is fewer of is copied.
    unsafe {
        let cols = (t.cols - first).min(V * X::LANES);
        let whole = cols == V * X::LANES;
        let mut bias = [X::zero(); V];
        if !t.bias.is_null() {
            let mut copy = [0f32; PANEL];
            let mut from = t.bias.add(first);
            if !whole {
                core::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), cols);
                from = copy.as_ptr();
            }
            for v in 0..V {
                bias[v] = X::load_real(from.add(v * X::LANES));
            }
        }
        let (lo, hi) = (X::splat_real(t.lo), X::splat_real(t.hi));
        for i in 0..H {
            let mut copy = [0f32; PANEL];
            let row = c.add(i * stride + first);
            let to = if whole { row } else { copy.as_mut_ptr() };
            for v in 0..V {
                let mut y = total[i][v];
                if !t.row_scales.is_null() {
                    y = X::multiply(y, X::splat_real(*t.row_scales.add(i)));
                }
                if !t.bias.is_null() {
                    y = X::add(y, bias[v]);
                }
                X::store_real(X::clamp(y, lo, hi), to.add(v * X::LANES));
            }
            if !whole {
                core::ptr::copy_nonoverlapping(to, row, cols);
            }
        }
    }
}
