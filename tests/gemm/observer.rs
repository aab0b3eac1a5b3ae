//! Observers against plain loops and against sorting.

use crate::support::{Random, cases};
use qgemm::*;

fn is_thread_safe<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}

/// Batches of values of several kinds: spread, of one sign, mostly 0, of any magnitude, subnormal, all alike.
fn batches(case: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let alike = f32::from_bits(random.next() as u32 & 0xbfff_ffff);
    let value = |random: &mut Random| match case % 6 {
        0 => (random.below(20_000) as f32 - 7000.0) / 1000.0,
        1 => -(1.0 + random.below(1000) as f32),
        2 => [0.0, -0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, -f32::from_bits(1)][random.below(10)],
        3 => f32::from_bits(random.next() as u32 & 0xbfff_ffff),
        4 => f32::from_bits(random.below(200_000) as u32 | (random.below(2) as u32) << 31),
        _ => alike,
    };
    let count = 1 + random.below(5);
    (0..count).map(|_| (0..random.below(300)).map(|_| value(random)).collect()).collect()
}

fn observed(mut observer: Observer, batches: &[Vec<f32>]) -> Observer {
    batches.iter().for_each(|batch| observer.observe(batch).unwrap());
    observer
}

/// The least and the greatest value, which is f32.
fn ends(values: &[f32]) -> Option<(f64, f64)> {
    let ends = values.iter().map(|x| (f64::from(*x), f64::from(*x)));
    ends.reduce(|(lo, hi), (x, _)| (lo.min(x), hi.max(x)))
}

#[test]
fn the_range_is_that_of_all_values() {
    let mut random = Random(1);
    for case in 0..cases(600) {
        let batches = batches(case, &mut random);
        let observer = observed(Observer::min_max(), &batches);
        let all = batches.concat();
        assert_eq!(observer.range(), ends(&all));
        let all_percent = observed(Observer::percentile(100.0).unwrap(), &batches);
        assert_eq!(all_percent.range(), ends(&all));
        if all.is_empty() {
            continue;
        }
        for (qmin, qmax) in [(0, 255), (-127, 127)] {
            assert_eq!(observer.params(qmin, qmax), QuantParams::from_data(&all, qmin, qmax));
            assert_eq!(observer.params_tight(qmin, qmax), QuantParams::from_data_tight(&all, qmin, qmax));
        }
        let max_abs = all.iter().fold(0f32, |max, x| max.max(x.abs()));
        assert_eq!(observer.symmetric_params(), QuantParams::symmetric(max_abs));
    }
}

#[test]
fn a_moving_average_follows_the_batches() {
    let mut random = Random(2);
    for case in 0..cases(600) {
        let batches = batches(case, &mut random);
        let constant = [1.0, 0.01, 0.5, f64::MIN_POSITIVE][random.below(4)];
        let observer = observed(Observer::moving_average(constant).unwrap(), &batches);
        let mut want: Option<(f64, f64)> = None;
        for (lo, hi) in batches.iter().filter_map(|batch| ends(batch)) {
            want = Some(match want {
                None => (lo, hi),
                Some((min, max)) => (min + constant * (lo - min), max + constant * (hi - max)),
            });
        }
        assert_eq!(observer.range(), want);
        if let Some((lo, hi)) = want {
            assert_eq!(observer.params(0, 255), QuantParams::from_range(lo, hi, 0, 255));
        }
    }
    let mut observer = Observer::moving_average(0.25).unwrap();
    for (batch, range) in [
        ([1.0, 3.0], (1.0, 3.0)),
        ([5.0, 11.0], (2.0, 5.0)),
        ([-2.0, 1.0], (1.0, 4.0)),
        ([2.5, 2.5], (1.375, 3.625)),
    ] {
        observer.observe(&batch).unwrap();
        assert_eq!(observer.range(), Some(range));
    }
    // The sum for the lower end rounds up, past the upper one.
    let mut observer = Observer::moving_average(1.0).unwrap();
    observer.observe(&[-1e30, 1e14]).unwrap();
    observer.observe(&[1e14, 1e14]).unwrap();
    let (lo, hi) = observer.range().unwrap();
    assert!(lo <= hi, "{lo} {hi}");
    observer.params(0, 255).unwrap();
}

#[test]
fn percentiles_are_those_of_sorted_values_within_a_bin() {
    let mut random = Random(3);
    for case in 0..cases(600) {
        let mut batches = batches(case, &mut random);
        let thousandths =
            [99_999, 99_998, 99_990, 99_900, 99_000, 90_000, 50_000, 1000, 0, 100_000][random.below(10)];
        let percent = (thousandths as f64 / 1000.0).max(f64::MIN_POSITIVE);
        let observer = observed(Observer::percentile(percent).unwrap(), &batches);
        let mut sorted = batches.concat();
        sorted.sort_by(f32::total_cmp);
        let n = sorted.len();
        let Some((lo, hi)) = observer.range() else {
            assert_eq!(n, 0);
            continue;
        };
        let cut = (n * (100_000 - thousandths) / 200_000).min((n - 1) / 2);
        let (want_lo, want_hi) = (f64::from(sorted[cut]), f64::from(sorted[n - 1 - cut]));
        let within = |want: f64| want.abs() / 128.0 + 2f64.powi(-132);
        assert!(lo <= want_lo && want_lo - lo <= within(want_lo), "{percent} of {n}: {lo:e} {want_lo:e}");
        assert!(hi >= want_hi && hi - want_hi <= within(want_hi), "{percent} of {n}: {hi:e} {want_hi:e}");
        let (least, greatest) = ends(&sorted).unwrap();
        assert!(lo >= least && hi <= greatest);
        // 0 is exact.
        assert!((want_lo != 0.0 || lo == 0.0) && (want_hi != 0.0 || hi == 0.0), "{lo:e} {hi:e}");
        assert_eq!(observer.params(0, 255), QuantParams::from_range(lo, hi, 0, 255));
        let max_abs = (hi as f32).max(-lo as f32);
        assert_eq!(observer.symmetric_params(), QuantParams::symmetric(max_abs));

        // In another order, and divided into other batches.
        batches.reverse();
        batches.iter_mut().for_each(|batch| batch.reverse());
        let mut other = Observer::percentile(percent).unwrap();
        for part in batches.concat().chunks(7) {
            other.observe(part).unwrap();
        }
        assert_eq!(other.range(), observer.range());
    }
    // One of 2000 at each end, though (100 - 99.9) / 200 is a little less than 1 / 2000 in f64.
    let mut observer = Observer::percentile(99.9).unwrap();
    let data: Vec<f32> =
        (0..2000).map(|i| [-1e6, 1.0, 1e6][usize::from(i > 0) + usize::from(i > 1998)]).collect();
    observer.observe(&data).unwrap();
    let (lo, hi) = observer.range().unwrap();
    assert!((0.99..=1.0).contains(&lo) && (1.0..1.01).contains(&hi), "{lo} {hi}");
    let mut observer = Observer::percentile(98.0).unwrap();
    let data: Vec<f32> = (0..1000).map(|i| if i % 200 == 0 { 1e9 } else { (i % 100) as f32 }).collect();
    observer.observe(&data).unwrap();
    // Cut off are 5 times 0 and 5 of 10 times 1; 5 outliers and 5 of 10 times 99. The bin of 99 ends before 99.5.
    let (lo, hi) = observer.range().unwrap();
    assert!(lo == 1.0 && (99.0..99.5).contains(&hi), "{lo} {hi}");
}

/// A few outliers among zeros that are cut off leave the range of zeros, which has the scale 1, not a tiny one.
#[test]
fn outliers_among_zeros() {
    let mut observer = Observer::percentile(99.0).unwrap();
    let mut data = vec![0f32; 1000];
    (data[3], data[500]) = (50.0, -3.0);
    observer.observe(&data).unwrap();
    assert_eq!(observer.range(), Some((0.0, 0.0)));
    assert_eq!(observer.params(0, 255), Ok(QuantParams { scale: 1.0, zero_point: 0 }));
}

#[test]
fn values_that_are_not_finite_leave_an_observer_as_it_was() {
    for observer in
        [Observer::min_max(), Observer::moving_average(0.5).unwrap(), Observer::percentile(90.0).unwrap()]
    {
        is_thread_safe(&observer);
        for before in [&[][..], &[-1.0, 2.0, 5.0]] {
            let mut observer = observer.clone();
            observer.observe(before).unwrap();
            observer.observe(&[]).unwrap();
            let range = observer.range();
            assert_eq!(range.is_none(), before.is_empty());
            for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let error = observer.observe(&[100.0, wrong, f32::NAN, -100.0]);
                let Err(Error::NotFinite { argument: "data", row: 0, column: 1, got }) = error else {
                    panic!("{error:?}")
                };
                assert_eq!(got.to_bits(), wrong.to_bits());
                assert_eq!(observer.range(), range);
            }
            let text = format!("{observer:?}");
            assert!(text.starts_with("Observer") && text.len() < 100, "{text}");
            let missing = |needed_by| Err(Error::Missing { argument: "data", needed_by });
            if range.is_none() {
                assert_eq!(observer.params(0, 255), missing("Observer::params"));
                assert_eq!(observer.params_tight(0, 255), missing("Observer::params_tight"));
                assert_eq!(observer.symmetric_params(), missing("Observer::symmetric_params"));
            }
            observer.observe(&[7.0]).unwrap();
            assert!(observer.range().is_some());
        }
    }
}

#[test]
fn nearly_constant_batches_have_parameters() {
    for observer in
        [Observer::min_max(), Observer::moving_average(0.5).unwrap(), Observer::percentile(99.0).unwrap()]
    {
        for data in [[5.0, 5.000_000_5], [100.0, 100.001], [-1e-40, -1e-40], [0.0, 0.0], [f32::MAX, f32::MAX]]
        {
            let mut observer = observer.clone();
            observer.observe(&data).unwrap();
            for params in [observer.params(0, 255), observer.params_tight(0, 255)] {
                let params = params.unwrap();
                assert!(Requantize::new(params.scale, params.zero_point).is_ok(), "{data:?} {params:?}");
            }
        }
    }
}

#[test]
fn constants_and_percents_outside_of_their_ranges_are_refused() {
    for wrong in [0.0, -0.0, -0.5, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY, f64::from_bits(1)] {
        let error = Observer::moving_average(wrong).unwrap_err();
        assert!(matches!(error, Error::FloatRange { argument: "constant", .. }), "{error}");
        let error = Observer::percentile(wrong * 100.0).unwrap_err();
        assert!(matches!(error, Error::FloatRange { argument: "percent", .. }), "{error}");
    }
}
