//! Calls that quantize, calls that add rows, and calls that check numbers.

use qgemm::*;

/// The bits of all results, or the error.
pub type Outcome = Result<Vec<u8>, Error>;

/// A call of the library by name. It computes no real numbers outside the library, since it is made in every
/// floating-point mode.
pub struct Call {
    pub name: String,
    pub run: Box<dyn Fn() -> Outcome + Send + Sync>,
}

pub fn call(name: impl Into<String>, run: impl Fn() -> Outcome + Send + Sync + 'static) -> Call {
    Call { name: name.into(), run: Box::new(run) }
}

/// A call that returns a value, which is kept as text.
macro_rules! calls {
    ($($run:expr),+ $(,)?) => { vec![$(call(stringify!($run), move || $run)),+] };
}

pub fn bits(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_bits().to_ne_bytes()).collect()
}

/// The bits of parameters.
fn params(params: QuantParams) -> Outcome {
    Ok([params.scale.to_bits().to_ne_bytes(), params.zero_point.to_ne_bytes()].concat())
}

fn nothing<T>(made: Result<T, Error>) -> Outcome {
    made.map(|_| Vec::new())
}

fn quantized<T: Int8Element + Default>(x: &[f32], params: QuantParams) -> Outcome {
    let mut out = vec![T::default(); x.len()];
    quantize(x, params, &mut out)?;
    Ok(out.iter().map(|x| x.to_bits()).collect())
}

fn dequantized(params: QuantParams) -> Outcome {
    let (q, mut out): (Vec<i8>, _) = ((-128..=127).collect(), [0.0; 256]);
    dequantize(&q, params, &mut out)?;
    Ok(bits(&out))
}

fn folded(bias: QuantParams, a_scale: f32, b_scale: f32) -> Outcome {
    let (q, mut out): (Vec<i8>, _) = ((-128..=127).collect(), [0; 256]);
    fold_bias(&q, bias, a_scale, b_scale, &mut out)?;
    Ok(out.iter().flat_map(|x| x.to_ne_bytes()).collect())
}

fn biases(bias: &[f32], a_scale: f32, b_scale: f32) -> Outcome {
    let mut out = vec![0; bias.len()];
    quantize_bias(bias, a_scale, b_scale, &mut out)?;
    Ok(out.iter().flat_map(|x| x.to_ne_bytes()).collect())
}

fn scales(a_scale: f32, b_scales: &[f32], y_scale: f32) -> Outcome {
    let (mut quotients, mut products) = (vec![0.0; b_scales.len()], vec![0.0; b_scales.len()]);
    requantize_scales(a_scale, b_scales, y_scale, &mut quotients)?;
    product_scales(a_scale, b_scales, &mut products)?;
    Ok([bits(&quotients), bits(&products)].concat())
}

/// Rows of 9 values, and the columns of the transposed matrix, in every combination of layouts.
fn channels(x: &[f32]) -> Outcome {
    let (rows, mut outcome) = (x.len() / 9, Vec::new());
    let views = [MatRef::row_major(x, rows, 9)?, MatRef::col_major(x, rows, 9)?];
    let views =
        views.into_iter().chain([MatRef::new(x, rows / 2, 9, 18, 2)?, MatRef::new(x, rows / 2, 9, 2, rows)?]);
    for view in views {
        let (m, len) = (view.rows(), view.rows() * 9);
        for columns in [false, true] {
            let (mut out, mut scales) = (vec![0i8; len], vec![0.0; m]);
            let strides = if columns { (1, m) } else { (9, 1) };
            quantize_rows(view, MatMut::new(&mut out, m, 9, strides.0, strides.1)?, &mut scales)?;
            outcome.extend(out.iter().map(|x| *x as u8));
            outcome.extend(bits(&scales));
            quantize_columns(
                view.transpose(),
                MatMut::new(&mut out, 9, m, strides.1, strides.0)?,
                &mut scales,
            )?;
            outcome.extend(out.iter().map(|x| *x as u8));
            outcome.extend(bits(&scales));
        }
    }
    Ok(outcome)
}

fn single<T: Int8Element>(x: &[f32], params: QuantParams) -> Outcome {
    let quantized: Vec<T> = x.iter().map(|x| params.quantize(*x)).collect();
    let back: Vec<f32> = quantized.iter().map(|q| params.dequantize(*q)).collect();
    Ok(quantized.iter().map(|q| q.to_bits()).chain(bits(&back)).collect())
}

/// The range and the parameters after batches of 100 values.
fn observed(observer: Result<Observer, Error>, x: &[f32]) -> Outcome {
    let mut observer = observer?;
    x.chunks(100).try_for_each(|batch| observer.observe(batch))?;
    let (lo, hi) = observer.range().expect("it has values");
    let ends = [lo, hi].map(f64::to_bits).map(u64::to_ne_bytes).concat();
    let found = [observer.params(0, 255)?, observer.params_tight(-127, 127)?, observer.symmetric_params()?];
    let found = found.into_iter().map(params).collect::<Result<Vec<_>, _>>()?;
    Ok([ends, found.concat()].concat())
}

fn linear(x: &[f32]) -> Outcome {
    let mut out = vec![0; x.len()];
    let found = dynamic_quantize_linear(x, &mut out)?;
    Ok([params(found)?, out].concat())
}

fn table(activation: Activation, input: QuantParams, output: QuantParams) -> Outcome {
    let table = Table::<i8>::activation(activation, input, output)?;
    Ok((i8::MIN..=i8::MAX).map(|x| table.get(x) as u8).collect())
}

/// The least f32 above 0.
pub const LEAST: f32 = f32::from_bits(1);
/// A subnormal number.
pub const SUBNORMAL: f32 = 1e-40;
/// The least f64 above 0.
const LEAST_F64: f64 = f64::from_bits(1);

pub fn quantization() -> Vec<Call> {
    // Ties, neighbours of ties, and numbers below all normal ones.
    let ordinary: &'static [f32] = (-900..900).map(|i| i as f32 * 0.137).collect::<Vec<_>>().leak();
    let tiny: &'static [f32] = (-900..900).map(|i| i as f32 * 1e-41).collect::<Vec<_>>().leak();
    let constant: &'static [f32] = &[SUBNORMAL; 3];
    let with = |scale, zero_point| QuantParams { scale, zero_point };
    let mut calls = calls![
        quantized::<i8>(ordinary, with(0.274, 3)),
        quantized::<u8>(ordinary, with(0.3, 100)),
        quantized::<u8>(ordinary, with(0.1, 1 << 25)),
        quantized::<i8>(tiny, with(3e-41, -5)),
        quantized::<i8>(tiny, with(SUBNORMAL, 1 << 25)),
        quantized::<u8>(tiny, with(f32::MIN_POSITIVE, 0)),
        quantized::<u8>(ordinary, with(LEAST, 7)),
        quantized::<u8>(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], with(0.1, 7)),
        quantized::<u8>(ordinary, with(-LEAST, 7)),
        dequantized(with(0.1, 3)),
        dequantized(with(0.1, i32::MIN)),
        dequantized(with(SUBNORMAL, 0)),
        folded(with(0.1, 3), 0.03, 0.7),
        folded(with(SUBNORMAL, 3), 1e-20, 1e-20),
        folded(with(1.0, 3), SUBNORMAL, 1e-38),
        folded(with(1e-45, 0), 3e-45, 0.37),
        biases(ordinary, 0.03, 0.7),
        biases(tiny, 1e-20, 3e-21),
        biases(&[1.0, SUBNORMAL], SUBNORMAL, 1e-3),
        biases(&[3.7], 1e-45, 1e36),
        Ok(bits(&[requantize_scale(0.1, 0.7, 0.3)])),
        Ok(bits(&[requantize_scale(1e-20, 1e-20, 3.0)])),
        Ok(bits(&[requantize_scale(SUBNORMAL, 1e10, 0.3)])),
        scales(0.1, &[0.7, 0.3, 1e-3], 0.3),
        scales(1e-20, &[1e-20, 3e-19], 1e-3),
        scales(SUBNORMAL, &[1e10, 0.7], 0.3),
        scales(1e-20, &[1.0, 1e-28], 1.0),
        channels(ordinary),
        channels(tiny),
        channels(&[LEAST; 36]),
        channels(&[f32::NAN; 18]),
        single::<i8>(ordinary, with(0.274, 3)),
        single::<u8>(tiny, with(3e-41, 9)),
        single::<u8>(tiny, with(SUBNORMAL, 1 << 25)),
        single::<i8>(ordinary, with(-LEAST, 7)),
        observed(Ok(Observer::min_max()), ordinary),
        observed(Ok(Observer::min_max()), tiny),
        observed(Observer::moving_average(0.3), ordinary),
        observed(Observer::moving_average(0.3), tiny),
        observed(Observer::moving_average(LEAST_F64), tiny),
        observed(Observer::percentile(93.7), ordinary),
        observed(Observer::percentile(93.7), tiny),
        observed(Observer::percentile(50.0), &[0.0, LEAST, -LEAST, 0.0]),
        observed(Observer::percentile(-LEAST_F64), tiny),
        linear(ordinary),
        linear(tiny),
        linear(&[LEAST, -LEAST]),
        linear(&[f32::MAX, f32::MIN]),
        linear(&[1.0, f32::NAN]),
        params(QuantParams::from_range(-1.0, 2.7, 0, 255)?),
        params(QuantParams::from_range(0.1, 0.3, -127, 127)?),
        params(QuantParams::from_range(0.0, 1e-42, 0, 255)?),
        params(QuantParams::from_range(0.0, LEAST_F64, 0, 255)?),
        params(QuantParams::from_range(-SUBNORMAL, 3.0 * SUBNORMAL, 0, 255)?),
        params(QuantParams::from_range_tight(0.1, 0.3, -127, 127)?),
        params(QuantParams::from_range_tight(SUBNORMAL, 1e-38, -127, 127)?),
        params(QuantParams::from_data_tight(ordinary, -128, 127)?),
        params(QuantParams::from_data_tight(&[SUBNORMAL, 1e-38], 0, 255)?),
        params(QuantParams::from_data_tight(&[5.0, 5.0000005], 0, 255)?),
        params(QuantParams::symmetric(0.3)?),
        params(QuantParams::symmetric(SUBNORMAL)?),
        params(QuantParams::symmetric(LEAST)?),
        params(QuantParams::symmetric(-LEAST)?),
        params(QuantParams::from_data(ordinary, -128, 127)?),
        params(QuantParams::from_data(tiny, 0, 255)?),
        params(QuantParams::from_data(constant, 0, 255)?),
        params(QuantParams::from_data(&[1.0, f32::INFINITY], 0, 255)?),
    ];
    for activation in Activation::ALL {
        calls.push(call(format!("table of {activation:?}"), move || {
            table(activation, with(0.05, 3), with(0.013, -9))
        }));
        calls.push(call(format!("{activation:?}"), move || {
            let points = ordinary.iter().step_by(10).chain(tiny.iter().step_by(100));
            Ok(bits(&points.map(|x| activation.apply(*x)).collect::<Vec<_>>()))
        }));
    }
    calls
}

/// Adds rows of 70 columns to five rows, some of them twice, in rows that are contiguous or not.
fn added(x: &[f32], weights: Option<&[f32]>, by_columns: bool) -> Outcome {
    let (rows, cols) = (x.len() / 70, 70);
    let indices: Vec<u32> = (0..rows as u32).map(|i| i * 3 % 5).collect();
    let mut c: Vec<f32> = x.iter().rev().take(5 * cols).copied().collect();
    let view = MatRef::row_major(&x[..rows * cols], rows, cols)?;
    let output = match by_columns {
        true => MatMut::col_major(&mut c, 5, cols)?,
        false => MatMut::row_major(&mut c, 5, cols)?,
    };
    scatter_add_f32(view, &indices, weights.map(|weights| &weights[..rows]), output)?;
    Ok(bits(&c))
}

pub fn additions() -> Vec<Call> {
    let ordinary: &'static [f32] = (-900..900).map(|i| i as f32 * 0.137).collect::<Vec<_>>().leak();
    let tiny: &'static [f32] = (-900..900).map(|i| i as f32 * 1e-41).collect::<Vec<_>>().leak();
    let weights: &'static [f32] = (0..40).map(|i| 0.37 + i as f32 / 7.0).collect::<Vec<_>>().leak();
    let small: &'static [f32] = (0..40).map(|i| i as f32 * 1e-37).collect::<Vec<_>>().leak();
    let mut calls = Vec::new();
    for (name, x) in [("ordinary", ordinary), ("tiny", tiny)] {
        for (factors, weights) in [("no", None), ("some", Some(weights)), ("small", Some(small))] {
            for by_columns in [false, true] {
                let name = format!("{name} rows, {factors} weights, by columns {by_columns}");
                calls.push(call(name, move || added(x, weights, by_columns)));
            }
        }
    }
    calls
}

/// Arguments that are wrong, or right, by a subnormal number.
pub fn checks() -> Vec<Call> {
    static LIKE: [i8; 4] = [0; 4];
    let like = || MatRef::row_major(&LIKE, 2, 2);
    let stored = |output: Requantize<'_>| {
        let product = Gemm::new(MatRef::new(&LIKE, 2, 1, 1, 1)?, MatRef::new(&LIKE, 1, 2, 1, 1)?);
        product.run_requantized(MatMut::row_major(&mut [0i8; 4], 2, 2)?, output)
    };
    calls![
        nothing(Requantize::new(-LEAST, 0)),
        nothing(Requantize::new(&[0.5, -LEAST], 0)),
        nothing(Requantize::new(Scale::PerRow(&[-SUBNORMAL]), 0)),
        // The product is f32::MAX if it is rounded to nearest, and infinite if it is rounded up.
        nothing(Requantize::new(
            Scale::RowsByColumns { rows: &[3.0, 2.0925327e19], columns: &[1.6261746e19] },
            0
        )),
        nothing(Dequantize::new(-LEAST)),
        nothing(Dequantize::new(f32::NAN)),
        nothing(Dequantize::new(1.0)?.clamp_to(LEAST, 0.0).into_owned()),
        nothing(Dequantize::new(1.0)?.clamp_to(-LEAST, 0.0).into_owned()),
        nothing(Requantize::in_f64(-LEAST_F64, 0)),
        nothing(Requantize::in_f64(&[1.0, -LEAST_F64], 0)),
        nothing(stored(Requantize::new(1.0, 0)?.residual(like()?, -LEAST, 0))),
        nothing(stored(Requantize::new(1.0, 0)?.residual(like()?, 1.8446744e19, 0))),
        nothing(stored(Requantize::new(1.0, 0)?.residual(like()?, 1.8446746e19, 0))),
        nothing(Multiplier::from_real(-LEAST_F64)),
        Multiplier::from_real(0.3).map(|x| x.m().to_ne_bytes().to_vec()),
        nothing(QuantParams::from_range(0.0, -LEAST_F64, 0, 255)),
        nothing(QuantParams::from_range(1.0, 1.0, 0, 255)),
        nothing(QuantParams::from_range_tight(1.0, 1.0, 0, 255)),
        nothing(QuantParams::from_range_tight(0.0, LEAST_F64, 0, 255)),
        nothing(QuantParams::symmetric(-LEAST)),
        nothing(Observer::moving_average(LEAST_F64)),
        nothing(Observer::percentile(-LEAST_F64)),
        nothing(quantize_bias(&[1.0], -LEAST, 1.0, &mut [0])),
        nothing(requantize_scales(1.0, &[1.0], -LEAST, &mut [0.0])),
        nothing(product_scales(LEAST, &[0.3], &mut [0.0])),
    ]
}

/// Weights of 8 bits in groups made of `w`, and products with them; numbers are as small as they come.
fn groups(w: &[f32], a: &[f32], dispatch: &Dispatch, activations: Activations) -> Outcome {
    let (k, n) = (40, w.len() / 40);
    let m = a.len() / k;
    let w = MatRef::row_major(&w[..k * n], k, n)?;
    let quantized = quantize_groups(w, CodeBits::Eight, 16, GroupScheme::Asymmetric)?;
    let halves: Vec<_> = (0..3 * n).map(|i| half::f16::from_bits(i as u16 * 331 % 0x3000)).collect();
    let codes = MatRef::row_major(&quantized.codes, k, n)?;
    let minimums = MatRef::row_major(&quantized.scales, 3, n)?;
    let zeros = MatRef::row_major(quantized.zeros.as_deref().unwrap_or(&[]), 3, n)?;
    let builder = GroupwiseB::builder(CodeBits::Eight, 16).zeros(zeros).minimums(minimums);
    let mut outcome = Vec::new();
    for b in [quantized.pack()?, builder.pack(codes, MatRef::row_major(&halves, 3, n)?)?] {
        let b = b.with_dispatch(dispatch);
        let (mut values, mut c) = (vec![0.0; k * n], vec![0.0; m * n]);
        b.dequantize(MatMut::row_major(&mut values, k, n)?)?;
        let gemm = GroupwiseGemm::new(MatRef::row_major(&a[..m * k], m, k)?, &b).activations(activations);
        let bias = &w.row(0).unwrap_or(&[])[..n];
        let outputs =
            [Dequantize::dynamic(0.3)?.bias(bias), Dequantize::groupwise().activation(Activation::Tanh)];
        for output in outputs {
            gemm.run_f32(MatMut::row_major(&mut c, m, n)?, output)?;
            outcome.extend(bits(&c));
            gemm.run_f32(MatMut::col_major(&mut c, m, n)?, output.residual_in_place())?;
            outcome.extend(bits(&c));
        }
        reference::run_groupwise_f32(&gemm, MatMut::row_major(&mut c, m, n)?, Dequantize::groupwise())?;
        outcome.extend(bits(&values).into_iter().chain(bits(&c)));
    }
    Ok(outcome)
}

pub fn groupwise() -> Vec<Call> {
    let ordinary: &'static [f32] = (-900..900).map(|i| i as f32 * 0.137).collect::<Vec<_>>().leak();
    let tiny: &'static [f32] = (-900..900).map(|i| i as f32 * 1e-41).collect::<Vec<_>>().leak();
    let mut calls = Vec::new();
    for name in Dispatch::available_groupwise() {
        let dispatch: &'static Dispatch =
            Box::leak(Box::new(Dispatch::named(name).expect("it is available")));
        for (what, w, a) in
            [("ordinary", ordinary, ordinary), ("tiny", ordinary, tiny), ("tiny weights", tiny, ordinary)]
        {
            for way in [Activations::PerRowAndGroup, Activations::PerRow, Activations::PerRowAsymmetric] {
                calls.push(call(format!("{name}, {what}, {way:?}"), move || groups(w, a, dispatch, way)));
            }
        }
    }
    calls
}
