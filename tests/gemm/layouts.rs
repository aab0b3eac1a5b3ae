//! Matrices whose columns are contiguous, and rows picked by index, of sizes for which they are transposed and copied by
//! vectors: with every output, by the reference.

use crate::support::{Byte, Layout, Matrix, each_kernel_or_best};
use qgemm::*;

/// M, K and N: more and less than the blocks that are transposed, and several tiles.
const SHAPES: [(usize, usize, usize); 5] =
    [(16, 16, 16), (33, 20, 17), (64, 70, 96), (130, 49, 35), (7, 300, 130)];

fn layouts() -> impl Iterator<Item = (Layout, Layout)> {
    let by_columns = Layout { pad: [1, 0, 2, 1], ..Layout::COLS };
    let pairs = [(Layout::COLS, Layout::ROWS), (Layout::ROWS, Layout::COLS), (by_columns, by_columns)];
    pairs.into_iter()
}

fn check<A: Byte>(dispatch: &Dispatch, (m, k, n): (usize, usize, usize), layouts: (Layout, Layout))
where
    for<'a> Lhs<'a>: From<MatRef<'a, A>>,
{
    let what = format!("{m}x{k}x{n} {layouts:?} {:?}", dispatch.kernels().next());
    let a = Matrix::<A>::random(m, k, layouts.0, 1);
    let b = Matrix::<i8>::random(k, n, Layout::ROWS, 2);
    let packed = PackedB::pack_with(dispatch, b.view(), ElementType::U8).unwrap();
    let bias: Vec<i32> = (0..n as i32).map(|j| 100 * j - 900).collect();
    let zeros: Vec<i32> = (0..m as i32).map(|i| 3 * i - 50).collect();
    let scales: Vec<f32> = (0..n).map(|j| 1e-4 * (1.0 + j as f32 / 9.0)).collect();
    let gemm = Gemm::new(a.view(), &packed).bias(&bias);
    let requantize = Requantize::new(&scales, 3).unwrap();
    let dequantize = Dequantize::new(&scales).unwrap();
    // One zero point each, or none of B: with and without the sums of A's rows; one per row; and such that sums leave 32
    // bits, by columns and by rows.
    let gemms = [
        gemm.a_zero(7),
        gemm.a_zero(7).b_zero(-5),
        gemm.a_zero(&zeros).b_zero(2),
        gemm.a_zero(1 << 26),
        gemm.a_zero(3).b_zero(1 << 26),
    ];
    for gemm in gemms {
        let mut want = Matrix::<i32>::random(m, n, layouts.1, 3);
        let mut got = want.clone();
        want.with_mut(|c| reference::run_i32(&gemm, c)).unwrap();
        got.with_mut(|c| gemm.run_i32(c)).unwrap();
        got.assert_same(&want, &what);
        want.with_mut(|c| reference::accumulate_i32(&gemm, c)).unwrap();
        got.with_mut(|c| gemm.accumulate_i32(c)).unwrap();
        got.assert_same(&want, &what);

        let mut want = Matrix::<u8>::random(m, n, layouts.1, 4);
        let mut got = want.clone();
        want.with_mut(|c| reference::run_requantized(&gemm, c, requantize)).unwrap();
        got.with_mut(|c| gemm.run_requantized(c, requantize)).unwrap();
        got.assert_same(&want, &what);

        let mut want = Matrix::<f32>::random(m, n, layouts.1, 5);
        let mut got = want.clone();
        want.with_mut(|c| reference::run_f32(&gemm, c, dequantize)).unwrap();
        got.with_mut(|c| gemm.run_f32(c, dequantize)).unwrap();
        got.assert_same(&want, &what);
    }
}

#[test]
fn columns_are_transposed_for_every_output() {
    for (_, dispatch) in each_kernel_or_best() {
        for shape in SHAPES {
            for layouts in layouts() {
                check::<u8>(&dispatch, shape, layouts);
                check::<i8>(&dispatch, shape, layouts);
            }
        }
    }
}

#[test]
fn picked_rows_are_copied_whole() {
    for (_, dispatch) in each_kernel_or_best() {
        for (m, k, n) in
            [(40, 64, 17), (40, 100, 33), (9, 128, 16), (9, 129, 16), (30, 1500, 20), (30, 5, 20)]
        {
            let source = Matrix::<u8>::random(50, k, Layout::INNER, 6);
            let index = |i: usize| if i % 7 == 3 { Gather::PADDING } else { (i * 31 % 50) as u32 };
            let indices: Vec<u32> = (0..m).map(index).collect();
            let b = Matrix::<i8>::random(k, n, Layout::ROWS, 7);
            let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
            let gather = Gather::new(source.view(), &indices, 1).unwrap();
            for gemm in [Gemm::new(gather, &packed).a_zero(9), Gemm::new(gather, &packed).a_zero(9).b_zero(4)]
            {
                let (mut want, mut got) = (vec![0; m * n], vec![1; m * n]);
                reference::run_i32(&gemm, MatMut::row_major(&mut want, m, n).unwrap()).unwrap();
                gemm.run_i32(MatMut::row_major(&mut got, m, n).unwrap()).unwrap();
                assert_eq!(got, want, "{m}x{k}x{n}");
            }
        }
    }
}

#[test]
fn floats_by_columns_are_quantized_as_rows_are() {
    for (m, k, n) in SHAPES.into_iter().chain([(150, 4100, 3), (1, 40, 20)]) {
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u16 as f32 / 97.0 - 300.0;
        let by_rows: Vec<f32> = (0..m * k).map(value).collect();
        let by_columns: Vec<f32> = (0..k * m).map(|at| by_rows[at % m * k + at / m]).collect();
        let b = Matrix::<i8>::random(k, n, Layout::ROWS, 8);
        let packed = PackedB::pack_for(b.view(), ElementType::I8).unwrap();
        let output = Dequantize::dynamic(0.01).unwrap();
        let run = |a: MatRef<'_, f32>, f: fn(DynamicGemm<'_>) -> DynamicGemm<'_>| {
            let mut c = vec![0.0f32; m * n];
            f(DynamicGemm::new(a, &packed))
                .run_f32(MatMut::col_major(&mut c, m, n).unwrap(), output)
                .unwrap();
            c.iter().map(|c| c.to_bits()).collect::<Vec<_>>()
        };
        let kinds: [fn(DynamicGemm<'_>) -> DynamicGemm<'_>; 4] =
            [|g| g, |g| g.asymmetric(), |g| g.per_tensor(), |g| g.asymmetric().per_tensor()];
        for kind in kinds {
            let want = run(MatRef::row_major(&by_rows, m, k).unwrap(), kind);
            assert_eq!(run(MatRef::col_major(&by_columns, m, k).unwrap(), kind), want, "{m}x{k}x{n}");
        }
        // The first row with a value that is not finite is named.
        let mut wrong = by_columns.clone();
        wrong[(k - 1) * m + m / 2] = f32::NAN;
        let mut c = vec![0.0f32; m * n];
        let error = DynamicGemm::new(MatRef::col_major(&wrong, m, k).unwrap(), &packed)
            .run_f32(MatMut::row_major(&mut c, m, n).unwrap(), output)
            .unwrap_err();
        assert!(error.to_string().contains(&format!("{}", m / 2)), "{error}");
        assert!(c.iter().all(|c| *c == 0.0));
    }
}
