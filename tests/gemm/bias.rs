//! Biases and scales of a layer: against integer arithmetic, and at the ends of their ranges.

use crate::support::{Random, cases};
use qgemm::*;

/// A finite f32 as `mantissa · 2^exponent`.
fn parts(x: f32) -> (i128, i32) {
    let (sign, exponent, fraction) =
        (x.is_sign_negative(), x.to_bits() >> 23 & 0xff, x.to_bits() & 0x7f_ffff);
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 23 };
    let mantissa = i128::from(mantissa) * if sign { -1 } else { 1 };
    (mantissa, exponent.max(1) as i32 - 150)
}

/// `x / (a · b)`, exactly: its nearest integer, ties to even, and whether it is so near to a half that f64 may have
/// rounded to the other side. `None` if it is far beyond i32.
fn exact(x: f32, a: f32, b: f32) -> Option<(i128, bool)> {
    let ((x, ex), (a, ea), (b, eb)) = (parts(x), parts(a), parts(b));
    let (num, den, shift) = (x.abs(), a * b, ex - ea - eb);
    // Shifted by less than 2^-63 it is 0, by more than 2^79 it is beyond i32, unless it is 0.
    let (num, den) = match shift {
        ..-75 => (0, 1),
        -75..0 => (num, den << -shift),
        0..80 => (num << shift, den),
        _ if num == 0 => (0, 1),
        _ => return None,
    };
    let (whole, rest) = (num / den, num % den);
    let nearest = whole + i128::from(2 * rest > den || 2 * rest == den && whole % 2 == 1);
    let distance = (2 * rest - den).abs();
    Some((nearest * x.signum(), distance != 0 && distance < den >> 20))
}

/// A positive f32, normal or not.
fn scale(random: &mut Random) -> f32 {
    f32::from_bits(1 + random.below(0x7f7f_ffff) as u32)
}

#[test]
fn biases_are_quotients_rounded_to_integers() {
    let mut random = Random(9);
    let (mut fits, mut overflows) = (0, 0);
    for case in 0..cases(200_000) {
        let (a, b) = (scale(&mut random), scale(&mut random));
        let unit = f64::from(a) * f64::from(b);
        // About every integer and half, and about the ends of i32.
        let steps = match case % 4 {
            0 => (random.below(2000) as f64 - 1000.0) / 2.0,
            1 => f64::from(random.next() as i32),
            2 => f64::from(i32::MAX) + random.below(512) as f64 - 256.0,
            _ => f64::from(i32::MIN) + random.below(512) as f64 - 256.0,
        };
        let bias = (steps * unit) as f32;
        if !bias.is_finite() {
            continue;
        }
        let mut out = [77];
        let result = quantize_bias(&[bias], a, b, &mut out);
        let Some((want, near_half)) = exact(bias, a, b) else {
            assert!(matches!(result, Err(Error::Bias { index: 0, .. })), "{bias:e} / ({a:e} · {b:e})");
            continue;
        };
        match i32::try_from(want) {
            Ok(want) if !near_half => {
                assert_eq!((result, out[0]), (Ok(()), want), "{bias:e} / ({a:e} · {b:e})");
                fits += 1;
            }
            Err(_) if !near_half => {
                assert!(matches!(result, Err(Error::Bias { index: 0, .. })), "{bias:e} / ({a:e} · {b:e})");
                assert_eq!(out, [77], "written although refused");
                overflows += 1;
            }
            _ => (),
        }
    }
    assert!(fits > cases(50_000) && overflows > cases(10_000), "{fits} {overflows}");
}

#[test]
fn biases_at_the_ends_of_i32() {
    let mut out = [0; 4];
    // The scales make units of 2, 1, 2^-64 and 2^-64.
    let tiny = 2f32.powi(-65);
    let (min, below_max) = (-(2f32.powi(31)), 2f32.powi(31) - 128.0);
    let biases = [2.0 * min, below_max, min * tiny * 2.0, below_max * tiny * 2.0];
    quantize_bias(&biases, 2.0, &[1.0, 0.5, tiny, tiny], &mut out).unwrap();
    assert_eq!(out, [i32::MIN, i32::MAX - 127, i32::MIN, i32::MAX - 127]);
    // Ties to even, to 0 as well; one scale for all.
    quantize_bias(&[0.25, -0.75, 1.25, -0.0], 0.25, 2.0, &mut out).unwrap();
    assert_eq!(out, [0, -2, 2, 0]);
    let refused = |bias: f32| {
        let mut out = [77; 3];
        let error = quantize_bias(&[1.0, bias, 2.0], 1.0, &[1.0; 3], &mut out).unwrap_err();
        assert_eq!(out, [77; 3], "written although refused");
        assert!(matches!(error, Error::Bias { index: 1, .. }), "{error}");
        error
    };
    assert_eq!(refused(2f32.powi(31)), Error::Bias { index: 1, got: 2f64.powi(31) });
    assert_eq!(refused(f32::INFINITY), Error::Bias { index: 1, got: f64::INFINITY });
    refused(-(2f32.powi(31) + 256.0));
    refused(f32::NAN);
    let mut none = [];
    quantize_bias(&[], 1.0, &[], &mut none).unwrap();
    quantize_bias(&[], 1.0, 1.0, &mut none).unwrap();
}

#[test]
fn scales_of_columns_are_those_of_single_columns() {
    let mut random = Random(10);
    let mut refused = 0;
    for _ in 0..cases(2000) {
        let (a, y) = (scale(&mut random), scale(&mut random));
        let b: Vec<f32> = (0..random.below(5)).map(|_| scale(&mut random)).collect();
        let products: Vec<f32> = b.iter().map(|b| a * b).collect();
        let quotients: Vec<f32> = b.iter().map(|&b| a * b / y).collect();
        assert!(b.iter().zip(&quotients).all(|(&b, want)| requantize_scale(a, b, y) == *want));
        let mut out = vec![-7f32; b.len()];
        let wrong = |got: &f32| !(*got > 0.0 && got.is_finite());
        let mut check = |result: Result<(), Error>, out: &mut Vec<f32>, want: &[f32]| {
            match want.iter().position(wrong) {
                Some(index) => {
                    let error = Error::Scale { argument: "out", index, got: want[index], positive: true };
                    assert_eq!(result, Err(error));
                    assert!(out.iter().all(|out| *out == -7.0), "written although refused");
                    refused += 1;
                }
                None => assert_eq!((result, &out[..]), (Ok(()), want)),
            }
            out.fill(-7.0);
        };
        let result = requantize_scales(a, &b, y, &mut out);
        check(result, &mut out, &quotients);
        let result = product_scales(a, &b, &mut out);
        check(result, &mut out, &products);
    }
    assert!(refused > 0);
}

#[test]
fn scales_that_are_wrong_are_named() {
    for wrong in [0.0, -0.0, -1.0, f32::INFINITY, f32::NAN] {
        let check = |argument: &str, index: usize, result: Result<(), Error>| {
            let Err(Error::Scale { argument: a, index: i, got, positive: true }) = result else {
                panic!("{result:?}")
            };
            assert_eq!((a, i, got.to_bits()), (argument, index, wrong.to_bits()));
        };
        let (mut out, mut sums) = ([5f32; 2], [5; 2]);
        check("a_scale", 0, requantize_scales(wrong, &[1.0, 1.0], 1.0, &mut out));
        check("b_scales", 1, requantize_scales(1.0, &[1.0, wrong], 1.0, &mut out));
        check("y_scale", 0, requantize_scales(1.0, &[1.0, 1.0], wrong, &mut out));
        check("a_scale", 0, product_scales(wrong, &[1.0, 1.0], &mut out));
        check("b_scales", 1, product_scales(1.0, &[1.0, wrong], &mut out));
        check("a_scale", 0, quantize_bias(&[1.0, 1.0], wrong, 1.0, &mut sums));
        check("b_scale", 0, quantize_bias(&[1.0, 1.0], 1.0, wrong, &mut sums));
        check("b_scale", 1, quantize_bias(&[1.0, 1.0], 1.0, &[1.0, wrong], &mut sums));
        assert_eq!((out, sums), ([5.0; 2], [5; 2]), "written although refused");
    }
}
