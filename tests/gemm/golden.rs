//! A worked example, from floats to floats: Y = XW + b with M = 2, K = 4, N = 4.

use qgemm::*;

const X: [f32; 8] = [26.68088, 38.81298, 10.004575, 22.093304, 15.870235, 13.693543, 17.450409, 23.82243];
#[rustfmt::skip]
const W: [f32; 16] = [
    0.39676747, 0.53881675, 0.41919452, 0.6852195,
    0.20445225, 0.87811744, 0.02738759, 0.6704675,
    0.4173048, 0.55868983, 0.14038694, 0.19810149,
    0.8007446, 0.9682616, 0.31342417, 0.6923226,
];
const B: [f32; 4] = [27.527782, 27.892134, 11.700884, 10.7810955];
const Y: [f32; 8] = [67.915344, 103.332146, 32.277443, 72.36381, 62.98207, 81.28353, 28.644968, 50.78653];

const XQ: [i8; 8] = [-21, 56, -126, -50, -89, -103, -79, -39];
const WQ: [i8; 16] = [-26, 10, -21, 47, -75, 96, -120, 43, -21, 15, -91, -77, 76, 119, -47, 49];
const BQ: [i8; 4] = [96, 100, -105, -117];
const YQ: [i8; 8] = [30, 111, -52, 40, 18, 61, -61, -10];

fn quantized<const N: usize>(x: &[f32; N], params: QuantParams) -> [i8; N] {
    let mut q = [0; N];
    quantize(x, params, &mut q).unwrap();
    q
}

#[test]
fn the_worked_example_has_its_parameters_bytes_and_error() {
    let params = |lo, hi| QuantParams::from_range_tight(lo, hi, -127, 127).unwrap();
    let (x, w, b, y) = (params(10.0, 50.0), params(0.0, 1.0), params(10.0, 30.0), params(0.0, 110.0));
    assert_eq!(x, QuantParams { scale: 0.157_480_314_960_629_92_f64 as f32, zero_point: -190 });
    assert_eq!(w, QuantParams { scale: 0.003_937_007_874_015_748_f64 as f32, zero_point: -127 });
    assert_eq!(b, QuantParams { scale: 0.078_740_157_480_314_96_f64 as f32, zero_point: -254 });
    assert_eq!(y, QuantParams { scale: 0.433_070_866_141_732_3_f64 as f32, zero_point: -127 });
    assert_eq!((quantized(&X, x), quantized(&W, w), quantized(&B, b)), (XQ, WQ, BQ));

    let mut bias = [0; 4];
    fold_bias(&BQ, b, x.scale, w.scale, &mut bias).unwrap();
    // 0.0787 = 127 · (0.157 · 0.00394): sb·(bq + 254) in that unit.
    assert_eq!(bias, BQ.map(|q| 127 * (i32::from(q) + 254)));

    // XNNPACK's order: f32(sa·sb), then / sy.
    let output = Requantize::new(x.scale * w.scale / y.scale, y.zero_point).unwrap();
    let real = Dequantize::new(x.scale * w.scale).unwrap();
    for kernel in Dispatch::available() {
        let dispatch = Dispatch::named(kernel.name).unwrap();
        let packed =
            PackedB::pack_with(&dispatch, MatRef::row_major(&WQ, 4, 4).unwrap(), ElementType::I8).unwrap();
        let product = Gemm::new(MatRef::row_major(&XQ, 2, 4).unwrap(), &packed);
        let product = product.a_zero(x.zero_point).b_zero(w.zero_point).bias(&bias);
        let mut yq = [0i8; 8];
        product.run_requantized(MatMut::row_major(&mut yq, 2, 4).unwrap(), output).unwrap();
        assert_eq!(yq, YQ, "{}", kernel.name);

        let mut back = [0f32; 8];
        dequantize(&yq, y, &mut back).unwrap();
        assert_eq!(format!("{:.4}", largest_error(&back)), "0.2613", "{}", kernel.name);
        assert_eq!(format!("{:.2}", largest_error(&back) / f64::from(y.scale)), "0.60", "{}", kernel.name);

        // Without the output's own rounding the error is that of the operands.
        product.run_f32(MatMut::row_major(&mut back, 2, 4).unwrap(), real).unwrap();
        assert!(largest_error(&back) < 0.2, "{}: {back:?}", kernel.name);
    }
}

fn largest_error(y: &[f32; 8]) -> f64 {
    y.iter().zip(&Y).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max)
}
