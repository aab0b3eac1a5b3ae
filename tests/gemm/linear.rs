//! Linear layers: what the calls that they make give, byte for byte, and what the float layer gives, nearly.

use crate::support::{Layout, Matrix, Random, cases};
use qgemm::*;

/// A float layer of K inputs and N outputs, with inputs for M rows.
struct Float {
    shape: (usize, usize, usize),
    x: Vec<f32>,
    /// [out, in]
    weight: Matrix<f32>,
    bias: Vec<f32>,
}

impl Float {
    fn new(shape: (usize, usize, usize), layout: Layout, seed: u64) -> Self {
        let (m, k, n) = shape;
        let mut random = Random(seed);
        let mut number = |most: f32| (random.below(2001) as f32 / 1000.0 - 1.0) * most;
        let mut weight = Matrix::<f32>::random(n, k, layout, seed);
        for (j, l) in (0..n).flat_map(|j| (0..k).map(move |l| (j, l))) {
            weight.set(j, l, number(0.1 + (j % 4) as f32));
        }
        let x = (0..m * k).map(|_| number(2.0) + 0.5).collect();
        Self { shape, x, weight, bias: (0..n).map(|_| number(3.0)).collect() }
    }

    fn output(&self, i: usize, j: usize) -> f64 {
        let k = self.shape.1;
        let products = (0..k).map(|l| f64::from(self.x[i * k + l]) * f64::from(self.weight.at(j, l)));
        products.sum::<f64>() + f64::from(self.bias[j])
    }

    fn input(&self) -> QuantParams {
        QuantParams::from_data(&self.x, 0, 255).unwrap()
    }

    fn quantized_x(&self) -> Vec<u8> {
        let mut x = vec![0; self.x.len()];
        quantize(&self.x, self.input(), &mut x).unwrap();
        x
    }

    /// [in, out] weights with their scales.
    fn quantized_weights(&self) -> (Vec<i8>, Vec<f32>) {
        let (_, k, n) = self.shape;
        let (mut q, mut scales) = (vec![0; k * n], vec![0.0; n]);
        let out = MatMut::row_major(&mut q, k, n).unwrap();
        quantize_columns(self.weight.view().transpose(), out, &mut scales).unwrap();
        (q, scales)
    }
}

#[test]
fn layers_are_the_calls_that_they_say() {
    // Each kind at least once.
    for case in 0..cases(60).max(10) {
        let mut random = Random(case as u64);
        let shape = (random.below(9), random.below(70), 1 + random.below(40));
        let layouts = [Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE];
        let float = Float::new(shape, layouts[case % 4], case as u64);
        check(&float, case);
    }
}

fn check(float: &Float, case: usize) {
    let (m, k, n) = float.shape;
    let (q, scales) = float.quantized_weights();
    let weights = MatRef::row_major(&q, k, n).unwrap();
    let (input, output) = (float.input(), QuantParams { scale: 0.07, zero_point: 30 });
    let before = QuantParams { scale: 0.05, zero_point: 120 };
    let activation = case.is_multiple_of(3).then(|| Activation::ALL[case % 6]);
    let with = |builder: LinearBuilder<'_>| {
        let builder = builder.bias(&float.bias).input::<u8>(input).output::<u8>(output);
        let builder = match case % 5 {
            0 => builder.relu(),
            1 => builder.relu6(),
            2 => builder.asymmetric(),
            3 => builder.asymmetric().per_tensor(),
            _ => builder,
        };
        let builder = match activation {
            Some(activation) => builder.activation(activation).before_activation(before),
            None => builder,
        };
        builder.build().unwrap()
    };
    let (transposed, view) = (float.weight.view().transpose(), float.weight.view());
    let by_out: Vec<i8> =
        (0..n).flat_map(|j| (0..k).map(move |l| (l, j))).map(|(l, j)| q[l * n + j]).collect();
    let layers = [
        with(Linear::out_in(view)),
        with(Linear::in_out(transposed)),
        with(Linear::in_out_quantized(weights, &scales)),
        with(Linear::out_in_quantized(MatRef::row_major(&by_out, n, k).unwrap(), &scales)),
    ];
    let xq = float.quantized_x();
    let (x, xq) = (MatRef::row_major(&float.x, m, k).unwrap(), MatRef::row_major(&xq, m, k).unwrap());
    let packed = PackedB::pack(weights).unwrap();

    let stage = |scaled: Dequantize<'static>| match case % 5 {
        0 => scaled.relu(),
        1 => scaled.relu6(),
        _ => scaled,
    };
    let floats = |f: &dyn Fn(MatMut<'_, f32>) -> Result<(), Error>| {
        let mut y = vec![9.0; m * n];
        f(MatMut::row_major(&mut y, m, n).unwrap()).unwrap();
        y
    };
    let bytes = |f: &dyn Fn(MatMut<'_, u8>) -> Result<(), Error>| {
        let mut y = vec![9; m * n];
        f(MatMut::row_major(&mut y, m, n).unwrap()).unwrap();
        y
    };
    let (scales, bias): (&'static [f32], &'static [f32]) = (scales.leak(), float.bias.clone().leak());
    let last = |stage: Dequantize<'static>| activation.map_or(stage, |a| stage.activation(a));
    let dynamic = floats(&|y| {
        let gemm = DynamicGemm::new(x, &packed);
        let gemm = if matches!(case % 5, 2 | 3) { gemm.asymmetric() } else { gemm };
        let gemm = if case % 5 == 3 { gemm.per_tensor() } else { gemm };
        gemm.run_f32(y, last(stage(Dequantize::dynamic(scales)?.bias(bias))))
    });
    let gemm = Gemm::new(xq, &packed).a_zero(input.zero_point);
    let products: &'static [f32] = scales.iter().map(|b| input.scale * b).collect::<Vec<_>>().leak();
    let to_f32 = floats(&|y| gemm.run_f32(y, last(stage(Dequantize::new(products)?.bias(bias)))));
    let to_bytes = bytes(&|y| {
        let stored = if activation.is_some() { before } else { output };
        let each = |f: fn(f32, f32, f32) -> f32| -> Vec<f32> {
            scales.iter().map(|b| f(input.scale, *b, stored.scale)).collect()
        };
        let factors = each(requantize_scale);
        let sums: Vec<i32> = bias
            .iter()
            .zip(scales)
            .map(|(bias, b)| {
                (f64::from(*bias) / (f64::from(input.scale) * f64::from(*b))).round_ties_even() as i32
            })
            .collect();
        let stage = Requantize::new(&factors, stored.zero_point)?;
        let stage = match case % 5 {
            0 => stage.relu(),
            1 => stage.relu6(stored.scale)?,
            _ => stage,
        };
        let table = activation.map(|a| Table::<u8>::activation(a, before, output).unwrap());
        let stage = table.as_ref().map_or(stage, |table| stage.table(table));
        gemm.bias(&sums).run_requantized(y, stage)
    });
    for layer in layers {
        assert_eq!((layer.in_features(), layer.out_features()), (k, n));
        assert_eq!(layer.weight_scales(), scales);
        assert_eq!(layer.weights().element_type(), ElementType::I8);
        assert_eq!(floats(&|y| layer.run_dynamic(x, y)), dynamic, "case {case}");
        assert_eq!(floats(&|y| layer.clone().run_f32(xq, y)), to_f32, "case {case}");
        assert_eq!(bytes(&|y| layer.clone().threads(1).run_requantized(xq, y)), to_bytes, "case {case}");
    }
}

#[test]
fn a_layer_is_nearly_the_float_layer() {
    let float = Float::new((13, 300, 21), Layout::ROWS, 5);
    let (m, k, n) = float.shape;
    let all: Vec<f32> = (0..m * n).map(|at| float.output(at / n, at % n) as f32).collect();
    let output = QuantParams::from_data(&all, -128, 127).unwrap();
    let layer = Linear::out_in(float.weight.view())
        .bias(&float.bias)
        .input::<u8>(float.input())
        .output::<i8>(output)
        .build()
        .unwrap();
    let xq = float.quantized_x();
    let (x, xq) = (MatRef::row_major(&float.x, m, k).unwrap(), MatRef::row_major(&xq, m, k).unwrap());
    let (mut dynamic, mut floats, mut bytes) = (vec![0.0; m * n], vec![0.0; m * n], vec![0i8; m * n]);
    layer.run_dynamic(x, MatMut::row_major(&mut dynamic, m, n).unwrap()).unwrap();
    layer.run_f32(xq, MatMut::row_major(&mut floats, m, n).unwrap()).unwrap();
    layer.run_requantized(xq, MatMut::row_major(&mut bytes, m, n).unwrap()).unwrap();
    let span = all.iter().fold(0f32, |most, y| most.max(y.abs()));
    for (at, y) in all.iter().enumerate() {
        for got in [dynamic[at], floats[at], output.dequantize(bytes[at])] {
            assert!((got - y).abs() < 0.02 * span, "{got} {y}");
        }
    }
}

#[test]
fn what_a_layer_lacks_is_named() {
    let weight = [0.5f32, -1.0, 0.25, 2.0, 0.0, -0.5];
    let view = MatRef::row_major(&weight, 2, 3).unwrap();
    let params = QuantParams { scale: 0.1, zero_point: 3 };
    let refused = |builder: LinearBuilder<'_>| builder.build().unwrap_err().to_string();
    assert_eq!(
        refused(Linear::out_in(view).output::<u8>(params)),
        "input: was not given, must be for an 8-bit output"
    );
    assert_eq!(refused(Linear::out_in(view).bias(&[1.0])), "bias: has 1 values, must have 2");
    assert_eq!(refused(Linear::in_out(view).bias(&[1.0; 2])), "bias: has 2 values, must have 3");
    let both = Linear::out_in(view).input::<u8>(params).output::<u8>(params);
    assert_eq!(
        refused(both.clone().activation(Activation::Gelu)),
        "before_activation: was not given, must be for an activation to 8 bits"
    );
    let far = refused(both.clone().bias(&[1e9, 0.0]));
    assert!(far.starts_with("bias: value 0 is 1269999985807 in"), "{far}");
    let nan = QuantParams { scale: f32::NAN, zero_point: 0 };
    let scale = refused(Linear::out_in(view).input::<u8>(nan));
    assert!(scale.contains("scale: value 0 was NaN, must be finite and positive"), "{scale}");
    let infinite = [1.0, f32::INFINITY, 0.0];
    let infinite = MatRef::row_major(&infinite, 1, 3).unwrap();
    let error = refused(Linear::out_in(infinite));
    assert!(error.contains("element (0, 1) was inf, must be finite"), "{error}");
    let q = [1i8; 6];
    let q = MatRef::row_major(&q, 2, 3).unwrap();
    assert_eq!(refused(Linear::out_in_quantized(q, &[0.1; 3])), "scales: has 3 values, must have 2");
    assert_eq!(refused(Linear::in_out_quantized(q, &[0.1; 2])), "scales: has 2 values, must have 3");
    let zero = refused(Linear::out_in_quantized(q, &[0.1, 0.0]));
    assert_eq!(zero, "scales: value 1 was 0, must be finite and positive");

    let (x, signed) = ([1u8, 2, 3], [1i8, 2, 3]);
    let (x, signed) = (MatRef::row_major(&x, 1, 3).unwrap(), MatRef::row_major(&signed, 1, 3).unwrap());
    let (mut floats, mut bytes, mut other) = ([5f32; 2], [5u8; 2], [5i8; 2]);
    let dynamic = Linear::out_in(view).build().unwrap();
    let missing = |argument, needed_by| Err(Error::Missing { argument, needed_by });
    assert_eq!(
        dynamic.run_f32(x, MatMut::row_major(&mut floats, 1, 2).unwrap()),
        missing("input", "Linear::run_f32")
    );
    let to_f32 = Linear::out_in(view).input::<u8>(params).build().unwrap();
    let element = |argument, got, need| Err(Error::Element { argument, got, need });
    assert_eq!(
        to_f32.run_f32(signed, MatMut::row_major(&mut floats, 1, 2).unwrap()),
        element("x", ElementType::I8, ElementType::U8)
    );
    let call = "Linear::run_requantized";
    assert_eq!(
        dynamic.run_requantized(x, MatMut::row_major(&mut bytes, 1, 2).unwrap()),
        missing("input", call)
    );
    assert_eq!(
        to_f32.run_requantized(x, MatMut::row_major(&mut bytes, 1, 2).unwrap()),
        missing("output", call)
    );
    let both = both.build().unwrap();
    let y = MatMut::row_major(&mut other, 1, 2).unwrap();
    assert_eq!(both.run_requantized(x, y), element("y", ElementType::I8, ElementType::U8));
    assert_eq!((floats, bytes, other), ([5.0; 2], [5; 2], [5; 2]));

    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Linear>();
}
