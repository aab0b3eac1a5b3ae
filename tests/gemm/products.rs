//! Any product, in any layout, by any kernel, to any output: the specification's values, the
//! reference's too, and not an element beside the output touched.

use crate::spec;
use crate::support::{Byte, Element, Fill, Layout, Matrix, Random, Repeat, config, each_kernel};
use proptest::prelude::*;
use qgemm::{
    Dequantize, ElementType, Error, Gemm, MatMut, Operand, PackedB, Requantize, Rhs, ZeroPoint, reference,
};

/// How far zero points lie.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// About the 8-bit range.
    Near,
    /// Up to 2^20.
    Far,
    /// Anything, i32::MIN and i32::MAX first.
    Any,
}

#[derive(Clone, Copy, Debug)]
enum Zeros {
    Unset,
    One(Reach),
    Each(Reach),
}

impl Zeros {
    /// That many, all distinct.
    fn values(self, len: usize, random: &mut Random) -> Vec<i32> {
        let reach = match self {
            Zeros::Unset => return vec![0; len],
            Zeros::One(reach) | Zeros::Each(reach) => reach,
        };
        let (start, step) = match reach {
            Reach::Near => (random.below(400) as i32 - 200, 1),
            Reach::Far => ((random.next() as i32) >> 11, 4099),
            // An odd step meets no value twice in 2^32.
            Reach::Any => {
                let start = [i32::MIN, i32::MAX, random.next() as i32][random.below(3)];
                (start, random.next() as i32 | 1)
            }
        };
        (0..len as i32).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect()
    }

    /// As an argument: all values are the first unless there is one for each.
    fn argument(self, values: &[i32]) -> ZeroPoint<'_> {
        match self {
            Zeros::Each(_) => values.into(),
            _ => values.first().copied().unwrap_or(0).into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Output {
    I32,
    Accumulate,
    I8,
    U8,
    F32 { bias: bool },
}

/// How scales are chosen.
#[derive(Clone, Copy, Debug)]
enum Scaling {
    /// A power of two by which the sums about fill the output: many ties.
    Ties,
    /// Not a power of two.
    Fit,
    /// 0, subnormal, huge.
    Extreme,
}

#[derive(Clone, Debug)]
struct Case {
    signed: (bool, bool),
    shape: (usize, usize, usize),
    layouts: (Layout, Layout, Layout),
    fills: (Fill, Fill),
    a_zero: Zeros,
    b_zero: Zeros,
    bias: Option<Reach>,
    /// The type of A that B is packed for (if it is packed ahead).
    packed_for: Option<ElementType>,
    /// An index into all kernels that run here.
    kernel: usize,
    output: Output,
    scaling: Scaling,
    per_column: bool,
    zero_point: i32,
    clamp: Option<(i32, i32)>,
    seed: u64,
}

fn size(small: usize, large: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 4 => 1..=9usize, 4 => 0..=small, 2 => 0..=large]
}

fn layout(repeats: bool) -> impl Strategy<Value = Layout> {
    let pad = prop_oneof![2 => Just([0; 4]), 1 => prop::array::uniform4(0..4usize)];
    let step = prop_oneof![3 => Just(1), 1 => 2..=3usize];
    let repeat = match repeats {
        true => prop_oneof![8 => Just(Repeat::No), 1 => Just(Repeat::Rows), 1 => Just(Repeat::Cols)].boxed(),
        false => Just(Repeat::No).boxed(),
    };
    (any::<bool>(), step, pad, any::<bool>(), repeat).prop_map(
        |(column_major, step, pad, transposed, repeat)| Layout {
            column_major,
            step,
            pad,
            transposed,
            repeat,
        },
    )
}

fn fill() -> impl Strategy<Value = Fill> {
    // About the bounds up to which kernels may sum several k-groups in 16 bits.
    let bound = || prop::sample::select(vec![8u8, 9, 16, 17, 32, 33, 64, 65, 128]);
    prop_oneof![
        4 => Just(Fill::Random),
        1 => Just(Fill::Min),
        1 => Just(Fill::Max),
        1 => Just(Fill::Alternating),
        2 => bound().prop_map(Fill::Within),
        1 => bound().prop_map(Fill::Level),
        2 => Just(Fill::Mixed)
    ]
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![3 => Just(Reach::Near), 1 => Just(Reach::Far), 1 => Just(Reach::Any)]
}

fn zeros() -> impl Strategy<Value = Zeros> {
    prop_oneof![
        1 => Just(Zeros::Unset),
        2 => reach().prop_map(Zeros::One),
        3 => reach().prop_map(Zeros::Each)
    ]
}

fn case() -> impl Strategy<Value = Case> {
    use Output::*;
    let output = prop_oneof![
        1 => Just(I32),
        1 => Just(Accumulate),
        2 => Just(I8),
        2 => Just(U8),
        2 => any::<bool>().prop_map(|bias| F32 { bias })
    ];
    let scaling = prop_oneof![3 => Just(Scaling::Ties), 3 => Just(Scaling::Fit), 1 => Just(Scaling::Extreme)];
    let packed_for = prop_oneof![Just(None), Just(Some(ElementType::I8)), Just(Some(ElementType::U8))];
    let clamp = prop_oneof![
        2 => Just(None),
        1 => (-140..270i32, 0..140i32).prop_map(|(lo, width)| Some((lo, lo + width))),
        1 => (-140..270i32).prop_map(|lo| Some((lo, i32::MAX)))
    ];
    let zero_point = prop_oneof![2 => -130..=260i32, 1 => -(1i32 << 21)..=1 << 21, 1 => Just(-(1 << 21)), 1 => Just(1 << 21)];
    let operands = (
        any::<(bool, bool)>(),
        (size(30, 60), size(40, 140), size(70, 600)),
        (layout(true), layout(true), layout(false)),
        (fill(), fill()),
        (zeros(), zeros(), prop::option::of(reach())),
    );
    let rest = (packed_for, 0..64usize, output, scaling, any::<bool>(), zero_point, clamp, any::<u64>());
    (operands, rest).prop_map(|(operands, rest)| {
        let (signed, shape, layouts, fills, (a_zero, b_zero, bias)) = operands;
        let (packed_for, kernel, output, scaling, per_column, zero_point, clamp, seed) = rest;
        Case {
            signed,
            shape,
            layouts,
            fills,
            a_zero,
            b_zero,
            bias,
            packed_for,
            kernel,
            output,
            scaling,
            per_column,
            zero_point,
            clamp,
            seed,
        }
    })
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn every_product_is_the_specification_s_and_the_reference_s(case in case()) {
        match case.signed {
            (true, true) => check::<i8, i8>(&case),
            (true, false) => check::<i8, u8>(&case),
            (false, true) => check::<u8, i8>(&case),
            (false, false) => check::<u8, u8>(&case),
        }
    }
}

fn check<A: Byte, B: Byte>(case: &Case)
where
    for<'a> Operand<'a>: From<qgemm::MatRef<'a, A>> + From<qgemm::MatRef<'a, B>>,
{
    let (m, n, k) = case.shape;
    let mut random = Random(case.seed);
    let a = Matrix::<A>::filled(m, k, case.layouts.0, case.fills.0, random.next());
    let b = Matrix::<B>::filled(k, n, case.layouts.1, case.fills.1, random.next());
    let (a_zeros, b_zeros) = (case.a_zero.values(m, &mut random), case.b_zero.values(n, &mut random));
    let bias = case.bias.map(|reach| Zeros::Each(reach).values(n, &mut random));
    let (a_zero, b_zero) = (case.a_zero.argument(&a_zeros), case.b_zero.argument(&b_zeros));
    let at = |zero: ZeroPoint<'_>, values: &[i32], i: usize| match zero {
        ZeroPoint::PerTensor(zero) => zero,
        _ => values[i],
    };

    let kernels = each_kernel();
    let (_, dispatch) = &kernels[case.kernel % kernels.len()];
    let packed = case.packed_for.map(|element| PackedB::pack_with(dispatch, b.view(), element).unwrap());
    let rhs = match &packed {
        Some(packed) => Rhs::from(packed),
        None => Rhs::from(b.view()),
    };
    let mut gemm = Gemm::new(a.view(), rhs).dispatch(dispatch);
    if !matches!(case.a_zero, Zeros::Unset) {
        gemm = gemm.a_zero(a_zero);
    }
    if !matches!(case.b_zero, Zeros::Unset) {
        gemm = gemm.b_zero(b_zero);
    }
    if let Some(bias) = &bias {
        gemm = gemm.bias(bias);
    }

    let bias_at = |j: usize| bias.as_ref().map_or(0, |bias| bias[j]);
    let sums = spec::sums(&a, &b, |i| at(a_zero, &a_zeros, i), |j| at(b_zero, &b_zeros, j), bias_at);
    let door = door::<A, B>(k, a_zero, b_zero, bias.as_deref());

    let largest = sums.iter().flatten().map(|sum| sum.unsigned_abs()).max().unwrap_or(0).max(1);
    let scales: Vec<f32> = (0..n).map(|_| scale(case.scaling, largest, &mut random)).collect();
    let scale = scales.first().copied().unwrap_or(0.5);
    let scale_at = |j: usize| if case.per_column { scales[j] } else { scale };
    let requantize = || {
        let output = match case.per_column {
            true => Requantize::new(&scales, case.zero_point),
            false => Requantize::new(scale, case.zero_point),
        };
        let output = output.unwrap();
        case.clamp.map_or(output, |(lo, hi)| output.clamp_to(lo, hi))
    };
    let (lo, hi) = case.clamp.unwrap_or((i32::MIN, i32::MAX));
    let range = |type_lo: i32, type_hi: i32| (lo.max(type_lo), hi.min(type_hi));
    // An output whose clamp leaves nothing is refused; that is another test's.
    let clamped_out = |(lo, hi): (i32, i32)| lo > hi;

    let seed = random.next();
    let c = case.layouts.2;
    match case.output {
        Output::I32 => compare(
            Matrix::random(m, n, c, seed),
            Ok(&|i, j, _| sums[i][j] as i32),
            |c| gemm.run_i32(c),
            |c| reference::run_i32(&gemm, c),
        ),
        Output::Accumulate => compare(
            Matrix::random(m, n, c, seed),
            Ok(&|i, j, before: i32| before.wrapping_add(sums[i][j] as i32)),
            |c| gemm.accumulate_i32(c),
            |c| reference::accumulate_i32(&gemm, c),
        ),
        Output::I8 if !clamped_out(range(-128, 127)) => compare(
            Matrix::random(m, n, c, seed),
            door.and(Ok(&|i: usize, j: usize, _| {
                spec::requantize(sums[i][j], scale_at(j), case.zero_point, range(-128, 127)) as i8
            })),
            |c| gemm.run_requantized(c, requantize()),
            |c| reference::run_requantized(&gemm, c, requantize()),
        ),
        Output::U8 if !clamped_out(range(0, 255)) => compare(
            Matrix::random(m, n, c, seed),
            door.and(Ok(&|i: usize, j: usize, _| {
                spec::requantize(sums[i][j], scale_at(j), case.zero_point, range(0, 255)) as u8
            })),
            |c| gemm.run_requantized(c, requantize()),
            |c| reference::run_requantized(&gemm, c, requantize()),
        ),
        Output::I8 | Output::U8 => (),
        Output::F32 { bias } => {
            let added: Vec<f32> = (0..n).map(|_| f32::from_random(random.next()) * 1.1).collect();
            let output = if case.per_column { Dequantize::new(&scales) } else { Dequantize::new(scale) };
            let output = output.unwrap();
            let output = if bias { output.bias(&added) } else { output };
            compare(
                Matrix::random(m, n, c, seed),
                door.and(Ok(&|i: usize, j: usize, _| {
                    spec::dequantize(sums[i][j], scale_at(j), bias.then(|| added[j]))
                })),
                |c| gemm.run_f32(c, output),
                |c| reference::run_f32(&gemm, c, output),
            );
        }
    }
}

/// Whether `K·max|A - za|·max|B - zb| + max|bias|` is below 2^63, for any elements of these types.
fn door<A: Byte, B: Byte>(
    k: usize,
    a_zero: ZeroPoint<'_>,
    b_zero: ZeroPoint<'_>,
    bias: Option<&[i32]>,
) -> Result<(), ()> {
    let farthest = |lo: i64, hi: i64, zero: ZeroPoint<'_>| {
        let far = |zero: &i32| i128::from((lo - i64::from(*zero)).abs().max((hi - i64::from(*zero)).abs()));
        match zero {
            ZeroPoint::PerTensor(zero) => far(&zero),
            ZeroPoint::PerAxis([]) => far(&0),
            ZeroPoint::PerAxis(zeros) => zeros.iter().map(far).max().unwrap(),
            _ => unreachable!("a case has zero points of 32 bits"),
        }
    };
    let a = farthest(A::MIN.into(), A::MAX.into(), a_zero);
    let b = farthest(B::MIN.into(), B::MAX.into(), b_zero);
    let bias = bias.unwrap_or(&[]).iter().map(|bias| i128::from(bias.unsigned_abs())).max().unwrap_or(0);
    if k as i128 * a * b + bias < 1 << 63 { Ok(()) } else { Err(()) }
}

fn scale(scaling: Scaling, largest: u128, random: &mut Random) -> f32 {
    match scaling {
        Scaling::Ties => 2f32.powi(7 + random.below(3) as i32 - largest.ilog2() as i32),
        Scaling::Fit => (100 + random.below(900)) as f32 / 3.0 / largest as f32,
        Scaling::Extreme => {
            let all = [0.0, -0.0, f32::MAX, f32::from_bits(1), f32::MIN_POSITIVE, f32::EPSILON, 1.0, 1e30];
            all[random.below(all.len())]
        }
    }
}

/// Runs a product and the reference into copies of `c`. Each element must become `want(i, j, before)`,
/// or the call be refused, and the rest be as it was.
fn compare<T: Element>(
    c: Matrix<T>,
    want: Result<&dyn Fn(usize, usize, T) -> T, ()>,
    run: impl Fn(MatMut<'_, T>) -> Result<(), Error>,
    reference: impl Fn(MatMut<'_, T>) -> Result<(), Error>,
) {
    let mut expected = c.clone();
    if let Ok(want) = want {
        for i in 0..c.rows {
            for j in 0..c.cols {
                expected.set(i, j, want(i, j, c.at(i, j)));
            }
        }
    }
    let (mut ours, mut theirs) = (c.clone(), c);
    for (result, who) in [(ours.with_mut(run), "qgemm"), (theirs.with_mut(reference), "the reference")] {
        match want {
            Ok(_) => assert_eq!(result, Ok(()), "{who}"),
            Err(()) => assert!(matches!(result, Err(Error::SumTooLarge { .. })), "{who}: {result:?}"),
        }
    }
    theirs.assert_same(&expected, "the reference");
    ours.assert_same(&expected, "qgemm");
}

#[test]
fn zero_points_of_8_bits_are_those_of_32() {
    let (m, n, k) = (9, 37, 50);
    let a = Matrix::<u8>::filled(m, k, Layout::ROWS, Fill::Random, 1);
    let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Random, 2);
    let u8s = |len: usize| (0..len).map(|i| (i * 83) as u8).collect::<Vec<u8>>();
    let i8s = |len: usize| u8s(len).iter().map(|zero| *zero as i8).collect::<Vec<i8>>();
    let of_i8 = |zeros: &[i8]| zeros.iter().map(|zero| i32::from(*zero)).collect::<Vec<i32>>();
    let of_u8 = |zeros: &[u8]| zeros.iter().map(|zero| i32::from(*zero)).collect::<Vec<i32>>();
    for (_, dispatch) in each_kernel() {
        let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
        let run = |a_zero: ZeroPoint<'_>, b_zero: ZeroPoint<'_>| {
            let gemm = Gemm::new(a.view(), &packed).a_zero(a_zero).b_zero(b_zero);
            let (mut sums, mut bytes, mut reals) = (vec![0; m * n], vec![0u8; m * n], vec![0f32; m * n]);
            gemm.run_i32(MatMut::row_major(&mut sums, m, n).unwrap()).unwrap();
            let output = Requantize::new(1e-3, 100).unwrap();
            gemm.run_requantized(MatMut::row_major(&mut bytes, m, n).unwrap(), output).unwrap();
            let output = Dequantize::new(1e-3).unwrap();
            gemm.run_f32(MatMut::row_major(&mut reals, m, n).unwrap(), output).unwrap();
            (sums, bytes, reals)
        };
        assert_eq!(
            run((&u8s(m)).into(), (&i8s(n)).into()),
            run((&of_u8(&u8s(m))).into(), (&of_i8(&i8s(n))).into())
        );
        assert_eq!(
            run((&i8s(m)).into(), (&u8s(n)).into()),
            run((&of_i8(&i8s(m))).into(), (&of_u8(&u8s(n))).into())
        );
        assert_eq!(run(200u8.into(), (-7i8).into()), run(200.into(), (-7).into()));
    }
    let gemm = Gemm::new(a.view(), b.view());
    for zero in [ZeroPoint::PerAxisI8(&[1; 3]), ZeroPoint::PerAxisU8(&[1; 3])] {
        let refused = |gemm: Gemm<'_>| gemm.run_i32(MatMut::row_major(&mut vec![0; m * n], m, n).unwrap());
        let length = |argument, need| Err(Error::Length { argument, got: 3, need });
        assert_eq!(refused(gemm.a_zero(zero)), length("a_zero", m));
        assert_eq!(refused(gemm.b_zero(zero)), length("b_zero", n));
    }
}

#[test]
fn a_product_in_one_line_is_the_sums() {
    for (m, k, n) in [(3, 5, 7), (1, 1, 1), (0, 4, 2), (4, 0, 2), (4, 2, 0), (40, 70, 33)] {
        let a = Matrix::<u8>::filled(m, k, Layout::ROWS, Fill::Random, 1);
        let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Random, 2);
        let want: Vec<i32> =
            spec::sums(&a, &b, |_| 0, |_| 0, |_| 0).concat().iter().map(|sum| *sum as i32).collect();
        assert_eq!(qgemm::matmul_i32(&a.data, &b.data, (m, k, n)), Ok(want));
    }
}
