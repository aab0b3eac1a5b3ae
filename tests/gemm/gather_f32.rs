//! Gathered f32 rows as the A of a dynamic product: what the matrix that they make up gives, or, with one scale, what the
//! quantized source gives.

use crate::support::{Fill, Layout, Matrix, Random, config, each_kernel};
use proptest::prelude::*;
use qgemm::*;

#[derive(Clone, Debug)]
struct Case {
    /// Rows of the source, channels, rows of A, taps.
    source: (usize, usize),
    rows: usize,
    taps: usize,
    n: usize,
    padded: bool,
    layout: Layout,
    asymmetric: bool,
    per_tensor: bool,
    packed: bool,
    threads: usize,
    kernel: usize,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let layouts = vec![Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE];
    let shape =
        ((1..20usize, 0..40usize), 0..40usize, prop_oneof![2 => Just(1usize), 3 => 1..10usize], 0..40usize);
    let flags = any::<(bool, bool, bool, bool)>();
    (shape, prop::sample::select(layouts), flags, 1..4usize, any::<(usize, u64)>()).prop_map(
        |((source, rows, taps, n), layout, flags, threads, (kernel, seed))| {
            let (padded, asymmetric, per_tensor, packed) = flags;
            Case {
                source,
                rows,
                taps,
                n,
                padded,
                layout,
                asymmetric,
                per_tensor,
                packed,
                threads,
                kernel,
                seed,
            }
        },
    )
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn gathered_rows_are_quantized_like_a_matrix(case in case()) {
        check(&case);
    }
}

fn ways<'a>(gemm: DynamicGemm<'a>, case: &Case) -> DynamicGemm<'a> {
    let gemm = if case.asymmetric { gemm.asymmetric() } else { gemm };
    let gemm = if case.per_tensor { gemm.per_tensor() } else { gemm };
    gemm.b_zero(3).threads(Threads::at_most(case.threads).eager())
}

fn check(case: &Case) {
    let Case { source: (height, channels), rows, taps, n, .. } = *case;
    let k = taps * channels;
    let mut random = Random(case.seed);
    let mut source = Matrix::<f32>::random(height, channels, case.layout, 1);
    for (i, j) in (0..height).flat_map(|i| (0..channels).map(move |j| (i, j))) {
        source.set(i, j, (random.below(2000) as f32 - 900.0) * (1.0 + i as f32) / 77.0);
    }
    let indices: Vec<u32> = (0..rows * taps)
        .map(|_| match random.below(height + usize::from(case.padded)) {
            index if index == height => GatherF32::PADDING,
            index => index as u32,
        })
        .collect();
    let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Mixed, 2);
    let kernels = each_kernel();
    let (_, dispatch) = &kernels[case.kernel % kernels.len()];
    let packed = PackedB::pack_with(dispatch, b.view(), ElementType::I8).unwrap();
    let rhs = || if case.packed { Rhs::from(&packed) } else { b.view().into() };
    let scales: Vec<f32> = (0..n).map(|j| (j + 1) as f32 * 1e-3).collect();
    let output = Dequantize::dynamic(&scales).unwrap();

    let a = GatherF32::new(source.view(), &indices, taps).unwrap();
    let gemm = ways(DynamicGemm::new(a, rhs()).dispatch(dispatch), case);
    let before: Vec<f32> = (0..rows * n).map(|i| i as f32).collect();
    let run = |f: &dyn Fn(MatMut<'_, f32>) -> Result<(), Error>| {
        let mut c = before.clone();
        f(MatMut::row_major(&mut c, rows, n).unwrap()).unwrap();
        c
    };
    let got = run(&|c| gemm.run_f32(c, output));
    assert_eq!(got, run(&|c| reference::run_dynamic_f32(&gemm, c, output)), "the reference");
    let parts = run(&|c| {
        let mut tasks = Task::dynamic_f32(gemm, c, output)?.into_parts(3)?;
        run_batch_on(&mut tasks, Threads::at_most(case.threads).eager())
    });
    assert_eq!(got, parts, "parts");

    let element = |i: usize, l: usize| match indices[i * taps + l / channels] {
        GatherF32::PADDING => 0.0,
        index => source.at(index as usize, l % channels),
    };
    let stored: Vec<f32> =
        (0..rows).flat_map(|i| (0..k).map(move |l| (i, l))).map(|(i, l)| element(i, l)).collect();
    let want = if case.per_tensor {
        // One scale for all of the source: the product of the gathered, quantized matrix.
        let all: Vec<f32> = (0..height)
            .flat_map(|i| (0..channels).map(move |j| (i, j)))
            .map(|(i, j)| source.at(i, j))
            .collect();
        let (lo, hi) = all.iter().fold((0f32, 0f32), |(lo, hi), x| (lo.min(*x), hi.max(*x)));
        let scale = if case.asymmetric { (hi - lo) / 255.0 } else { hi.max(-lo) / 127.0 };
        let scale = if scale == 0.0 { 1.0 } else { scale };
        let zero_point = if case.asymmetric { (-lo / scale).round_ties_even() as i32 } else { 0 };
        let params = QuantParams { scale, zero_point };
        let (mut unsigned, mut signed) = (vec![0u8; stored.len()], vec![0i8; stored.len()]);
        quantize(&stored, params, &mut unsigned).unwrap();
        quantize(&stored, params, &mut signed).unwrap();
        let row_scales = vec![scale; rows];
        let output = Dequantize::new(Scale::RowsByColumns { rows: &row_scales, columns: &scales }).unwrap();
        run(&|c| match case.asymmetric {
            true => Gemm::new(MatRef::row_major(&unsigned, rows, k)?, b.view())
                .a_zero(zero_point)
                .b_zero(3)
                .run_f32(c, output),
            false => Gemm::new(MatRef::row_major(&signed, rows, k)?, b.view()).b_zero(3).run_f32(c, output),
        })
    } else {
        let gemm = ways(DynamicGemm::new(MatRef::row_major(&stored, rows, k).unwrap(), rhs()), case);
        run(&|c| gemm.run_f32(c, output))
    };
    assert_eq!(got, want, "the stored matrix");
}

#[test]
fn a_convolution_of_f32_is_that_of_its_stored_rows() {
    let conv = Conv2d::builder(2, (5, 6), (3, 3)).stride(2, 1).padding(1, 1, 1, 0).build().unwrap();
    let (pixels, channels, n) = (2 * 5 * 6, 4, 5);
    let image: Vec<f32> = (0..pixels * channels).map(|i| (i * 37 % 101) as f32 - 40.0).collect();
    let weights: Vec<i8> = (0..9 * channels * n).map(|i| (i * 29 % 255) as u8 as i8).collect();
    let source = MatRef::row_major(&image, pixels, channels).unwrap();
    let b = MatRef::row_major(&weights, 9 * channels, n).unwrap();
    let output = Dequantize::dynamic(0.01).unwrap();
    let run = |a: FloatLhs<'_>, per_tensor: bool| {
        let mut c = vec![0f32; conv.rows() * n];
        let gemm = DynamicGemm::new(a, b).asymmetric();
        let gemm = if per_tensor { gemm.per_tensor() } else { gemm };
        gemm.run_f32(MatMut::row_major(&mut c, conv.rows(), n).unwrap(), output).unwrap();
        c
    };
    let gathered = GatherF32::conv2d(source, &conv).unwrap();
    let stored: Vec<f32> = conv
        .indices()
        .iter()
        .flat_map(|index| match *index {
            GatherF32::PADDING => vec![0.0; channels],
            index => image[index as usize * channels..][..channels].to_vec(),
        })
        .collect();
    let matrix = MatRef::row_major(&stored, conv.rows(), 9 * channels).unwrap();
    assert_eq!(run(gathered.into(), false), run(matrix.into(), false));
    // All pixels are in some row, and so is 0.
    assert_eq!(run(gathered.into(), true), run(matrix.into(), true));
}

#[test]
fn values_that_are_not_finite_are_named_by_row_of_a_or_of_the_source() {
    let source = [1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0];
    let source = MatRef::row_major(&source, 3, 2).unwrap();
    let b = [1i8; 4];
    let refused = |indices: &[u32], taps: usize, per_tensor: bool| {
        let a = GatherF32::new(source, indices, taps).unwrap();
        let gemm = DynamicGemm::new(a, MatRef::row_major(&b, 2 * taps, 1).unwrap());
        let gemm = if per_tensor { gemm.per_tensor() } else { gemm };
        let mut c = vec![7.0; indices.len() / taps];
        let rows = c.len();
        let result =
            gemm.run_f32(MatMut::row_major(&mut c, rows, 1).unwrap(), Dequantize::dynamic(1.0).unwrap());
        let theirs = reference::run_dynamic_f32(
            &gemm,
            MatMut::row_major(&mut vec![0.0; rows], rows, 1).unwrap(),
            Dequantize::dynamic(1.0).unwrap(),
        );
        assert_eq!(format!("{result:?}"), format!("{theirs:?}"));
        if result.is_err() {
            assert!(c.iter().all(|c| *c == 7.0), "written although refused");
        }
        result.map_err(|error| error.to_string())
    };
    let named = |place: &str| Err(format!("{place} was NaN, must be finite"));
    assert_eq!(refused(&[0, 2, 1], 1, false), named("a: element (2, 0)"));
    assert_eq!(refused(&[0, 2, 2, 1], 2, false), named("a: element (1, 2)"));
    assert_eq!(refused(&[0, 2], 1, false), Ok(()));
    for indices in [&[0, 2][..], &[0, 2, 1, 0]] {
        assert_eq!(refused(indices, indices.len() / 2, true), named("source: element (1, 0)"));
    }
}
