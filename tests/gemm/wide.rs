//! Sums that 32 bits do not hold: exact in 8-bit and f32 outputs, modulo 2^32 in i32 ones.

use crate::spec;
use crate::support::{Byte, Fill, Layout, Matrix, cases, each_kernel_or_best};
use qgemm::{Dequantize, Dispatch, ElementType, Error, Gemm, MatMut, MatRef, Operand, PackedB, Requantize};

/// A 2xK matrix of one value times a Kx3 matrix of another, with zero points and a bias that make rows
/// and columns distinct (or not): i32, 8-bit and f32 outputs against the closed form in 128 bits.
struct Constant<A, B> {
    k: usize,
    a: A,
    b: B,
    a_zero: [i32; 2],
    b_zero: [i32; 3],
    bias: [i32; 3],
}

impl<A: Byte, B: Byte> Constant<A, B>
where
    for<'a> Operand<'a>: From<MatRef<'a, A>> + From<MatRef<'a, B>>,
{
    fn sum(&self, i: usize, j: usize) -> i128 {
        let (a, b): (i64, i64) = (self.a.into(), self.b.into());
        let (a, b) = (a - i64::from(self.a_zero[i]), b - i64::from(self.b_zero[j]));
        self.k as i128 * i128::from(a) * i128::from(b) + i128::from(self.bias[j])
    }

    fn check(&self, dispatch: &Dispatch, what: &str) {
        let (a, b) = ([self.a], [self.b]);
        let a = MatRef::new(&a, 2, self.k, 0, 0).unwrap();
        let row = vec![self.a; self.k];
        let rows = MatRef::new(&row, 2, self.k, 0, 1).unwrap();
        let b = MatRef::new(&b, self.k, 3, 0, 0).unwrap();
        let packed = PackedB::pack_with(dispatch, b, A::TYPE).unwrap();
        let gemms = [Gemm::new(a, &packed), Gemm::new(rows, b).dispatch(dispatch)];
        for gemm in gemms.map(|gemm| gemm.a_zero(&self.a_zero).b_zero(&self.b_zero).bias(&self.bias)) {
            self.outputs(gemm, what);
        }
        // One zero point for all takes another path.
        if self.a_zero[0] == self.a_zero[1] && self.b_zero.iter().all(|zero| *zero == self.b_zero[0]) {
            let gemm = Gemm::new(rows, &packed).a_zero(self.a_zero[0]).b_zero(self.b_zero[0]);
            self.outputs(gemm.bias(&self.bias), what);
        }
    }

    fn outputs(&self, gemm: Gemm<'_>, what: &str) {
        let mut sums = [0i32; 6];
        gemm.run_i32(MatMut::row_major(&mut sums, 2, 3).unwrap()).unwrap();
        let mut twice = sums;
        gemm.accumulate_i32(MatMut::row_major(&mut twice, 2, 3).unwrap()).unwrap();
        // Scales that bring each exact sum, but no sum that wrapped, to about 100.
        let scales: [f32; 3] = std::array::from_fn(|j| 100.0 / self.sum(0, j).unsigned_abs().max(1) as f32);
        let (mut bytes, mut reals) = ([0i8; 6], [0f32; 6]);
        let output = Requantize::new(&scales, 0).unwrap();
        gemm.run_requantized(MatMut::row_major(&mut bytes, 2, 3).unwrap(), output).unwrap();
        let output = Dequantize::new(1.0).unwrap();
        gemm.run_f32(MatMut::row_major(&mut reals, 2, 3).unwrap(), output).unwrap();
        for (at, (i, j)) in (0..2).flat_map(|i| (0..3).map(move |j| (i, j))).enumerate() {
            let sum = self.sum(i, j);
            let what = format!("{what}, k = {}, row {i}, column {j}: the sum is {sum}", self.k);
            assert_eq!(sums[at], sum as i32, "i32: {what}");
            assert_eq!(twice[at], (2 * sum) as i32, "accumulated: {what}");
            let want = spec::requantize(sum, scales[j], 0, (-128, 127));
            assert_eq!(i32::from(bytes[at]), want, "i8: {what}");
            assert_eq!(reals[at], spec::dequantize(sum, 1.0, None), "f32: {what}");
        }
    }
}

/// The K up to which sums of products of extremes fit i32, and one past it.
fn about(k: usize) -> [usize; 2] {
    [k, k + 1]
}

#[test]
fn sums_of_extremes_are_exact_where_i32_ends() {
    // 255·255·33,025, 255·128·65,793 and 128·128·131,071 are the last to fit.
    assert!(255 * 255 * 33_025 <= i32::MAX as i64 && 255 * 255 * 33_026 > i32::MAX as i64);
    assert!(255 * 128 * 65_793 <= i32::MAX as i64 && 255 * 128 * 65_794 > i32::MAX as i64 + 1);
    assert!(128 * 128 * 131_071 <= i32::MAX as i64 && 128 * 128 * 131_072 > i32::MAX as i64);
    let none = ([0; 2], [0; 3], [0; 3]);
    for (kernel, dispatch) in each_kernel_or_best() {
        let (a_zero, b_zero, bias) = none;
        for k in about(33_025) {
            Constant { k, a: 255u8, b: 255u8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
        for k in about(65_793) {
            Constant { k, a: 255u8, b: -128i8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
            Constant { k, a: -128i8, b: 255u8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
        for k in about(131_071) {
            Constant { k, a: -128i8, b: -128i8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
    }
}

#[test]
fn a_bias_at_the_end_of_i32_is_exact() {
    for (kernel, dispatch) in each_kernel_or_best() {
        // 255·-128·65,793 = -(2^31 - 128): a bias of -128 is the last to fit, -129 is past it.
        for bias in [[-127, -128, -129], [128, -128, 127], [i32::MIN, i32::MAX, 0]] {
            let (a_zero, b_zero) = ([0; 2], [0; 3]);
            Constant { k: 65_793, a: 255u8, b: -128i8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
        for bias in [[i32::MIN, i32::MAX, i32::MAX - 1], [i32::MAX, i32::MIN, i32::MIN + 1]] {
            for k in [0, 1, 2] {
                let (a_zero, b_zero) = ([0; 2], [0; 3]);
                Constant { k, a: 1u8, b: -1i8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
            }
        }
    }
}

#[test]
fn zero_points_at_the_ends_of_i32_are_exact() {
    let ends = [i32::MIN, i32::MAX];
    for (kernel, dispatch) in each_kernel_or_best() {
        for k in [1, 2, 129, 40_000] {
            let (bias, b_zero) = ([7, i32::MAX, i32::MIN], [0, 5, -128]);
            Constant { k, a: -3i8, b: 100u8, a_zero: ends, b_zero, bias }.check(&dispatch, kernel.name);
            let (a_zero, b_zero) = ([17, 300], [i32::MIN, i32::MAX, 0]);
            Constant { k, a: 255u8, b: 0u8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
            let (a_zero, b_zero) = ([i32::MIN; 2], [-128; 3]);
            Constant { k, a: -128i8, b: 127i8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
        // Both at once, which K = 1 alone allows.
        let (b_zero, bias) = ([i32::MAX, i32::MIN, i32::MIN + 1], [1, -1, 0]);
        Constant { k: 1, a: 0u8, b: 0u8, a_zero: ends, b_zero, bias }.check(&dispatch, kernel.name);
    }
}

#[test]
fn raw_sums_may_wrap_when_the_corrected_ones_fit() {
    // All of B is its zero point, or off by one: the stored products pass 2^32, the sums are small.
    for (kernel, dispatch) in each_kernel_or_best() {
        for b_zero in [[-128; 3], [-128, -127, -129]] {
            let (a_zero, bias) = ([0; 2], [0, 1, -1]);
            Constant { k: 150_000, a: 255u8, b: -128i8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
        for a_zero in [[255; 2], [255, 254]] {
            let (b_zero, bias) = ([0; 3], [0, 1, -1]);
            Constant { k: 150_000, a: 255u8, b: 255u8, a_zero, b_zero, bias }.check(&dispatch, kernel.name);
        }
    }
}

#[test]
fn partial_sums_may_pass_i32_on_the_way() {
    // The first half of K sums to 255·127·70,000 > 2^31, the second takes most of it back.
    let k = 140_000;
    let mut b = Matrix::<i8>::filled(k, 9, Layout::ROWS, Fill::Max, 0);
    (k / 2..k).for_each(|l| (0..9).for_each(|j| b.set(l, j, -126 - (j % 3) as i8)));
    let a = Matrix::<u8>::filled(2, k, Layout::ROWS, Fill::Max, 0);
    let sums = spec::sums(&a, &b, |_| 0, |_| 0, |_| 0);
    for (kernel, dispatch) in each_kernel_or_best() {
        let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
        let gemm = Gemm::new(a.view(), &packed);
        let (mut c, mut reals) = ([0i32; 18], [0f32; 18]);
        gemm.run_i32(MatMut::row_major(&mut c, 2, 9).unwrap()).unwrap();
        let output = Dequantize::new(1.0).unwrap();
        gemm.run_f32(MatMut::row_major(&mut reals, 2, 9).unwrap(), output).unwrap();
        for (at, sum) in sums.iter().flatten().enumerate() {
            assert_eq!(c[at], *sum as i32, "{}", kernel.name);
            assert_eq!(reals[at], *sum as f32, "{}", kernel.name);
        }
    }
}

#[test]
fn random_wide_sums_round_once_to_f32() {
    // Zero points about 2^24 put sums about 2^40, where two roundings (by way of f64) would show: they
    // differ in about one value of 2^29, so ties are made, not waited for.
    for (case, (kernel, dispatch)) in
        (0..cases(3)).flat_map(|i| each_kernel_or_best().into_iter().map(move |x| (i, x)))
    {
        let (m, n, k) = (5, 70, 33);
        let a = Matrix::<u8>::filled(m, k, Layout::COLS, Fill::Random, case as u64);
        let b = Matrix::<i8>::filled(k, n, Layout::INNER, Fill::Random, 9);
        let a_zero: Vec<i32> = (0..m as i32).map(|i| (1 << 24) + i * 12_345).collect();
        let b_zero: Vec<i32> = (0..n as i32).map(|j| (1 << 25) - j * 54_321).collect();
        let sums = spec::sums(&a, &b, |i| a_zero[i], |j| b_zero[j], |_| 0);
        let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
        let gemm = Gemm::new(a.view(), &packed).a_zero(&a_zero).b_zero(&b_zero);
        let mut c = vec![0f32; m * n];
        gemm.run_f32(MatMut::row_major(&mut c, m, n).unwrap(), Dequantize::new(1.0).unwrap()).unwrap();
        for (got, sum) in c.iter().zip(sums.iter().flatten()) {
            assert_eq!(got.to_bits(), spec::dequantize(*sum, 1.0, None).to_bits(), "{}: {sum}", kernel.name);
        }
    }
}

#[test]
fn a_wide_sum_next_to_a_tie_is_rounded_once() {
    // acc = (2^24 + 1)·2^30 is midway between two f32; with ±1 it is not. Rounded to f64 first, the 1
    // stays; but acc = (2^24 + 1)·2^37 ± 1 would lose it there, and then go to even.
    for (kernel, dispatch) in each_kernel_or_best() {
        for (shift, bias) in [(30, 0), (30, 1), (30, -1), (31, 1), (37, 0), (37, 1), (37, -1), (38, 1)] {
            // K = 1: A - za = 2^24 + 1 and B - zb = 2^shift, as two factors or, past 2^31, by K.
            let k = 1usize << (shift - shift.min(30));
            let (a, b) = ([0u8], [0i8]);
            let a = MatRef::new(&a, 1, k, 0, 0).unwrap();
            let b = MatRef::new(&b, k, 1, 0, 0).unwrap();
            let (a_zero, b_zero) = (-((1 << 24) + 1), -(1 << shift.min(30)));
            let exact = (((1i128 << 24) + 1) << shift) + bias;
            let packed = PackedB::pack_with(&dispatch, b, ElementType::U8).unwrap();
            let bias = [bias as i32];
            let gemm = Gemm::new(a, &packed).a_zero(a_zero).b_zero(b_zero).bias(&bias);
            let mut c = [0f32];
            gemm.run_f32(MatMut::row_major(&mut c, 1, 1).unwrap(), Dequantize::new(1.0).unwrap()).unwrap();
            assert_eq!(c[0], spec::dequantize(exact, 1.0, None), "{}: {exact}", kernel.name);
            let tie = 2f32.powi(24 + shift);
            let want = if bias[0] > 0 { tie.next_up() } else { tie };
            assert_eq!(c[0], want, "{}: {exact}", kernel.name);
        }
    }
}

#[test]
fn sums_below_2_to_63_are_exact_and_what_could_reach_it_is_refused() {
    // |A - za| = 2^31 (za = 255 - 2^31, u8) and |B - zb| = 2^20 (zb = 255 - 2^20, u8): K·2^51 + |bias| < 2^63, so
    // K = 4095 with any bias fits, K = 4096 does not.
    let zeros = (i32::MIN + 255, -((1 << 20) - 255));
    let run = |k: usize, zeros: (i32, i32), bias: i32| {
        let (a, b, bias) = ([255u8], [255u8], [bias]);
        let (a, b) = (MatRef::new(&a, 1, k, 0, 0).unwrap(), MatRef::new(&b, k, 1, 0, 0).unwrap());
        let packed = PackedB::pack_for(b, ElementType::U8).unwrap();
        let gemm = Gemm::new(a, &packed).a_zero(zeros.0).b_zero(zeros.1).bias(&bias);
        let mut c = [f32::NAN];
        let result = gemm.run_f32(MatMut::row_major(&mut c, 1, 1).unwrap(), Dequantize::new(1.0).unwrap());
        let mut bytes = [77u8];
        let output = Requantize::new(2f32.powi(-56), 0).unwrap();
        let again = gemm.run_requantized(MatMut::row_major(&mut bytes, 1, 1).unwrap(), output);
        assert_eq!(result, again);
        if result.is_err() {
            assert!(c[0].is_nan() && bytes == [77], "written although refused");
        }
        result.map(|()| (c[0], bytes[0]))
    };
    let refused = |argument, got, k| Err(Error::SumTooLarge { argument, got, k });
    assert_eq!(255 - i64::from(zeros.0), 1 << 31);
    assert_eq!(run(4095, zeros, i32::MIN), Ok((4095.0 * 2f32.powi(51), 128)));
    assert_eq!(run(4096, zeros, 0), refused("a_zero", zeros.0, 4096));

    // To the unit: 2·(2^31 + 1)·(2^31 - 1) = 2^63 - 2, so a bias of 1 is the last to fit.
    let zeros = (i32::MIN + 254, i32::MIN + 256);
    assert_eq!((255 - i64::from(zeros.0), 255 - i64::from(zeros.1)), ((1 << 31) + 1, (1 << 31) - 1));
    assert_eq!(run(2, zeros, 1), Ok((2f32.powi(63), 128)));
    assert_eq!(run(2, zeros, -1), Ok((2f32.powi(63), 128)));
    assert_eq!(run(2, zeros, 2), refused("a_zero", zeros.0, 2));
    assert_eq!(run(2, zeros, -2), refused("a_zero", zeros.0, 2));
    // The other operand is named when it is the farther one.
    let zeros = (zeros.1, zeros.0);
    assert_eq!(run(2, zeros, 1), Ok((2f32.powi(63), 128)));
    assert_eq!(run(2, zeros, 2), refused("b_zero", zeros.1, 2));
}

#[test]
fn an_i32_output_needs_no_bound() {
    let (a, b) = ([1u8, 2], [-3i8, 4]);
    let gemm = Gemm::new(MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
    let gemm = gemm.a_zero(i32::MIN).b_zero(i32::MIN);
    let mut c = [0];
    gemm.run_i32(MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
    let far = 1i128 << 31;
    assert_eq!(c[0], ((1 + far) * (far - 3) + (2 + far) * (far + 4)) as i32);
}

/// Columns whose sums i32 would not hold for any B, but does for this one: each of those that are packed at a time has its own
/// terms of signs.
#[test]
fn an_unpacked_b_of_long_columns_is_right_in_parts() {
    let (m, k, n) = (5, 140_000, 300);
    let a = vec![-1i8; m * k];
    let b: Vec<i8> = (0..k * n).map(|at| (at % n % 5) as i8 - 2).collect();
    let b = MatRef::row_major(&b, k, n).unwrap();
    let mut c = vec![0f32; m * n];
    // One thread: two would pack all of it at once.
    Gemm::new(MatRef::row_major(&a, m, k).unwrap(), b)
        .threads(1)
        .run_f32(MatMut::row_major(&mut c, m, n).unwrap(), Dequantize::new(1.0).unwrap())
        .unwrap();
    for (at, got) in c.iter().enumerate() {
        assert_eq!(*got, (2 - (at % n % 5) as i32) as f32 * k as f32, "{at}");
    }
}
