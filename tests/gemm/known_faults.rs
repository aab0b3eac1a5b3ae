//! Faults that multiplications of other libraries have had, each with the right value, on every kernel.

use crate::support::{Random, each_kernel};
use qgemm::{
    CodeBits, Dequantize, Dispatch, DynamicGemm, ElementType, Gemm, GroupwiseB, GroupwiseGemm, Int8Element,
    MatMut, MatRef, Multiplier, PackedB, Requantize, Rhs, Rounding, reference,
};

/// Calls `f` with B packed for either type of activations, and not packed, for every kernel.
fn each_b<B: Int8Element>(b: MatRef<'_, B>, mut f: impl FnMut(&str, Rhs<'_>, &Dispatch)) {
    for (info, dispatch) in each_kernel() {
        for activations in [ElementType::U8, ElementType::I8] {
            let packed = PackedB::pack_with(&dispatch, b, activations).unwrap();
            f(info.name, (&packed).into(), &dispatch);
        }
        f(info.name, b.into(), &dispatch);
    }
}

fn sums<A: Int8Element>(a: MatRef<'_, A>, b: Rhs<'_>, dispatch: &Dispatch, n: usize) -> Vec<i32> {
    let mut c = vec![i32::MIN; a.rows() * n];
    let product = Gemm::new(a, b).dispatch(dispatch);
    product.run_i32(MatMut::row_major(&mut c, a.rows(), n).unwrap()).unwrap();
    c
}

fn f32_sums<A: Int8Element>(a: MatRef<'_, A>, b: Rhs<'_>, dispatch: &Dispatch, n: usize) -> Vec<f32> {
    let mut c = vec![f32::NAN; a.rows() * n];
    let product = Gemm::new(a, b).dispatch(dispatch);
    product.run_f32(MatMut::row_major(&mut c, a.rows(), n).unwrap(), Dequantize::new(1.0).unwrap()).unwrap();
    c
}

/// Two products of 255 and 127 or -128 do not fit 16 bits: `vpmaddubsw` saturates them at 32,767 and -32,768.
#[test]
fn pairs_that_16_bits_saturate() {
    for (weight, expected) in [(127i8, 64_770), (-128, -65_280)] {
        for (m, n) in [(1, 1), (1, 16), (5, 33), (13, 70)] {
            let (a, b) = (vec![255u8; m * 2], vec![weight; 2 * n]);
            each_b(MatRef::row_major(&b, 2, n).unwrap(), |kernel, b, dispatch| {
                let c = sums(MatRef::row_major(&a, m, 2).unwrap(), b, dispatch, n);
                assert!(c.iter().all(|c| *c == expected), "{kernel} {m}x{n}: {c:?}");
            });
        }
    }
}

/// 16-bit sums of products that fit each alone: after 128 of one sign they do not fit together.
#[test]
fn many_small_products_of_one_sign() {
    for (value, weight) in [(255u8, 1i8), (255, -1), (128, 2), (64, -4), (255, 64), (1, 127)] {
        for k in [255, 256, 257, 512, 1024, 4099] {
            let (a, b) = (vec![value; 3 * k], vec![weight; k * 17]);
            let expected = k as i32 * i32::from(value) * i32::from(weight);
            each_b(MatRef::row_major(&b, k, 17).unwrap(), |kernel, b, dispatch| {
                let c = sums(MatRef::row_major(&a, 3, k).unwrap(), b, dispatch, 17);
                assert!(c.iter().all(|c| *c == expected), "{kernel}, k = {k}: {c:?}, not {expected}");
            });
        }
    }
}

/// 519 products of 255 and 127 are the first whose sum f32 does not hold: 16,807,815 is beyond 2^24, and odd.
#[test]
fn sums_past_2_to_the_24() {
    for (k, exact, rounded) in [(518, 16_775_430, 16_775_430.0f32), (519, 16_807_815, 16_807_816.0)] {
        let (a, b) = (vec![255u8; 2 * k], vec![127i8; k * 18]);
        each_b(MatRef::row_major(&b, k, 18).unwrap(), |kernel, b, dispatch| {
            let a = MatRef::row_major(&a, 2, k).unwrap();
            let c = sums(a, b, dispatch, 18);
            assert!(c.iter().all(|c| *c == exact), "{kernel}: {c:?}");
            // Rounded once, to even, from the exact sum.
            let c = f32_sums(a, b, dispatch, 18);
            assert!(c.iter().all(|c| *c == rounded), "{kernel}: {c:?}");
        });
    }
}

/// A great sum that the last value takes back: additions in f32 would lose the 1.
#[test]
fn sums_that_cancel() {
    let k = 2001;
    let a: Vec<u8> = (0..k).map(|l| if l == 1000 { 1 } else { 255 }).collect();
    let b: Vec<i8> = (0..k)
        .map(|l| {
            if l < 1000 {
                127
            } else if l == 1000 {
                1
            } else {
                -127
            }
        })
        .collect();
    each_b(MatRef::row_major(&b, k, 1).unwrap(), |kernel, b, dispatch| {
        let a = MatRef::row_major(&a, 1, k).unwrap();
        assert_eq!(sums(a, b, dispatch, 1), [1], "{kernel}");
        assert_eq!(f32_sums(a, b, dispatch, 1), [1.0], "{kernel}");
    });
}

/// Zero points that no element can have: where they are packed with the elements they are cut off.
#[test]
fn zero_points_beyond_the_type() {
    let (m, k, n) = (3, 37, 19);
    let a: Vec<i8> = (0..m * k).map(|i| (i * 31) as u8 as i8).collect();
    let b: Vec<u8> = (0..k * n).map(|i| (i * 57) as u8).collect();
    for (a_zero, b_zero) in
        [(-129, 256), (255, -1), (1000, -70_000), (i32::MAX, i32::MIN), (i32::MIN, 0), (0, i32::MAX)]
    {
        let expected = |i: usize, j: usize| -> i64 {
            let value = |l: usize| i64::from(a[i * k + l]) - i64::from(a_zero);
            (0..k)
                .map(|l| value(l) * (i64::from(b[l * n + j]) - i64::from(b_zero)))
                .fold(0, i64::wrapping_add)
        };
        each_b(MatRef::row_major(&b, k, n).unwrap(), |kernel, b, dispatch| {
            let a = MatRef::row_major(&a, m, k).unwrap();
            let product = Gemm::new(a, b).dispatch(dispatch).a_zero(a_zero).b_zero(b_zero);
            let mut c = vec![0i32; m * n];
            product.run_i32(MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            for (at, c) in c.iter().enumerate() {
                let exact = expected(at / n, at % n);
                assert_eq!(*c, exact as i32, "{kernel} {a_zero} {b_zero}, element {at}");
            }
        });
    }
}

/// Halves: to even by float scales, up by gemmlowp's multiplication, whose nudge has the sign of the product.
#[test]
fn ties() {
    let a = [1i8; 1];
    let b: Vec<i8> = (-20..20).collect();
    let n = b.len();
    let half = Multiplier::from_real(0.5).unwrap();
    each_b(MatRef::row_major(&b, 1, n).unwrap(), |kernel, packed, dispatch| {
        let product = Gemm::new(MatRef::row_major(&a, 1, 1).unwrap(), packed).dispatch(dispatch);
        let run = |output: Requantize<'_>| {
            let mut c = vec![99i8; n];
            product.run_requantized(MatMut::row_major(&mut c, 1, n).unwrap(), output).unwrap();
            c
        };
        let even: Vec<i8> = b.iter().map(|b| (f32::from(*b) * 0.5).round_ties_even() as i8).collect();
        assert_eq!(run(Requantize::new(0.5, 0).unwrap()), even, "{kernel}");
        // The zero point is added after the rounding.
        let moved: Vec<i8> = even.iter().map(|c| c + 1).collect();
        assert_eq!(run(Requantize::new(0.5, 1).unwrap()), moved, "{kernel}");
        let up: Vec<i8> = b.iter().map(|b| (f32::from(*b) * 0.5 + 0.5).floor() as i8).collect();
        assert_eq!(run(Requantize::fixed_point(half, Rounding::Gemmlowp, 0).unwrap()), up, "{kernel}");
    });
}

/// A row's result does not change with the rows beside it: neither their values nor their number, by which some libraries
/// choose a kernel, nor, where rows have scales of their own, their greatest value.
#[test]
fn rows_do_not_change_with_others() {
    let (k, n, mut random) = (67, 35, Random(7));
    let b: Vec<i8> = (0..k * n).map(|_| random.next() as i8).collect();
    let row: Vec<f32> = (0..k).map(|_| (random.next() as i32) as f32 * 1e-9).collect();
    let weights: Vec<f32> = b.iter().map(|b| f32::from(*b)).collect();
    let groups = qgemm::quantize_groups(
        MatRef::row_major(&weights, k, n).unwrap(),
        CodeBits::Four,
        32,
        qgemm::GroupScheme::Symmetric,
    );
    let groups = groups.unwrap();
    let run = |m: usize, at: usize, dispatch: &Dispatch, packed: &PackedB| {
        let mut a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 * 1e30).collect();
        a[at * k..][..k].copy_from_slice(&row);
        let a = MatRef::row_major(&a, m, k).unwrap();
        let (mut c, mut d) = (vec![0f32; m * n], vec![0f32; m * n]);
        DynamicGemm::new(a, packed)
            .run_f32(MatMut::row_major(&mut c, m, n).unwrap(), Dequantize::dynamic(1.0).unwrap())
            .unwrap();
        let by_groups: GroupwiseB = groups.pack().unwrap().with_dispatch(dispatch);
        GroupwiseGemm::new(a, &by_groups)
            .run_f32(MatMut::row_major(&mut d, m, n).unwrap(), Dequantize::groupwise())
            .unwrap();
        let bits = |c: &[f32]| c[at * n..][..n].iter().map(|c| c.to_bits()).collect::<Vec<_>>();
        (bits(&c), bits(&d))
    };
    for (info, dispatch) in each_kernel() {
        let packed =
            PackedB::pack_with(&dispatch, MatRef::row_major(&b, k, n).unwrap(), ElementType::I8).unwrap();
        let alone = run(1, 0, &dispatch, &packed);
        for (m, at) in [(2, 0), (2, 1), (5, 3), (7, 6), (13, 12), (50, 20)] {
            assert_eq!(run(m, at, &dispatch, &packed), alone, "{}: row {at} of {m}", info.name);
        }
    }
}

/// What lies beside a view is not read: not the NaN between its rows, nor that behind its last element.
#[test]
fn nan_beside_the_view() {
    let (m, k, n, ld) = (5, 33, 20, 40);
    let mut a = vec![f32::NAN; m * ld];
    let mut residual = vec![f32::NAN; m * ld];
    for i in 0..m {
        a[i * ld..][..k].fill(1.0);
        residual[i * ld..][..n].fill(0.5);
    }
    let (a, residual) = (MatRef::new(&a, m, k, ld, 1).unwrap(), MatRef::new(&residual, m, n, ld, 1).unwrap());
    let (b, bias) = (vec![1i8; k * n], vec![2.0f32; n]);
    each_b(MatRef::row_major(&b, k, n).unwrap(), |kernel, b, dispatch| {
        let mut c = vec![f32::NAN; m * ld];
        let output = Dequantize::dynamic(1.0).unwrap().bias(&bias).residual(residual);
        let product = DynamicGemm::new(a, b).dispatch(dispatch);
        product.run_f32(MatMut::new(&mut c, m, n, ld, 1).unwrap(), output).unwrap();
        for (at, c) in c.iter().enumerate() {
            match at % ld < n {
                true => assert!((*c - 35.5).abs() < 1e-3, "{kernel}: {c}"),
                false => assert!(c.is_nan(), "{kernel}: written beside the view"),
            }
        }
    });
}

/// One row for all: its stride is 0.
#[test]
fn rows_of_stride_0() {
    let (m, k, n) = (21, 45, 30);
    let row: Vec<u8> = (0..k).map(|l| (l * 11) as u8).collect();
    let b: Vec<i8> = (0..k * n).map(|i| (i * 7) as u8 as i8).collect();
    let expected: Vec<i32> =
        (0..n).map(|j| (0..k).map(|l| i32::from(row[l]) * i32::from(b[l * n + j])).sum()).collect();
    each_b(MatRef::row_major(&b, k, n).unwrap(), |kernel, b, dispatch| {
        let c = sums(MatRef::new(&row, m, k, 0, 1).unwrap(), b, dispatch, n);
        assert_eq!(c, expected.repeat(m), "{kernel}");
    });
    // And one column of B for all, one value for all of A.
    let column = MatRef::new(&b, k, n, n, 0).unwrap();
    let first: i32 = (0..k).map(|l| 3 * i32::from(b[l * n])).sum();
    each_b(column, |kernel, b, dispatch| {
        let c = sums(MatRef::new(&[3u8], m, k, 0, 0).unwrap(), b, dispatch, n);
        assert!(c.iter().all(|c| *c == first), "{kernel}: {c:?}");
    });
}

/// Without rows or columns nothing is written; without K the sums are 0, or the bias.
#[test]
fn empty_dimensions() {
    for (m, k, n) in [(0, 5, 4), (3, 0, 4), (3, 5, 0), (0, 0, 4), (0, 5, 0), (3, 0, 0), (0, 0, 0)] {
        let (a, b, bias) = (vec![1u8; m * k], vec![1i8; k * n], vec![7; n]);
        each_b(MatRef::row_major(&b, k, n).unwrap(), |kernel, b, dispatch| {
            let a = MatRef::row_major(&a, m, k).unwrap();
            assert!(sums(a, b, dispatch, n).iter().all(|c| *c == 0), "{kernel} {m}x{k}x{n}");
            let product = Gemm::new(a, b).dispatch(dispatch).bias(&bias).a_zero(9).b_zero(-9);
            let mut c = vec![0i32; m * n];
            product.run_i32(MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            assert!(c.iter().all(|c| *c == 7), "{kernel} {m}x{k}x{n}");
            let mut c = vec![1i32; m * n];
            product.accumulate_i32(MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            assert!(c.iter().all(|c| *c == 8), "{kernel} {m}x{k}x{n}");
            let mut c = vec![0i8; m * n];
            product
                .run_requantized(MatMut::row_major(&mut c, m, n).unwrap(), Requantize::new(2.0, 1).unwrap())
                .unwrap();
            assert!(c.iter().all(|c| *c == 15), "{kernel} {m}x{k}x{n}");
        });
    }
}

/// A clamp that ends in 0 leaves zeros of either sign as they are, where maxima of the two are one or the other.
#[test]
fn zeros_keep_their_sign_at_a_clamp() {
    let (k, n) = (3, 37);
    let a: Vec<u8> = vec![1; 5 * k];
    let b: Vec<i8> = (0..k * n).map(|i| if i % n % 2 == 0 { -1 } else { 1 }).collect();
    let (scale, factors) = (0.0, vec![0.0; n]);
    each_b(MatRef::row_major(&b, k, n).unwrap(), |kernel, b, dispatch| {
        let product = Gemm::new(MatRef::row_major(&a, 5, k).unwrap(), b).dispatch(dispatch);
        for (lo, hi) in [(0.0, 6.0), (-0.0, 6.0), (-6.0, 0.0), (-6.0, -0.0)] {
            for stage in [Dequantize::new(scale).unwrap(), Dequantize::new(&*factors).unwrap()] {
                let stage = stage.clamp_to(lo, hi);
                // Rows in one piece, and columns; and by the reference.
                for (row_stride, col_stride, by_reference) in [(n, 1, false), (1, 5, false), (n, 1, true)] {
                    let mut c = vec![f32::NAN; 5 * n];
                    let view = MatMut::new(&mut c, 5, n, row_stride, col_stride).unwrap();
                    match by_reference {
                        false => product.run_f32(view, stage).unwrap(),
                        true => reference::run_f32(&product, view, stage).unwrap(),
                    }
                    for (i, j) in (0..5).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let expected = if j % 2 == 0 { -0.0f32 } else { 0.0 };
                        let got = c[i * row_stride + j * col_stride];
                        assert_eq!(got.to_bits(), expected.to_bits(), "{kernel} {lo} {hi} {i} {j}");
                    }
                }
            }
        }
    });
}
