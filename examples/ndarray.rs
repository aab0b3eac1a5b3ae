//! Slices of ndarray as operands, without a copy; and a product in one line.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use qgemm::{Error, Gemm, MatMut, MatRef, RawParts, RawPartsMut, matmul_i32};

/// A view with any steps, as of `x.slice(s![..;2, 3..])`.
fn view<'a, T>(x: &'a ArrayView2<'_, T>) -> Result<MatRef<'a, T>, Error> {
    let (rows, cols) = strides(x.strides());
    // SAFETY: the array is borrowed for 'a; a view by address lies in one allocation, which nobody writes to meanwhile.
    MatRef::from_raw_parts(unsafe { RawParts::new(x.as_ptr(), x.nrows(), x.ncols(), rows, cols) })
}

/// A view to be written to.
fn view_mut<'a, T>(x: &'a mut ArrayViewMut2<'_, T>) -> Result<MatMut<'a, T>, Error> {
    let ((rows, cols), (m, n)) = (strides(x.strides()), x.dim());
    // SAFETY: the array is borrowed mutably for 'a, so that its elements are nobody else's.
    MatMut::from_raw_parts(unsafe { RawPartsMut::new(x.as_mut_ptr(), m, n, rows, cols) })
}

fn strides(strides: &[isize]) -> (usize, usize) {
    let forward = |stride: isize| usize::try_from(stride).expect("a reversed axis has no stride here");
    (forward(strides[0]), forward(strides[1]))
}

pub(crate) fn main() -> Result<(), Error> {
    let a = Array2::from_shape_fn((20, 64), |(i, j)| (i * 37 + j * 11) as u8);
    let b = Array2::from_shape_fn((48, 30), |(i, j)| (i * 29 + j * 7) as u8 as i8);
    let mut c = Array2::<i32>::zeros((10, 60));

    // Every second row of A, some of its columns; B transposed twice; every second column of C.
    let (a, b) = (a.slice(s![..;2, 8..56]), b.t());
    Gemm::new(view(&a)?, view(&b)?.transpose()).run_i32(view_mut(&mut c.slice_mut(s![.., ..;2]))?)?;

    let naive = a.mapv(i32::from).dot(&b.t().mapv(i32::from));
    assert_eq!(c.slice(s![.., ..;2]), naive);
    assert!(c.slice(s![.., 1..;2]).iter().all(|c| *c == 0));

    // Contiguous and row-major, a product is one line.
    let (a, b): (Vec<u8>, Vec<i8>) = (a.iter().copied().collect(), b.t().iter().copied().collect());
    let c = matmul_i32(&a, &b, (10, 48, 30))?;
    assert!(naive.iter().eq(&c));
    println!("{} elements, equal to ndarray's", c.len());
    Ok(())
}
