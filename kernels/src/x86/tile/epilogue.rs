//! From the sums of a tile to its output, in registers: `contract::stage` says what is computed.

use crate::contract::args::{Args, Out};
use crate::contract::stage::{TileDequantize, TileRequantize};
use crate::x86::tile::each_row::each_row;
use crate::x86::tile::vector::{Narrow, Vector};

/// Subtracts the outer products from the sums of a tile of H rows and V vectors, and stores what `t.out` asks for.
///
/// # Safety
/// The contract of [`Args`], with H rows and V = ceil(cols / LANES); and that of [`Vector`].
#[inline(always)]
pub unsafe fn finish<X: Vector, const H: usize, const V: usize>(t: &Args<'_>, acc: [[X; V]; H]) {
    // SAFETY: the caller's promise.
    unsafe {
        let acc = subtract_outer_products(t, t.first_row, acc);
        match t.out {
            Out::Sums { c, accumulate } => {
                if last_is_half::<X, V>(t.cols) {
                    each_row::<H>(
                        #[inline(always)]
                        |i| store_sums::<X, V, true>(t, c.add(i * t.ldc), accumulate, acc[i]),
                    );
                } else {
                    each_row::<H>(
                        #[inline(always)]
                        |i| store_sums::<X, V, false>(t, c.add(i * t.ldc), accumulate, acc[i]),
                    );
                }
            }
            Out::Bytes {
                c,
                stage: stage @ TileRequantize { row_scale: None, f64_terms: None, residual: None, .. },
            } => {
                store_bytes(t, acc, c, stage);
            }
            Out::Floats {
                c,
                stage: stage @ TileDequantize { f64_terms: None, residual: None, row_scale: None, .. },
            } => {
                store_floats(t, acc, c, stage, |_, scale| scale);
            }
            Out::Floats {
                c,
                stage: stage @ TileDequantize { f64_terms: None, residual: None, row_scale: Some(rows), .. },
            } => {
                store_floats(t, acc, c, stage, |i, scale| {
                    X::mul_floats(X::splat_float(*rows.get_unchecked(t.first_row + i)), scale)
                });
            }
            Out::Bytes { .. } | Out::FixedBytes { .. } | Out::Floats { .. } => {
                // By way of memory, so that the accumulators' address is not taken.
                let mut sums = acc;
                X::finish_rare::<V>(t, sums.as_mut_ptr().cast());
            }
        }
    }
}

/// The sums of H rows less the outer products, of which `first_row` is the first of these rows.
///
/// # Safety
/// The contract of [`Args`] for these rows and V vectors, and that of [`Vector`].
#[inline(always)]
pub unsafe fn subtract_outer_products<X: Vector, const H: usize, const V: usize>(
    t: &Args<'_>,
    first_row: usize,
    mut acc: [[X; V]; H],
) -> [[X; V]; H] {
    // SAFETY: each product has values for all columns of the panels, which V vectors do not exceed, and for the rows.
    unsafe {
        for outer in t.outer {
            for v in 0..V {
                let col = X::load(outer.col.as_ptr().add(t.first_col + X::LANES * v));
                each_row::<H>(
                    #[inline(always)]
                    |i| {
                        let row = X::splat(*outer.row.get_unchecked(first_row + i));
                        acc[i][v] = acc[i][v].sub(row.mul(col));
                    },
                );
            }
        }
    }
    acc
}

/// Whether the upper half of the last of V vectors is left out, since it holds no column.
#[inline(always)]
pub fn last_is_half<X: Vector, const V: usize>(cols: usize) -> bool {
    X::HALVES && cols + X::LANES / 2 <= X::LANES * V
}

/// The lanes of the last of V vectors that hold columns of the output; the vectors before it are whole.
///
/// # Safety
/// V = ceil(cols / LANES); and the contract of [`Vector`].
#[inline(always)]
pub unsafe fn last_mask<X: Vector, const V: usize>(cols: usize) -> X::Mask {
    // SAFETY: the caller's promise: 1..=LANES columns are left.
    unsafe { X::mask(cols - X::LANES * (V - 1)) }
}

/// Stores the sums of a row at `c`, or adds them to the values there. HALF says [`last_is_half`].
///
/// # Safety
/// `c` is valid for `t.cols` elements, which are V vectors; and the contract of [`Vector`].
#[inline(always)]
pub unsafe fn store_sums<X: Vector, const V: usize, const HALF: bool>(
    t: &Args<'_>,
    c: *mut i32,
    accumulate: bool,
    mut sums: [X; V],
) {
    // SAFETY: the mask keeps the last load and store to the columns of the row.
    unsafe {
        let last = last_mask::<X, V>(t.cols);
        let at = |v: usize| c.wrapping_add(X::LANES * v);
        if accumulate {
            for v in 0..V - 1 {
                sums[v] = sums[v].add(X::load(at(v)));
            }
            sums[V - 1] = sums[V - 1].add(X::load_masked(at(V - 1), last));
        }
        for v in 0..V - 1 {
            sums[v].store(at(v));
        }
        if HALF {
            sums[V - 1].store_low_masked(at(V - 1), last);
        } else {
            sums[V - 1].store_masked(at(V - 1), last);
        }
    }
}

/// The bound of scaled sums before they are rounded. [`Vector::round`] turns a value that i32 does not hold into
/// i32::MIN: right after clamping if the value is negative, wrong if it is positive, hence the bound.
pub const MAX_BEFORE_ROUNDING: f32 = (1 << 30) as f32;

/// Stores 8-bit values that only the columns' scales make.
///
/// # Safety
/// The contract of [`finish`]; `c` and `stage` are the output's, or those of later rows.
#[inline(always)]
pub unsafe fn store_bytes<X: Vector, const H: usize, const V: usize>(
    t: &Args<'_>,
    acc: [[X; V]; H],
    c: *mut u8,
    stage: &TileRequantize<'_>,
) {
    // SAFETY: there are scales for all columns of the panels; `c` has H rows of `cols` bytes, `ldc` apart.
    unsafe {
        let narrow = X::Narrow::new(stage.zero_point, stage.range, t.cols);
        let most = X::splat_float(MAX_BEFORE_ROUNDING);
        let bounded = !stage.at_most_half;
        let at_once = X::Narrow::rows_at_once(V);
        let mut y = [[X::zero(); V]; 4];
        each_row::<H>(
            #[inline(always)]
            |i| {
                for v in 0..V {
                    let scale = X::load_floats(stage.scale.as_ptr().add(t.first_col + X::LANES * v));
                    let mut x = X::mul_floats(acc[i][v].to_floats(), scale);
                    if bounded {
                        x = X::at_most(x, most);
                    }
                    y[i % at_once][v] = X::round(x);
                }
                let rows = i % at_once + 1;
                if rows == at_once || i == H - 1 {
                    narrow.store_rows(y, rows, c.add((i + 1 - rows) * t.ldc), t.ldc);
                }
            },
        );
    }
}

/// Stores f32 values. `scale(i, columns)` is the scale of row i and a vector of columns, given that of the columns.
///
/// # Safety
/// The contract of [`finish`]; `c` and `stage` are the output's.
#[inline(always)]
unsafe fn store_floats<X: Vector, const H: usize, const V: usize>(
    t: &Args<'_>,
    acc: [[X; V]; H],
    c: *mut f32,
    stage: &TileDequantize<'_>,
    scale: impl Fn(usize, X::Floats) -> X::Floats,
) {
    // SAFETY: there are scales and biases for all columns of the panels; the mask keeps stores to the columns of a row.
    unsafe {
        let (lo, hi) = (X::splat_float(stage.range.0), X::splat_float(stage.range.1));
        let limited = stage.range != (f32::NEG_INFINITY, f32::INFINITY);
        let bias = stage.bias_from(t.first_col);
        let last = last_mask::<X, V>(t.cols);
        for v in 0..V {
            let columns = X::load_floats(stage.scale.as_ptr().add(t.first_col + X::LANES * v));
            let bias = X::load_floats(bias.add(X::LANES * v));
            each_row::<H>(
                #[inline(always)]
                |i| {
                    let x = X::mul_floats(acc[i][v].to_floats(), scale(i, columns));
                    let mut x = X::add_floats(x, bias);
                    if limited {
                        x = X::at_most(X::at_least(x, lo), hi);
                    }
                    let c = c.add(i * t.ldc).wrapping_add(X::LANES * v);
                    if v + 1 < V {
                        X::store_floats(x, c);
                    } else {
                        X::store_floats_masked(x, c, last);
                    }
                },
            );
        }
    }
}
