//! Views: no argument panics, what is accepted lies in its slice, and mutable elements are distinct.

use crate::support::{Layout, Matrix, Random, config};
use proptest::prelude::*;
use qgemm::{Dispatch, ElementType, Error, Gemm, MatMut, MatRef, PackedB, Requantize, reference};
use std::collections::HashSet;

/// Small, a power of two, about the end of usize, anything.
pub fn number() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..=6usize,
        2 => 0..=70usize,
        1 => (0..usize::BITS).prop_map(|bit| 1 << bit),
        1 => (0..4usize).prop_map(|less| usize::MAX - less),
        1 => (0..4usize).prop_map(|less| usize::MAX / 2 + 2 - less),
        1 => any::<usize>()
    ]
}

/// The length of data that a view needs; `None` if a `usize` does not hold it.
pub fn need(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    rows.checked_mul(cols)?;
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let wide = |x: usize| u128::try_from(x).unwrap();
    let down = wide(rows - 1).checked_mul(wide(row_stride))?;
    let right = wide(cols - 1).checked_mul(wide(col_stride))?;
    usize::try_from(down.checked_add(right)?.checked_add(1)?).ok()
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn a_view_of_any_shape_is_made_or_refused_without_a_panic(
        len in 0..80usize,
        (rows, cols, row_stride, col_stride) in (number(), number(), number(), number()),
        (i, j) in (number(), number()),
        ranges in (number(), number(), number(), number()),
    ) {
        let mut data: Vec<usize> = (0..len).collect();
        let need = need(rows, cols, row_stride, col_stride);
        let (shape, strides) = ((rows, cols), (row_stride, col_stride));
        let copy = data.clone();
        let view = MatRef::new(&copy, rows, cols, row_stride, col_stride);
        let range = (ranges.0..ranges.1, ranges.2..ranges.3);
        let inside = |range: &std::ops::Range<usize>, len| range.start <= range.end && range.end <= len;
        let inside = inside(&range.0, rows) && inside(&range.1, cols);
        let outside = Error::OutOfBounds {
            rows: (ranges.0, ranges.1), cols: (ranges.2, ranges.3), shape
        };
        match (&view, need) {
            (Err(error), None) => {
                prop_assert_eq!(error, &Error::TooLarge { argument: "matrix", shape, strides });
            }
            (Err(error), Some(need)) => {
                prop_assert!(need > len);
                prop_assert_eq!(error, &Error::TooShort { argument: "matrix", shape, got: len, need });
            }
            (Ok(view), need) => {
                prop_assert!(need.unwrap() <= len);
                prop_assert_eq!((view.rows(), view.cols()), shape);
                prop_assert_eq!((view.row_stride(), view.col_stride()), strides);
                let want = (i < rows && j < cols).then(|| i * row_stride + j * col_stride);
                prop_assert_eq!(view.get(i, j).copied(), want);
                prop_assert_eq!(view.transpose().get(j, i).copied(), want);
                if rows > 0 && cols > 0 {
                    let last = view.get(rows - 1, cols - 1).copied();
                    prop_assert_eq!(last, Some(need.unwrap() - 1));
                }
                if cols <= 100 {
                    let slices = col_stride == 1 || cols <= 1;
                    let row = (i < rows && slices).then(|| (0..cols).map(|j| *view.get(i, j).unwrap()).collect());
                    prop_assert_eq!(view.row(i).map(<[usize]>::to_vec), row);
                }
                match view.submatrix(range.0.clone(), range.1.clone()) {
                    Err(error) => prop_assert_eq!((error, inside), (outside.clone(), false)),
                    Ok(part) => {
                        prop_assert!(inside);
                        prop_assert_eq!((part.rows(), part.cols()), (range.0.len(), range.1.len()));
                        let in_part = i < part.rows() && j < part.cols();
                        let want = in_part
                            .then(|| (ranges.0 + i) * row_stride + (ranges.2 + j) * col_stride);
                        prop_assert_eq!(part.get(i, j).copied(), want);
                        prop_assert_eq!(part.get(part.rows(), 0), None);
                        prop_assert_eq!(part.get(0, part.cols()), None);
                    }
                }
            }
        }

        // More elements than the slice has cannot be distinct; else count them.
        let fits = need.is_some_and(|need| need <= len);
        let overlaps = fits && rows * cols > 0 && (rows * cols > len || {
            let mut seen = HashSet::new();
            (0..rows).any(|i| (0..cols).any(|j| !seen.insert(i * row_stride + j * col_stride)))
        });
        match MatMut::new(&mut data, rows, cols, row_stride, col_stride) {
            Err(Error::TooLarge { argument, shape: s, strides: t }) => {
                prop_assert_eq!((need, argument, s, t), (None, "output", shape, strides));
            }
            Err(Error::TooShort { argument, shape: s, got, need: n }) => {
                prop_assert_eq!((argument, s, got, Some(n)), ("output", shape, len, need));
                prop_assert!(n > len);
            }
            Err(Error::Overlap { shape: s, strides: t }) => {
                prop_assert!(overlaps);
                prop_assert_eq!((s, t), (shape, strides));
            }
            Err(error) => prop_assert!(false, "{error}"),
            Ok(mut view) => {
                prop_assert!(fits && !overlaps);
                prop_assert_eq!((view.rows(), view.cols()), shape);
                let want = (i < rows && j < cols).then(|| i * row_stride + j * col_stride);
                prop_assert_eq!(view.get_mut(i, j).copied(), want);
                prop_assert_eq!(view.reborrow().transpose().get_mut(j, i).copied(), want);
                match view.submatrix(range.0.clone(), range.1.clone()) {
                    Err(error) => prop_assert_eq!((error, inside), (outside, false)),
                    Ok(mut part) => {
                        prop_assert!(inside);
                        prop_assert_eq!((part.rows(), part.cols()), (range.0.len(), range.1.len()));
                        let in_part = i < part.rows() && j < part.cols();
                        let want = in_part
                            .then(|| (ranges.0 + i) * row_stride + (ranges.2 + j) * col_stride);
                        prop_assert_eq!(part.get_mut(i, j).copied(), want);
                    }
                }
            }
        }
        for result in [
            MatRef::row_major(&copy, rows, cols).map(|view| (view.rows(), view.cols())),
            MatRef::col_major(&copy, rows, cols).map(|view| (view.rows(), view.cols())),
            MatMut::row_major(&mut data, rows, cols).map(|view| (view.rows(), view.cols())),
            MatMut::col_major(&mut data, rows, cols).map(|view| (view.rows(), view.cols())),
        ] {
            match (result, rows.checked_mul(cols)) {
                (Ok(got), Some(need)) => prop_assert!(got == shape && need <= len),
                (Err(Error::TooShort { got, need, .. }), Some(want)) => {
                    prop_assert!(got == len && need == want && want > len);
                }
                (Err(Error::TooLarge { .. }), None) => (),
                (result, _) => prop_assert!(false, "{result:?}"),
            }
        }
    }

    /// Every view that can be made can be multiplied: the result is the reference's, value or error.
    #[test]
    fn a_product_of_any_views_is_made_or_refused_as_the_reference_does(
        (m, n, k) in (0..4usize, 0..10usize, 0..6usize),
        mismatch in prop::array::uniform3(prop_oneof![6 => Just(0usize), 1 => Just(1usize)]),
        a_strides in (number(), number()),
        b_strides in (number(), number()),
        c_strides in (number(), number()),
        dispatch in 0..64usize,
    ) {
        let all = Dispatch::available();
        let dispatch = Dispatch::named(all[dispatch % all.len()].name).unwrap();
        let mut random = Random(1);
        let data: Vec<i8> = (0..200).map(|_| random.next() as i8).collect();
        let (Ok(a), Ok(b)) = (
            MatRef::new(&data, m, k, a_strides.0, a_strides.1),
            MatRef::new(&data, k + mismatch[0], n, b_strides.0, b_strides.1),
        ) else { return Ok(()) };
        let gemm = Gemm::new(a, b).a_zero(3).b_zero(-4).dispatch(&dispatch);
        let (mut ours, mut theirs) = ([7i32; 200], [7i32; 200]);
        let view = |data| MatMut::new(data, m + mismatch[1], n + mismatch[2], c_strides.0, c_strides.1);
        let (Ok(c), Ok(d)) = (view(&mut ours[..]), view(&mut theirs[..])) else { return Ok(()) };
        let result = gemm.run_i32(c);
        prop_assert_eq!(&result, &reference::run_i32(&gemm, d));
        prop_assert_eq!(result.is_ok(), mismatch == [0; 3]);
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn parts_of_an_empty_output_are_empty() {
    // Where a matrix has no elements its strides address nothing, however large.
    let mut nothing: [i32; 0] = [];
    for (rows, cols) in [(3, 0), (0, 3), (0, 0)] {
        for strides in [(usize::MAX, 1), (1, usize::MAX), (usize::MAX, usize::MAX)] {
            let mut view = MatMut::new(&mut nothing, rows, cols, strides.0, strides.1).unwrap();
            let part = view.submatrix(rows.saturating_sub(1)..rows, cols..cols).unwrap();
            assert_eq!((part.rows(), part.cols()), (rows.min(1), 0));
            let mut view = view.transpose();
            let part = view.submatrix(0..cols, rows..rows).unwrap();
            assert_eq!((part.rows(), part.cols()), (cols, 0));
        }
    }
}

#[test]
fn an_output_split_by_hand_is_the_output() {
    // Quarters of a strided C, each a product of its own.
    let (m, n, k) = (7, 10, 5);
    let a = Matrix::<i8>::random(m, k, Layout::LOOSE, 1);
    let b = Matrix::<u8>::random(k, n, Layout::COLS, 2);
    let before = Matrix::<i32>::random(m, n, Layout::LOOSE, 3);
    let (mut whole, mut parts) = (before.clone(), before);
    whole.with_mut(|c| Gemm::new(a.view(), b.view()).run_i32(c)).unwrap();
    parts.with_mut(|mut c| {
        for rows in [0..3, 3..m] {
            for cols in [0..4, 4..n] {
                let a = a.view().submatrix(rows.clone(), 0..k).unwrap();
                let b = b.view().submatrix(0..k, cols.clone()).unwrap();
                Gemm::new(a, b).run_i32(c.submatrix(rows.clone(), cols).unwrap()).unwrap();
            }
        }
    });
    parts.assert_same(&whole, "quarters");
}

#[test]
fn arguments_may_be_shared_and_sent_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<MatRef<'_, i8>>();
    shared::<qgemm::PackedB>();
    shared::<Gemm<'_>>();
    shared::<Dispatch>();
    shared::<Error>();
    shared::<qgemm::Requantize<'_>>();
    shared::<qgemm::Dequantize<'_>>();
    shared::<qgemm::Conv2d>();
    sent::<MatMut<'_, f32>>();
}

#[test]
fn debug_shows_shapes_and_no_elements() {
    let data = vec![77u8; 1 << 16];
    let a = MatRef::row_major(&data, 256, 256).unwrap();
    assert_eq!(format!("{a:?}"), "MatRef { rows: 256, cols: 256, row_stride: 256, col_stride: 1, .. }");
    let residual = Requantize::new(1.0, 0).unwrap().residual(a, 1.0, 0);
    let indices = vec![3u32; 1 << 16];
    let gathered = qgemm::Gather::new(a, &indices, 4).unwrap();
    let shown = [
        format!("{:?}", Gemm::new(a, a)),
        format!("{:?}", Gemm::new(gathered, a)),
        format!("{residual:?}"),
        format!("{gathered:?}"),
        format!("{:?}", qgemm::Operand::from(a)),
    ];
    for text in shown {
        assert!(text.len() < 700 && text.contains("256"), "{text}");
    }
}

#[test]
fn a_matrix_without_columns_is_packed_at_once_however_many_rows_it_has() {
    let many = usize::MAX / 4;
    let b = MatRef::<i8>::row_major(&[], many, 0).unwrap();
    let packed = PackedB::pack_for(b, ElementType::U8).unwrap();
    assert_eq!((packed.k(), packed.n()), (many, 0));
}
