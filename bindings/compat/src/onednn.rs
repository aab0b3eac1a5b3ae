//! oneDNN's `dnnl_gemm_u8s8s32` and `dnnl_gemm_s8s8s32`.

use crate::memory::{Input, Output, copied};
use crate::product::{Factor, Offsets, Product};
use crate::threads::limited_by;
use qgemm::{Error, Int8Element};
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// oneDNN's `dnnl_status_t`.
type Status = i32;
const SUCCESS: Status = 0;
const OUT_OF_MEMORY: Status = 1;
const INVALID_ARGUMENTS: Status = 2;
const RUNTIME_ERROR: Status = 5;

/// The arguments of both functions, in their order.
struct Arguments<T> {
    transposed: [c_char; 2],
    offsetc: c_char,
    sizes: [i64; 3],
    alpha: f32,
    a: *const T,
    lda: i64,
    ao: T,
    b: *const i8,
    ldb: i64,
    bo: i8,
    beta: f32,
    c: *mut i32,
    ldc: i64,
    co: *const i32,
}

/// Whether a letter says that a matrix is transposed; `None` if it is none of oneDNN's.
fn transposed(letter: c_char) -> Option<bool> {
    match letter as u8 {
        b'N' | b'n' => Some(false),
        b'T' | b't' => Some(true),
        _ => None,
    }
}

/// The distance of rows, if it is at least that of a matrix of so many columns.
fn leading(ld: i64, columns: usize) -> Option<usize> {
    usize::try_from(ld).ok().filter(|&ld| ld >= columns.max(1))
}

impl<T: Int8Element> Arguments<T> {
    /// The product, or `None` if an argument is wrong. oneDNN computes nothing if a size is 0, also if that is K.
    ///
    /// # Safety
    /// That of the functions.
    unsafe fn product(self) -> Option<Result<Option<Product<T, i8>>, Error>> {
        let [a_transposed, b_transposed] = self.transposed.map(transposed);
        let (a_transposed, b_transposed) = (a_transposed?, b_transposed?);
        let [m, n, k] = self.sizes.map(|size| usize::try_from(size).ok());
        let (m, n, k) = (m?, n?, k?);
        if self.a.is_null() || self.b.is_null() || self.c.is_null() {
            return None;
        }
        let lda = leading(self.lda, if a_transposed { m } else { k })?;
        let ldb = leading(self.ldb, if b_transposed { k } else { n })?;
        let ldc = leading(self.ldc, n)?;
        let offsets = match self.offsetc as u8 {
            b'F' | b'f' => 1,
            b'C' | b'c' => m,
            b'R' | b'r' => n,
            _ => return None,
        };
        if m == 0 || n == 0 || k == 0 {
            return Some(Ok(None));
        }
        // SAFETY: the caller promises so many offsets.
        let offsets = match unsafe { copied(self.co, offsets) } {
            Ok(offsets) => match self.offsetc as u8 {
                b'F' | b'f' => Offsets::All(offsets[0]),
                b'C' | b'c' => Offsets::Rows(offsets),
                _ => Offsets::Columns(offsets),
            },
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Some(Product {
            left: Factor::Plain(Input::new(self.a, (m, k), lda, a_transposed)),
            left_zero: self.ao.to_i32(),
            right: Factor::Plain(Input::new(self.b, (k, n), ldb, b_transposed)),
            right_zero: self.bo.into(),
            k,
            alpha: self.alpha,
            beta: self.beta,
            offsets,
            c: Output { first: self.c, shape: (m, n), ld: ldc },
            threads: limited_by(&["OMP_NUM_THREADS"]),
        })))
    }

    /// # Safety
    /// That of the functions.
    unsafe fn run(self) -> Status {
        let run = || {
            // SAFETY: the caller's promise.
            match unsafe { self.product() }? {
                // SAFETY: likewise.
                Ok(Some(product)) => Some(unsafe { product.run() }),
                Ok(None) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            }
        };
        // After a panic nothing of what was borrowed is used again, but C, which holds plain numbers.
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Some(Ok(()))) => SUCCESS,
            Ok(Some(Err(Error::Memory { .. }))) => OUT_OF_MEMORY,
            Ok(Some(Err(Error::Kernel { .. } | Error::Variable { .. }))) => RUNTIME_ERROR,
            Ok(_) => INVALID_ARGUMENTS,
            Err(panic) => {
                // The destructor of what was thrown could panic itself.
                std::mem::forget(panic);
                RUNTIME_ERROR
            }
        }
    }
}

/// A of u8, B of i8.
///
/// # Safety
/// Matrices are as oneDNN describes them: A, B and C of the sizes and distances given, `co` of as many values as `offsetc`
/// needs. Nobody writes to them, or reads C, while the call runs.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is oneDNN's")]
pub unsafe extern "C" fn dnnl_gemm_u8s8s32(
    transa: c_char,
    transb: c_char,
    offsetc: c_char,
    m: i64,
    n: i64,
    k: i64,
    alpha: f32,
    a: *const u8,
    lda: i64,
    ao: u8,
    b: *const i8,
    ldb: i64,
    bo: i8,
    beta: f32,
    c: *mut i32,
    ldc: i64,
    co: *const i32,
) -> Status {
    let (transposed, sizes) = ([transa, transb], [m, n, k]);
    let arguments = Arguments { transposed, offsetc, sizes, alpha, a, lda, ao, b, ldb, bo, beta, c, ldc, co };
    // SAFETY: the caller's promise is that of this function.
    unsafe { arguments.run() }
}

/// A and B of i8.
///
/// # Safety
/// That of [`dnnl_gemm_u8s8s32`].
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is oneDNN's")]
pub unsafe extern "C" fn dnnl_gemm_s8s8s32(
    transa: c_char,
    transb: c_char,
    offsetc: c_char,
    m: i64,
    n: i64,
    k: i64,
    alpha: f32,
    a: *const i8,
    lda: i64,
    ao: i8,
    b: *const i8,
    ldb: i64,
    bo: i8,
    beta: f32,
    c: *mut i32,
    ldc: i64,
    co: *const i32,
) -> Status {
    let (transposed, sizes) = ([transa, transb], [m, n, k]);
    let arguments = Arguments { transposed, offsetc, sizes, alpha, a, lda, ao, b, ldb, bo, beta, c, ldc, co };
    // SAFETY: the caller's promise is that of this function.
    unsafe { arguments.run() }
}
