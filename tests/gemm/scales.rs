//! Scales per tensor, column, row, and row and column, and the clamp of f32 outputs: on every kernel, split
//! among threads by rows and by columns, against the specification in integers.

use crate::spec::{self, Float};
use crate::support::{Fill, Layout, Matrix, Random, each_kernel};
use qgemm::{Dequantize, Gemm, MatMut, MatRef, PackedB, Requantize, Scale, reference};

/// The scale of an element: the product of two factors rounded to f32 by the specification.
fn at(scale: &Scale<'_>, i: usize, j: usize) -> f32 {
    match scale {
        Scale::PerTensor(scale) => *scale,
        Scale::PerColumn(columns) => columns[j],
        Scale::PerRow(rows) => rows[i],
        Scale::RowsByColumns { rows, columns } => {
            Float::from_f32(rows[i]).times(Float::from_f32(columns[j])).to_f32()
        }
        _ => panic!("{scale:?} is not in the specification"),
    }
}

/// Factors about `middle`, whose products with others need rounding; a few extreme.
fn factors(len: usize, middle: f32, random: &mut Random) -> Vec<f32> {
    let mut one = |i: usize| match i % 23 {
        7 => 0.0,
        11 => middle * 1e-30,
        13 => middle * 1e15,
        _ => middle * (1 << 24 | random.below(1 << 24)) as f32 / (1 << 24) as f32,
    };
    (0..len).map(&mut one).collect()
}

fn in_pool(threads: usize, run: impl FnOnce() + Send) {
    #[cfg(feature = "rayon")]
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
    #[cfg(not(feature = "rayon"))]
    {
        let _ = threads;
        run();
    }
}

#[test]
fn every_kind_of_scale_is_exact_on_every_kernel_and_thread() {
    let mut random = Random(21);
    // Several tiles and panels with tails; enough rows, then enough columns, to be split among threads.
    for (m, k, n) in [(1, 5, 3), (29, 70, 131), (330, 60, 37), (9, 300, 500)] {
        let a = Matrix::<u8>::filled(m, k, Layout::INNER, Fill::Random, 1);
        let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Random, 2);
        let sums = spec::sums(&a, &b, |_| 131, |_| 0, |_| 0);
        let usual = 1.0 / (70.0 * (k as f32).sqrt());
        let (rows, columns) = (factors(m, usual, &mut random), factors(n, usual, &mut random));
        let relative = factors(n, 0.7, &mut random);
        let bias: Vec<f32> = (0..n).map(|j| j as f32 / 3.0 - 7.0).collect();
        for scale in [
            Scale::PerTensor(usual),
            Scale::PerColumn(&columns),
            Scale::PerRow(&rows),
            Scale::RowsByColumns { rows: &rows, columns: &relative },
        ] {
            let bytes = Requantize::new(scale, -3).unwrap().clamp_to(-120, 100);
            let reals = Dequantize::new(scale).unwrap().bias(&bias).clamp_to(-50.0, 60.5);
            let mut cut = [0; 2];
            for (kernel, dispatch) in each_kernel() {
                let packed = PackedB::pack_with(&dispatch, b.view(), qgemm::ElementType::U8).unwrap();
                let gemm = Gemm::new(a.view(), &packed).a_zero(131).threads(qgemm::Threads::ALL.eager());
                for threads in [1, 3] {
                    let (mut y, mut z) = (vec![0i8; m * n], vec![0f32; m * n]);
                    in_pool(threads, || {
                        gemm.run_requantized(MatMut::row_major(&mut y, m, n).unwrap(), bytes).unwrap();
                        gemm.run_f32(MatMut::row_major(&mut z, m, n).unwrap(), reals).unwrap();
                    });
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let what =
                            format!("{}, {m}x{k}x{n}, {threads} threads, row {i}, column {j}", kernel.name);
                        let (sum, scale) = (sums[i][j], at(&scale, i, j));
                        let want = spec::requantize(sum, scale, -3, (-120, 100));
                        assert_eq!(i32::from(y[i * n + j]), want, "{what}");
                        let real = spec::dequantize(sum, scale, Some(bias[j]));
                        let want = real.clamp(-50.0, 60.5);
                        assert_eq!(z[i * n + j].to_bits(), want.to_bits(), "{what}");
                        cut[usize::from(real == want)] += 1;
                    }
                }
            }
            assert!(m == 1 || cut[0].min(cut[1]) > m * n / 50, "the clamp is not tested: {cut:?}");
        }
    }
}

#[test]
fn the_reference_scales_by_rows_and_columns_too() {
    let (a, b) = ([1u8, 2, 3, 4], [10i8, 20, 30, 40]);
    let gemm = Gemm::new(MatRef::row_major(&a, 2, 2).unwrap(), MatRef::row_major(&b, 2, 2).unwrap());
    // Sums: 70 100 / 150 220.
    let check = |scale: Scale<'_>, want: [f32; 4]| {
        let output = Dequantize::new(scale).unwrap();
        let (mut y, mut z) = ([0f32; 4], [0f32; 4]);
        gemm.run_f32(MatMut::row_major(&mut y, 2, 2).unwrap(), output).unwrap();
        reference::run_f32(&gemm, MatMut::row_major(&mut z, 2, 2).unwrap(), output).unwrap();
        assert_eq!((y, z), (want, want), "{scale:?}");
        let output = Requantize::new(scale, 1).unwrap();
        let (mut y, mut z) = ([0u8; 4], [0u8; 4]);
        gemm.run_requantized(MatMut::row_major(&mut y, 2, 2).unwrap(), output).unwrap();
        reference::run_requantized(&gemm, MatMut::row_major(&mut z, 2, 2).unwrap(), output).unwrap();
        assert_eq!((y, z), (want.map(|x| x as u8 + 1), want.map(|x| x as u8 + 1)), "{scale:?}");
    };
    check(Scale::PerTensor(0.5), [35.0, 50.0, 75.0, 110.0]);
    check(Scale::PerColumn(&[1.0, 0.25]), [70.0, 25.0, 150.0, 55.0]);
    check(Scale::PerRow(&[1.0, 0.5]), [70.0, 100.0, 75.0, 110.0]);
    check(Scale::RowsByColumns { rows: &[2.0, 1.0], columns: &[0.5, 1.0] }, [70.0, 200.0, 75.0, 220.0]);
}

#[test]
fn clamped_reals_keep_nan_and_the_sign_of_zero() {
    let (a, b) = ([0u8; 0], [0i8; 0]);
    let nan = f32::NAN;
    // As sums of 32 bits and of 64.
    for wide in [0, i32::MIN] {
        let sums = [0, 0, 0, 5, -5, 3, 3, 3, wide];
        let bias = [nan, 0.0, -0.0, 0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0];
        let n = sums.len();
        let gemm = Gemm::new(MatRef::row_major(&a, 1, 0).unwrap(), MatRef::row_major(&b, 0, n).unwrap());
        let gemm = gemm.bias(&sums);
        let run = |lo, hi| {
            let output = Dequantize::new(1.0).unwrap().bias(&bias).clamp_to(lo, hi);
            let (mut y, mut z) = ([7f32; 9], [7f32; 9]);
            gemm.run_f32(MatMut::row_major(&mut y, 1, n).unwrap(), output).unwrap();
            reference::run_f32(&gemm, MatMut::row_major(&mut z, 1, n).unwrap(), output).unwrap();
            assert!(y[0].is_nan() && z[0].is_nan(), "{y:?}");
            assert_eq!(
                y[1..].iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                z[1..].iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            );
            y[1..8].to_vec()
        };
        let inf = f32::INFINITY;
        assert_eq!(run(-inf, inf), [0.0, 0.0, 5.0, -5.0, inf, -inf, 3.0]);
        let zeros = run(0.0, inf);
        assert_eq!(zeros, [0.0, 0.0, 5.0, 0.0, inf, 0.0, 3.0]);
        // 0 + -0.0 is 0.
        assert!(zeros[..2].iter().all(|zero| zero.is_sign_positive()));
        assert_eq!(run(-1.0, 4.0), [0.0, 0.0, 4.0, -1.0, 4.0, -1.0, 3.0]);
        assert_eq!(run(2.0, 2.0), [2.0; 7]);
        assert_eq!(run(-inf, -inf), [-inf; 7]);
        assert_eq!(run(inf, inf), [inf; 7]);
    }
}
