//! The outputs that have functions of their own, since they would make the code of each tile longer by half: 8 bits in
//! fixed point, or with rows' scales, terms in f64 or a residual; f32 with terms in f64 or a residual. Their sums come by
//! way of memory.

use crate::contract::args::{Args, Out};
use crate::contract::stage::{F64Terms, TileDequantize, TileFixedPoint, TileRequantize};
use crate::x86::tile::epilogue::{MAX_BEFORE_ROUNDING, last_mask};
use crate::x86::tile::vector::{Narrow, Vector};

/// Stores `t.rows` rows of V vectors, whose sums lie at `sums`, one after the other, and may be overwritten.
///
/// # Safety
/// The contract of [`Args`], with V = ceil(cols / LANES); `sums` is valid for the rows; and the
/// contract of [`Vector`].
#[inline(always)]
pub unsafe fn finish<X: Vector, const V: usize>(t: &Args<'_>, sums: *mut i32) {
    // SAFETY: the caller's promise.
    unsafe {
        match t.out {
            Out::FixedBytes { c, stage } => {
                if stage.away {
                    fixed_point::<X, V, true>(t, sums, stage);
                } else {
                    fixed_point::<X, V, false>(t, sums, stage);
                }
                let narrow = X::Narrow::new(stage.zero_point, stage.range, t.cols);
                for i in 0..t.rows {
                    let mut y = [X::zero(); V];
                    for v in 0..V {
                        y[v] = X::load(sums.add((i * V + v) * X::LANES));
                    }
                    narrow.store(y, c.add(i * t.ldc));
                }
            }
            Out::Bytes { c, stage } => store_bytes::<X, V>(t, sums, c, stage),
            Out::Floats { c, stage } => store_floats::<X, V>(t, sums, c, stage),
            Out::Sums { .. } => unreachable!("these the tile stores itself"),
        }
    }
}

/// Replaces the sums by values in fixed point, but for the zero point and the range.
///
/// # Safety
/// The contract of [`finish`]; `stage` is the output's.
#[inline(always)]
unsafe fn fixed_point<X: Vector, const V: usize, const AWAY: bool>(
    t: &Args<'_>,
    sums: *mut i32,
    stage: &TileFixedPoint<'_>,
) {
    // SAFETY: there are values for all columns of the panels, and sums for all rows.
    unsafe {
        // Down the columns, whose values then stay in registers.
        for v in 0..V {
            let load = |values: &[i32]| X::load(values.as_ptr().add(t.first_col + X::LANES * v));
            let (m, nudge, negative) = (load(stage.m), load(stage.nudge), load(stage.negative));
            let (before, one) = (load(stage.before), load(stage.one));
            // A product takes two lanes: those of even lanes are made in place, those of odd ones moved down.
            let (m_odd, nudge_odd, nudge_even) = (m.odd(), nudge.odd(), nudge.even());
            for i in 0..t.rows {
                let sum = sums.add((i * V + v) * X::LANES);
                let x = X::load(sum);
                let (mut even, mut odd) = (x.mul_even(m), x.odd().mul_even(m_odd));
                if AWAY {
                    even = even.add_64(even.sign_64());
                    odd = odd.add_64(odd.sign_64());
                }
                let even = even.add_64(nudge_even).shift_right_31();
                let odd = odd.add_64(nudge_odd).shift_left_1();
                let low = even.with_odd(odd).sub_if_negative(negative).shift_right_each(before);
                low.add(one).shift_right_each(one).store(sum);
            }
        }
    }
}

/// The scale of row `i`, of those of this tile, in all lanes; `None` if rows have none.
///
/// # Safety
/// `rows` holds the tile's rows; and the contract of [`Vector`].
#[inline(always)]
unsafe fn row_scale<X: Vector>(t: &Args<'_>, rows: Option<&[f32]>, i: usize) -> Option<X::Floats> {
    // SAFETY: the caller's promise.
    rows.map(|rows| unsafe { X::splat_float(*rows.get_unchecked(t.first_row + i)) })
}

/// A vector of sums of row `i` from column `j` on, both in this tile, with the terms in f64 if there are any, rounded to
/// f32.
///
/// # Safety
/// The terms have the row and whole panels of columns; and the contract of [`Vector`].
#[inline(always)]
unsafe fn to_floats<X: Vector>(
    t: &Args<'_>,
    sum: X,
    terms: &Option<F64Terms<'_>>,
    i: usize,
    j: usize,
) -> X::Floats {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(terms) = terms else { return sum.to_floats() };
        let row = terms.row.map(|row| *row.get_unchecked(t.first_row + i));
        sum.to_floats_with_terms(terms.col.as_ptr().add(t.first_col + j), row)
    }
}

/// Stores 8-bit values with all that a [`TileRequantize`] can have.
///
/// # Safety
/// The contract of [`finish`]; `c` and `stage` are the output's.
#[inline(always)]
unsafe fn store_bytes<X: Vector, const V: usize>(
    t: &Args<'_>,
    sums: *const i32,
    c: *mut u8,
    stage: &TileRequantize<'_>,
) {
    // SAFETY: there are scales and terms for all columns of the panels and for the rows, sums for the rows, and rows of
    // `cols` bytes of the residual and of the output.
    unsafe {
        let narrow = X::Narrow::new(stage.zero_point, stage.range, t.cols);
        let most = X::splat_float(MAX_BEFORE_ROUNDING);
        for i in 0..t.rows {
            let row_scale = row_scale::<X>(t, stage.row_scale, i);
            let residual = stage.residual.map(|residual| {
                let from = residual.values.at(t.first_row + i, t.first_col, c.add(i * t.ldc));
                let (flip, zero_point) = residual.as_u8();
                let values: [X; V] = narrow.load_row(from, flip);
                (values, X::splat(zero_point), X::splat_float(residual.scale))
            });
            let mut y = [X::zero(); V];
            for v in 0..V {
                let (sum, j) = (X::load(sums.add((i * V + v) * X::LANES)), X::LANES * v);
                let x = to_floats(t, sum, &stage.f64_terms, i, j);
                let mut scale = X::load_floats(stage.scale.as_ptr().add(t.first_col + j));
                if let Some(row) = row_scale {
                    scale = X::mul_floats(row, scale);
                }
                let mut x = X::mul_floats(x, scale);
                if let Some((values, zero_point, scale)) = residual {
                    let values = values[v].sub(zero_point).to_floats();
                    x = X::add_floats(x, X::mul_floats(values, scale));
                }
                y[v] = X::round(X::at_most(x, most));
            }
            narrow.store(y, c.add(i * t.ldc));
        }
    }
}

/// Stores f32 values with all that a [`TileDequantize`] can have.
///
/// # Safety
/// The contract of [`finish`]; `c` and `stage` are the output's.
#[inline(always)]
unsafe fn store_floats<X: Vector, const V: usize>(
    t: &Args<'_>,
    sums: *const i32,
    c: *mut f32,
    stage: &TileDequantize<'_>,
) {
    // SAFETY: there are scales, biases and terms for all columns of the panels and for the rows, sums for the rows, and
    // rows of `cols` numbers of the residual; the mask keeps its loads, and stores, to the columns of a row.
    unsafe {
        let (lo, hi) = (X::splat_float(stage.range.0), X::splat_float(stage.range.1));
        let bias = stage.bias_from(t.first_col);
        let last = last_mask::<X, V>(t.cols);
        for i in 0..t.rows {
            let row_scale = row_scale::<X>(t, stage.row_scale, i);
            for v in 0..V {
                let (sum, j) = (X::load(sums.add((i * V + v) * X::LANES)), X::LANES * v);
                let x = to_floats(t, sum, &stage.f64_terms, i, j);
                let mut scale = X::load_floats(stage.scale.as_ptr().add(t.first_col + j));
                if let Some(row) = row_scale {
                    scale = X::mul_floats(row, scale);
                }
                let mut x = X::add_floats(X::mul_floats(x, scale), X::load_floats(bias.add(j)));
                let c = c.add(i * t.ldc).wrapping_add(j);
                if let Some(residual) = &stage.residual {
                    let from = residual.at(t.first_row + i, t.first_col + j, c);
                    let values = if v + 1 < V {
                        X::load_floats(from)
                    } else {
                        X::load_masked(from.cast(), last).bits_as_floats()
                    };
                    x = X::add_floats(x, values);
                }
                let x = X::at_most(X::at_least(x, lo), hi);
                if v + 1 < V {
                    X::store_floats(x, c);
                } else {
                    X::store_floats_masked(x, c, last);
                }
            }
        }
    }
}
