//! Requantization by factors in f64, half away from zero: any sum, then products on every kernel and thread.

use crate::spec;
use crate::stages::{LAYOUTS, SHAPES, each_product, outputs};
use crate::support::{Random, cases};
use qgemm::{Activation, F64Factors, QuantParams, Requantize, Table};

#[track_caller]
fn check(sums: &[i32], factor: f64, zero_point: i32, clamp: (i32, i32)) {
    let output = |_| Requantize::in_f64(factor, zero_point).unwrap().clamp_to(clamp.0, clamp.1);
    let signed = outputs::<i8>(sums, output).map(|got| (got, (-128, 127)));
    let unsigned = outputs::<u8>(sums, output).map(|got| (got, (0, 255)));
    for (got, (lo, hi)) in signed.into_iter().chain(unsigned) {
        for (&sum, got) in sums.iter().zip(got) {
            let range = (clamp.0.max(lo), clamp.1.min(hi));
            let want = spec::real(sum.into(), factor, zero_point, range);
            assert_eq!(got, want, "{sum} · {factor:e} + {zero_point}, in {range:?}");
        }
    }
}

/// Sums about 0 and powers of two, and about every half step from -300 to 300.
fn interesting(factor: f64) -> Vec<i32> {
    let mut sums: Vec<i32> = (-9..=9).collect();
    for bit in 0..32 {
        sums.extend((-2..=2).flat_map(|d| [(1i64 << bit) + d, -(1i64 << bit) + d]).map(|x| x as i32));
    }
    for half in (-600..=600).step_by(7).chain(-5..=5) {
        let middle = (f64::from(half) / 2.0 / factor) as i32;
        sums.extend((-2..=2).map(|d| middle.saturating_add(d)));
    }
    sums
}

#[test]
fn ties_go_away_from_zero() {
    let half = |_| Requantize::in_f64(0.5, 0).unwrap();
    assert!(
        outputs::<i8>(&[-5, -3, -1, 0, 1, 3, 5], half).iter().all(|got| *got == [-3, -2, -1, 0, 1, 2, 3])
    );
    // Next to a tie, and the greatest value below one half, to which half may not just be added.
    let below = |_| Requantize::in_f64(0.5f64.next_down(), 0).unwrap();
    assert!(outputs::<i8>(&[-1, 0, 1], below).iter().all(|got| *got == [0, 0, 0]));
}

#[test]
fn real_factors_are_the_specification_s() {
    let all = (i32::MIN, i32::MAX);
    for shift in -40..=40 {
        for factor in [1.0, 1.0 / 3.0, 1.0 / 49.0, 1.0f64.next_down(), 1.0f64.next_up(), 0.7] {
            let factor = factor * 2f64.powi(shift);
            check(&interesting(factor), factor, shift * 5, all);
        }
    }
    for factor in [0.0, -0.0, f64::from_bits(1), f64::MIN_POSITIVE, f64::MAX, 2f64.powi(-32).next_up()] {
        check(&interesting(0.01), factor, -3, all);
    }
    for zero_point in [1 << 21, -(1 << 21), 127, -128, 255] {
        check(&interesting(0.01), 0.01, zero_point, all);
    }
    for clamp in [(0, 100), (7, 7), (-5, i32::MAX), (i32::MIN, 3), (127, 127), (0, 0)] {
        check(&interesting(0.125), 0.125, 3, clamp);
    }
    let mut random = Random(32);
    for _ in 0..cases(300) {
        let factor = (1.0 + random.next() as f64 / 2f64.powi(64)) * 2f64.powi(random.below(62) as i32 - 31);
        let sums: Vec<i32> = (0..99).map(|_| random.next() as i32 >> random.below(32)).collect();
        check(&sums, factor, random.below(300) as i32 - 150, all);
    }
}

#[test]
fn products_by_real_factors_are_exact_on_every_kernel() {
    let params = |scale, zero_point| QuantParams { scale, zero_point };
    let tanh = Table::<i8>::activation(Activation::Tanh, params(0.05, 4), params(0.01, 0)).unwrap();
    for (shape, layout) in SHAPES.into_iter().zip(LAYOUTS.into_iter().cycle()) {
        let (_, k, n) = shape;
        let usual = 1.0 / (100.0 * (k as f64).sqrt());
        let each: Vec<f64> = (0..n).map(|j| usual * (0.5 + j as f64 / n as f64)).collect();
        for factors in [F64Factors::from(usual), (&each).into()] {
            let output = Requantize::in_f64(factors, -5).unwrap().clamp_to(-100, i32::MAX);
            let at = |j: usize| if let F64Factors::PerAxis(each) = factors { each[j] } else { usual };
            let want = |_, j, sum| spec::real(sum, at(j), -5, (-100, 127));
            each_product::<i8>(shape, layout, &output, want, "real factors");
        }
        let output = Requantize::in_f64(usual, 4).unwrap().table(&tanh);
        let want = |_, _, sum| tanh.get(spec::real(sum, usual, 4, (-128, 127)) as i8).into();
        each_product::<i8>(shape, layout, &output, want, "real factors and a table");
    }
}
