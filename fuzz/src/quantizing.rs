//! Quantization of slices and matrices, parameters from ranges, observers.

use crate::compare::assert_equal;
use crate::float_lhs::FloatMatrix;
use crate::input::Input;
use crate::layers::params;
use crate::operands::{element_type, length};
use crate::place::{Elements, Place};
use crate::values::{Integers, Reals};
use qgemm::{
    ElementType, Int8Element, Observer, QuantParams, dequantize, dynamic_quantize_linear, fold_bias,
    quantize, quantize_bias, quantize_columns, quantize_rows,
};

/// Slices, there and back.
pub fn slices(input: &mut Input<'_>) {
    let (element, len) = (element_type(input), input.number(0..=200));
    let x = Reals::read(input).reals(len);
    match element {
        ElementType::I8 => slices_of::<i8>(input, &x),
        ElementType::U8 => slices_of::<u8>(input, &x),
    }
    let mut q = vec![0u8; x.len()];
    if let Ok(params) = dynamic_quantize_linear(&x, &mut q) {
        let expected: Vec<u8> = x.iter().map(|&x| params.quantize(x)).collect();
        assert_equal("dynamically quantized", &q, &expected);
        assert!(params.scale > 0.0 && params.scale.is_finite() && (0..=255).contains(&params.zero_point));
    } else {
        let range = x.iter().fold((0f32, 0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
        let is_wide = !(range.1 - range.0).is_finite() || !((range.1 - range.0) / 255.0).is_finite();
        assert!(is_wide || x.iter().any(|x| !x.is_finite()), "refused without a reason");
    }
}

fn slices_of<T: Int8Element + crate::compare::Element>(input: &mut Input<'_>, x: &[f32]) {
    let params = params(input);
    let mut q = vec![T::from_bits(3); length(input, x.len())];
    let before = q.clone();
    let is_right = q.len() == x.len() && params.scale > 0.0 && params.scale.is_finite();
    let result = quantize(x, params, &mut q);
    assert_eq!(result.is_ok(), is_right, "{result:?}");
    if !is_right {
        return assert_equal("refused", &q, &before);
    }
    let (lo, hi) = T::TYPE.range();
    for (&x, &q) in x.iter().zip(&q) {
        let steps = f64::from(x / params.scale).round_ties_even();
        let steps = if steps.is_nan() { 0.0 } else { steps };
        let expected = (steps + f64::from(params.zero_point)).clamp(lo.into(), hi.into()) as i32;
        assert_eq!(q.to_i32(), expected, "{x} by {params:?}");
        assert_eq!(params.quantize::<T>(x).to_i32(), expected, "{x} by {params:?}, alone");
    }
    let mut back = vec![0f32; q.len()];
    dequantize(&q, params, &mut back).expect("the scale is right");
    for ((&x, &q), &back) in x.iter().zip(&q).zip(&back) {
        let real = (i64::from(q.to_i32()) - i64::from(params.zero_point)) as f32 * params.scale;
        assert_eq!((back.to_bits(), params.dequantize(q).to_bits()), (real.to_bits(), real.to_bits()));
        // Half a step and what f32 rounds off, unless it saturates.
        let inside = q.to_i32() > lo && q.to_i32() < hi && back.is_finite();
        let most = f64::from(params.scale) * 0.500_1 + f64::from(x.abs()) * 1e-6;
        let error = (f64::from(x) - f64::from(back)).abs();
        assert!(!inside || x.is_nan() || error <= most, "{x} became {back} by {params:?}");
    }
    biases(input, params, &q);
}

/// A quantized bias in the scale of sums, and a float one.
fn biases<T: Int8Element>(input: &mut Input<'_>, params: QuantParams, q: &[T]) {
    let (a, b) = (self::params(input).scale, self::params(input).scale);
    let mut sums = vec![5; q.len()];
    if fold_bias(q, params, a, b, &mut sums).is_ok() {
        for (q, sum) in q.iter().zip(&sums) {
            let real =
                f64::from(params.scale) * (i64::from(q.to_i32()) - i64::from(params.zero_point)) as f64;
            assert_eq!(f64::from(*sum), (real / (f64::from(a) * f64::from(b))).round_ties_even());
        }
    } else {
        assert!(sums.iter().all(|sum| *sum == 5));
    }
    let bias = Reals::read(input).reals(q.len());
    let mut sums = vec![5; q.len()];
    if quantize_bias(&bias, a, b, &mut sums).is_ok() {
        for (bias, sum) in bias.iter().zip(&sums) {
            assert_eq!(f64::from(*sum), (f64::from(*bias) / (f64::from(a) * f64::from(b))).round_ties_even());
        }
    } else {
        assert!(sums.iter().all(|sum| *sum == 5));
    }
}

/// A range of integers, mostly that of a type.
fn q_range(input: &mut Input<'_>) -> (i32, i32) {
    match input.byte() % 4 {
        0 => (0, 255),
        1 => (-128, 127),
        2 => (i32::from(input.byte()) - 128, i32::from(input.byte())),
        _ => (Integers::read(input).integer(), Integers::read(input).integer()),
    }
}

/// A real number, of f32 or of f64.
fn real(input: &mut Input<'_>) -> f64 {
    if input.one_in(4) { f64::from_bits(input.long()) } else { Reals::read(input).real().into() }
}

fn check_params(params: QuantParams, (qmin, qmax): (i32, i32), is_within: bool) {
    assert!(params.scale > 0.0 && params.scale.is_finite() && qmin < qmax, "{params:?}");
    assert!(!is_within || (qmin..=qmax).contains(&params.zero_point), "{params:?} of {qmin}..={qmax}");
}

/// Parameters from ranges and from data.
pub fn ranges(input: &mut Input<'_>) {
    let ((lo, hi), (qmin, qmax)) = ((real(input), real(input)), q_range(input));
    if let Ok(params) = QuantParams::from_range(lo, hi, qmin, qmax) {
        check_params(params, (qmin, qmax), true);
        // Both ends are within half a step of what integers stand for, and what f32 rounds off.
        let at = |q: i32| (f64::from(q) - f64::from(params.zero_point)) * f64::from(params.scale);
        let (width, scale) = (hi.max(0.0) - lo.min(0.0), f64::from(params.scale));
        let most = scale * 0.501 + width * 1e-6;
        let is_normal = params.scale >= f32::MIN_POSITIVE && width > 0.0 && params.scale != 1.0;
        let is_near = (at(qmin) - lo.min(0.0)).abs() <= most && (at(qmax) - hi.max(0.0)).abs() <= most;
        assert!(!is_normal || is_near, "{lo}..{hi} became {params:?} of {qmin}..={qmax}");
    }
    if let Ok(params) = QuantParams::from_range_tight(lo, hi, qmin, qmax) {
        check_params(params, (qmin, qmax), false);
    }
    let magnitude = lo as f32;
    match QuantParams::symmetric(magnitude) {
        Ok(params) => assert!(params.scale > 0.0 && params.scale.is_finite() && params.zero_point == 0),
        Err(_) => assert!(!magnitude.is_finite() || magnitude < 0.0),
    }
    let len = input.number(0..=70);
    let data = Reals::read(input).reals(len);
    let is_finite = data.iter().all(|x| x.is_finite());
    if let Ok(params) = QuantParams::from_data(&data, qmin, qmax) {
        assert!(is_finite);
        check_params(params, (qmin, qmax), true);
    }
    if let Ok(params) = QuantParams::from_data_tight(&data, qmin, qmax) {
        assert!(is_finite);
        check_params(params, (qmin, qmax), false);
        assert!(params.zero_point.unsigned_abs() <= 1 << 21 || (qmin..=qmax).contains(&params.zero_point));
    }
}

/// Observers of batches.
pub fn observers(input: &mut Input<'_>) {
    let number = |input: &mut Input<'_>, most: f64| match input.byte() % 8 {
        0 => real(input),
        1 => most,
        _ => most * f64::from(input.byte()) / 256.0,
    };
    let made = match input.byte() % 3 {
        0 => Ok(Observer::min_max()),
        1 => Observer::moving_average(number(input, 1.0)),
        _ => Observer::percentile(number(input, 100.0)),
    };
    let Ok(mut observer) = made else { return };
    let mut all: Option<(f64, f64)> = None;
    for _ in 0..input.number(0..=4) {
        let len = input.number(0..=100);
        let batch = Reals::read(input).reals(len);
        let before = observer.range();
        let is_finite = batch.iter().all(|x| x.is_finite());
        assert_eq!(observer.observe(&batch).is_ok(), is_finite);
        if !is_finite {
            assert_eq!(observer.range(), before, "changed by a batch that is refused");
            continue;
        }
        for x in batch.iter().map(|&x| f64::from(x)) {
            all = Some(all.map_or((x, x), |(lo, hi)| (lo.min(x), hi.max(x))));
        }
    }
    let range = observer.range();
    assert_eq!(range.is_some(), all.is_some());
    if let (Some((lo, hi)), Some(all)) = (range, all) {
        let widest = f64::EPSILON * all.0.abs().max(all.1.abs());
        assert!(lo <= hi && lo >= all.0 - widest && hi <= all.1 + widest, "{lo}..{hi} of {all:?}");
    }
    let (qmin, qmax) = q_range(input);
    if let Ok(params) = observer.params(qmin, qmax) {
        check_params(params, (qmin, qmax), true);
    }
    if let Ok(params) = observer.params_tight(qmin, qmax) {
        check_params(params, (qmin, qmax), false);
    }
    match observer.symmetric_params() {
        Ok(params) => assert!(params.scale > 0.0 && params.scale.is_finite() && params.zero_point == 0),
        Err(_) => assert!(all.is_none()),
    }
}

/// Matrices, with a scale per row or per column.
pub fn matrices(input: &mut Input<'_>) {
    let (rows, cols, by_columns) = (input.number(0..=90), input.number(0..=90), input.flag());
    let matrix = FloatMatrix::read(input, (rows, cols));
    let Ok(x) = matrix.view() else { return };
    let out_rows = length(input, rows);
    let place = Place::read(input, (out_rows, cols), Elements::Written);
    let before = vec![9i8; place.len];
    let (mut q, mut scales) =
        (before.clone(), vec![-1f32; length(input, if by_columns { cols } else { rows })]);
    let Ok(out) = place.view_mut(&mut q) else { return };
    let is_finite = (0..rows).all(|i| (0..cols).all(|j| x.get(i, j).is_some_and(|x| x.is_finite())));
    let is_right = place.rows == rows && scales.len() == if by_columns { cols } else { rows } && is_finite;
    let quantized = if by_columns { quantize_columns } else { quantize_rows }(x, out, &mut scales);
    assert_eq!(quantized.is_ok(), is_right, "{quantized:?}");
    if !is_right {
        assert_equal("refused", &q, &before);
        assert!(scales.iter().all(|scale| *scale == -1.0));
        return;
    }
    let (lines, along) = if by_columns { (cols, rows) } else { (rows, cols) };
    let mut expected = before;
    for line in 0..lines {
        let at = |along: usize| if by_columns { (along, line) } else { (line, along) };
        let value = |along: usize| *x.get(at(along).0, at(along).1).expect("it is an element");
        let quotient = (0..along).fold(0f32, |max, along| max.max(value(along).abs())) / 127.0;
        let scale = if quotient == 0.0 { 1.0 } else { quotient };
        assert_eq!(scales[line].to_bits(), scale.to_bits(), "scale {line}");
        let mut out = place.view_mut(&mut expected).expect("it was viewed before");
        for along in 0..along {
            let (i, j) = at(along);
            let steps = (value(along) / scale).round_ties_even().clamp(-127.0, 127.0);
            *out.get_mut(i, j).expect("it is an element") = steps as i8;
        }
    }
    assert_equal("quantized", &q, &expected);
}
