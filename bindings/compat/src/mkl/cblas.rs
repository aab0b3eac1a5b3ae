//! The functions of `mkl_cblas.h`.

use super::compute::{self, Arguments, Matrix, Packing};
use super::report::{Function, Refusal};
use super::{Identifier, Layout, OffsetC, Transposed};
use std::ffi::c_void;

const PRODUCT: [&str; 18] = [
    "Layout", "transa", "transb", "offsetc", "m", "n", "k", "alpha", "a", "lda", "oa", "b", "ldb", "ob",
    "beta", "c", "ldc", "oc",
];

fn layout(constant: i32) -> Result<Layout, Refusal> {
    match constant {
        101 => Ok(Layout::Rows),
        102 => Ok(Layout::Columns),
        _ => Err(Refusal::Argument("Layout")),
    }
}

fn transposed(name: &'static str, constant: i32, may_be_packed: bool) -> Result<Transposed, Refusal> {
    match constant {
        111 => Ok(Transposed::No),
        112 => Ok(Transposed::Yes),
        151 if may_be_packed => Ok(Transposed::Packed),
        _ => Err(Refusal::Argument(name)),
    }
}

fn offset(constant: i32) -> Result<OffsetC, Refusal> {
    match constant {
        171 => Ok(OffsetC::Row),
        172 => Ok(OffsetC::Column),
        173 => Ok(OffsetC::Fixed),
        _ => Err(Refusal::Argument("offsetc")),
    }
}

fn identifier(constant: i32) -> Result<Identifier, Refusal> {
    match constant {
        161 => Ok(Identifier::A),
        162 => Ok(Identifier::B),
        _ => Err(Refusal::Argument("identifier")),
    }
}

/// C := alpha * (op(A) + oa) * (op(B) + ob) + beta * C + oc.
///
/// # Safety
/// Matrices are as MKL describes them: of the sizes and distances given, `oc` of as many values as `offsetc` needs. Nobody
/// writes to them, or reads C, while the call runs.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is MKL's")]
pub unsafe extern "C" fn cblas_gemm_s8u8s32(
    layout_: i32,
    transa: i32,
    transb: i32,
    offsetc: i32,
    m: i32,
    n: i32,
    k: i32,
    alpha: f32,
    a: *const c_void,
    lda: i32,
    oa: i8,
    b: *const c_void,
    ldb: i32,
    ob: i8,
    beta: f32,
    c: *mut i32,
    ldc: i32,
    oc: *const i32,
) {
    Function { name: "cblas_gemm_s8u8s32", parameters: &PRODUCT }.guard(|| {
        let layout = layout(layout_)?;
        let a = Matrix { transposed: transposed("transa", transa, false)?, first: a, ld: lda, offset: oa };
        let b = Matrix { transposed: transposed("transb", transb, false)?, first: b, ld: ldb, offset: ob };
        let offsetc = offset(offsetc)?;
        // SAFETY: the caller's promise is that of this function.
        unsafe { Arguments { layout, offsetc, m, n, k, alpha, a, b, beta, c, ldc, oc }.run() }
    });
}

/// [`cblas_gemm_s8u8s32`] with one or both matrices packed: CblasPacked in place of the transposition, and the buffer in place
/// of the matrix.
///
/// # Safety
/// That of [`cblas_gemm_s8u8s32`]; a buffer is one of the size that [`cblas_gemm_s8u8s32_pack_get_size`] gave.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is MKL's")]
pub unsafe extern "C" fn cblas_gemm_s8u8s32_compute(
    layout_: i32,
    transa: i32,
    transb: i32,
    offsetc: i32,
    m: i32,
    n: i32,
    k: i32,
    alpha: f32,
    a: *const c_void,
    lda: i32,
    oa: i8,
    b: *const c_void,
    ldb: i32,
    ob: i8,
    beta: f32,
    c: *mut i32,
    ldc: i32,
    oc: *const i32,
) {
    Function { name: "cblas_gemm_s8u8s32_compute", parameters: &PRODUCT }.guard(|| {
        let layout = layout(layout_)?;
        let a = Matrix { transposed: transposed("transa", transa, true)?, first: a, ld: lda, offset: oa };
        let b = Matrix { transposed: transposed("transb", transb, true)?, first: b, ld: ldb, offset: ob };
        let offsetc = offset(offsetc)?;
        // SAFETY: the caller's promise is that of this function.
        unsafe { Arguments { layout, offsetc, m, n, k, alpha, a, b, beta, c, ldc, oc }.run() }
    });
}

/// The bytes that a packed matrix needs; 0 if that is refused.
#[unsafe(no_mangle)]
pub extern "C" fn cblas_gemm_s8u8s32_pack_get_size(identifier_: i32, m: i32, n: i32, k: i32) -> usize {
    let parameters = &["identifier", "m", "n", "k"];
    let function = Function { name: "cblas_gemm_s8u8s32_pack_get_size", parameters };
    function.guard(|| compute::buffer_bytes(identifier(identifier_)?, m, n, k)).unwrap_or(0)
}

/// Packs a matrix into a buffer.
///
/// # Safety
/// `src` is a matrix of the sizes and the distance given, and `dest` has the bytes that
/// [`cblas_gemm_s8u8s32_pack_get_size`] gave. Nobody writes to either while the call runs.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is MKL's")]
pub unsafe extern "C" fn cblas_gemm_s8u8s32_pack(
    layout_: i32,
    identifier_: i32,
    trans: i32,
    m: i32,
    n: i32,
    k: i32,
    src: *const c_void,
    ld: i32,
    dest: *mut c_void,
) {
    let parameters = &["Layout", "identifier", "trans", "m", "n", "k", "src", "ld", "dest"];
    Function { name: "cblas_gemm_s8u8s32_pack", parameters }.guard(|| {
        let (layout, identifier) = (layout(layout_)?, identifier(identifier_)?);
        let transposed = transposed("trans", trans, false)? == Transposed::Yes;
        // SAFETY: the caller's promise is that of this function.
        unsafe { Packing { layout, identifier, transposed, m, n, k, src, ld, dest }.run() }
    });
}
