//! A product in one line.

use crate::buffer;
use crate::call::gemm::Gemm;
use crate::element::Int8Element;
use crate::error::{Error, check_length};
use crate::matrix::view::{MatMut, MatRef};

/// The product of two row-major matrices: `C[i,j] = Σ_l A[i,l] · B[l,j]` modulo 2^32, where A is m×k and B is k×n, each of
/// `i8` or `u8`; row-major too. For zero points, scales, packed weights and outputs in place there is [`Gemm`].
///
/// ```
/// let c = qgemm::matmul_i32(&[1u8, 2, 3], &[1i8, -1, 2, -2, 3, -3], (1, 3, 2))?;
/// assert_eq!(c, [14, -14]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `a` has not m·k values or `b` not k·n, [`Error::TooLarge`] if such a number does not fit a `usize`,
/// [`Error::Memory`] if there is not enough, [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
pub fn matmul_i32<A: Int8Element, B: Int8Element>(
    a: &[A],
    b: &[B],
    (m, k, n): (usize, usize, usize),
) -> Result<Vec<i32>, Error> {
    check_length("a", a.len(), len("a", (m, k))?)?;
    check_length("b", b.len(), len("b", (k, n))?)?;
    let mut c = Vec::new();
    buffer::refill(&mut c, len("output", (m, n))?, 0, "output")?;
    let (a, b) = (MatRef::row_major(a, m, k)?, MatRef::row_major(b, k, n)?);
    Gemm::new(a, b).run_i32(MatMut::row_major(&mut c, m, n)?)?;
    Ok(c)
}

fn len(argument: &'static str, (rows, cols): (usize, usize)) -> Result<usize, Error> {
    let too_large = Error::TooLarge { argument, shape: (rows, cols), strides: (cols, 1) };
    rows.checked_mul(cols).ok_or(too_large)
}
