//! Every error that a caller can cause: which one it is, what its message says, and that nothing was
//! written.

use crate::support::{ENDLESS, config};
use proptest::prelude::*;
use qgemm::*;

/// A 1x2 product of bytes.
fn product<'a>(b: &'a [i8]) -> Gemm<'a> {
    Gemm::new(MatRef::row_major(&[1u8, 2], 1, 2).unwrap(), MatRef::row_major(b, 2, b.len() / 2).unwrap())
}

/// Runs a product to each kind of output of `n` columns: the one error that all must return, and no
/// output written.
fn refused(gemm: Gemm<'_>, n: usize) -> Error {
    let (mut sums, mut bytes, mut reals) = ([i32::MIN; 9], [99u8; 9], [1.25f32; 9]);
    fn view<T>(c: &mut [T; 9], n: usize) -> MatMut<'_, T> {
        MatMut::row_major(&mut c[..n], 1, n).unwrap()
    }
    let error = gemm.run_i32(view(&mut sums, n)).unwrap_err();
    assert_eq!(gemm.accumulate_i32(view(&mut sums, n)), Err(error.clone()));
    let output = Requantize::new(1.0, 0).unwrap();
    assert_eq!(gemm.run_requantized(view(&mut bytes, n), output), Err(error.clone()));
    let output = Dequantize::new(1.0).unwrap();
    assert_eq!(gemm.run_f32(view(&mut reals, n), output), Err(error.clone()));
    assert_eq!((sums, bytes, reals), ([i32::MIN; 9], [99; 9], [1.25; 9]), "written although refused");
    error
}

/// [`refused`] for outputs of bytes, each with the given stage.
fn bytes_refused<T: Int8Element + Default + PartialEq + std::fmt::Debug>(
    gemm: Gemm<'_>,
    output: &Requantize<'_>,
) -> Error {
    let mut c = [T::default(); 3];
    let error = gemm.run_requantized(MatMut::row_major(&mut c, 1, 3).unwrap(), output).unwrap_err();
    assert_eq!(c, [T::default(); 3], "written although refused");
    error
}

fn reals_refused(gemm: Gemm<'_>, output: &Dequantize<'_>) -> Error {
    let mut c = [0.5f32; 3];
    let error = gemm.run_f32(MatMut::row_major(&mut c, 1, 3).unwrap(), output).unwrap_err();
    assert_eq!(c, [0.5; 3], "written although refused");
    error
}

/// The error of packing `k` rows of a column of a code in groups.
fn packing(k: usize, group: usize, code: u8) -> Error {
    let (codes, scales) = (vec![code; k], [1f32]);
    let codes = MatRef::row_major(&codes, k, 1).unwrap();
    GroupwiseB::builder(CodeBits::Four, group)
        .pack(codes, MatRef::row_major(&scales, 1, 1).unwrap())
        .unwrap_err()
}

/// The error of rows that are not in the order of their groups.
fn act_order() -> Error {
    let (zeros, scales) = ([0; 64], [1f32; 8]);
    let scales = MatRef::row_major(&scales, 1, 8).unwrap().into();
    let (qweight, qzeros, g_idx) = (&zeros[..32], &zeros[..4], Some(&[0, 1, 0, 0, 0, 0, 0, 0][..]));
    let bits = CodeBits::Four;
    let layer = Gptq { k: 8, n: 8, bits, group: 8, qweight, qzeros, scales, g_idx, zeros_less_one: false };
    GroupwiseB::from_gptq(&layer).unwrap_err()
}

#[test]
fn each_error_names_the_argument_its_value_and_what_it_must_be() {
    let data = [0u8; 6];
    let w = [1i8; 6];
    let good = product(&w);
    let (huge, half) = (usize::MAX, 1 << (usize::BITS - 1));
    let texts = [format!("{huge}x2"), format!("strides {huge} and 1"), format!("strides 1 and {half}")];
    let huge_shape = ["matrix", &texts[0], "strides 0 and 0", "must be"];
    let huge_stride = ["matrix", "2x2", &texts[1], "must be"];
    let half_stride = ["output", "3x3", &texts[2], "must be"];
    let matrix = |rows, cols, rs, cs| MatRef::new(&data, rows, cols, rs, cs).unwrap_err();
    let output = |rows, cols, rs, cs| MatMut::new(&mut [0f32; 6], rows, cols, rs, cs).unwrap_err();
    let view = MatRef::row_major(&data, 2, 3).unwrap();
    let requantize = Requantize::new(1.0, 0).unwrap();
    let params = |scale| QuantParams { scale, zero_point: 0 };
    let floats = [0.5f32; 6];
    let float = MatRef::row_major(&floats, 2, 3).unwrap();
    let dynamic =
        DynamicGemm::new(MatRef::row_major(&floats, 1, 2).unwrap(), MatRef::row_major(&w, 2, 3).unwrap());
    let quantize_with = |scale| quantize(&[1.0], params(scale), &mut [0u8]).unwrap_err();
    let far = [2u8; 1];
    let far = MatRef::new(&far, 1, 1 << 20, 0, 0).unwrap();
    let column = MatRef::new(&w, 1 << 20, 3, 0, 1).unwrap();
    let far = Gemm::new(far, column).a_zero(i32::MIN).b_zero(&[0, -1 << 20, 5]);
    let values = [1.0, 2.0, f32::INFINITY, f32::NAN, 5.0, 6.0];
    let (reals, wrong) = ([0f32; 6], MatRef::row_major(&values, 2, 3).unwrap());
    let reals = MatRef::row_major(&reals, 2, 3).unwrap();
    let out = |rows, cols| MatMut::row_major(vec![0i8; rows * cols].leak(), rows, cols).unwrap();
    // SAFETY: a null address is refused.
    let null = unsafe { RawParts::<f32>::new(std::ptr::null(), 1, 1, 1, 1) };
    let address = MatRef::from_raw_parts(null).unwrap_err();
    let conv = Conv2d::builder(1, (2, 2), (3, 1));
    let endless = MatRef::new(&w, ENDLESS, 1, 0, 0).unwrap();
    let endless_a = MatRef::new(&w, 1, ENDLESS, 0, 0).unwrap();
    #[rustfmt::skip]
    let cases: Vec<(&str, Error, &[&str])> = vec![
        ("TooShort", matrix(2, 4, 4, 1), &["matrix", "has 6 elements", "at least 8 for 2x4"]),
        ("TooShort", matrix(2, 2, 9, 1), &["matrix", "6", "at least 11"]),
        ("TooShort", MatRef::col_major(&data, 7, 1).unwrap_err(), &["matrix", "6", "at least 7"]),
        ("TooShort", output(2, 3, 4, 1), &["output", "6", "at least 7"]),
        ("TooShort", MatRef::batch(&data, 3, 2, (1, 3), (3, 1)).err().unwrap(), &["batch", "6", "at least 7 for 1x3"]),
        ("TooShort", MatMut::batch(&mut [0f32; 6], 3, 3, (1, 3), (3, 1)).err().unwrap(), &["output batch", "6", "at least 9 for 1x3"]),
        ("TooLarge", matrix(huge, 2, 0, 0), &huge_shape),
        ("TooLarge", MatRef::batch(&data, 3, huge, (1, 3), (3, 1)).err().unwrap(), &["batch", "1x3", "strides 3 and 1", "must be"]),
        ("TooLarge", matrix(2, 2, huge, 1), &huge_stride),
        ("TooLarge", output(3, 3, 1, half), &half_stride),
        ("TooLarge", matmul_i32(&[1i8; 2], &w, (huge, 2, 3)).unwrap_err(), &["a", "view", "does not fit"]),
        ("Overlap", output(2, 2, 1, 1), &["output", "2x2", "strides 1 and 1", "must be distinct"]),
        ("Overlap", output(3, 2, 1, 2), &["output", "3x2", "strides 1 and 2", "must be distinct"]),
        ("BatchOverlap", MatMut::batch(&mut [0f32; 9], 2, 3, (2, 2), (2, 1)).err().unwrap(), &["output batch", "2 matrices of 2x2", "strides 2 and 1", "3 elements apart", "must nest"]),
        ("Address", address, &["matrix", "was at address 0x0", "must be at a multiple of 4 above 0"]),
        ("OutOfBounds", view.submatrix(1..3, 0..1).unwrap_err(), &["sub-matrix", "rows 1..3", "columns 0..1", "must", "2x3"]),
        ("OutOfBounds", view.submatrix(0..2, 3..4).unwrap_err(), &["sub-matrix", "rows 0..2", "columns 3..4", "must", "2x3"]),
        #[allow(clippy::reversed_empty_ranges)]
        ("OutOfBounds", view.submatrix(2..1, 0..1).unwrap_err(), &["sub-matrix", "rows 2..1", "must be ascending", "2x3"]),
        ("Index", Gather::new(view, &[1, 0, 2], 1).unwrap_err(), &["indices", "value 2 was 2", "must be below 2"]),
        ("Index", scattered(&[0, 2], &[1.0; 2]), &["indices", "value 1 was 2", "must be below 2"]),
        ("InnerDimension", refused(Gemm::new(view, MatRef::row_major(&w, 2, 3).unwrap()), 3), &["b", "2 rows", "must", "(3)"]),
        ("OutputShape", refused(good, 2), &["output", "1x2", "must be 1x3"]),
        ("Length", refused(good.a_zero(&[1, 2]), 3), &["a_zero", "2 values", "must have 1"]),
        ("Length", refused(good.b_zero(&[1, 2]), 3), &["b_zero", "2 values", "must have 3"]),
        ("Length", refused(good.bias(&[]), 3), &["bias", "0 values", "must have 3"]),
        ("Length", bytes_refused::<i8>(good, &Requantize::new(&[1.0; 4], 0).unwrap()), &["scale", "4 values", "must have 3"]),
        ("Length", reals_refused(good, &Dequantize::new(&[1.0; 2]).unwrap()), &["scale", "2 values", "must have 3"]),
        ("Length", bytes_refused::<i8>(good, &Requantize::new(Scale::PerRow(&[1.0; 3]), 0).unwrap()), &["scale", "3 values", "must have 1"]),
        ("Length", reals_refused(good, &Dequantize::new(Scale::RowsByColumns { rows: &[], columns: &[1.0; 3] }).unwrap()), &["scale.rows", "0 values", "must have 1"]),
        ("Length", reals_refused(good, &Dequantize::new(Scale::RowsByColumns { rows: &[1.0], columns: &[1.0] }).unwrap()), &["scale.columns", "1 values", "must have 3"]),
        ("Length", bytes_refused::<u8>(good, &Requantize::fixed_point(&[Multiplier::from_real(0.5).unwrap(); 2], Rounding::Ruy, 0).unwrap()), &["multipliers", "2 values", "must have 3"]),
        ("Length", bytes_refused::<u8>(good, &Requantize::in_f64(&[0.5; 2], 0).unwrap()), &["factors", "2 values", "must have 3"]),
        ("Length", reals_refused(good, &Dequantize::new(1.0).unwrap().bias(&[1.0])), &["bias", "1 values", "must have 3"]),
        ("Length", quantize(&[1.0; 3], params(1.0), &mut [0i8; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", dequantize(&[1u8; 3], params(1.0), &mut [0.0; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", fold_bias(&[1u8; 3], params(1.0), 1.0, 1.0, &mut [0; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", dynamic_quantize_linear(&[1.0; 3], &mut [0; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", dynamic.run_f32_with_params(MatMut::row_major(&mut [0.0; 3], 1, 3).unwrap(), Dequantize::dynamic(1.0).unwrap(), &mut []).unwrap_err(), &["params", "0 values", "must have 1"]),
        ("Length", matmul_i32(&[1i8; 3], &w, (1, 2, 3)).unwrap_err(), &["a", "3 values", "must have 2"]),
        ("Length", matmul_i32(&[1i8; 2], &w, (1, 2, 2)).unwrap_err(), &["b", "6 values", "must have 4"]),
        ("Length", quantize_bias(&[1.0; 3], 1.0, 1.0, &mut [0; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", quantize_bias(&[1.0; 3], 1.0, &[1.0; 2], &mut [0; 3]).unwrap_err(), &["b_scale", "2 values", "must have 3"]),
        ("Length", requantize_scales(1.0, &[1.0; 3], 1.0, &mut [0.0; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", product_scales(1.0, &[1.0; 3], &mut [0.0; 2]).unwrap_err(), &["out", "2 values", "must have 3"]),
        ("Length", quantize_rows(reals, out(2, 3), &mut [0.0; 3]).unwrap_err(), &["scales", "3 values", "must have 2"]),
        ("Length", quantize_columns(reals, out(2, 3), &mut [0.0; 2]).unwrap_err(), &["scales", "2 values", "must have 3"]),
        ("Length", scattered(&[0], &[1.0; 2]), &["indices", "1 values", "must have 2"]),
        ("Length", scattered(&[0, 1], &[1.0]), &["weights", "1 values", "must have 2"]),
        ("Multiple", Gather::new(view, &[1, 0, 1], 2).unwrap_err(), &["indices", "3 values", "must have a multiple of 2"]),
        ("Shape", bytes_refused::<i8>(good, &requantize.residual(view, 1.0, 0)), &["residual", "is 2x3", "must be 1x3"]),
        ("Shape", reals_refused(good, &Dequantize::new(1.0).unwrap().residual(float)), &["residual", "is 2x3", "must be 1x3"]),
        ("Shape", quantize_rows(reals, out(3, 2), &mut [0.0; 2]).unwrap_err(), &["out", "is 3x2", "must be 2x3"]),
        ("Shape", quantize_columns(reals, out(2, 2), &mut [0.0; 3]).unwrap_err(), &["out", "is 2x2", "must be 2x3"]),
        ("Shape", Gather::conv2d(view, &Conv2d::builder(3, (1, 1), (1, 1)).build().unwrap()).unwrap_err(), &["source", "is 2x3", "must be 3x3"]),
        ("Element", bytes_refused::<i8>(good, &requantize.table(&Table::<u8>::from_fn(|x| x))), &["table", "is of u8", "must be of i8"]),
        ("Missing", Observer::min_max().params(0, 255).unwrap_err(), &["data", "was not given", "must be for Observer::params"]),
        ("Missing", Observer::min_max().params_tight(0, 255).unwrap_err(), &["data", "was not given", "must be for Observer::params_tight"]),
        ("Missing", Observer::min_max().symmetric_params().unwrap_err(), &["data", "was not given", "must be for Observer::symmetric_params"]),
        ("NotOwned", requantize.residual(view, 1.0, 0).into_owned().unwrap_err(), &["residual", "to a stage to be kept", "must be given to each call"]),
        ("NotOwned", Dequantize::new(1.0).unwrap().residual(float).into_owned().unwrap_err(), &["residual", "to a stage to be kept", "must be given to each call"]),
        ("FloatOnly", bytes_refused::<i8>(good, &Requantize::fixed_point(Multiplier::from_real(0.5).unwrap(), Rounding::Single, 0).unwrap().residual(view, 1.0, 0)), &["residual", "fixed-point", "must be with float"]),
        ("FloatOnly", bytes_refused::<i8>(good, &Requantize::in_f64(0.5, 0).unwrap().residual(view, 1.0, 0)), &["residual", "f64 factors", "must be with float"]),
        ("Scale", Requantize::new(f32::NAN, 0).unwrap_err(), &["scale", "value 0 was NaN", "must be finite and not negative"]),
        ("Scale", Requantize::new(f32::INFINITY, 0).unwrap_err(), &["scale", "value 0 was inf", "must be finite and not negative"]),
        ("Scale", Requantize::new(&[1.0, 0.0, -1.5], 0).unwrap_err(), &["scale", "value 2 was -1.5", "must be finite and not negative"]),
        ("Scale", Dequantize::new(&[1.0, f32::NEG_INFINITY]).unwrap_err(), &["scale", "value 1 was -inf", "must be finite and not negative"]),
        ("Scale", Dequantize::new(-f32::from_bits(1)).unwrap_err(), &["scale", "value 0 was -0.0", "must be finite and not negative"]),
        ("Scale", Requantize::new(Scale::PerRow(&[1.0, f32::NAN]), 0).unwrap_err(), &["scale", "value 1 was NaN", "must be finite and not negative"]),
        ("Scale", Requantize::new(Scale::RowsByColumns { rows: &[-1.0], columns: &[1.0] }, 0).unwrap_err(), &["scale.rows", "value 0 was -1", "must be finite and not negative"]),
        ("Scale", Dequantize::new(Scale::RowsByColumns { rows: &[1.0], columns: &[1.0, f32::INFINITY] }).unwrap_err(), &["scale.columns", "value 1 was inf", "must be finite and not negative"]),
        ("Scale", requantize.relu6(0.0).unwrap_err(), &["scale", "was 0", "must be finite and positive"]),
        ("Scale", Table::<i8>::activation(Activation::Silu, params(1.0), params(0.0)).unwrap_err(), &["scale", "was 0", "must be finite and positive"]),
        ("Scale", quantize_with(0.0), &["scale", "was 0", "must be finite and positive"]),
        ("Scale", quantize_with(-1.0), &["scale", "was -1", "must be finite and positive"]),
        ("Scale", quantize_with(f32::NAN), &["scale", "was NaN", "must be finite and positive"]),
        ("Scale", dequantize(&[1i8], params(f32::INFINITY), &mut [0.0]).unwrap_err(), &["scale", "was inf", "must be finite and positive"]),
        ("Scale", fold_bias(&[1i8], params(1.0), 0.0, 1.0, &mut [0]).unwrap_err(), &["scale", "was 0", "must be finite and positive"]),
        ("Scale", QuantParams::from_range_tight(0.0, 1e-60, 0, 255).unwrap_err(), &["scale", "was 0", "must be finite and positive"]),
        ("Scale", QuantParams::from_range(0.0, 1e60, 0, 255).unwrap_err(), &["scale", "was inf", "must be finite and positive"]),
        ("Scale", quantize_bias(&[1.0], f32::NAN, 1.0, &mut [0]).unwrap_err(), &["a_scale", "value 0 was NaN", "must be finite and positive"]),
        ("Scale", quantize_bias(&[1.0; 2], 1.0, &[1.0, 0.0], &mut [0; 2]).unwrap_err(), &["b_scale", "value 1 was 0", "must be finite and positive"]),
        ("Scale", requantize_scales(0.0, &[1.0], 1.0, &mut [0.0]).unwrap_err(), &["a_scale", "value 0 was 0", "must be finite and positive"]),
        ("Scale", requantize_scales(1.0, &[1.0, -1.0], 1.0, &mut [0.0; 2]).unwrap_err(), &["b_scales", "value 1 was -1", "must be finite and positive"]),
        ("Scale", requantize_scales(1.0, &[1.0], f32::INFINITY, &mut [0.0]).unwrap_err(), &["y_scale", "value 0 was inf", "must be finite and positive"]),
        ("Scale", requantize_scales(1e30, &[1.0, 1e20], 1.0, &mut [0.0; 2]).unwrap_err(), &["out", "value 1 was inf", "must be finite and positive"]),
        ("Scale", product_scales(1e-30, &[1.0, 1e-30], &mut [0.0; 2]).unwrap_err(), &["out", "value 1 was 0", "must be finite and positive"]),
        ("ScaleProduct", Requantize::new(Scale::RowsByColumns { rows: &[1.0, 1e20, 1e19], columns: &[1e18, 1e19, 1e20] }, 0).unwrap_err(), &["scale", "row 1 times column 2", "1e20 times 1e20", "must be finite"]),
        ("ScaleProduct", Dequantize::new(Scale::RowsByColumns { rows: &[f32::MAX], columns: &[1.0, 1.000_000_2] }).unwrap_err(), &["scale", "row 0 times column 1", "must be finite"]),
        ("ScaleOfA", reals_refused(good, &Dequantize::dynamic(1.0).unwrap()), &["scale", "without that of a", "must be with it (`new`)"]),
        ("ScaleOfA", bytes_refused::<i8>(good, &Requantize::dynamic(1.0, 0).unwrap()), &["scale", "without that of a", "must be with it (`new`)"]),
        ("ScaleOfA", dynamic.run_f32(MatMut::row_major(&mut [0.0; 3], 1, 3).unwrap(), Dequantize::new(1.0).unwrap()).unwrap_err(), &["scale", "with that of a", "must be without (`dynamic`)"]),
        ("ScaleOfA", dynamic.run_requantized(MatMut::row_major(&mut [0u8; 3], 1, 3).unwrap(), Requantize::new(1.0, 0).unwrap()).unwrap_err(), &["scale", "with that of a", "must be without (`dynamic`)"]),
        ("Range", Requantize::new(1.0, (1 << 21) + 1).unwrap_err(), &["output zero point", "was 2097153", "must be in -2097152..=2097152"]),
        ("Range", Requantize::new(1.0, i32::MIN).unwrap_err(), &["output zero point", "was -2147483648", "must be in -2097152..=2097152"]),
        ("Range", QuantParams::from_range(0.0, 1.0, 5, 5).unwrap_err(), &["qmax", "was 5", "must be in 6..="]),
        ("Range", QuantParams::from_range_tight(1e9, 1e9 + 1.0, 0, 255).unwrap_err(), &["zero point", "was -2550", "must be in -2147483648..=2147483647"]),
        ("Range", Requantize::in_f64(0.5, -(1 << 21) - 1).unwrap_err(), &["output zero point", "was -2097153", "must be in -2097152..=2097152"]),
        ("Range", Requantize::fixed_point(Multiplier::from_real(0.5).unwrap(), Rounding::Ruy, -(1 << 21) - 1).unwrap_err(), &["output zero point", "was -2097153", "must be in -2097152..=2097152"]),
        ("Range", bytes_refused::<i8>(good, &requantize.residual(view, 1.0, 1 << 22)), &["residual zero point", "was 4194304", "must be in -2097152..=2097152"]),
        ("Range", Multiplier::new(5, 0).unwrap_err(), &["multiplier", "was 5", "must be in 1073741824..=2147483647"]),
        ("Range", Multiplier::new(1 << 30, 31).unwrap_err(), &["shift", "was 31", "must be in -31..=30"]),
        ("Range", view.split_at_row(3).unwrap_err(), &["row", "was 3", "must be in 0..=2"]),
        ("Range", view.split_at_col(4).unwrap_err(), &["col", "was 4", "must be in 0..=3"]),
        ("Range", view.row_chunks(0).err().unwrap(), &["rows", "was 0", "must be in 1..="]),
        ("Range", view.col_chunks(0).err().unwrap(), &["cols", "was 0", "must be in 1..="]),
        ("Range", conv.build().unwrap_err(), &["dilated kernel height", "was 3", "must be in 1..=2"]),
        ("Range", conv.stride(1, 0).padding(1, 0, 0, 0).build().unwrap_err(), &["horizontal stride", "was 0", "must be in 1..="]),
        ("Code", packing(4, 16, 16), &["codes", "element (0, 0)", "was 16", "must be in 0..=15"]),
        ("Group", packing(4, 3, 1), &["group", "was 3", "must be a multiple of 8 above 0, or at least k = 4"]),
        ("GroupOrder", act_order(), &["g_idx", "value 1 was 1", "must be 0"]),
        ("Saved", GroupwiseB::load(b"weights").unwrap_err(), &["saved", "was 7 bytes", "must be 192"]),
        ("Saved", GroupwiseB::load(&[0; 192]).unwrap_err(), &["saved", "was no file of packed weights", "must be one"]),
        ("FloatRange", Multiplier::from_real(-0.5).unwrap_err(), &["multiplier", "was -5e-1", "must be in 0e0..=1.79"]),
        ("FloatRange", Requantize::in_f64(&[0.5, f64::NAN], 0).unwrap_err(), &["factor", "was NaN", "must be in 0e0..="]),
        ("FloatRange", Requantize::in_f64(-0.5, 0).unwrap_err(), &["factor", "was -5e-1", "must be in 0e0..="]),
        ("FloatRange", bytes_refused::<i8>(good, &requantize.residual(view, f32::NAN, 0)), &["residual scale", "was NaN", "must be in 0e0..="]),
        ("FloatRange", bytes_refused::<i8>(good, &requantize.residual(view, 1e20, 0)), &["residual scale", "was 1.0000000200408773e20", "must be in 0e0..="]),
        ("FloatRange", QuantParams::symmetric(-0.5).unwrap_err(), &["max_abs", "was -5e-1", "must be in 0e0..=3.4"]),
        ("FloatRange", Observer::moving_average(0.0).unwrap_err(), &["constant", "was 0e0", "must be in 2.2", "..=1e0"]),
        ("FloatRange", Observer::percentile(100.5).unwrap_err(), &["percent", "was 1.005e2", "must be in 2.2", "..=1e2"]),
        ("Clamp", bytes_refused::<i8>(good, &requantize.clamp_to(1, 0)), &["clamp", "was 1,0", "must not be inverted"]),
        ("Clamp", bytes_refused::<i8>(good, &requantize.clamp_to(128, 300)), &["clamp", "was 128,300", "must leave some of", "-128..=127"]),
        ("Clamp", bytes_refused::<u8>(good, &requantize.clamp_to(-5, -1)), &["clamp", "was -5,-1", "must leave some of", "0..=255"]),
        ("Clamp", requantize.clamp_to(1, 0).into_owned().unwrap_err(), &["clamp", "was 1,0", "must not be inverted"]),
        ("FloatClamp", reals_refused(good, &Dequantize::new(1.0).unwrap().clamp_to(1.0, 0.0)), &["clamp", "was 1,0", "must be numbers and not inverted"]),
        ("FloatClamp", reals_refused(good, &Dequantize::new(1.0).unwrap().clamp_to(f32::NAN, 0.0)), &["clamp", "was NaN,0", "must be numbers"]),
        ("FloatClamp", reals_refused(good, &Dequantize::new(1.0).unwrap().clamp_to(0.0, f32::NAN)), &["clamp", "was 0,NaN", "must be numbers"]),
        ("FloatClamp", Dequantize::new(1.0).unwrap().clamp_to(1.0, 0.0).into_owned().unwrap_err(), &["clamp", "was 1,0", "must be numbers"]),
        ("NotFinite", dynamic_refused(&[1.0, f32::NAN]), &["a", "element (0, 1) was NaN", "must be finite"]),
        ("NotFinite", quantize_rows(wrong, out(2, 3), &mut [0.0; 2]).unwrap_err(), &["x", "element (0, 2) was inf", "must be finite"]),
        ("NotFinite", quantize_columns(wrong, out(2, 3), &mut [0.0; 3]).unwrap_err(), &["x", "element (1, 0) was NaN", "must be finite"]),
        ("NotFinite", Observer::min_max().observe(&[1.0, f32::NAN]).unwrap_err(), &["data", "element (0, 1) was NaN", "must be finite"]),
        ("QuantizationRange", QuantParams::from_range(2.0, 1.0, 0, 255).unwrap_err(), &["range", "was 2e0,1e0", "must be ascending, not empty, finite and of finite width"]),
        ("QuantizationRange", QuantParams::from_data(&[f32::INFINITY, 0.0], 0, 255).unwrap_err(), &["range", "inf", "must be ascending, not empty, finite"]),
        ("QuantizationRange", dynamic_quantize_linear(&[f32::NAN], &mut [0]).unwrap_err(), &["range", "NaN", "must be ascending, not empty, finite"]),
        ("Bias", fold_bias(&[0i8, 1], params(1.0), 1e-5, 1e-5, &mut [0; 2]).unwrap_err(), &["bias", "value 1 is 1000000", "must fit i32"]),
        ("Bias", quantize_bias(&[0.0, 1e6], 1e-5, 1.0, &mut [0; 2]).unwrap_err(), &["bias", "value 1 is 1000000", "must fit i32"]),
        ("SumTooLarge", bytes_refused::<u8>(far, &requantize), &["a_zero", "was -2147483648", "must be smaller", "k = 1048576"]),
        ("SumTooLarge", reals_refused(far, &Dequantize::new(1.0).unwrap()), &["a_zero", "was -2147483648", "must be smaller", "k = 1048576"]),
        ("Kernel", Dispatch::named("avx9000").unwrap_err(), &["kernel", "was 'avx9000'", "does not exist", "must be one of: scalar portable"]),
        ("Kernel", Dispatch::named("").unwrap_err(), &["kernel", "was ''", "does not exist", "must be one of: scalar portable"]),
        ("InBatch", in_batch(&[f32::NAN]), &["a", "element (0, 0) was NaN", "must be finite", "(task 0 of the batch)"]),
        ("Memory", PackedB::pack_for(endless, ElementType::U8).unwrap_err(), &["packed b", "needs", "more than there is"]),
        ("Memory", refused_i32(Gemm::new(endless_a, endless)), &["packed b", "needs", "more than there is"]),
    ];
    for (variant, error, parts) in &cases {
        let (name, message) = (format!("{error:?}"), error.to_string());
        assert_eq!(name.split([' ', '(']).next(), Some(*variant), "{message}");
        // The argument comes first.
        assert!(message.starts_with(parts[0]), "{message}");
        assert!(message.starts_with(&format!("{}: ", error.argument())), "{message}");
        for part in *parts {
            assert!(message.contains(part), "'{message}' does not say '{part}'");
        }
        let error: &dyn std::error::Error = error;
        assert_eq!(error.to_string(), message);
    }
    let mut reached: Vec<_> = cases.iter().map(|(variant, ..)| *variant).collect();
    reached.dedup();
    assert_eq!(reached, VARIANTS);
}

/// As `Error` declares them.
const VARIANTS: [&str; 34] = [
    "TooShort",
    "TooLarge",
    "Overlap",
    "BatchOverlap",
    "Address",
    "OutOfBounds",
    "Index",
    "InnerDimension",
    "OutputShape",
    "Length",
    "Multiple",
    "Shape",
    "Element",
    "Missing",
    "NotOwned",
    "FloatOnly",
    "Scale",
    "ScaleProduct",
    "ScaleOfA",
    "Range",
    "Code",
    "Group",
    "GroupOrder",
    "Saved",
    "FloatRange",
    "Clamp",
    "FloatClamp",
    "NotFinite",
    "QuantizationRange",
    "Bias",
    "SumTooLarge",
    "Kernel",
    "InBatch",
    "Memory",
];

fn dynamic_refused(a: &[f32]) -> Error {
    let mut c = [5f32];
    let b = vec![1i8; a.len()];
    let b = MatRef::row_major(&b, a.len(), 1).unwrap();
    let gemm = DynamicGemm::new(MatRef::row_major(a, 1, a.len()).unwrap(), b);
    let output = Dequantize::dynamic(1.0).unwrap();
    let error = gemm.run_f32(MatMut::row_major(&mut c, 1, 1).unwrap(), output).unwrap_err();
    assert_eq!(c, [5.0], "written although refused");
    error
}

/// The error of two rows that are added to two.
fn in_batch(a: &[f32]) -> Error {
    let (mut c, b) = ([5f32], vec![1i8; a.len()]);
    let b = MatRef::row_major(&b, a.len(), 1).unwrap();
    let gemm = DynamicGemm::new(MatRef::row_major(a, 1, a.len()).unwrap(), b);
    let output = Dequantize::dynamic(1.0).unwrap();
    let task = Task::dynamic_f32(gemm, MatMut::row_major(&mut c, 1, 1).unwrap(), output).unwrap();
    run_batch(&mut [task]).unwrap_err()
}

fn scattered(indices: &[u32], weights: &[f32]) -> Error {
    let mut c = [5f32; 4];
    let rows = MatRef::row_major(&[1.0; 4], 2, 2).unwrap();
    let error = scatter_add_f32(rows, indices, Some(weights), MatMut::row_major(&mut c, 2, 2).unwrap());
    assert_eq!(c, [5.0; 4], "written although refused");
    error.unwrap_err()
}

fn refused_i32(gemm: Gemm<'_>) -> Error {
    let mut c = [5i32];
    let error = gemm.run_i32(MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap_err();
    assert_eq!(c, [5], "written although refused");
    error
}

/// The argument is named that has to change: the zero point that widens its matrix's range most, or K.
#[test]
fn sums_that_are_too_large_blame_what_makes_them_so() {
    let (a, b) = ([1u8], [2i8]);
    let column = |k| MatRef::new(&b, k, 1, 0, 0).unwrap();
    let refused = |gemm: Gemm<'_>| {
        let mut c = [5f32];
        let output = Dequantize::new(1.0).unwrap();
        gemm.run_f32(MatMut::row_major(&mut c, 1, 1).unwrap(), output).unwrap_err()
    };
    // 2^31·128 in magnitude: a zero point decides for any K beyond 2^25.
    let k = 1 << 26;
    let gemm = Gemm::new(MatRef::new(&a, 1, k, 0, 0).unwrap(), column(k));
    let too_large = |argument, got, k| Error::SumTooLarge { argument, got, k };
    assert_eq!(refused(gemm.a_zero(i32::MAX)), too_large("a_zero", i32::MAX, k));
    assert_eq!(refused(gemm.b_zero(i32::MIN)), too_large("b_zero", i32::MIN, k));
    assert_eq!(refused(gemm.a_zero(5).b_zero(i32::MAX)), too_large("b_zero", i32::MAX, k));
    // Of the zero points of rows, -2^31 + 100 is farther from 255 than 2^31 - 1 from 0.
    let rows = Gemm::new(MatRef::new(&a, 2, k, 0, 0).unwrap(), column(k)).a_zero(&[i32::MAX, i32::MIN + 100]);
    let mut c = [5f32; 2];
    let error = rows.run_f32(MatMut::row_major(&mut c, 2, 1).unwrap(), Dequantize::new(1.0).unwrap());
    assert_eq!(error, Err(too_large("a_zero", i32::MIN + 100, k)));
    assert_eq!(refused(gemm.a_zero(i32::MIN)), too_large("a_zero", i32::MIN, k));
    if usize::BITS < 64 {
        return;
    }
    // Zero points of 0 allow K up to 2^63 / (255·128). A small one of B is too much before that.
    let max = (1u64 << 63) / (255 * 128);
    for k in [max + 1, max * 2, 1 << 50, 1 << 62, u64::MAX] {
        let a = MatRef::new(&a, 1, k as usize, 0, 0).unwrap();
        let gemm = Gemm::new(a, column(k as usize));
        let got = k.try_into().unwrap_or(i64::MAX);
        let want = Error::Range { argument: "columns of a", got, min: 0, max: max as i64 };
        assert_eq!(refused(gemm), want);
        assert_eq!(refused(gemm.a_zero(300).b_zero(i32::MIN)), want);
        assert!(want.to_string().starts_with("columns of a: was "), "{want}");
    }
    let k = (max / 5 * 4) as usize;
    let gemm = Gemm::new(MatRef::new(&a, 1, k, 0, 0).unwrap(), column(k));
    assert_eq!(refused(gemm.b_zero(100)), too_large("b_zero", 100, k));
    // i8 by i8: 128·128·2^49 = 2^63, so that 2^49 - 1 is the last K, whatever the bias. There a zero point is too much.
    let (a, k) = ([-128i8], 1usize << 49);
    for bias in [[0], [2]] {
        let gemm = Gemm::new(MatRef::new(&a, 1, k, 0, 0).unwrap(), column(k)).bias(&bias);
        let want = Error::Range { argument: "columns of a", got: 1 << 49, min: 0, max: (1 << 49) - 1 };
        assert_eq!(refused(gemm), want);
    }
    let gemm = Gemm::new(MatRef::new(&a, 1, k - 1, 0, 0).unwrap(), column(k - 1));
    assert_eq!(refused(gemm.a_zero(1)), too_large("a_zero", 1, k - 1));
    // Of the zero points of rows, 2^31 - 1 is farther from -128 than 1 - 2^31 from 127.
    let k = 1 << 26;
    let rows = Gemm::new(MatRef::new(&a, 2, k, 0, 0).unwrap(), column(k)).a_zero(&[-i32::MAX, i32::MAX]);
    let error = rows.run_f32(MatMut::row_major(&mut c, 2, 1).unwrap(), Dequantize::new(1.0).unwrap());
    assert_eq!(error, Err(too_large("a_zero", i32::MAX, k)));
}

#[test]
fn values_at_the_ends_of_what_is_allowed_are_allowed() {
    let max = 1 << 21;
    assert!(Requantize::new(0.0, max).is_ok() && Requantize::new(-0.0, -max).is_ok());
    assert!(Requantize::new(f32::MAX, 0).is_ok() && Requantize::new(f32::from_bits(1), 0).is_ok());
    assert!(Dequantize::new(&[0.0, f32::MAX, f32::from_bits(1)]).is_ok());
    assert!(Requantize::new(&[], 0).is_ok());
    assert!(Requantize::new(1.0, 0).unwrap().clamp_to(i32::MAX, i32::MAX).into_owned().is_ok());
    assert!(QuantParams::from_range(-1.0, 1.0, i32::MIN, i32::MAX).is_ok());
    assert!(QuantParams::from_range(0.0, 1.0, 0, 1).is_ok());
}

#[test]
fn one_value_that_is_wrong_in_many_is_found() {
    let mut scales = [1.0f32; 1000];
    for index in [0, 1, 499, 999] {
        for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, -1.0, -f32::MIN_POSITIVE] {
            scales[index] = wrong;
            let error = Requantize::new(&scales, 0).unwrap_err();
            assert!(matches!(error, Error::Scale { index: i, .. } if i == index), "{error}");
            assert_eq!(Dequantize::new(&scales).unwrap_err().to_string(), error.to_string());
        }
        scales[index] = 1.0;
    }
}

proptest! {
    #![proptest_config(config(2000))]

    /// Whatever does not fit together is refused by both with the same error, and is not written.
    #[test]
    fn arguments_that_disagree_are_refused_as_the_reference_does(
        (m, k, n) in (0..4usize, 0..4usize, 0..4usize),
        (k2, m2, n2) in (near(), near(), near()),
        lengths in prop::array::uniform4(near()),
        (per_row, per_column, bias, scales) in any::<(bool, bool, bool, bool)>(),
        clamp in (-200..300i32, 0..100i32),
        zero in prop_oneof![4 => -200..200i32, 1 => Just(i32::MIN), 1 => Just(i32::MAX)],
        packed in any::<bool>(),
    ) {
        let (k2, m2, n2) = (k.saturating_add_signed(k2), m.saturating_add_signed(m2), n.saturating_add_signed(n2));
        let (a, w) = ([7u8; 16], [-3i8; 16]);
        let a = MatRef::row_major(&a, m, k).unwrap();
        let b = MatRef::row_major(&w, k2, n).unwrap();
        let packed_b = PackedB::pack_for(b, ElementType::U8).unwrap();
        let rhs = if packed { Rhs::from(&packed_b) } else { Rhs::from(b) };
        let vector = |len: usize, off| vec![zero; len.saturating_add_signed(off)];
        let (a_zero, b_zero) = (vector(m, lengths[0]), vector(n, lengths[1]));
        let added = vector(n, lengths[2]);
        let factors = vec![0.5f32; n.saturating_add_signed(lengths[3])];
        let mut gemm = Gemm::new(a, rhs).a_zero(zero).b_zero(zero);
        if per_row { gemm = gemm.a_zero(&a_zero) }
        if per_column { gemm = gemm.b_zero(&b_zero) }
        if bias { gemm = gemm.bias(&added) }
        let bytes = if scales { Requantize::new(&factors, 1) } else { Requantize::new(0.5, 1) };
        let bytes = bytes.unwrap().clamp_to(clamp.0, clamp.0 + clamp.1);
        let reals = if scales { Dequantize::new(&factors) } else { Dequantize::new(0.5) }.unwrap();
        let reals = if bias { reals.bias(&factors) } else { reals };

        let fits = k2 == k && (m2, n2) == (m, n)
            && !(per_row && a_zero.len() != m)
            && !(per_column && b_zero.len() != n)
            && !(bias && added.len() != n);
        fn both<T: Clone + PartialEq + std::fmt::Debug>(
            (m, n): (usize, usize),
            before: T,
            run: impl Fn(MatMut<'_, T>) -> Result<(), Error>,
            reference: impl Fn(MatMut<'_, T>) -> Result<(), Error>,
        ) -> Result<(), Error> {
            let (mut ours, mut theirs) = (vec![before.clone(); m * n], vec![before.clone(); m * n]);
            let result = run(MatMut::row_major(&mut ours, m, n).unwrap());
            assert_eq!(result, reference(MatMut::row_major(&mut theirs, m, n).unwrap()));
            assert_eq!(ours, theirs);
            if result.is_err() {
                assert_eq!(ours, vec![before; m * n], "written although refused");
            }
            result
        }
        let shape = (m2, n2);
        let result = both(shape, 77, |c| gemm.run_i32(c), |c| reference::run_i32(&gemm, c));
        prop_assert_eq!(result.is_ok(), fits, "{:?}", result);
        let again = both(shape, 77, |c| gemm.accumulate_i32(c), |c| reference::accumulate_i32(&gemm, c));
        prop_assert_eq!(&again, &result);
        let i8s = both(shape, 77i8, |c| gemm.run_requantized(c, bytes), |c| reference::run_requantized(&gemm, c, bytes));
        let u8s = both(shape, 77u8, |c| gemm.run_requantized(c, bytes), |c| reference::run_requantized(&gemm, c, bytes));
        let f32s = both(shape, 77f32, |c| gemm.run_f32(c, reals), |c| reference::run_f32(&gemm, c, reals));
        for other in [i8s, u8s, f32s] {
            if result.is_err() {
                prop_assert_eq!(&other, &result);
            }
        }
    }
}

fn near() -> impl Strategy<Value = isize> {
    prop_oneof![12 => Just(0isize), 1 => Just(1isize), 1 => Just(-1isize)]
}

#[test]
fn memory_that_cannot_be_had_is_an_error_and_the_next_call_works() {
    let (one, two) = ([3i8], [2u8]);
    // Beyond all memory, and beyond usize.
    for k in [ENDLESS, usize::MAX] {
        let b = MatRef::new(&one, k, 1, 0, 0).unwrap();
        for kernel in Dispatch::available() {
            let dispatch = Dispatch::named(kernel.name).unwrap();
            let error = PackedB::pack_with(&dispatch, b, ElementType::I8).unwrap_err();
            assert!(matches!(error, Error::Memory { purpose: "packed b", .. }), "{error}");
        }
        let a = MatRef::new(&two, 1, k, 0, 0).unwrap();
        assert!(matches!(refused_i32(Gemm::new(a, b)), Error::Memory { .. }));
        let mut c = [5i32];
        let (a, b) = (MatRef::row_major(&two, 1, 1).unwrap(), MatRef::row_major(&one, 1, 1).unwrap());
        Gemm::new(a, b).run_i32(MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
        assert_eq!(c, [6]);
    }
    let n = MatRef::new(&one, 1, usize::MAX, 0, 0).unwrap();
    assert!(matches!(PackedB::pack_for(n, ElementType::U8), Err(Error::Memory { .. })));
}
