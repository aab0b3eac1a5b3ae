//! Matrices quantized by row and by column: the definition's values in every layout, and the bytes that a dynamic
//! product multiplies.

use crate::dynamic::{Values, params};
use crate::support::{Fill, Layout, Matrix, Random, Repeat, config};
use proptest::prelude::*;
use qgemm::*;

#[derive(Clone, Debug)]
struct Case {
    shape: (usize, usize),
    values: Vec<Values>,
    x: Layout,
    out: Layout,
    /// Whether columns are quantized; else rows.
    columns: bool,
    /// The number of values that are not finite.
    wrong: usize,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let few = || prop_oneof![3 => 0..20usize, 1 => 0..150usize];
    let shape = prop_oneof![
        6 => (few(), few()),
        1 => (0..6usize, 0..5000usize),
        1 => (0..5000usize, 0..6usize),
    ];
    let layouts = [Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE];
    let layouts = layouts.into_iter().flat_map(|layout| [layout, Layout { transposed: true, ..layout }]);
    let layouts: Vec<Layout> = layouts
        .chain([Layout { column_major: true, ..Layout::INNER }, Layout { step: 3, ..Layout::COLS }])
        .collect();
    let repeats = [Repeat::No, Repeat::No, Repeat::No, Repeat::Rows, Repeat::Cols];
    let x = (prop::sample::select(layouts.clone()), prop::sample::select(repeats.to_vec()));
    let x = x.prop_map(|(layout, repeat)| Layout { repeat, ..layout });
    let values = prop::collection::vec(prop::sample::select(Values::ALL.to_vec()), 1..5);
    let wrong = prop_oneof![4 => Just(0usize), 1 => 1..4usize];
    (shape, values, x, prop::sample::select(layouts), any::<bool>(), wrong, any::<u64>()).prop_map(
        |(shape, values, x, out, columns, wrong, seed)| Case { shape, values, x, out, columns, wrong, seed },
    )
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn each_row_or_column_is_quantized_by_its_own_scale(case in case()) {
        check(&case);
    }
}

fn check(case: &Case) {
    let (rows, cols) = case.shape;
    let mut random = Random(case.seed);
    let mut x = Matrix::<f32>::random(rows, cols, case.x, random.next());
    for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
        let (channel, at) = if case.columns { (j, i) } else { (i, j) };
        x.set(i, j, case.values[channel % case.values.len()].value(at, &mut random));
    }
    for _ in 0..if rows * cols == 0 { 0 } else { case.wrong } {
        let wrong = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(4)];
        x.set(random.below(rows), random.below(cols), wrong);
    }
    // Place `at` of row or column `channel`.
    let (channels, len) = if case.columns { (cols, rows) } else { (rows, cols) };
    let place = |channel, at| if case.columns { (at, channel) } else { (channel, at) };
    let value = |channel, at| {
        let (i, j) = place(channel, at);
        x.at(i, j)
    };

    let before = Matrix::<i8>::random(rows, cols, case.out, random.next());
    let (mut out, mut scales) = (before.clone(), vec![-7f32; channels]);
    let result = out.with_mut(|out| match case.columns {
        true => quantize_columns(x.view(), out, &mut scales),
        false => quantize_rows(x.view(), out, &mut scales),
    });
    let mut places = (0..channels).flat_map(|channel| (0..len).map(move |at| (channel, at)));
    if let Some((channel, at)) = places.find(|(channel, at)| !value(*channel, *at).is_finite()) {
        let Err(Error::NotFinite { argument: "x", row, column, got }) = result else { panic!("{result:?}") };
        assert_eq!(((row, column), got.to_bits()), (place(channel, at), value(channel, at).to_bits()));
        out.assert_same(&before, "written although refused");
        assert!(scales.iter().all(|scale| *scale == -7.0), "written although refused");
        return;
    }
    assert_eq!(result, Ok(()));
    let mut want = before;
    for (channel, got) in scales.iter().enumerate() {
        let values: Vec<f32> = (0..len).map(|at| value(channel, at)).collect();
        let (scale, _) = params(&values, false);
        assert_eq!(got.to_bits(), scale.to_bits(), "scale {channel}");
        for (at, x) in values.into_iter().enumerate() {
            let (i, j) = place(channel, at);
            want.set(i, j, (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8);
        }
    }
    out.assert_same(&want, "quantized");
}

#[test]
fn a_dynamic_product_multiplies_these_rows() {
    let mut random = Random(5);
    let output = Dequantize::dynamic(1.0).unwrap();
    for ((m, k, n), layout) in [
        ((1, 7, 3), Layout::ROWS),
        ((9, 300, 20), Layout::INNER),
        ((70, 65, 5), Layout::COLS),
        ((20, 33, 17), Layout::LOOSE),
        ((4, 0, 3), Layout::ROWS),
    ] {
        for values in Values::ALL {
            let mut a = Matrix::<f32>::random(m, k, layout, random.next());
            for (i, l) in (0..m).flat_map(|i| (0..k).map(move |l| (i, l))) {
                a.set(i, l, values.value(l, &mut random));
            }
            let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Random, random.next());
            let (mut want, mut got) = (vec![0f32; m * n], vec![1f32; m * n]);
            let c = MatMut::row_major(&mut want, m, n).unwrap();
            DynamicGemm::new(a.view(), b.view()).run_f32(c, output).unwrap();

            let (mut q, mut scales) = (vec![0i8; m * k], vec![0f32; m]);
            quantize_rows(a.view(), MatMut::row_major(&mut q, m, k).unwrap(), &mut scales).unwrap();
            let gemm = Gemm::new(MatRef::row_major(&q, m, k).unwrap(), b.view());
            let c = MatMut::row_major(&mut got, m, n).unwrap();
            gemm.run_f32(c, Dequantize::new(Scale::PerRow(&scales)).unwrap()).unwrap();
            assert_eq!(got, want, "{m}x{k}x{n} {values:?}");
        }
    }
}

#[test]
fn shapes_that_differ_are_refused() {
    let x = [1f32; 6];
    let x = MatRef::row_major(&x, 2, 3).unwrap();
    for (rows, cols) in [(3, 2), (2, 2), (1, 3), (0, 3), (2, 0)] {
        for quantize in [quantize_rows, quantize_columns] {
            let (mut out, mut scales) = ([5i8; 6], [5f32; 3]);
            let error = quantize(x, MatMut::row_major(&mut out, rows, cols).unwrap(), &mut scales);
            assert_eq!(error, Err(Error::Shape { argument: "out", got: (rows, cols), need: (2, 3) }));
            assert_eq!((out, scales), ([5; 6], [5.0; 3]));
        }
    }
    let mut out = [5i8; 6];
    let mut out = MatMut::row_major(&mut out, 2, 3).unwrap();
    let length = |got, need| Err(Error::Length { argument: "scales", got, need });
    assert_eq!(quantize_rows(x, out.reborrow(), &mut [5.0; 3]), length(3, 2));
    assert_eq!(quantize_columns(x, out.reborrow(), &mut [5.0; 2]), length(2, 3));
    assert_eq!(*out.get_mut(1, 2).unwrap(), 5);
}

#[test]
fn matrices_without_values_have_scales_of_1() {
    let huge = usize::MAX;
    for (rows, cols) in [(0, 0), (0, 20), (20, 0)] {
        let x = MatRef::new(&[], rows, cols, huge, huge).unwrap();
        let mut out = MatMut::new(&mut [], rows, cols, huge, huge).unwrap();
        let (mut of_rows, mut of_columns) = (vec![5f32; rows], vec![5f32; cols]);
        quantize_rows(x, out.reborrow(), &mut of_rows).unwrap();
        quantize_columns(x, out, &mut of_columns).unwrap();
        assert_eq!((of_rows, of_columns), (vec![1.0; rows], vec![1.0; cols]));
    }
    let empty = |rows, cols| MatRef::new(&[], rows, cols, 1, 1).unwrap();
    let mut none: [i8; 0] = [];
    quantize_rows(empty(0, huge), MatMut::new(&mut none, 0, huge, 1, 1).unwrap(), &mut []).unwrap();
    quantize_columns(empty(huge, 0), MatMut::new(&mut none, huge, 0, 1, 1).unwrap(), &mut []).unwrap();
}

/// Where the scale is rounded to a subnormal number, quotients are far beyond 127.
#[test]
fn quotients_by_subnormal_scales_are_clamped() {
    let step = f32::from_bits(1);
    let (rows, cols) = (40, 37);
    for layout in [Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE] {
        let mut x = Matrix::<f32>::random(rows, cols, layout, 1);
        for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
            // From -190 to 190 steps: a 127th of the greatest is one and a half, which is rounded to one.
            x.set(i, j, step * ((i * 17 + j * 23) % 381) as f32 - step * 190.0);
        }
        for columns in [false, true] {
            let mut out = vec![0i8; rows * cols];
            let mut scales = vec![0f32; if columns { cols } else { rows }];
            let to = MatMut::row_major(&mut out, rows, cols).unwrap();
            let quantize = if columns { quantize_columns } else { quantize_rows };
            quantize(x.view(), to, &mut scales).unwrap();
            let mut clamped = 0;
            for (at, got) in out.iter().enumerate() {
                let scale = scales[if columns { at % cols } else { at / cols }];
                let quotient = (x.at(at / cols, at % cols) / scale).round_ties_even();
                clamped += usize::from(quotient.abs() > 127.0);
                assert_eq!(f32::from(*got), quotient.clamp(-127.0, 127.0), "{columns} {at}");
            }
            assert!(clamped > 0);
        }
    }
}
