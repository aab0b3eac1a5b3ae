//! Rows added by index: sums are those of loops in the order of the indices, in every layout, and what does not fit is
//! refused before anything is written.

use crate::support::{Element, Layout, Matrix, Random, config};
use proptest::prelude::*;
use qgemm::*;

#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    cols: usize,
    outputs: usize,
    layouts: [Layout; 2],
    weighted: bool,
    seed: u64,
}

fn layout() -> impl Strategy<Value = Layout> {
    (any::<bool>(), 1..3usize, prop::array::uniform4(0..3usize), any::<bool>()).prop_map(
        |(column_major, step, pad, transposed)| Layout {
            column_major,
            step,
            pad,
            transposed,
            ..Layout::ROWS
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let cols = prop_oneof![4 => 0..9usize, 1 => 9..70usize, 1 => 250..260usize];
    (0..12usize, cols, 1..6usize, (layout(), layout()), any::<bool>(), any::<u64>()).prop_map(
        |(rows, cols, outputs, layouts, weighted, seed)| Case {
            rows,
            cols,
            outputs,
            layouts: layouts.into(),
            weighted,
            seed,
        },
    )
}

/// `rows` indices below `outputs`, most of which repeat.
fn indices(case: &Case, random: &mut Random) -> Vec<u32> {
    (0..case.rows).map(|_| random.below(case.outputs) as u32).collect()
}

/// Numbers whose sums and products round.
fn numbers(rows: usize, cols: usize, layout: Layout, random: &mut Random) -> Matrix<f32> {
    let mut matrix = Matrix::<f32>::random(rows, cols, layout, random.next());
    for value in &mut matrix.data {
        *value *= [0.1, 1.7, 1e-3, 33.3][random.below(4)];
    }
    matrix
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn sums_of_integers_are_those_of_loops(case in case()) {
        let mut random = Random(case.seed);
        let rows = Matrix::<i32>::random(case.rows, case.cols, case.layouts[0], random.next());
        let indices = indices(&case, &mut random);
        let mut c = Matrix::<i32>::random(case.outputs, case.cols, case.layouts[1], random.next());
        let mut want = c.clone();
        for (i, &index) in indices.iter().enumerate() {
            for j in 0..case.cols {
                let at = index as usize;
                want.set(at, j, want.at(at, j).wrapping_add(rows.at(i, j)));
            }
        }
        c.with_mut(|c| scatter_add_i32(rows.view(), &indices, c)).unwrap();
        c.assert_same(&want, "sums");
    }

    #[test]
    fn weighted_sums_are_those_of_loops_in_the_order_of_the_indices(case in case()) {
        let mut random = Random(case.seed);
        let rows = numbers(case.rows, case.cols, case.layouts[0], &mut random);
        let indices = indices(&case, &mut random);
        let weights: Vec<f32> = (0..case.rows).map(|_| random.below(1000) as f32 / 977.0 - 0.3).collect();
        let weights = case.weighted.then_some(&weights[..]);
        let mut c = numbers(case.outputs, case.cols, case.layouts[1], &mut random);
        let mut want = c.clone();
        for (i, &index) in indices.iter().enumerate() {
            for j in 0..case.cols {
                let at = index as usize;
                // f64 has more than twice the digits of f32, so that rounding twice is rounding once.
                let product = match weights {
                    Some(weights) => (f64::from(weights[i]) * f64::from(rows.at(i, j))) as f32,
                    None => rows.at(i, j),
                };
                want.set(at, j, (f64::from(want.at(at, j)) + f64::from(product)) as f32);
            }
        }
        let mut halves = c.clone();
        c.with_mut(|c| scatter_add_f32(rows.view(), &indices, weights, c)).unwrap();
        c.assert_same(&want, "sums");

        // One call after the other is one call.
        let cut = random.below(case.rows + 1);
        let (first, second) = rows.view().split_at_row(cut).unwrap();
        for (part, range) in [(first, 0..cut), (second, cut..case.rows)] {
            let weights = weights.map(|weights| &weights[range.clone()]);
            halves.with_mut(|c| scatter_add_f32(part, &indices[range.clone()], weights, c)).unwrap();
        }
        halves.assert_same(&want, "two calls");
    }
}

#[test]
fn numbers_are_added_one_by_one_and_never_fused() {
    // The product of the first is 1 + 2^-11 + 2^-24, which rounds to 1 + 2^-11: fused it would leave 2^-24.
    let x = 1.0 + 1.0 / 4096.0;
    let mut c = [-1.0 - 1.0 / 2048.0, 1e8, f32::INFINITY, 3.0];
    let rows = [x, 3.0, 1.0, 2.0, x, 3.0, f32::NEG_INFINITY, 2.0];
    let view = MatRef::row_major(&rows, 2, 4).unwrap();
    let view = view.split_at_row(1).unwrap();
    scatter_add_f32(view.0, &[0], Some(&[x]), MatMut::row_major(&mut c, 1, 4).unwrap()).unwrap();
    assert_eq!(c[0], 0.0);
    // 1e8 has neighbours 8 apart: 3 is lost each time it is added.
    scatter_add_f32(view.1, &[0], None, MatMut::row_major(&mut c, 1, 4).unwrap()).unwrap();
    assert_eq!((c[0], c[1], c[3]), (x, 1e8, 3.0 + x * 2.0 + 2.0));
    assert!(c[2].is_nan());
    // Weights are not checked.
    scatter_add_f32(view.1, &[0], Some(&[f32::NAN]), MatMut::row_major(&mut c, 1, 4).unwrap()).unwrap();
    assert!(c.iter().all(|c| c.is_nan()));
}

/// A mixture of two experts, whose tokens go to both: gathered, multiplied, weighted and added.
#[test]
fn a_mixture_of_experts_goes_there_and_back() {
    let tokens = Matrix::<u8>::random(5, 8, Layout::ROWS, 1);
    let experts = [2, 3].map(|seed| Matrix::<i8>::random(8, 6, Layout::ROWS, seed));
    let routes = [(vec![0u32, 3, 4], [0.25f32, 0.5, 1.0]), (vec![4u32, 1, 0], [0.125, 0.75, 0.75])];
    let mut c = vec![0f32; 5 * 6];
    for (expert, (indices, weights)) in experts.iter().zip(&routes) {
        let mut outputs = [0f32; 3 * 6];
        let gather = Gather::rows(tokens.view(), indices).unwrap();
        let output = Dequantize::new(1.0).unwrap();
        Gemm::new(gather, expert.view())
            .run_f32(MatMut::row_major(&mut outputs, 3, 6).unwrap(), output)
            .unwrap();
        let rows = MatRef::row_major(&outputs, 3, 6).unwrap();
        scatter_add_f32(rows, indices, Some(weights), MatMut::row_major(&mut c, 5, 6).unwrap()).unwrap();
    }
    for (t, j) in (0..5).flat_map(|t| (0..6).map(move |j| (t, j))) {
        let mut want = 0.0;
        for (expert, (indices, weights)) in experts.iter().zip(&routes) {
            if let Some(at) = indices.iter().position(|&index| index as usize == t) {
                let sum: i32 = (0..8).map(|k| i32::from(tokens.at(t, k)) * i32::from(expert.at(k, j))).sum();
                want += weights[at] * sum as f32;
            }
        }
        assert_eq!(c[t * 6 + j], want, "token {t}, column {j}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    fn check<T: Element>(
        values: [T; 6],
        add: impl Fn(MatRef<'_, T>, &[u32], MatMut<'_, T>) -> Result<(), Error>,
    ) {
        let rows = MatRef::row_major(&values, 3, 2).unwrap();
        let refused = |rows, indices: &[u32], (m, n)| {
            let mut c = values;
            let error = add(rows, indices, MatMut::row_major(&mut c, m, n).unwrap()).unwrap_err();
            assert_eq!(c, values, "written although refused");
            error
        };
        let length = |got| Error::Length { argument: "indices", got, need: 3 };
        assert_eq!(refused(rows, &[0, 1], (2, 2)), length(2));
        assert_eq!(refused(rows, &[0; 4], (2, 2)), length(4));
        let shape = Error::Shape { argument: "rows", got: (3, 2), need: (3, 3) };
        assert_eq!(refused(rows, &[0; 3], (2, 3)), shape);
        let index = |position, got, rows| Error::Index { position, got, rows, padding: false };
        assert_eq!(refused(rows, &[0, 1, 2], (2, 2)), index(2, 2, 2));
        // The index of padding is none here.
        assert_eq!(refused(rows, &[0, Gather::PADDING, 0], (2, 2)), index(1, Gather::PADDING, 2));
        assert_eq!(refused(rows, &[0; 3], (0, 2)), index(0, 0, 0));
        let message = index(1, 9, 2).to_string();
        assert_eq!(message, "indices: value 1 was 9, must be below 2");
        // Nor without columns.
        let (none, _) = rows.split_at_col(0).unwrap();
        assert_eq!(refused(none, &[0, 1, 2], (2, 0)), index(2, 2, 2));
        assert_eq!(add(none, &[0, 1, 1], MatMut::row_major(&mut [], 2, 0).unwrap()), Ok(()));
        let (none, _) = rows.split_at_row(0).unwrap();
        let mut c = values;
        assert_eq!(add(none, &[], MatMut::row_major(&mut c, 3, 2).unwrap()), Ok(()));
        assert_eq!(c, values);
    }
    check([1, 2, 3, 4, 5, 6], scatter_add_i32);
    check([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], |rows, indices, c| scatter_add_f32(rows, indices, None, c));
    check([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], |rows, indices, c| {
        scatter_add_f32(rows, indices, Some(&[1.0; 3][..rows.rows()]), c)
    });
    let (values, mut c) = ([1.0f32; 4], [5.0f32; 4]);
    for weights in [&[1.0f32; 3][..], &[1.0], &[]] {
        let (rows, c) = (MatRef::row_major(&values, 2, 2), MatMut::row_major(&mut c, 2, 2));
        let error = scatter_add_f32(rows.unwrap(), &[0, 1], Some(weights), c.unwrap()).unwrap_err();
        assert_eq!(error, Error::Length { argument: "weights", got: weights.len(), need: 2 });
    }
    assert_eq!(c, [5.0; 4]);
}
