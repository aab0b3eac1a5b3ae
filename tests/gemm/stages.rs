//! Fixed-point requantization, tables and residuals: any sum through each of them (K = 0 makes the sums the
//! bias), then products on every kernel and thread, against the specification in integers.

use crate::spec;
use crate::support::{Byte, Fill, Layout, Matrix, Random, cases, each_kernel};
use qgemm::{
    Activation, ElementType, Gemm, Int8Element, MatMut, MatRef, Multiplier, Multipliers, Operand, PackedB,
    QuantParams, Requantize, Rounding, Scale, Table, quantize, reference,
};

const ROUNDINGS: [Rounding; 4] = [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single, Rounding::Reference];

/// What the library and the oracle make of sums, one per column; computed in 32 bits and, with a last column
/// of i32::MIN, in 64.
pub fn outputs<T: Int8Element + Default>(
    sums: &[i32],
    output: impl Fn(usize) -> Requantize<'static>,
) -> [Vec<i32>; 4] {
    let wide = [sums, &[i32::MIN][..]].concat();
    let run = |bias: &[i32], oracle: bool| -> Vec<i32> {
        let (a, b) = ([0u8; 0], [0i8; 0]);
        let a = MatRef::row_major(&a, 1, 0).unwrap();
        let gemm = Gemm::new(a, MatRef::row_major(&b, 0, bias.len()).unwrap()).bias(bias);
        let mut c = vec![T::default(); bias.len()];
        let (view, output) = (MatMut::row_major(&mut c, 1, bias.len()).unwrap(), output(bias.len()));
        if oracle {
            reference::run_requantized(&gemm, view, output).unwrap();
        } else {
            gemm.run_requantized(view, output).unwrap();
        }
        c[..sums.len()].iter().map(|c| c.to_i32()).collect()
    };
    [run(sums, false), run(&wide, false), run(sums, true), run(&wide, true)]
}

#[track_caller]
fn check_fixed(sums: &[i32], multiplier: Multiplier, zero_point: i32, clamp: (i32, i32)) {
    for rounding in ROUNDINGS {
        let output =
            |_| Requantize::fixed_point(multiplier, rounding, zero_point).unwrap().clamp_to(clamp.0, clamp.1);
        let signed = outputs::<i8>(sums, output).map(|got| (got, (-128, 127)));
        let unsigned = outputs::<u8>(sums, output).map(|got| (got, (0, 255)));
        for (got, (lo, hi)) in signed.into_iter().chain(unsigned) {
            for (&sum, got) in sums.iter().zip(got) {
                let range = (clamp.0.max(lo), clamp.1.min(hi));
                let want = spec::fixed(sum.into(), multiplier, rounding, zero_point, range);
                assert_eq!(got, want, "{rounding:?} of {sum} · {multiplier:?} + {zero_point}, in {range:?}");
            }
        }
    }
}

/// Sums about 0 and powers of two, and about every half step from -300 to 300.
fn interesting(multiplier: Multiplier) -> Vec<i32> {
    let mut sums: Vec<i32> = (-9..=9).collect();
    for bit in 0..32 {
        sums.extend((-2..=2).flat_map(|d| [(1i64 << bit) + d, -(1i64 << bit) + d]).map(|x| x as i32));
    }
    let real = f64::from(multiplier.m()) * 2f64.powi(multiplier.shift() - 31);
    for half in (-600..=600).step_by(7).chain(-5..=5) {
        // f64 only to find the neighbourhood.
        let middle = (f64::from(half) / 2.0 / real) as i32;
        sums.extend((-2..=2).map(|d| middle.saturating_add(d)));
    }
    sums
}

#[test]
fn fixed_point_is_the_specification_s_at_every_extreme() {
    let all = (i32::MIN, i32::MAX);
    for shift in -31..=30 {
        for m in [0, 1 << 30, (1 << 30) + 1, 0x5555_5555, i32::MAX] {
            let multiplier = Multiplier::new(m, shift).unwrap();
            check_fixed(&interesting(multiplier), multiplier, if m == 1 << 30 { 0 } else { shift * 9 }, all);
        }
    }
    let multiplier = Multiplier::from_real(0.01).unwrap();
    for zero_point in [1 << 21, -(1 << 21), 127, -128, 255] {
        check_fixed(&interesting(multiplier), multiplier, zero_point, all);
    }
    for clamp in [(0, 100), (7, 7), (-5, i32::MAX), (i32::MIN, 3), (127, 127), (0, 0)] {
        check_fixed(&interesting(multiplier), multiplier, 3, clamp);
    }
}

#[test]
fn random_fixed_point_rounds_as_the_specification_says() {
    let mut random = Random(31);
    for _ in 0..cases(300) {
        let shift = random.below(62) as i32 - 31;
        let multiplier = Multiplier::new(1 << 30 | random.next() as i32 & 0x3fff_ffff, shift).unwrap();
        let sums: Vec<i32> = (0..99).map(|_| random.next() as i32 >> random.below(32)).collect();
        check_fixed(&sums, multiplier, random.below(300) as i32 - 150, (i32::MIN, i32::MAX));
    }
}

#[test]
fn sums_beyond_i32_saturate_before_a_multiplier() {
    // 3·2^31 and its negative: as i32 the ends, as anything else four times as far.
    let (a, b) = ([255u8, 0], [0i8]);
    let (a, b) = (MatRef::row_major(&a, 2, 1).unwrap(), MatRef::row_major(&b, 1, 1).unwrap());
    for (a_zero, b_zero) in [(0, -50_000_000), (0, 50_000_000)] {
        let gemm = Gemm::new(a, b).a_zero(a_zero).b_zero(b_zero);
        for rounding in ROUNDINGS {
            let multiplier = Multiplier::from_real(2f64.powi(-26)).unwrap();
            let output = Requantize::fixed_point(multiplier, rounding, 0).unwrap();
            let (mut got, mut want) = ([0i8; 2], [0i8; 2]);
            gemm.run_requantized(MatMut::row_major(&mut got, 2, 1).unwrap(), output).unwrap();
            reference::run_requantized(&gemm, MatMut::row_major(&mut want, 2, 1).unwrap(), output).unwrap();
            // 255·5·10^7 · 2^-26 would be 190 and saturate anyway; 2^31 · 2^-26 is 32.
            assert_eq!((got, want), ([if b_zero < 0 { 32 } else { -32 }, 0], got), "{rounding:?}");
        }
    }
}

/// A product with every kernel, on one thread and several, in an output layout: `want(i, j, sum)` each time.
pub fn each_product<T: Byte + Default>(
    (m, k, n): (usize, usize, usize),
    layout: Layout,
    output: &Requantize<'_>,
    want: impl Fn(usize, usize, i128) -> i32,
    what: &str,
) where
    for<'a> Operand<'a>: From<MatRef<'a, T>>,
{
    let a = Matrix::<u8>::filled(m, k, Layout::ROWS, Fill::Random, 5);
    let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Random, 6);
    let a_zero: Vec<i32> = (0..m as i32).map(|i| 120 + i % 9).collect();
    let bias: Vec<i32> = (0..n as i32).map(|j| j * 300 - 20_000).collect();
    let sums = spec::sums(&a, &b, |i| a_zero[i], |_| 2, |j| bias[j]);
    let mut expected = Matrix::<T>::random(m, n, layout, 7);
    let before = expected.clone();
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        expected.set(i, j, T::from_bits(want(i, j, sums[i][j]) as u8));
    }
    for (kernel, dispatch) in each_kernel() {
        let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
        let gemm = Gemm::new(a.view(), &packed)
            .a_zero(&a_zero)
            .b_zero(2)
            .bias(&bias)
            .threads(qgemm::Threads::ALL.eager());
        for threads in [1, 3] {
            let mut got = before.clone();
            in_pool(threads, || got.with_mut(|c| gemm.run_requantized(c, output)).unwrap());
            got.assert_same(&expected, &format!("{what}: {}, {m}x{k}x{n}, {threads} threads", kernel.name));
        }
    }
    let mut oracle = before.clone();
    let gemm = Gemm::new(a.view(), b.view()).a_zero(&a_zero).b_zero(2).bias(&bias);
    oracle.with_mut(|c| reference::run_requantized(&gemm, c, output)).unwrap();
    oracle.assert_same(&expected, &format!("{what}: the oracle"));
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

/// One tile; tails everywhere; enough rows, then enough columns, to be split; K beyond a block.
pub const SHAPES: [(usize, usize, usize); 5] =
    [(3, 4, 16), (29, 70, 131), (330, 60, 37), (9, 300, 500), (2, 40_000, 70)];
pub const LAYOUTS: [Layout; 3] = [Layout::INNER, Layout::COLS, Layout::LOOSE];

#[test]
fn fixed_point_products_are_exact_on_every_kernel() {
    for ((shape, layout), rounding) in
        SHAPES.into_iter().zip(LAYOUTS.into_iter().cycle()).zip(ROUNDINGS.into_iter().cycle())
    {
        let (_, k, n) = shape;
        let usual = 1.0 / (100.0 * (k as f64).sqrt());
        let each: Vec<_> =
            (0..n).map(|j| Multiplier::from_real(usual * (0.5 + j as f64 / n as f64)).unwrap()).collect();
        let one = Multiplier::from_real(usual).unwrap();
        for multipliers in [Multipliers::from(one), (&each).into()] {
            let output = Requantize::fixed_point(multipliers, rounding, -5).unwrap().clamp_to(-100, i32::MAX);
            let at = |j: usize| if let Multipliers::PerAxis(each) = multipliers { each[j] } else { one };
            let want = |_, j, sum| spec::fixed(sum, at(j), rounding, -5, (-100, 127));
            each_product::<i8>(shape, layout, &output, want, &format!("{rounding:?}"));
        }
    }
}

#[test]
fn tables_are_looked_up_after_the_clamp_on_every_kernel() {
    let params = |scale, zero_point| QuantParams { scale, zero_point };
    let gelu = Table::<i8>::activation(Activation::Gelu, params(0.05, 4), params(0.03, -100)).unwrap();
    // A permutation: no two values alike.
    let mixed = Table::<u8>::from_fn(|x| x.wrapping_mul(77).wrapping_add(3));
    for (shape, layout) in SHAPES.into_iter().zip(LAYOUTS.into_iter().cycle()) {
        let scale = 1.0 / (100.0 * (shape.1 as f32).sqrt());
        let output = Requantize::new(scale, 4).unwrap().clamp_to(-90, 110).table(&gelu);
        let want = |_, _, sum| gelu.get(spec::requantize(sum, scale, 4, (-90, 110)) as i8).into();
        each_product::<i8>(shape, layout, &output, want, "gelu");
        let multiplier = Multiplier::from_real(scale.into()).unwrap();
        let output = Requantize::fixed_point(multiplier, Rounding::Gemmlowp, 100).unwrap().table(&mixed);
        let want = |_, _, sum| {
            mixed.get(spec::fixed(sum, multiplier, Rounding::Gemmlowp, 100, (0, 255)) as u8).into()
        };
        each_product::<u8>(shape, layout, &output, want, "a permutation");
    }
}

#[test]
fn residuals_are_added_before_rounding_on_every_kernel() {
    for (case, (shape, layout)) in SHAPES.into_iter().zip(LAYOUTS.into_iter().cycle()).enumerate() {
        let (m, k, n) = shape;
        let layouts = [Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE];
        let signed = Matrix::<i8>::filled(m, n, layouts[case % 4], Fill::Random, 11);
        let unsigned = Matrix::<u8>::filled(m, n, layouts[(case + 1) % 4], Fill::Random, 12);
        let usual = 1.0 / (150.0 * (k as f32).sqrt());
        let rows: Vec<f32> = (0..m).map(|i| usual * (1.0 + i as f32 / m as f32)).collect();
        let columns: Vec<f32> = (0..n).map(|j| 0.6 + j as f32 / n as f32).collect();
        let scale = Scale::RowsByColumns { rows: &rows, columns: &columns };
        let added = |r: i32, zero: i32, scale: f32| (r - zero) as f32 * scale;
        let output = Requantize::new(scale, 7).unwrap().residual(signed.view(), 0.37, -3);
        let want = |i, j, sum| {
            let added = added(signed.at(i, j).into(), -3, 0.37);
            spec::requantize_and_add(sum, rows[i] * columns[j], added, 7, (-128, 127))
        };
        each_product::<i8>(shape, layout, &output, want, "i8 residual");
        let output = Requantize::new(usual, 1 << 20).unwrap().residual(unsigned.view(), 8192.5, 255);
        let want = |i, j, sum| {
            let added = added(unsigned.at(i, j).into(), 255, 8192.5);
            spec::requantize_and_add(sum, usual, added, 1 << 20, (0, 255))
        };
        each_product::<u8>(shape, layout, &output, want, "u8 residual");
    }
}

#[test]
fn a_residual_at_the_extremes() {
    // x + r: halves that only the sum has; overflow of the first product against the largest residual.
    let residual = [127i8, -128, 1, 0, -1];
    let (a, b) = ([0u8; 0], [0i8; 0]);
    let check = |sums: [i32; 5], scale: f32, residual_scale: f32, zero: i32, want: [i8; 5]| {
        let gemm = Gemm::new(MatRef::row_major(&a, 1, 0).unwrap(), MatRef::row_major(&b, 0, 5).unwrap());
        let gemm = gemm.bias(&sums);
        let output = Requantize::new(scale, 0).unwrap();
        let output = output.residual(MatRef::row_major(&residual, 1, 5).unwrap(), residual_scale, zero);
        let (mut got, mut oracle) = ([0i8; 5], [0i8; 5]);
        gemm.run_requantized(MatMut::row_major(&mut got, 1, 5).unwrap(), output).unwrap();
        reference::run_requantized(&gemm, MatMut::row_major(&mut oracle, 1, 5).unwrap(), output).unwrap();
        assert_eq!((got, oracle), (want, want), "{sums:?} · {scale:e}, · {residual_scale:e}");
    };
    check([1, 1, 1, 1, 1], 0.25, 0.25, 0, [32, -32, 0, 0, 0]);
    check([1, 1, 5, 2, -1], 0.25, 0.25, 0, [32, -32, 2, 0, 0]);
    check([0, 0, 0, 0, 0], 1.0, 1.0, -(1 << 21), [127; 5]);
    check([0, 0, 0, 0, 0], 1.0, 1.0, 1 << 21, [-128; 5]);
    let (max, far) = (f32::MAX, 2f32.powi(64));
    check([i32::MAX, i32::MIN, 1, -1, 2], max, far, 1 << 21, [127, -128, 127, -128, 127]);
    check([0, 0, 0, 0, 0], max, far, 0, [127, -128, 127, 0, -128]);
    check([3, -3, 3, -3, 0], 0.0, 0.0, 5, [0; 5]);
}

#[test]
fn a_table_is_quantize_of_the_function_of_dequantize() {
    let (input, output) =
        (QuantParams { scale: 0.1, zero_point: -190 }, QuantParams { scale: 0.02, zero_point: 3 });
    for activation in Activation::ALL {
        let table = Table::<u8>::activation(activation, input, output).unwrap();
        for q in 0..=255u8 {
            let x = (i32::from(q) + 190) as f32 * 0.1;
            let mut want = [0u8];
            quantize(&[activation.apply(x)], output, &mut want).unwrap();
            assert_eq!(table.get(q), want[0], "{activation:?} of {q}");
        }
    }
}
