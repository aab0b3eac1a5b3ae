//! Kernels that are wrong on purpose, each in its way: the harness must find all of them.

extern crate std;
use super::*;
use crate::contract::args::{Args, MicroFn, Out};
use crate::contract::kernel::Kernel;
use crate::contract::limits::{MAX_I16_GROUPS, MAX_MR, MAX_NR};
use crate::contract::panel::panel_index;
use crate::contract::stage::F64Terms;
use crate::detect::Features;
use crate::scalar;
use crate::selftest::arena::{MAX_M, MAX_N};
use crate::selftest::case::value;
use crate::selftest::stage::round_half_even;
use crate::table::TABLE;
use bytemuck::cast_slice_mut;
use std::{string::String, vec};

fn run_on_heap(kernel: Ready) -> (Outcome, String) {
    let mut lines = vec![crate::contract::panel::Line([0; 64]); ARENA / 64];
    let mut report = String::new();
    (run(kernel, cast_slice_mut(&mut lines), &mut report), report)
}

#[test]
fn the_tables_limits_hold() {
    for kernel in TABLE {
        assert!(kernel.nr <= MAX_NR && kernel.mr <= MAX_MR && 5 * kernel.mr <= MAX_M, "{kernel:?}");
        let mut name = std::format!("{}-{}x{}c{}", kernel.isa, kernel.mr, kernel.nr, kernel.kr);
        if kernel.i16_groups > 0 {
            name += &std::format!("s{}", kernel.i16_groups);
        }
        assert_eq!(kernel.name, name);
        assert!(kernel.kr.is_power_of_two() && kernel.nr.is_power_of_two(), "{kernel:?}");
        assert!(
            kernel.i16_groups <= MAX_I16_GROUPS && MAX_I16_GROUPS.is_multiple_of(kernel.i16_groups.max(1))
        );
    }
}

/// Calls the specification kernel with changed arguments.
///
/// # Safety
/// The arguments keep the contract of [`Args`] after the change too.
unsafe fn forward(t: &Args<'_>, change: impl Fn(&mut Args<'_>)) {
    let mut t = *t;
    change(&mut t);
    // SAFETY: the caller's promise.
    unsafe { scalar::KERNEL.variants[0].micro()(&mut t) }
}

fn outcome_of(micro: MicroFn, fused: bool) -> (Outcome, String) {
    // SAFETY: the wrong kernels below access what the specification kernel does, or less.
    let variants = vec![unsafe { scalar::KERNEL.variants[0].with_code(micro, fused) }].leak();
    let kernel = Kernel::new("test", variants);
    let kernel: &'static Kernel = std::boxed::Box::leak(std::boxed::Box::new(kernel));
    run_on_heap(kernel.ready(&Features::detect()).expect("every CPU has scalar").with_slow_stores(false))
}

/// Terms of columns or of rows, as many as the self-test has at most.
static ZEROS: [i32; MAX_N] = {
    assert!(MAX_M <= MAX_N);
    [0; MAX_N]
};

/// Each of these differs from the specification in one way that a kernel could get wrong.
#[test]
fn wrong_kernels_fail() {
    unsafe fn right(t: &mut Args<'_>) {
        // SAFETY: the arguments ask for no other memory than the caller's, or for less.
        unsafe { forward(t, |_| ()) }
    }
    unsafe fn forgets_c(t: &mut Args<'_>) {
        let (c, _) = t.sums();
        // SAFETY: the arguments ask for no other memory than the caller's, or for less.
        unsafe { forward(t, |t| t.out = Out::Sums { c, accumulate: false }) }
    }
    unsafe fn forgets_the_last_k(t: &mut Args<'_>) {
        // SAFETY: the arguments ask for no other memory than the caller's, or for less.
        unsafe { forward(t, |t| t.k = t.k.saturating_sub(1)) }
    }
    unsafe fn forgets_the_last_row(t: &mut Args<'_>) {
        if t.rows > 1 {
            // SAFETY: the arguments ask for no other memory than the caller's, or for less.
            unsafe { forward(t, |t| t.rows -= 1) }
        }
    }
    unsafe fn forgets_the_last_column(t: &mut Args<'_>) {
        // SAFETY: the arguments ask for no other memory than the caller's, or for less.
        unsafe { forward(t, |t| t.cols -= 1) }
    }
    unsafe fn forgets_column_terms(t: &mut Args<'_>) {
        // SAFETY: the arguments ask for no other memory than the caller's, but for zeros, as many as there are columns.
        unsafe { forward(t, |t| t.col = ZEROS.as_ptr()) }
    }
    unsafe fn forgets_row_terms(t: &mut Args<'_>) {
        // SAFETY: the arguments ask for no other memory than the caller's, but for zeros, as many as there are rows.
        unsafe { forward(t, |t| t.row = ZEROS.as_ptr()) }
    }
    unsafe fn counts_the_padding(t: &mut Args<'_>) {
        // SAFETY: the arguments ask for no other memory than the caller's, or for less.
        unsafe { forward(t, |_| ()) };
        if !t.k.is_multiple_of(4) {
            let (c, _) = t.sums();
            let padding = panel_index(&scalar::KERNEL, scalar::KERNEL.nr, t.k, 0);
            // SAFETY: the panel's last group is padded to 4, and C has an element (0, 0).
            unsafe { *c = (*c).wrapping_add(i32::from(*t.b.add(padding))) };
        }
    }
    unsafe fn saturates(t: &mut Args<'_>) {
        let (c, accumulate) = t.sums();
        // SAFETY: the arguments are the caller's, and C has an element (0, 0).
        unsafe {
            let before = if accumulate { *c } else { 0 };
            let start = before.wrapping_add(*t.col).wrapping_add(*t.row);
            forward(t, |_| ());
            let sum = (*c).wrapping_sub(start);
            *c = start.saturating_add(sum);
        }
    }
    let kernels: [(MicroFn, &str); 9] = [
        (right, ""),
        (forgets_c, "accumulating"),
        (forgets_the_last_k, "k"),
        (forgets_the_last_row, "rows"),
        (forgets_the_last_column, "columns"),
        (forgets_column_terms, "column terms"),
        (forgets_row_terms, "row terms"),
        (counts_the_padding, "padding"),
        (saturates, "wrapping"),
    ];
    for (micro, lacks) in kernels {
        let (outcome, report) = outcome_of(micro, false);
        assert_eq!(outcome.failed > 0, !lacks.is_empty(), "a kernel without {lacks}: {report}");
        assert_eq!(outcome.failed as usize, report.lines().count());
        assert!(outcome.passed > 0 || !lacks.is_empty());
    }
}

/// A fused kernel on top of the specification kernel. Step number `OFF` is wrong; 0 is right.
unsafe fn fused<const OFF: u32>(t: &mut Args<'_>) {
    let mut left = t.rows;
    while left > 0 {
        t.rows = left.min(4);
        // SAFETY: the rows are some of the caller's.
        unsafe { fused_tile::<OFF>(t) };
        left -= t.rows;
        t.move_down(t.rows);
    }
}

unsafe fn fused_tile<const OFF: u32>(t: &Args<'_>) {
    let mut sums = [0i32; 4 * 8];
    let c = sums.as_mut_ptr();
    // SAFETY: a tile of the test kernel is at most 4x8.
    unsafe { forward(t, |t| (t.out, t.ldc) = (Out::Sums { c, accumulate: false }, 8)) };
    for (i, j) in (0..t.rows).flat_map(|i| (0..t.cols).map(move |j| (i, j))) {
        let column = if OFF == 17 { j } else { t.first_col + j };
        let mut sum = sums[8 * i + j];
        let outer = if OFF == 1 { &[] } else { t.outer };
        for outer in outer {
            sum = sum.wrapping_sub(outer.row[t.first_row + i].wrapping_mul(outer.col[t.first_col + j]));
        }
        let row = |scale: Option<&[f32]>| match scale {
            Some(_) if OFF == 2 => 1.0,
            Some(scale) => scale[if OFF == 3 { i } else { t.first_row + i }],
            None => 1.0,
        };
        let as_f32 = |terms: Option<F64Terms<'_>>| match terms {
            Some(terms) if OFF != 14 => {
                let exact =
                    f64::from(sum) + terms.col[column] + terms.row.map_or(0.0, |row| row[t.first_row + i]);
                exact as f32
            }
            _ => sum as f32,
        };
        let at = i * t.ldc + j;
        // SAFETY: (i, j) is an element of the output.
        unsafe {
            match t.out {
                Out::Sums { c, accumulate } => {
                    *c.add(at) = sum.wrapping_add(if accumulate { *c.add(at) } else { 0 });
                }
                Out::Bytes { c, stage } => {
                    let x = as_f32(stage.f64_terms) * (row(stage.row_scale) * stage.scale[column]);
                    let x = match stage.residual {
                        Some(r) if OFF != 15 => {
                            let row = if OFF == 16 { i } else { t.first_row + i };
                            let from = r.values.at(row, column, if OFF == 18 { c } else { c.add(at) });
                            x + (value(*from, r.signed) - r.zero_point) as f32 * r.scale
                        }
                        _ => x,
                    };
                    let up = if x < 0.0 { -0.5 } else { 0.5 };
                    let rounded = if OFF == 4 { (x + up) as i64 } else { round_half_even(x) };
                    let y = rounded.saturating_add(if OFF == 5 { 0 } else { stage.zero_point.into() });
                    let (lo, hi) = if OFF == 6 { (-128, 255) } else { stage.range };
                    *c.add(at) = y.clamp(lo.into(), hi.into()) as u8;
                }
                Out::FixedBytes { c, stage } => {
                    let product = i64::from(sum) * i64::from(stage.m[column]);
                    let less = OFF != 10 && stage.away && product < 0;
                    let nudge = if OFF == 11 { 1 << 30 } else { stage.nudge[column].into() };
                    let high = (product - i64::from(less) + nudge) >> 31;
                    let low =
                        high - if OFF != 12 && high < 0 { i64::from(stage.negative[column]) } else { 0 };
                    let right = stage.before[column] + stage.one[column];
                    let y = match OFF {
                        13 => low >> right,
                        _ => {
                            ((low >> stage.before[column]) + i64::from(stage.one[column]))
                                >> stage.one[column]
                        }
                    };
                    let (lo, hi) = stage.range;
                    *c.add(at) = (y + i64::from(stage.zero_point)).clamp(lo.into(), hi.into()) as u8;
                }
                Out::Floats { c, stage } => {
                    let scale = row(stage.row_scale) * stage.scale[column];
                    let bias = stage.bias.map_or(-0.0, |bias| if OFF == 7 { -0.0 } else { bias[column] });
                    let x = if OFF == 8 {
                        (f64::from(as_f32(stage.f64_terms)) * f64::from(scale) + f64::from(bias)) as f32
                    } else {
                        as_f32(stage.f64_terms) * scale + bias
                    };
                    let x = match stage.residual {
                        Some(r) if OFF != 19 => x + *r.at(t.first_row + i, column, c.add(at)),
                        _ => x,
                    };
                    let (lo, hi) = if OFF == 9 { (f32::MIN, f32::MAX) } else { stage.range };
                    *c.add(at) = if x < lo {
                        lo
                    } else if x > hi {
                        hi
                    } else {
                        x
                    };
                }
            }
        }
    }
}

#[test]
fn wrong_output_stages_fail() {
    let kernels: [(MicroFn, &str); 20] = [
        (fused::<0>, ""),
        (fused::<1>, "outer terms"),
        (fused::<2>, "scales of rows"),
        (fused::<3>, "scales of rows of later tiles"),
        (fused::<4>, "rounding half to even"),
        (fused::<5>, "zero point"),
        (fused::<6>, "range of 8 bits"),
        (fused::<7>, "bias"),
        (fused::<8>, "rounding of each step"),
        (fused::<9>, "range of f32"),
        (fused::<10>, "negative ties away from zero"),
        (fused::<11>, "rounding once"),
        (fused::<12>, "negative ties of a second rounding"),
        (fused::<13>, "rounding of the shift"),
        (fused::<14>, "terms beyond 32 bits"),
        (fused::<15>, "residuals"),
        (fused::<16>, "residuals of later tiles"),
        (fused::<17>, "scales of later panels"),
        (fused::<18>, "residuals in place"),
        (fused::<19>, "residuals of f32"),
    ];
    for (micro, lacks) in kernels {
        let (outcome, report) = outcome_of(micro, true);
        assert_eq!(outcome.failed > 0, !lacks.is_empty(), "a kernel without {lacks}: {report}");
    }
}
