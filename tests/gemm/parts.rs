//! Parts of views, batches of views, views at addresses: no argument panics, elements are where they should be, and
//! those of mutable ones are distinct.

use crate::support::config;
use crate::views::{need, number};
use proptest::prelude::*;
use qgemm::{Error, Gemm, MatMut, MatRef, RawParts, RawPartsMut};
use std::collections::HashSet;

/// Mostly so small that a matrix has few elements.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..5usize, 1 => number()]
}

fn stride() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..20usize, 1 => number()]
}

/// The slice's indices of all elements, row by row, of a view that has few of them. The slice holds its own indices.
fn elements(view: MatRef<'_, usize>) -> Vec<usize> {
    let places = (0..view.rows()).flat_map(|i| (0..view.cols()).map(move |j| (i, j)));
    places.map(|(i, j)| *view.get(i, j).unwrap()).collect()
}

fn elements_mut(view: &mut MatMut<'_, usize>) -> Vec<usize> {
    let (rows, cols) = (view.rows(), view.cols());
    let places = (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j)));
    places.map(|(i, j)| *view.get_mut(i, j).unwrap()).collect()
}

/// The indices, row by row, of the elements in some rows and columns, by arithmetic.
fn places(rows: std::ops::Range<usize>, cols: std::ops::Range<usize>, strides: (usize, usize)) -> Vec<usize> {
    rows.flat_map(|i| cols.clone().map(move |j| i * strides.0 + j * strides.1)).collect()
}

fn range(argument: &'static str, got: usize, (min, max): (i64, i64)) -> Error {
    Error::Range { argument, got: i64::try_from(got).unwrap_or(i64::MAX), min, max }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn cuts_give_each_element_to_one_part(
        (rows, cols) in (0..6usize, 0..6usize),
        strides in prop_oneof![Just((6, 1)), Just((1, 6)), Just((14, 2)), Just((3, 17)), Just((11, 5))],
        at in size(),
        by_rows in any::<bool>(),
    ) {
        let mut data: Vec<usize> = (0..200).collect();
        let copy = data.clone();
        let view = MatRef::new(&copy, rows, cols, strides.0, strides.1).unwrap();
        let mut whole = MatMut::new(&mut data, rows, cols, strides.0, strides.1).unwrap();
        let len = if by_rows { rows } else { cols };
        let want = |from: usize, to: usize| match by_rows {
            true => places(from..to, 0..cols, strides),
            false => places(0..rows, from..to, strides),
        };
        let shape = |len: usize| if by_rows { (len, cols) } else { (rows, len) };

        let cut = if by_rows { view.split_at_row(at) } else { view.split_at_col(at) };
        let whole_again = whole.reborrow();
        let cut_mut = if by_rows { whole_again.split_at_row(at) } else { whole_again.split_at_col(at) };
        if at <= len {
            let ((first, second), (mut first_mut, mut second_mut)) = (cut.unwrap(), cut_mut.unwrap());
            prop_assert_eq!((first.rows(), first.cols()), shape(at));
            prop_assert_eq!((second.rows(), second.cols()), shape(len - at));
            prop_assert_eq!((second_mut.rows(), second_mut.cols()), shape(len - at));
            prop_assert_eq!(elements(first), want(0, at));
            prop_assert_eq!(elements(second), want(at, len));
            prop_assert_eq!(elements_mut(&mut first_mut), want(0, at));
            prop_assert_eq!(elements_mut(&mut second_mut), want(at, len));
        } else {
            let error = range(if by_rows { "row" } else { "col" }, at, (0, len as i64));
            prop_assert_eq!(cut.unwrap_err(), error.clone());
            prop_assert_eq!(cut_mut.unwrap_err(), error);
        }

        if at == 0 {
            let error = range(if by_rows { "rows" } else { "cols" }, 0, (1, i64::MAX));
            let refused = if by_rows { view.row_chunks(0).err() } else { view.col_chunks(0).err() };
            prop_assert_eq!(refused, Some(error.clone()));
            let refused = if by_rows { whole.row_chunks(0).err() } else { whole.col_chunks(0).err() };
            prop_assert_eq!(refused, Some(error));
            return Ok(());
        }
        fn parts<M>(chunks: impl ExactSizeIterator<Item = M> + Send, count: usize) -> Vec<M> {
            assert_eq!(chunks.len(), count);
            let parts: Vec<M> = chunks.collect();
            assert_eq!(parts.len(), count);
            parts
        }
        let count = len.div_ceil(at);
        let chunks = match by_rows {
            true => parts(view.row_chunks(at).unwrap(), count),
            false => parts(view.col_chunks(at).unwrap(), count),
        };
        let chunks_mut = match by_rows {
            true => parts(whole.row_chunks(at).unwrap(), count),
            false => parts(whole.col_chunks(at).unwrap(), count),
        };
        for (number, (chunk, mut chunk_mut)) in chunks.into_iter().zip(chunks_mut).enumerate() {
            let (from, to) = (number * at, len.min((number + 1).saturating_mul(at)));
            prop_assert_eq!((chunk.rows(), chunk.cols()), shape(to - from));
            prop_assert_eq!((chunk_mut.rows(), chunk_mut.cols()), shape(to - from));
            prop_assert_eq!(elements(chunk), want(from, to));
            prop_assert_eq!(elements_mut(&mut chunk_mut), want(from, to));
        }
    }

    #[test]
    fn a_batch_of_any_layout_is_made_or_refused_without_a_panic(
        len in 0..160usize,
        (count, distance) in (size(), stride()),
        shape in (size(), size()),
        strides in (stride(), stride()),
    ) {
        let mut data: Vec<usize> = (0..len).collect();
        let copy = data.clone();
        let need = batch_need((count, distance), shape, strides);
        let too_large = |argument| Error::TooLarge { argument, shape, strides };
        let too_short = |argument, need| Error::TooShort { argument, shape, got: len, need };

        match (MatRef::batch(&copy, count, distance, shape, strides), need) {
            (Err(error), None) => prop_assert_eq!(error, too_large("batch")),
            (Err(error), Some(need)) => {
                prop_assert!(need > len);
                prop_assert_eq!(error, too_short("batch", need));
            }
            (Ok(batch), need) => {
                prop_assert!(need.unwrap() <= len);
                prop_assert_eq!(batch.len(), count);
                for (b, view) in batch.take(100).enumerate() {
                    prop_assert_eq!((view.rows(), view.cols()), shape);
                    prop_assert_eq!((view.row_stride(), view.col_stride()), strides);
                    if shape.0 <= 100 && shape.1 <= 100 {
                        let want = places(0..shape.0, 0..shape.1, strides);
                        let got = elements(view);
                        prop_assert!(got.iter().zip(want).all(|(got, want)| *got == b * distance + want));
                    }
                }
            }
        }

        let fits = need.is_some_and(|need| need <= len);
        let distinct = || {
            let each = || (0..count).flat_map(|b| {
                places(0..shape.0, 0..shape.1, strides).into_iter().map(move |at| b * distance + at)
            });
            let empty = count == 0 || shape.0 == 0 || shape.1 == 0;
            empty || count * shape.0 * shape.1 <= len && {
                let mut seen = HashSet::new();
                each().all(|at| seen.insert(at))
            }
        };
        let dimensions = [(count, distance), (shape.0, strides.0), (shape.1, strides.1)];
        match MatMut::batch(&mut data, count, distance, shape, strides) {
            Err(error @ Error::TooLarge { .. }) => {
                prop_assert_eq!((error, need), (too_large("output batch"), None));
            }
            Err(error @ Error::TooShort { .. }) => {
                prop_assert!(!fits);
                prop_assert_eq!(error, too_short("output batch", need.unwrap()));
            }
            Err(error) => {
                prop_assert_eq!(error, Error::BatchOverlap { count, distance, shape, strides });
                prop_assert!(fits && !nest(dimensions));
                // One matrix, or a batch of rows or columns, is looked at exactly.
                let exact = dimensions.iter().any(|&(size, _)| size <= 1);
                prop_assert!(!exact || !distinct());
            }
            Ok(batch) => {
                prop_assert!(fits && distinct());
                prop_assert_eq!(batch.len(), count);
                for (b, mut view) in batch.take(100).enumerate() {
                    prop_assert_eq!((view.rows(), view.cols()), shape);
                    if shape.0 <= 100 && shape.1 <= 100 {
                        let want = places(0..shape.0, 0..shape.1, strides);
                        let got = elements_mut(&mut view);
                        prop_assert!(got.iter().zip(want).all(|(got, want)| *got == b * distance + want));
                    }
                }
            }
        }
    }

    #[test]
    fn a_view_at_an_address_is_that_of_the_slice_or_refused(
        (rows, cols) in (size(), size()),
        strides in (stride(), stride()),
        from in 0..9usize,
    ) {
        let mut data: Vec<u32> = (0..300).collect();
        let copy = data.clone();
        let view = MatRef::new(&copy[from..], rows, cols, strides.0, strides.1);
        // Where the slice is too short there is no memory to promise.
        let promised = !matches!(view, Err(Error::TooShort { .. }));
        if !promised {
            return Ok(());
        }
        // SAFETY: either the matrix lies in `copy`, which is borrowed here, or it is too large for any memory.
        let parts = unsafe { RawParts::new(copy[from..].as_ptr(), rows, cols, strides.0, strides.1) };
        match (view, MatRef::from_raw_parts(parts)) {
            (Ok(view), Ok(raw)) => {
                prop_assert_eq!(format!("{view:?}"), format!("{raw:?}"));
                if rows <= 100 && cols <= 100 {
                    for (i, j) in (0..=rows).flat_map(|i| (0..=cols).map(move |j| (i, j))) {
                        prop_assert_eq!(view.get(i, j), raw.get(i, j));
                    }
                }
            }
            (view, raw) => prop_assert_eq!(view.unwrap_err(), raw.unwrap_err()),
        }

        // SAFETY: as above, with `data`, which nothing else uses while the view exists.
        let parts = unsafe { RawPartsMut::new(data[from..].as_mut_ptr(), rows, cols, strides.0, strides.1) };
        let written = match MatMut::from_raw_parts(parts) {
            Ok(mut raw) => {
                prop_assert_eq!((raw.rows(), raw.cols()), (rows, cols));
                let few = if rows <= 100 && cols <= 100 { rows } else { 0 };
                for (i, j) in (0..few).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                    *raw.get_mut(i, j).unwrap() += 1000;
                }
                prop_assert_eq!(raw.get_mut(rows, 0), None);
                Ok(places(0..few, 0..cols, strides))
            }
            Err(error) => Err(error),
        };
        let mut again = copy.clone();
        let slice = MatMut::new(&mut again[from..], rows, cols, strides.0, strides.1).map(|_| ());
        prop_assert_eq!(written.as_ref().err(), slice.as_ref().err());
        let written: HashSet<usize> = written.unwrap_or_default().into_iter().map(|at| at + from).collect();
        for (at, value) in data.iter().enumerate() {
            prop_assert_eq!(*value as usize, at + if written.contains(&at) { 1000 } else { 0 });
        }
    }
}

/// The length of data that a batch needs; `None` if a `usize` does not hold it.
fn batch_need(
    (count, distance): (usize, usize),
    (rows, cols): (usize, usize),
    strides: (usize, usize),
) -> Option<usize> {
    let one = need(rows, cols, strides.0, strides.1)?;
    count.checked_mul(rows * cols)?;
    if count == 0 || one == 0 {
        return Some(0);
    }
    let last = u128::try_from(count - 1).unwrap() * u128::try_from(distance).unwrap();
    usize::try_from(last.checked_add(u128::try_from(one).unwrap())?).ok()
}

/// Whether each dimension, from that of the least stride on, steps over all of those before.
fn nest(mut dimensions: [(usize, usize); 3]) -> bool {
    dimensions.sort_by_key(|&(_, stride)| stride);
    let mut extent = 1u128;
    dimensions.into_iter().filter(|&(size, _)| size > 1).all(|(size, stride)| {
        let over = stride as u128 >= extent;
        extent = extent.saturating_add((size as u128 - 1).saturating_mul(stride as u128));
        over
    })
}

#[test]
fn addresses_that_no_element_has_are_refused_unless_there_is_none() {
    let mut data = [0u32; 4];
    let first = data.as_mut_ptr();
    let odd = first.wrapping_byte_add(1);
    for (at, got) in [(std::ptr::null_mut(), 0), (odd, odd.addr())] {
        let address = |argument| Error::Address { argument, got, align: 4 };
        // SAFETY: a null or misaligned address is refused.
        let (parts, parts_mut) = unsafe { (RawParts::new(at, 1, 2, 2, 1), RawPartsMut::new(at, 1, 2, 2, 1)) };
        assert!(
            format!("{parts:?}").contains("RawParts") && format!("{parts_mut:?}").contains("RawPartsMut")
        );
        assert_eq!(MatRef::from_raw_parts(parts).unwrap_err(), address("matrix"));
        assert_eq!(MatMut::from_raw_parts(parts_mut).unwrap_err(), address("output"));
        for (rows, cols) in [(0, 2), (2, 0)] {
            // SAFETY: a matrix without elements may have any address.
            let (parts, parts_mut) = unsafe {
                (
                    RawParts::new(at, rows, cols, usize::MAX, 1),
                    RawPartsMut::new(at, rows, cols, usize::MAX, 1),
                )
            };
            let view = MatRef::from_raw_parts(parts).unwrap();
            assert_eq!((view.rows(), view.cols(), view.get(0, 0)), (rows, cols, None));
            let mut view = MatMut::from_raw_parts(parts_mut).unwrap();
            assert_eq!((view.rows(), view.cols(), view.get_mut(0, 0)), (rows, cols, None));
            assert_eq!(view.split_at_row(rows).unwrap().0.rows(), rows);
        }
    }
}

#[test]
fn views_that_reach_further_than_memory_are_refused() {
    let mut data = [0u32; 4];
    let first = data.as_mut_ptr();
    // The first reaches isize::MAX bytes and a few, the others overflow.
    let far = isize::MAX as usize / 4;
    for (shape, strides) in [
        ((2, 1), (far, 1)),
        ((2, 1), (usize::MAX, 1)),
        ((3, 3), (1, 1 << (usize::BITS - 1))),
        ((usize::MAX, 2), (0, 0)),
    ] {
        // SAFETY: such a matrix is refused.
        let (parts, parts_mut) = unsafe {
            (
                RawParts::new(first, shape.0, shape.1, strides.0, strides.1),
                RawPartsMut::new(first, shape.0, shape.1, strides.0, strides.1),
            )
        };
        let too_large = |argument| Error::TooLarge { argument, shape, strides };
        assert_eq!(MatRef::from_raw_parts(parts).unwrap_err(), too_large("matrix"));
        assert_eq!(MatMut::from_raw_parts(parts_mut).unwrap_err(), too_large("output"));
    }
}

/// An ndarray view of any axes and steps, as long as none is reversed.
fn of_ndarray<'a, T>(array: &'a ndarray::ArrayView2<'_, T>) -> MatRef<'a, T> {
    let stride = |axis: usize| usize::try_from(array.strides()[axis]).expect("no axis is reversed");
    // SAFETY: the array is borrowed for 'a, and a view of it by address spans memory of one array that nobody writes to.
    let parts = unsafe { RawParts::new(array.as_ptr(), array.nrows(), array.ncols(), stride(0), stride(1)) };
    MatRef::from_raw_parts(parts).unwrap()
}

#[test]
fn slices_of_ndarray_are_operands() {
    use ndarray::{Array2, s};
    let a = Array2::from_shape_fn((9, 40), |(i, j)| (i * 37 + j * 11) as u8);
    let b = Array2::from_shape_fn((60, 30), |(i, j)| (i * 29 + j * 7) as u8 as i8);
    let (a, b) = (a.slice(s![..;2, 3..37]), b.slice(s![..34, 5..;3]).to_owned());
    let b = b.t().to_owned();
    let b = b.t();
    assert!(a.as_slice().is_none());
    let (m, n) = (a.nrows(), b.ncols());
    let mut c = vec![0i32; m * n];
    let product = Gemm::new(of_ndarray(&a), of_ndarray(&b));
    product.run_i32(MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
    let want = a.mapv(i32::from).dot(&b.mapv(i32::from));
    assert_eq!(Array2::from_shape_vec((m, n), c).unwrap(), want);
}
