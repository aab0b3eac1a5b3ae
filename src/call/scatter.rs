//! Rows added to rows of an output by index: what a mixture of experts does with the outputs of its experts.

use crate::call::gemm::shape;
use crate::error::{Error, check_length, check_shape};
use crate::matrix::view::{MatMut, MatRef};
use multiversion::multiversion;
use qgemm_kernels::in_default_float_mode;

/// Adds each row of `rows` to a row of `c`: for i from 0 on, `C[indices[i]] += rows[i]`, modulo 2^32.
///
/// `rows` is L×N, for the L values of `indices`, each a row of `c`, which is M×N. Indices may repeat, and rows of `c`
/// that no index names stay as they are. Both matrices may have any strides; contiguous rows are fastest. The call runs
/// on the calling thread and allocates nothing.
///
/// ```
/// use qgemm::{MatMut, MatRef, scatter_add_i32};
///
/// let rows = [1, 2, 10, 20, 100, 200]; // 3 x 2
/// let mut c = [0; 4]; // 2 x 2
/// let rows = MatRef::row_major(&rows, 3, 2)?;
/// scatter_add_i32(rows, &[1, 0, 1], MatMut::row_major(&mut c, 2, 2)?)?;
/// assert_eq!(c, [10, 20, 101, 202]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `indices` are not L values, [`Error::Shape`] if `rows` has not as many columns as `c`,
/// [`Error::Index`] if an index is no row of `c`. `c` is then left as it was.
pub fn scatter_add_i32(rows: MatRef<'_, i32>, indices: &[u32], mut c: MatMut<'_, i32>) -> Result<(), Error> {
    check(&rows, indices, shape(&c))?;
    add_i32(rows, indices, &mut c);
    Ok(())
}

/// Adds each row of `rows`, times its weight, to a row of `c`: for i from 0 on,
///
/// ```text
/// C[indices[i], j] = C[indices[i], j] + weights[i] · rows[i, j]
/// ```
///
/// where product and sum round to nearest even, each by itself, whatever the caller's floating-point mode. Without
/// `weights` rows are added as they are.
///
/// `rows` is L×N, for the L values of `indices`, each a row of `c`, which is M×N. Indices may repeat: rows are added in
/// their order. So experts of a mixture whose tokens go to several of them are added one call after the other, or in
/// one call with their rows one expert after the other, and the results are the same. Weights may be any numbers, also
/// infinite or NaN. Both matrices may have any strides; contiguous rows are fastest. The call runs on the calling
/// thread and allocates nothing.
///
/// ```
/// use qgemm::{MatMut, MatRef, scatter_add_f32};
///
/// // Two experts: the first has tokens 0 and 2, the second 2 and 1.
/// let outputs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]; // 4 x 2
/// let mut c = [0.0; 6]; // 3 tokens
/// let rows = MatRef::row_major(&outputs, 4, 2)?;
/// let weights = Some(&[1.0, 0.25, 0.75, 1.0][..]);
/// scatter_add_f32(rows, &[0, 2, 2, 1], weights, MatMut::row_major(&mut c, 3, 2)?)?;
/// assert_eq!(c, [1.0, 2.0, 7.0, 8.0, 0.75 + 3.75, 1.0 + 4.5]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `indices` or `weights` are not L values, [`Error::Shape`] if `rows` has not as many columns as
/// `c`, [`Error::Index`] if an index is no row of `c`. `c` is then left as it was.
pub fn scatter_add_f32(
    rows: MatRef<'_, f32>,
    indices: &[u32],
    weights: Option<&[f32]>,
    mut c: MatMut<'_, f32>,
) -> Result<(), Error> {
    check(&rows, indices, shape(&c))?;
    if let Some(weights) = weights {
        check_length("weights", weights.len(), rows.rows())?;
    }
    in_default_float_mode(|| match weights {
        Some(weights) => add_weighted_f32(rows, indices, weights, &mut c),
        None => add_f32(rows, indices, &mut c),
    });
    Ok(())
}

/// # Errors
/// Those of [`scatter_add_i32`].
fn check<T>(rows: &MatRef<'_, T>, indices: &[u32], (m, n): (usize, usize)) -> Result<(), Error> {
    check_length("indices", indices.len(), rows.rows())?;
    check_shape("rows", (rows.rows(), rows.cols()), (rows.rows(), n))?;
    match indices.iter().position(|&index| index as usize >= m) {
        Some(position) => Err(Error::Index { position, got: indices[position], rows: m, padding: false }),
        None => Ok(()),
    }
}

// Wider vectors gain while the rows of C stay in the first-level cache: 2x2048 weighted rows take 220 ns, not 345 (Zen
// 4, 2026-11-29). From memory they gain nothing.

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_i32(rows: MatRef<'_, i32>, indices: &[u32], c: &mut MatMut<'_, i32>) {
    add_each(rows, indices, c, |_| i32::wrapping_add);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_f32(rows: MatRef<'_, f32>, indices: &[u32], c: &mut MatMut<'_, f32>) {
    add_each(rows, indices, c, |_| |c, x| c + x);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn add_weighted_f32(rows: MatRef<'_, f32>, indices: &[u32], weights: &[f32], c: &mut MatMut<'_, f32>) {
    add_each(rows, indices, c, |i| {
        let weight = weights[i];
        move |c, x| c + weight * x
    });
}

/// Adds rows to those that `indices` name, in their order: `sum(i)` is the function from a value of C and one of row i
/// to their sum. All arguments are checked.
#[inline(always)]
fn add_each<T: Copy, F: Fn(T, T) -> T>(
    rows: MatRef<'_, T>,
    indices: &[u32],
    c: &mut MatMut<'_, T>,
    sum: impl Fn(usize) -> F,
) {
    for (i, &index) in indices.iter().enumerate() {
        let (index, sum) = (index as usize, sum(i));
        if let (Some(row), Some(c)) = (rows.row(i), c.block.row_mut(index)) {
            for (c, x) in c.iter_mut().zip(row) {
                *c = sum(*c, *x);
            }
            continue;
        }
        for j in 0..rows.cols() {
            if let (Some(x), Some(c)) = (rows.get(i, j), c.get_mut(index, j)) {
                *c = sum(*c, *x);
            }
        }
    }
}
