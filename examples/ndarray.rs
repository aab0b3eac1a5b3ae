//! Arrays of ndarray as operands, without a copy, and as results. Needs the feature `ndarray`.

use ndarray::{Array2, ArrayView2, s};
use qgemm::{Dequantize, DynamicGemm, Error, Gemm, MatMut, MatRef, PackedB, RawParts, quantize_columns};

/// A view with gaps or steps, as of `x.slice(s![..;2, 3..])`, of an array that nobody writes to meanwhile.
fn strided<'a, T>(x: &'a ArrayView2<'_, T>) -> Result<MatRef<'a, T>, Error> {
    let forward =
        |axis: usize| usize::try_from(x.strides()[axis]).expect("a reversed axis has no stride here");
    // SAFETY: the view is borrowed for 'a; it is part of one array, all of which is only read until then.
    let parts = unsafe { RawParts::new(x.as_ptr(), x.nrows(), x.ncols(), forward(0), forward(1)) };
    MatRef::from_raw_parts(parts)
}

pub(crate) fn main() -> Result<(), Error> {
    let a = Array2::from_shape_fn((20, 48), |(i, j)| (i * 37 + j * 11) as u8);
    let b = Array2::from_shape_fn((30, 48), |(i, j)| (i * 29 + j * 7) as u8 as i8);
    let naive = a.mapv(i32::from).dot(&b.t().mapv(i32::from));

    // B transposed. The result is a new array, or part of one that there is.
    let product = Gemm::new(MatRef::try_from(&a)?, MatRef::try_from(b.t())?);
    assert_eq!(product.array_i32()?, naive);
    let mut c = Array2::zeros((20, 70));
    product.run_i32(MatMut::try_from(&mut c)?.submatrix(0..20, 40..70)?)?;
    assert_eq!(c.slice(s![.., 40..]), naive);

    // Every second row of A, some of its columns.
    let (some_a, some_b) = (a.slice(s![..;2, 8..40]), b.slice(s![.., 8..40]));
    let product = Gemm::new(strided(&some_a)?, strided(&some_b)?.transpose());
    assert_eq!(product.array_i32()?, some_a.mapv(i32::from).dot(&some_b.t().mapv(i32::from)));

    // A layer of f32.
    let (x, w) = (a.mapv(|x| f32::from(x) / 255.0), b.t().mapv(|w| f32::from(w) / 128.0));
    let (mut codes, mut scales) = (Array2::<i8>::zeros(w.dim()), vec![0.0; w.ncols()]);
    quantize_columns(MatRef::try_from(&w)?, MatMut::try_from(&mut codes)?, &mut scales)?;
    let b = PackedB::pack(MatRef::try_from(&codes)?)?;
    let y = DynamicGemm::new(MatRef::try_from(&x)?, &b).array_f32(Dequantize::dynamic(&scales)?)?;
    let error = (&y - x.dot(&w)).iter().fold(0.0f32, |greatest, error| greatest.max(error.abs()));
    assert!(error < 0.1, "{error}");
    println!("{} elements, equal to ndarray's; a layer of f32, near it by {error:.3}", naive.len());
    Ok(())
}
