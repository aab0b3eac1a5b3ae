//! Arrays of ndarray as operands and results.

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, ShapeBuilder, s};
use qgemm::{
    CodeBits, Dequantize, DynamicGemm, Error, Gemm, GroupScheme, GroupwiseGemm, Linear, MatMut, MatRef,
    PackedB, QuantParams, Requantize, quantize_groups,
};

fn bytes((rows, cols): (usize, usize)) -> Array2<u8> {
    Array2::from_shape_fn((rows, cols), |(i, j)| (i * 37 + j * 11) as u8)
}

fn signed((rows, cols): (usize, usize)) -> Array2<i8> {
    Array2::from_shape_fn((rows, cols), |(i, j)| (i * 29 + j * 7) as u8 as i8)
}

fn floats((rows, cols): (usize, usize)) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((i * 31 + j * 17) as f32).sin())
}

fn sums(a: ArrayView2<'_, u8>, b: ArrayView2<'_, i8>) -> Array2<i32> {
    a.mapv(i32::from).dot(&b.mapv(i32::from))
}

#[test]
fn arrays_of_any_order_are_operands() {
    let (a, b) = (bytes((9, 40)), signed((40, 7)));
    let want = sums(a.view(), b.view());
    let mut columns_first = Array2::zeros((40, 7).f());
    columns_first.assign(&b);
    let (at, bt) = (a.t().as_standard_layout().into_owned(), b.t().as_standard_layout().into_owned());
    for a in [a.view(), at.t()] {
        for b in [b.view(), bt.t(), columns_first.view()] {
            let product = Gemm::new(MatRef::try_from(a).unwrap(), MatRef::try_from(b).unwrap());
            assert_eq!(product.array_i32().unwrap(), want);
            let mut c = Array2::zeros((9, 7).f());
            product.run_i32((&mut c).try_into().unwrap()).unwrap();
            assert_eq!(c, want);
        }
    }
}

#[test]
fn broadcast_axes_are_operands() {
    let (row, b) = (Array1::from_iter(1..=40u8), signed((40, 7)));
    let rows = row.broadcast((5, 40)).unwrap();
    let product = Gemm::new(MatRef::try_from(rows).unwrap(), MatRef::try_from(&b).unwrap());
    assert_eq!(product.array_i32().unwrap(), sums(rows, b.view()));
    let columns = row.view().insert_axis(Axis(1));
    let columns = columns.broadcast((40, 5)).unwrap();
    let (a, b) = (bytes((3, 40)), columns.mapv(|x| x as i8));
    let product = Gemm::new(MatRef::try_from(&a).unwrap(), MatRef::try_from(columns).unwrap());
    assert_eq!(product.array_i32().unwrap(), sums(a.view(), b.view()));
    let one = ndarray::arr2(&[[3u8]]);
    let all = MatRef::try_from(one.broadcast((4, 6)).unwrap()).unwrap();
    assert_eq!((all.rows(), all.cols(), all.get(3, 5)), (4, 6, Some(&3)));
}

#[test]
fn gaps_and_reversed_axes_are_refused() {
    let mut a = bytes((9, 40));
    let refused = |array: ArrayView2<'_, u8>| MatRef::try_from(array).unwrap_err();
    let stride = |argument, got, need| Error::Range { argument, got, min: need, max: need };
    assert_eq!(refused(a.slice(s![.., 3..37])), stride("row stride", 40, 34));
    assert_eq!(refused(a.slice(s![..;2, ..])), stride("row stride", 80, 40));
    assert_eq!(refused(a.slice(s![.., ..;2])), stride("column stride", 2, 1));
    assert_eq!(refused(a.slice(s![..;-1, ..])), stride("row stride", -40, 40));
    assert_eq!(refused(a.slice(s![.., ..;-1])), stride("column stride", -1, 1));
    assert_eq!(refused(a.t().slice(s![..;-1, ..])), stride("row stride", -1, 1));
    assert_eq!(refused(a.t().slice(s![..36, ..])), stride("column stride", 40, 36));
    // Axes that are broadcast, of rows or columns with gaps.
    let line = Array1::from_iter(0..40u8);
    let gaps = line.slice(s![..;2]);
    assert_eq!(refused(gaps.broadcast((5, 20)).unwrap()), stride("column stride", 2, 1));
    assert_eq!(refused(gaps.insert_axis(Axis(1)).broadcast((20, 5)).unwrap()), stride("row stride", 2, 1));
    assert_eq!(refused(a.t().slice(s![.., ..;-1])), stride("column stride", -40, 40));
    assert_eq!(refused(a.slice(s![.., ..;-2])), stride("column stride", -2, 1));
    let refused = |array: ArrayViewMut2<'_, u8>| MatMut::try_from(array).unwrap_err();
    assert_eq!(refused(a.slice_mut(s![.., 3..37])), stride("row stride", 40, 34));
    assert_eq!(refused(a.slice_mut(s![..;-1, ..])), stride("row stride", -40, 40));
    let nothing = MatMut::try_from(a.slice_mut(s![..0, ..;2])).unwrap();
    assert_eq!((nothing.rows(), nothing.cols()), (0, 20));
    // Rows and columns that follow each other leave no gaps; one row has none, wherever it is from.
    for part in
        [a.slice(s![2..5, ..]), a.slice(s![4..5, 3..9]), a.slice(s![4..5;-1, 3..9]), a.slice(s![..0, ..;2])]
    {
        let view = MatRef::try_from(part).unwrap();
        assert_eq!((view.rows(), view.cols()), part.dim());
        assert!(part.indexed_iter().all(|((i, j), value)| view.get(i, j) == Some(value)));
    }
}

#[test]
fn parts_are_taken_of_the_whole() {
    let (a, b) = (bytes((9, 40)), signed((34, 7)));
    let mut c = Array2::zeros((9, 12));
    let part = MatRef::try_from(&a).unwrap().submatrix(0..9, 3..37).unwrap();
    let mut whole = MatMut::try_from(&mut c).unwrap();
    let product = Gemm::new(part, MatRef::try_from(&b).unwrap());
    product.run_i32(whole.submatrix(0..9, 2..9).unwrap()).unwrap();
    assert_eq!(c.slice(s![.., 2..9]), sums(a.slice(s![.., 3..37]), b.view()));
    assert!(c.slice(s![.., ..2]).iter().chain(c.slice(s![.., 9..])).all(|c| *c == 0));
}

/// Each kind of product gives the array that it writes to a view.
#[test]
fn results_are_arrays() {
    let (a, b, x) = (bytes((5, 64)), signed((64, 6)), floats((5, 64)));
    let (x_view, b) = (MatRef::try_from(&x).unwrap(), PackedB::pack(MatRef::try_from(&b).unwrap()).unwrap());
    let gemm = Gemm::new(MatRef::try_from(&a).unwrap(), &b).a_zero(7);
    let (to_bytes, to_f32) = (Requantize::new(0.01, 3).unwrap(), Dequantize::new(0.5).unwrap());
    let mut c8 = Array2::<i8>::zeros((5, 6));
    gemm.run_requantized((&mut c8).try_into().unwrap(), to_bytes).unwrap();
    assert_eq!(gemm.array_requantized::<i8>(to_bytes).unwrap(), c8);
    let mut c = Array2::zeros((5, 6));
    gemm.run_f32((&mut c).try_into().unwrap(), to_f32).unwrap();
    assert_eq!(gemm.array_f32(to_f32).unwrap(), c);

    let dynamic = DynamicGemm::new(x_view, &b);
    let (to_bytes, to_f32) = (Requantize::dynamic(0.1, 3).unwrap(), Dequantize::dynamic(0.5).unwrap());
    dynamic.run_f32((&mut c).try_into().unwrap(), to_f32).unwrap();
    assert_eq!(dynamic.array_f32(to_f32).unwrap(), c);
    dynamic.run_requantized((&mut c8).try_into().unwrap(), to_bytes).unwrap();
    assert_eq!(dynamic.array_requantized::<i8>(to_bytes).unwrap(), c8);

    let w = floats((64, 6));
    let w = MatRef::try_from(&w).unwrap();
    let groups = quantize_groups(w, CodeBits::Four, 32, GroupScheme::Symmetric).unwrap().pack().unwrap();
    let groupwise = GroupwiseGemm::new(x_view, &groups);
    groupwise.run_f32((&mut c).try_into().unwrap(), Dequantize::groupwise()).unwrap();
    assert_eq!(groupwise.array_f32(Dequantize::groupwise()).unwrap(), c);

    let params = |scale, zero_point| QuantParams { scale, zero_point };
    let layer =
        Linear::in_out(w).input::<u8>(params(0.02, 7)).output::<u8>(params(0.1, 100)).build().unwrap();
    let mut c8 = Array2::<u8>::zeros((5, 6));
    layer.run_requantized(MatRef::try_from(&a).unwrap(), (&mut c8).try_into().unwrap()).unwrap();
    assert_eq!(layer.array_requantized::<u8>(MatRef::try_from(&a).unwrap()).unwrap(), c8);
    layer.run_f32(MatRef::try_from(&a).unwrap(), (&mut c).try_into().unwrap()).unwrap();
    assert_eq!(layer.array_f32(MatRef::try_from(&a).unwrap()).unwrap(), c);
    layer.run_dynamic(x_view, (&mut c).try_into().unwrap()).unwrap();
    assert_eq!(layer.array_dynamic(x_view).unwrap(), c);
}

#[test]
fn errors_are_those_of_the_product() {
    let (a, b) = (bytes((5, 40)), signed((39, 6)));
    let product = Gemm::new(MatRef::try_from(&a).unwrap(), MatRef::try_from(&b).unwrap());
    assert_eq!(product.array_i32(), Err(Error::InnerDimension { a_cols: 40, b_rows: 39 }));
    // As many rows and columns as views may have, but no memory.
    let (rows, nothing) =
        (MatRef::new(&[1u8], 1 << 20, 0, 0, 0).unwrap(), MatRef::new(&[1i8], 0, 1 << 40, 0, 0).unwrap());
    assert!(matches!(Gemm::new(rows, nothing).array_i32(), Err(Error::Memory { purpose: "output", .. })));
    let (rows, nothing) =
        (MatRef::new(&[1u8], usize::MAX, 0, 0, 0).unwrap(), MatRef::new(&[1i8], 0, 0, 0, 0).unwrap());
    assert!(matches!(Gemm::new(rows, nothing).array_i32(), Err(Error::TooLarge { argument: "output", .. })));
}
