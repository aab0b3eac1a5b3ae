//! A B that comes as it is, of more columns than are packed at a time: each part must find its own zero points, bias,
//! scales and residual.

use crate::support::{Layout, Matrix, each_kernel_or_best};
use qgemm::{
    Caches, Dequantize, Dispatch, Gemm, MatMut, MatRef, Multiplier, Requantize, Rounding, Scale, reference,
};

/// Three parts of at least 256 columns, the last one narrow.
const N: usize = 2 * 256 + 41;

/// Everything that a column can have of its own.
struct Case {
    m: usize,
    k: usize,
    a: Vec<u8>,
    b: Matrix<i8>,
    a_zero: Vec<i32>,
    b_zero: Vec<i32>,
    bias: Vec<i32>,
    scales: Vec<f32>,
    reals: Vec<f32>,
    multipliers: Vec<Multiplier>,
    residual: Vec<i8>,
}

impl Case {
    /// Zero points are distinct, and as far out as `far`.
    fn new(m: usize, k: usize, layout: Layout, far: i32) -> Self {
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) as u8;
        let spread = far as f32 * 100.0;
        let scales: Vec<f32> = (0..N).map(|j| (1.0 + j as f32 / 64.0) / spread).collect();
        let multipliers = scales.iter().map(|&scale| Multiplier::from_real(scale.into()).unwrap());
        Self {
            m,
            k,
            a: (0..m * k).map(value).collect(),
            b: Matrix::random(k, N, layout, 7),
            a_zero: (0..m as i32).map(|i| far - 3 * i).collect(),
            b_zero: (0..N as i32).map(|j| 5 - j % 7).collect(),
            bias: (0..N as i32).map(|j| 1000 * j - 9).collect(),
            multipliers: multipliers.collect(),
            scales,
            reals: (0..N).map(|j| j as f32 / 3.0).collect(),
            residual: (0..m * N).map(|i| value(i + 5) as i8).collect(),
        }
    }

    /// Where only columns of the second part have zero points so far out that sums leave 32 bits.
    fn late() -> Self {
        let mut case = Self::new(4, 50, Layout::ROWS, 100);
        case.b_zero[300..400].fill(1 << 26);
        case
    }

    fn check(&self, dispatch: &Dispatch) {
        let a = MatRef::row_major(&self.a, self.m, self.k).unwrap();
        let gemm = Gemm::new(a, self.b.view())
            .dispatch(dispatch)
            .bias(&self.bias)
            .threads(qgemm::Threads::ALL.eager());
        for each in [false, true] {
            self.outputs(match each {
                true => gemm.a_zero(&self.a_zero).b_zero(&self.b_zero),
                false => gemm.a_zero(self.a_zero[0]).b_zero(3),
            });
        }
    }

    fn outputs(&self, gemm: Gemm<'_>) {
        let m = self.m;
        fn filled<T: Clone>(value: T, m: usize) -> [Vec<T>; 2] {
            [vec![value.clone(); m * N], vec![value; m * N]]
        }
        fn view<T>(c: &mut [T], m: usize) -> MatMut<'_, T> {
            MatMut::row_major(c, m, N).unwrap()
        }
        let [mut got, mut want] = filled(77i32, m);
        gemm.run_i32(view(&mut got, m)).unwrap();
        reference::run_i32(&gemm, view(&mut want, m)).unwrap();
        assert!(got == want, "sums");
        gemm.accumulate_i32(view(&mut got, m)).unwrap();
        reference::accumulate_i32(&gemm, view(&mut want, m)).unwrap();
        assert!(got == want, "accumulated sums");

        let rows: Vec<f32> = (0..m).map(|i| 1.0 + i as f32 / 8.0).collect();
        let both = Scale::RowsByColumns { rows: &rows, columns: &self.scales };
        let residual = MatRef::row_major(&self.residual, m, N).unwrap();
        for output in [
            Requantize::new(&self.scales, -3).unwrap(),
            Requantize::new(both, 4).unwrap().residual(residual, 0.5, 2),
            Requantize::fixed_point(&self.multipliers, Rounding::Gemmlowp, 1).unwrap(),
        ] {
            let [mut got, mut want] = filled(0i8, m);
            gemm.run_requantized(view(&mut got, m), output).unwrap();
            reference::run_requantized(&gemm, view(&mut want, m), output).unwrap();
            assert!(got == want, "{output:?}");
            assert!(want.iter().any(|c| c.unsigned_abs() < 100), "all are saturated");
        }

        let output = Dequantize::new(&self.scales).unwrap().bias(&self.reals);
        let [mut got, mut want] = filled(0f32, m);
        gemm.run_f32(view(&mut got, m), output).unwrap();
        reference::run_f32(&gemm, view(&mut want, m), output).unwrap();
        assert!(got == want, "f32");
    }
}

/// With caches that hold no panel, so that parts are as narrow as they get.
fn shapes() -> Vec<Case> {
    vec![
        Case::new(5, 37, Layout::ROWS, 100),
        Case::new(5, 37, Layout::COLS, 100),
        // Few rows, for which B is not packed everywhere.
        Case::new(1, 66, Layout::ROWS, 100),
        Case::new(2, 37, Layout::INNER, 100),
        Case::new(3, 5, Layout::ROWS, 100),
        Case::new(4, 33, Layout::ROWS, 100),
        // Sums beyond 32 bits, with terms that f64 holds and with terms that it does not.
        Case::new(3, 40, Layout::ROWS, 1 << 24),
        Case::new(3, 300, Layout::ROWS, i32::MAX),
        // Many rows, which several threads could share too.
        Case::late(),
        Case::new(60, 33, Layout::ROWS, 100),
    ]
}

#[test]
fn an_unpacked_b_of_several_parts_is_right_on_every_kernel() {
    for (kernel, dispatch) in each_kernel_or_best() {
        println!("{}", kernel.name);
        let dispatch = dispatch.with_caches(Caches { l1d: 1, l2: 1, l3: 0 });
        shapes().iter().for_each(|case| case.check(&dispatch));
    }
}

#[test]
fn few_rows_times_thousands_of_columns_are_right() {
    // More than are swept at a time.
    let (k, n) = (5, 4096 + 70);
    for signs in 0..2 {
        for m in [1, 4] {
            let b = Matrix::<i8>::random(k, n, Layout::ROWS, 3);
            let scales: Vec<f32> = (0..n).map(|j| (1 + j % 77) as f32 / 1e5).collect();
            let output = Requantize::new(&scales, 7).unwrap();
            let (signed, unsigned) =
                (Matrix::<i8>::random(m, k, Layout::INNER, 4), Matrix::<u8>::random(m, k, Layout::INNER, 4));
            let gemm = match signs {
                0 => Gemm::new(signed.view(), b.view()),
                _ => Gemm::new(unsigned.view(), b.view()),
            };
            for gemm in [gemm, gemm.a_zero(-128), gemm.a_zero(3).b_zero(2)] {
                let (mut got, mut want) = (vec![1i32; m * n], vec![2i32; m * n]);
                gemm.run_i32(MatMut::row_major(&mut got, m, n).unwrap()).unwrap();
                reference::run_i32(&gemm, MatMut::row_major(&mut want, m, n).unwrap()).unwrap();
                assert!(got == want, "{m} rows, signs {signs}: sums");
                let (mut got, mut want) = (vec![1u8; m * n], vec![2u8; m * n]);
                gemm.run_requantized(MatMut::row_major(&mut got, m, n).unwrap(), output).unwrap();
                reference::run_requantized(&gemm, MatMut::row_major(&mut want, m, n).unwrap(), output)
                    .unwrap();
                assert!(got == want, "{m} rows, signs {signs}: bytes");
            }
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn an_unpacked_b_is_shared_among_any_number_of_threads() {
    // Nine panels 64 wide are an even share for two and for three threads, but not for four.
    for threads in [2, 3, 4].into_iter().take(crate::support::cases(3)) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let small = Dispatch::auto().unwrap().clone().with_caches(Caches { l1d: 1, l2: 1, l3: 0 });
        for dispatch in [&small, Dispatch::auto().unwrap()] {
            // Work for four.
            pool.install(|| Case::new(48, 80, Layout::ROWS, 100).check(dispatch));
            pool.install(|| Case::new(3, 1270, Layout::ROWS, 100).check(dispatch));
        }
    }
}
