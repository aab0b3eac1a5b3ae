//! Group-wise weights and products that are refused.

use qgemm::*;

/// The error of packing, by a builder.
fn packing(
    bits: CodeBits,
    group: usize,
    change: impl Fn(GroupwiseBuilder<'_>) -> Result<GroupwiseB, Error>,
) -> Error {
    change(GroupwiseB::builder(bits, group)).unwrap_err()
}

#[test]
fn wrong_weights_are_errors_that_name_the_argument() {
    use CodeBits::{Eight, Four};
    let (codes, scales) = ([3u8; 80], [1f32; 8]);
    let signed = [-8i8; 80];
    let codes_of = |k, n| MatRef::row_major(&codes, k, n).unwrap();
    let scales_of = |groups, n| MatRef::row_major(&scales, groups, n).unwrap();
    let good = |b: GroupwiseBuilder<'_>| b.pack(codes_of(40, 2), scales_of(3, 2));
    good(GroupwiseB::builder(Four, 16)).unwrap();
    assert_eq!(packing(Four, 0, good), Error::Group { got: 0, k: 40 });
    assert_eq!(packing(Four, 20, good), Error::Group { got: 20, k: 40 });
    assert_eq!(packing(Eight, 39, good), Error::Group { got: 39, k: 40 });
    let shape = |argument, got, need| Error::Shape { argument, got, need };
    assert_eq!(
        packing(Four, 16, |b| b.pack(codes_of(40, 2), scales_of(2, 2))),
        shape("scales", (2, 2), (3, 2))
    );
    assert_eq!(packing(Four, 40, good), shape("scales", (3, 2), (1, 2)));
    assert_eq!(packing(Four, 16, |b| good(b.zeros(codes_of(3, 3)))), shape("zeros", (3, 3), (3, 2)));
    assert_eq!(packing(Four, 16, |b| good(b.minimums(scales_of(2, 3)))), shape("minimums", (2, 3), (3, 2)));
    let zeros = MatRef::row_major(&signed, 3, 2).unwrap();
    let element = Error::Element { argument: "zeros", got: ElementType::I8, need: ElementType::U8 };
    assert_eq!(packing(Four, 16, |b| good(b.zeros(zeros))), element);
    let code =
        |argument, (row, column), got, (min, max)| Error::Code { argument, row, column, got, min, max };
    for (bits, wrong, range) in [(Four, 16, (0, 15)), (Four, 255, (0, 15))] {
        let mut codes = codes;
        codes[2 * 17 + 1] = wrong;
        let pack =
            |b: GroupwiseBuilder<'_>| b.pack(MatRef::row_major(&codes, 40, 2).unwrap(), scales_of(3, 2));
        assert_eq!(packing(bits, 16, pack), code("codes", (17, 1), wrong.into(), range));
    }
    for wrong in [-9i8, 8] {
        let mut signed = signed;
        signed[5] = wrong;
        let pack =
            |b: GroupwiseBuilder<'_>| b.pack(MatRef::row_major(&signed, 40, 2).unwrap(), scales_of(3, 2));
        assert_eq!(packing(Four, 16, pack), code("codes", (2, 1), wrong.into(), (-8, 7)));
    }
    assert_eq!(packing(Four, 16, |b| good(b.zero(16))), code("zero", (0, 0), 16, (0, 15)));
    assert_eq!(packing(Eight, 16, |b| good(b.zero(-1))), code("zero", (0, 0), -1, (0, 255)));
    let mut zeros = [0u8; 6];
    zeros[3] = 99;
    let zeros = MatRef::row_major(&zeros, 3, 2).unwrap();
    assert_eq!(packing(Four, 16, |b| good(b.zeros(zeros))), code("zeros", (1, 1), 99, (0, 15)));
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let scales = [1.0, 2.0, 3.0, 4.0, wrong, 6.0];
        let f16s = scales.map(half::f16::from_f32);
        let view = MatRef::row_major(&scales, 3, 2).unwrap();
        let halves = MatRef::row_major(&f16s, 3, 2).unwrap();
        for error in [
            packing(Four, 16, |b| b.pack(codes_of(40, 2), view)),
            packing(Four, 16, |b| b.pack(codes_of(40, 2), halves)),
            packing(Four, 16, |b| good(b.minimums(view))),
        ] {
            assert!(matches!(
                error,
                Error::NotFinite { argument: "scales" | "minimums", row: 2, column: 0, .. }
            ));
        }
        let w = MatRef::row_major(&scales, 3, 2).unwrap();
        let error = quantize_groups(w, Four, 16, GroupScheme::Symmetric).unwrap_err();
        assert!(matches!(error, Error::NotFinite { argument: "w", row: 2, column: 0, .. }), "{error}");
    }
    let huge = MatRef::row_major(&[f32::MAX, f32::MIN], 2, 1).unwrap();
    assert_eq!(
        quantize_groups(huge, Four, 0, GroupScheme::Symmetric).unwrap_err(),
        Error::Group { got: 0, k: 2 }
    );
    quantize_groups(huge, Four, 16, GroupScheme::Asymmetric).unwrap();
    let endless = MatRef::new(&[0u8; 0], (1 << 23) + 1, 0, 0, 0).unwrap();
    let no_scales = MatRef::new(&[0f32; 0], 1, 0, 0, 0).unwrap();
    let longest = MatRef::new(&[0u8; 0], 1 << 23, 0, 0, 0).unwrap();
    assert!(GroupwiseB::builder(Four, usize::MAX).pack(longest, no_scales).is_ok());
    let error = packing(Four, usize::MAX, |b| b.pack(endless, no_scales));
    assert_eq!(error, Error::Range { argument: "group", got: (1 << 23) + 1, min: 1, max: 1 << 23 });
    let error = Error::GroupOrder { row: 5, got: 3, need: 0 };
    assert!(error.to_string().starts_with("g_idx: value 5 was 3, must be 0"), "{error}");
    assert_eq!(
        Error::Group { got: 20, k: 40 }.to_string(),
        "group: was 20, must be a multiple of 8 above 0, or at least k = 40"
    );
    let error = code("codes", (17, 1), 16, (0, 15));
    assert_eq!(error.to_string(), "codes: element (17, 1) was 16, must be in 0..=15");
}

#[test]
fn wrong_products_are_errors_and_leave_the_output() {
    let (codes, scales) = ([3u8; 80], [1f32; 6]);
    let b = GroupwiseB::builder(CodeBits::Four, 16)
        .pack(MatRef::row_major(&codes, 40, 2).unwrap(), MatRef::row_major(&scales, 3, 2).unwrap())
        .unwrap();
    let (a, q) = ([1f32; 123], [1u8; 123]);
    let a_of = |k| MatRef::row_major(&a, 3, k).unwrap();
    let q_of = |k| MatRef::row_major(&q, 3, k).unwrap();
    let refused = |gemm: GroupwiseGemm<'_>, n: usize, output: Dequantize<'_>| {
        let mut c = [9f32; 9];
        let error = gemm.run_f32(MatMut::row_major(&mut c, 3, n).unwrap(), output).unwrap_err();
        let view = MatMut::row_major(&mut c, 3, n).unwrap();
        let of_reference = reference::run_groupwise_f32(&gemm, view, output).unwrap_err();
        assert_eq!(of_reference.to_string(), error.to_string()); // NaN differs from itself
        let task = Task::groupwise_f32(gemm, MatMut::row_major(&mut c, 3, n).unwrap(), output);
        assert_eq!(task.and_then(|mut task| task.run()).unwrap_err().to_string(), error.to_string());
        assert_eq!(c, [9.0; 9]);
        error
    };
    let stage = Dequantize::groupwise();
    assert_eq!(
        refused(GroupwiseGemm::new(a_of(41), &b), 2, stage),
        Error::InnerDimension { a_cols: 41, b_rows: 40 }
    );
    let good = GroupwiseGemm::new(a_of(40), &b);
    assert_eq!(refused(good, 3, stage), Error::OutputShape { got: (3, 3), need: (3, 2) });
    let given = Dequantize::new(1.0).unwrap();
    assert_eq!(refused(good, 2, given), Error::ScaleOfA { included: true });
    let eight = GroupwiseGemm::quantized(q_of(40), &b);
    assert_eq!(refused(eight, 2, stage), Error::ScaleOfA { included: false });
    assert_eq!(refused(good, 2, stage.bias(&[0.0])), Error::Length { argument: "bias", got: 1, need: 2 });
    assert_eq!(refused(good, 2, stage.clamp_to(2.0, 1.0)), Error::FloatClamp { got: (2.0, 1.0) });
    for (zero, got) in [(-1, -1), (256, 256)] {
        let error = Error::Range { argument: "a_zero", got, min: 0, max: 255 };
        assert_eq!(refused(eight.a_zero(zero), 2, given), error);
    }
    let error = Error::Length { argument: "a_zero", got: 2, need: 3 };
    assert_eq!(refused(eight.a_zero(&[1, 2]), 2, given), error);
    for activations in [Activations::PerRow, Activations::PerRowAsymmetric, Activations::PerRowAndGroup] {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut a = a;
            a[40 + 33] = wrong;
            let gemm = GroupwiseGemm::new(MatRef::row_major(&a, 3, 40).unwrap(), &b).activations(activations);
            let error = refused(gemm, 2, stage);
            assert!(matches!(error, Error::NotFinite { argument: "a", row: 1, column: 33, .. }), "{error}");
        }
    }
    let far = [f32::MAX; 120];
    let gemm =
        GroupwiseGemm::new(MatRef::row_major(&far, 3, 40).unwrap(), &b).activations(Activations::PerRow);
    let error = refused(gemm, 2, Dequantize::dynamic(1e20).unwrap());
    assert!(matches!(error, Error::Scale { argument: "scale", index: 0, .. }), "{error}");
    let mut wide = [f32::MAX; 120];
    wide[50] = f32::MIN;
    let gemm = GroupwiseGemm::new(MatRef::row_major(&wide, 3, 40).unwrap(), &b);
    let error = refused(gemm.activations(Activations::PerRowAsymmetric), 2, stage);
    assert!(matches!(error, Error::QuantizationRange { .. }), "{error}");
}

#[test]
fn tensors_of_formats_are_checked() {
    let bytes = [0u8; 4096];
    let length = |argument, got, need| Error::Length { argument, got, need };
    let scales = [1f32; 64];
    let scales_of = |rows, cols| GroupScales::from(MatRef::row_major(&scales, rows, cols).unwrap());
    let onnx = MatMulNBits {
        k: 40,
        n: 3,
        bits: CodeBits::Four,
        block_size: 16,
        b: &bytes[..72],
        scales: scales_of(3, 3),
        zero_points: OnnxZeros::Packed(&bytes[..6]),
    };
    GroupwiseB::from_onnx(&onnx).unwrap();
    let error = |weights: MatMulNBits<'_>| GroupwiseB::from_onnx(&weights).unwrap_err();
    assert_eq!(error(MatMulNBits { b: &bytes[..71], ..onnx }), length("b", 71, 72));
    assert_eq!(
        error(MatMulNBits { zero_points: OnnxZeros::Packed(&bytes[..5]), ..onnx }),
        length("zero_points", 5, 6)
    );
    let shape = Error::Shape { argument: "scales", got: (2, 3), need: (3, 3) };
    assert_eq!(error(MatMulNBits { scales: scales_of(3, 2), ..onnx }), shape);
    assert_eq!(error(MatMulNBits { block_size: 12, ..onnx }), Error::Group { got: 12, k: 40 });
    // One block of an odd size: its last nibble would lie in half a byte.
    for (n, len) in [(1, 1), (2, 2), (2, 3)] {
        let odd = MatMulNBits { k: 3, n, block_size: 3, b: &bytes[..len], scales: scales_of(n, 1), ..onnx };
        let want = Error::Multiple { argument: "block_size", got: 3, of: 2 };
        assert_eq!(error(MatMulNBits { zero_points: OnnxZeros::None, ..odd }), want);
    }
    for wrong in [0.5, -1.0, 16.0] {
        let mut zeros = [8f32; 9];
        zeros[4] = wrong;
        let zero_points = OnnxZeros::Real(MatRef::row_major(&zeros, 3, 3).unwrap().into());
        let want = Error::FloatRange { argument: "zero_points", got: wrong.into(), min: 0.0, max: 15.0 };
        assert_eq!(error(MatMulNBits { zero_points, ..onnx }), want);
    }
    let huge = usize::MAX / 16 * 16;
    assert!(matches!(error(MatMulNBits { k: huge, ..onnx }), Error::Memory { .. } | Error::Length { .. }));
    assert!(matches!(error(MatMulNBits { n: huge, ..onnx }), Error::Memory { .. } | Error::Length { .. }));

    let gguf = |kind, shape, len| GroupwiseB::from_gguf(kind, shape, &bytes[..len]).unwrap_err();
    GroupwiseB::from_gguf(GgufType::Q4_1, (3, 64), &bytes[..120]).unwrap();
    assert_eq!(gguf(GgufType::Q4_0, (3, 33), 54), Error::Multiple { argument: "k", got: 33, of: 32 });
    assert_eq!(gguf(GgufType::Q4_0, (3, 32), 55), length("blocks", 55, 54));
    assert_eq!(gguf(GgufType::Q8_0, (3, 32), 54), length("blocks", 54, 102));
    let mut block = [0u8; 18];
    block[1] = 0x7c; // infinity
    let error = GroupwiseB::from_gguf(GgufType::Q4_0, (1, 32), &block).unwrap_err();
    assert!(matches!(error, Error::NotFinite { argument: "scales", row: 0, column: 0, .. }));

    let gptq = Gptq {
        k: 64,
        n: 8,
        bits: CodeBits::Four,
        group: 32,
        qweight: &bytes[..256],
        qzeros: &bytes[..8],
        scales: scales_of(2, 8),
        g_idx: None,
        zeros_less_one: true,
    };
    GroupwiseB::from_gptq(&gptq).unwrap();
    let ascending: Vec<i32> = (0..64).map(|k| k / 32).collect();
    GroupwiseB::from_gptq(&Gptq { g_idx: Some(&ascending), ..gptq }).unwrap();
    let error = |layer: Gptq<'_>| GroupwiseB::from_gptq(&layer).unwrap_err();
    let mut act_order = ascending.clone();
    act_order.swap(3, 40);
    let order = Error::GroupOrder { row: 3, got: 1, need: 0 };
    assert_eq!(error(Gptq { g_idx: Some(&act_order), ..gptq }), order);
    assert_eq!(error(Gptq { g_idx: Some(&ascending[1..]), ..gptq }), length("g_idx", 63, 64));
    assert_eq!(error(Gptq { qweight: &bytes[..255], ..gptq }), length("qweight", 255, 256));
    assert_eq!(error(Gptq { qzeros: &bytes[..9], ..gptq }), length("qzeros", 9, 8));
    assert_eq!(error(Gptq { n: 7, ..gptq }), Error::Multiple { argument: "n", got: 7, of: 8 });
    let full = [0xff; 8];
    let code = Error::Code { argument: "qzeros", row: 0, column: 0, got: 16, min: 0, max: 15 };
    assert_eq!(error(Gptq { qzeros: &full, ..gptq }), code);

    let awq =
        Awq { k: 64, n: 8, group: 32, qweight: &bytes[..256], qzeros: &bytes[..8], scales: scales_of(2, 8) };
    GroupwiseB::from_awq(&awq).unwrap();
    let error = |layer: Awq<'_>| GroupwiseB::from_awq(&layer).unwrap_err();
    assert_eq!(error(Awq { qweight: &bytes[..252], ..awq }), length("qweight", 252, 256));
    assert_eq!(error(Awq { qzeros: &bytes[..4], ..awq }), length("qzeros", 4, 8));
    assert_eq!(error(Awq { n: 12, ..awq }), Error::Multiple { argument: "n", got: 12, of: 8 });
}

/// A product of scales that is no number, or a value of A that is none, is named by its row of the whole output, whichever
/// part of it finds it.
#[test]
fn wrong_rows_are_named_in_parts_too() {
    let (m, k, n) = (60, 64, 40);
    let codes = vec![3u8; k * n];
    let scales = vec![1f32; 2 * n];
    let codes = MatRef::row_major(&codes, k, n).unwrap();
    let groups = GroupwiseB::builder(CodeBits::Four, 32);
    let groups = groups.pack(codes, MatRef::row_major(&scales, 2, n).unwrap()).unwrap();
    let packed = PackedB::pack(codes).unwrap();
    let (columns, mut far) = (vec![1f32; n], vec![1f32; n]);
    far[7] = 1e10;
    for row in [0, 1, 17, 59] {
        let mut a = vec![1f32; m * k];
        let (mut rows, mut rows_of_some) = (vec![1f32; m], vec![1f32; m]);
        (a[row * k + 5], rows[row]) = (1e30, 1e30);
        let mut nan = a.clone();
        nan[row * k + 40] = f32::NAN;
        let [a, nan] = [&a, &nan].map(|a| MatRef::row_major(a, m, k).unwrap());
        let per_row = Dequantize::dynamic(Scale::PerRow(&rows)).unwrap();
        let both = Dequantize::dynamic(Scale::RowsByColumns { rows: &rows, columns: &columns }).unwrap();
        // Finite by itself, but not times the greatest of the columns.
        rows_of_some[row] = 1e5;
        let product = Scale::RowsByColumns { rows: &rows_of_some, columns: &far };
        let product = Dequantize::dynamic(product).unwrap();
        for parts in [1, 2, 3, 7] {
            let refused = |task: &dyn Fn(MatMut<'_, f32>) -> Result<(), Error>| {
                let mut c = vec![9f32; m * n];
                task(MatMut::row_major(&mut c, m, n).unwrap()).unwrap_err()
            };
            let run = |task: Result<Task<'_, '_>, Error>| {
                let mut tasks = task?.into_parts(parts)?;
                // In any order.
                tasks.reverse();
                tasks.iter_mut().map(Task::run).find(Result::is_err).expect("a part is refused")
            };
            for ways in [Activations::PerRow, Activations::PerRowAndGroup, Activations::PerRowAsymmetric] {
                let gemm = |a| GroupwiseGemm::new(a, &groups).activations(ways);
                let stage = Dequantize::groupwise();
                let error = refused(&|c| run(Task::groupwise_f32(gemm(nan), c, stage)));
                assert!(
                    matches!(error, Error::NotFinite { row: r, column: 40, .. } if r == row),
                    "{ways:?} {parts} {error}"
                );
                if ways == Activations::PerRowAndGroup {
                    continue;
                }
                let error = refused(&|c| run(Task::groupwise_f32(gemm(a), c, per_row)));
                assert!(
                    matches!(error, Error::Scale { index, .. } if index == row),
                    "{ways:?} {parts} {error}"
                );
            }
            let error = refused(&|c| run(Task::dynamic_f32(DynamicGemm::new(nan, &packed), c, per_row)));
            assert!(
                matches!(error, Error::NotFinite { row: r, column: 40, .. } if r == row),
                "{parts} {error}"
            );
            for stage in [per_row, both, product] {
                let error = refused(&|c| run(Task::dynamic_f32(DynamicGemm::new(a, &packed), c, stage)));
                assert!(
                    matches!(error, Error::Scale { index: r, .. } | Error::ScaleProduct { row: r, .. } if r == row),
                    "{parts} {error}"
                );
            }
        }
    }
}
