//! Parameters from ranges and from data, and single values by them.

use crate::support::{Random, cases};
use qgemm::*;

const Q_RANGES: [(i32, i32); 6] = [(0, 255), (-128, 127), (-127, 127), (-8, 7), (1, 2), (-300, -45)];
/// The greatest magnitude of a zero point that `Requantize` takes.
const LIMIT: i32 = 1 << 21;

fn with(scale: f32, zero_point: i32) -> QuantParams {
    QuantParams { scale, zero_point }
}

/// A finite f32 of any magnitude.
fn any(random: &mut Random) -> f32 {
    let x = f32::from_bits(random.next() as u32);
    if x.is_finite() { x } else { 0.0 }
}

fn magnitude(zero_point: i32) -> i64 {
    i64::from(zero_point).abs()
}

#[test]
fn ranges_hold_0_and_so_do_the_integers() {
    let mut random = Random(3);
    for case in 0..cases(20_000) {
        let (x, y) = match case % 4 {
            0 => (any(&mut random), any(&mut random)),
            1 => (random.below(1000) as f32 / 7.0, random.below(1000) as f32 / 7.0),
            2 => (f32::from_bits(random.below(3000) as u32), -f32::from_bits(random.below(3000) as u32)),
            _ => {
                let x = any(&mut random);
                (x, x)
            }
        };
        let (lo, hi) = (x.min(y), x.max(y));
        for (qmin, qmax) in Q_RANGES {
            let got = QuantParams::from_range(lo, hi, qmin, qmax);
            assert_eq!(got, QuantParams::from_range(f64::from(lo), f64::from(hi), qmin, qmax));
            assert_eq!(got, QuantParams::from_data(&[y, x, lo], qmin, qmax));
            let (lo, hi) = (f64::from(lo.min(0.0)), f64::from(hi.max(0.0)));
            let scale = ((hi - lo) / f64::from(qmax - qmin)) as f32;
            if scale.is_infinite() {
                assert!(matches!(got, Err(Error::Scale { argument: "scale", .. })), "{got:?}");
                continue;
            }
            let got = got.unwrap();
            if scale == 0.0 {
                assert_eq!(got, with(1.0, 0.clamp(qmin, qmax)), "{lo:e} {hi:e}");
                continue;
            }
            assert_eq!(got.scale, scale, "{lo:e} {hi:e}");
            // The end of a range that begins or ends with 0; else within half a step of the exact place of 0.
            assert!((qmin..=qmax).contains(&got.zero_point), "{lo:e} {hi:e}: {got:?}");
            let place = f64::from(qmin) - lo / (hi - lo) * f64::from(qmax - qmin);
            assert!((f64::from(got.zero_point) - place).abs() < 0.500_001, "{lo:e} {hi:e}: {got:?}");
            if lo == 0.0 || hi == 0.0 {
                assert_eq!(got.zero_point, if lo == 0.0 { qmin } else { qmax });
            }
        }
    }
}

#[test]
fn known_ranges() {
    let range = |lo: f64, hi: f64| QuantParams::from_range(lo, hi, 0, 255).unwrap();
    assert_eq!(range(-51.0, 204.0), with(1.0, 51));
    assert_eq!(range(51.0, 51.0), with(0.2, 0));
    assert_eq!(range(3.0, 6.0), with(6.0 / 255.0, 0));
    assert_eq!(range(-6.0, -3.0), with(6.0 / 255.0, 255));
    // Nothing but 0, or what is 0 in steps of an f32.
    assert_eq!(range(0.0, 0.0), with(1.0, 0));
    assert_eq!(range(0.0, 1e-60), with(1.0, 0));
    assert_eq!(range(-1e-60, 1e-60), with(1.0, 0));
    assert_eq!(QuantParams::from_range(0.0, 0.0, 5, 9), Ok(with(1.0, 5)));
    assert_eq!(QuantParams::from_range(-0.0, 0.0, -9, -5), Ok(with(1.0, -5)));
    assert_eq!(QuantParams::from_range(0, 1, 0, 255), QuantParams::from_range(0f32, 1f32, 0, 255));
    let tight = |lo: f64, hi: f64| QuantParams::from_range_tight(lo, hi, 0, 255).unwrap();
    assert_eq!(tight(3.0, 6.0), with(3.0 / 255.0, -255));
    assert_eq!(tight(-51.0, 204.0), with(1.0, 51));
}

#[test]
fn wrong_ranges_are_refused() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    let wrong = [(2.0, 1.0), (0.0, -1e-300), (nan, 1.0), (0.0, nan), (0.0, infinity), (-infinity, 0.0)];
    let wrong = wrong.into_iter().chain([(infinity, infinity), (-infinity, -infinity), (-1e308, 1e308)]);
    for (lo, hi) in wrong {
        for result in [QuantParams::from_range(lo, hi, 0, 255), QuantParams::from_range_tight(lo, hi, 0, 255)]
        {
            let Err(Error::QuantizationRange { got }) = result else { panic!("{lo} {hi}: {result:?}") };
            assert_eq!((got.0.to_bits(), got.1.to_bits()), (lo.to_bits(), hi.to_bits()));
        }
    }
    assert!(matches!(QuantParams::from_range_tight(1.0, 1.0, 0, 255), Err(Error::QuantizationRange { .. })));
    for (qmin, qmax) in [(3, 3), (4, 3), (i32::MAX, i32::MIN)] {
        for data in [&[][..], &[0.0], &[1.0], &[1.0, 2.0]] {
            for result in [
                QuantParams::from_data(data, qmin, qmax),
                QuantParams::from_data_tight(data, qmin, qmax),
                QuantParams::from_range(1.0, 2.0, qmin, qmax),
                QuantParams::from_range_tight(1.0, 2.0, qmin, qmax),
            ] {
                assert!(matches!(result, Err(Error::Range { argument: "qmax", .. })), "{result:?}");
            }
        }
    }
    for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for data in [[wrong, 1.0], [0.0, wrong]] {
            for result in [QuantParams::from_data(&data, 0, 255), QuantParams::from_data_tight(&data, 0, 255)]
            {
                assert!(matches!(result, Err(Error::QuantizationRange { .. })), "{result:?}");
            }
        }
    }
    for wrong in [-1.0, -f32::from_bits(1), f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let result = QuantParams::symmetric(wrong);
        assert!(matches!(result, Err(Error::FloatRange { argument: "max_abs", .. })), "{result:?}");
    }
}

/// Data that are nearly constant have the parameters of constant data, or ones that an output can have.
#[test]
fn nearly_constant_data_are_like_constant_data() {
    let tight = |data: &[f32]| QuantParams::from_data_tight(data, 0, 255).unwrap();
    assert_eq!(tight(&[5.0, 5.0]), with(5.0 / 255.0, 0));
    assert_eq!(tight(&[5.0, 5.000_000_5]), with(5.000_000_5 / 255.0, 0));
    assert_eq!(tight(&[100.0, 100.001]), with(100.001 / 255.0, 0));
    assert_eq!(tight(&[-100.001, -100.0]), with(100.001 / 255.0, 255));
    assert_eq!(tight(&[3.0, 6.0]), with(3.0 / 255.0, -255));
    let mut random = Random(4);
    for case in 0..cases(20_000) {
        let x = any(&mut random);
        let ulps = if case % 2 == 0 { random.below(10) } else { 1 << random.below(32) } as u32;
        let y = f32::from_bits(x.to_bits().wrapping_add(ulps));
        let y = if y.is_finite() { y } else { x };
        for (qmin, qmax) in Q_RANGES {
            if (qmin, qmax) == (1, 2) {
                continue;
            }
            let got = QuantParams::from_data_tight(&[x, y, x], qmin, qmax).unwrap();
            assert!(got.scale > 0.0 && got.scale.is_finite(), "{x:e} {y:e}: {got:?}");
            assert!(Requantize::new(1.0, got.zero_point).is_ok(), "{x:e} {y:e}: {got:?}");
            let (lo, hi) = (x.min(y), x.max(y));
            let as_given = QuantParams::from_range_tight(lo, hi, qmin, qmax);
            let widened = QuantParams::from_data(&[lo, hi], qmin, qmax).unwrap();
            match as_given {
                Ok(params) if magnitude(params.zero_point) <= LIMIT.into() => assert_eq!(got, params),
                _ => assert_eq!(got, widened),
            }
        }
    }
    for data in [&[][..], &[0.0], &[-0.0, 0.0], &[f32::from_bits(1); 3]] {
        assert_eq!(tight(data), with(1.0, 0));
        assert_eq!(QuantParams::from_data(data, 0, 255), Ok(with(1.0, 0)));
        assert_eq!(QuantParams::from_data(data, 3, 9), Ok(with(1.0, 3)));
    }
}

#[test]
fn symmetric_parameters_are_those_of_rows() {
    let mut random = Random(5);
    for case in 0..cases(2000) {
        let max_abs =
            [0.0, -0.0, f32::from_bits(40), f32::from_bits(100), f32::MAX, 1.0, any(&mut random).abs()];
        let max_abs = max_abs[case % 7];
        let params = QuantParams::symmetric(max_abs).unwrap();
        let x = [max_abs, -max_abs, max_abs / 3.0];
        let (mut out, mut scales) = ([0i8; 3], [0f32]);
        let view = MatMut::row_major(&mut out, 1, 3).unwrap();
        quantize_rows(MatRef::row_major(&x, 1, 3).unwrap(), view, &mut scales).unwrap();
        assert_eq!(params, with(scales[0], 0));
        assert_eq!(out, x.map(|x| params.quantize::<i8>(x).max(-127)), "{max_abs:e}");
    }
    assert_eq!(QuantParams::symmetric(254.0), Ok(with(2.0, 0)));
    assert_eq!(QuantParams::symmetric(f32::from_bits(1)), Ok(with(1.0, 0)));
}

#[test]
fn a_value_is_quantized_and_dequantized_as_in_a_slice() {
    let mut random = Random(6);
    let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN_POSITIVE];
    for case in 0..cases(3000) {
        let zero_points = [0, 3, -190, 300, i32::MIN, i32::MAX, 1 << 22, random.next() as i32];
        let params = with(any(&mut random).abs().max(f32::from_bits(1)), zero_points[case % 8]);
        let x = specials
            .into_iter()
            .chain((0..9).map(|_| (random.below(2000) as f32 - 1000.0) / 4.0 * params.scale));
        let x: Vec<f32> = x.collect();
        let (mut i, mut u) = (vec![0i8; x.len()], vec![0u8; x.len()]);
        quantize(&x, params, &mut i).unwrap();
        quantize(&x, params, &mut u).unwrap();
        assert_eq!(i, x.iter().map(|x| params.quantize(*x)).collect::<Vec<i8>>(), "{params:?}");
        assert_eq!(u, x.iter().map(|x| params.quantize(*x)).collect::<Vec<u8>>(), "{params:?}");
        let (mut of_i, mut of_u) = (vec![0f32; x.len()], vec![0f32; x.len()]);
        dequantize(&i, params, &mut of_i).unwrap();
        dequantize(&u, params, &mut of_u).unwrap();
        assert_eq!(of_i, i.iter().map(|q| params.dequantize(*q)).collect::<Vec<f32>>(), "{params:?}");
        assert_eq!(of_u, u.iter().map(|q| params.dequantize(*q)).collect::<Vec<f32>>(), "{params:?}");
    }
    // The formula's results for scales that slices are refused with.
    assert_eq!([1.0, -1.0, 0.0].map(|x| with(0.0, 3).quantize::<i8>(x)), [127, -128, 3]);
    assert_eq!(with(-0.5, 3).quantize::<u8>(-2.0), 7);
    assert_eq!(with(f32::INFINITY, 3).quantize::<u8>(5.0), 3);
    assert_eq!(with(f32::NAN, -3).quantize::<u8>(5.0), 0);
    assert_eq!((with(0.0, 3).dequantize(7u8), with(-0.5, 3).dequantize(7i8)), (0.0, -2.0));
    assert!(with(f32::NAN, 3).dequantize(7i8).is_nan());
}
