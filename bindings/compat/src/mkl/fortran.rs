//! The functions of `mkl_blas.h`: column-major, with every argument by address, and letters for choices.

use super::compute::{self, Arguments, Matrix, Packing};
use super::report::{Function, Refusal};
use super::{Identifier, Layout, OffsetC, Transposed};
use std::ffi::c_char;

const PRODUCT: [&str; 17] = [
    "transa", "transb", "offsetc", "m", "n", "k", "alpha", "a", "lda", "oa", "b", "ldb", "ob", "beta", "c",
    "ldc", "oc",
];

/// A value that is passed by address.
///
/// # Safety
/// The address is null, or there is a value.
unsafe fn read<T: Copy>(name: &'static str, at: *const T) -> Result<T, Refusal> {
    if at.is_null() {
        return Err(Refusal::Argument(name));
    }
    // SAFETY: the caller promises a value.
    Ok(unsafe { at.read_unaligned() })
}

/// A letter, in upper case.
///
/// # Safety
/// That of [`read`].
unsafe fn letter(name: &'static str, at: *const c_char) -> Result<u8, Refusal> {
    // SAFETY: the caller promises a letter.
    unsafe { read(name, at) }.map(|letter| (letter as u8).to_ascii_uppercase())
}

fn transposed(name: &'static str, letter: u8, may_be_packed: bool) -> Result<Transposed, Refusal> {
    match letter {
        b'N' => Ok(Transposed::No),
        b'T' => Ok(Transposed::Yes),
        b'P' if may_be_packed => Ok(Transposed::Packed),
        _ => Err(Refusal::Argument(name)),
    }
}

fn identifier(letter: u8) -> Result<Identifier, Refusal> {
    match letter {
        b'A' => Ok(Identifier::A),
        b'B' => Ok(Identifier::B),
        _ => Err(Refusal::Argument("identifier")),
    }
}

/// Arguments of a product, by address.
struct ByAddress {
    trans: [*const c_char; 2],
    offsetc: *const c_char,
    sizes: [*const i32; 3],
    scales: [*const f32; 2],
    a: *const i8,
    b: *const u8,
    leading: [*const i32; 3],
    offsets: [*const i8; 2],
    c: *mut i32,
    oc: *const i32,
}

impl ByAddress {
    /// # Safety
    /// Addresses are null or those of values; the rest is the promise of [`gemm_s8u8s32`].
    unsafe fn run(self, may_be_packed: bool) -> Result<(), Refusal> {
        // SAFETY: the caller's promise.
        let trans = |name, at| transposed(name, unsafe { letter(name, at) }?, may_be_packed);
        // SAFETY: likewise.
        let int = |name, at| unsafe { read::<i32>(name, at) };
        // SAFETY: likewise.
        let float = |name, at| unsafe { read::<f32>(name, at) };
        // SAFETY: likewise.
        let byte = |name, at| unsafe { read::<i8>(name, at) };
        let [transa, transb] = [trans("transa", self.trans[0])?, trans("transb", self.trans[1])?];
        // SAFETY: likewise.
        let offsetc = match unsafe { letter("offsetc", self.offsetc) }? {
            b'R' => OffsetC::Row,
            b'C' => OffsetC::Column,
            b'F' => OffsetC::Fixed,
            _ => return Err(Refusal::Argument("offsetc")),
        };
        let arguments = Arguments {
            layout: Layout::Columns,
            offsetc,
            m: int("m", self.sizes[0])?,
            n: int("n", self.sizes[1])?,
            k: int("k", self.sizes[2])?,
            alpha: float("alpha", self.scales[0])?,
            a: Matrix {
                transposed: transa,
                first: self.a.cast(),
                ld: int("lda", self.leading[0])?,
                offset: byte("oa", self.offsets[0])?,
            },
            b: Matrix {
                transposed: transb,
                first: self.b.cast(),
                ld: int("ldb", self.leading[1])?,
                offset: byte("ob", self.offsets[1])?,
            },
            beta: float("beta", self.scales[1])?,
            c: self.c,
            ldc: int("ldc", self.leading[2])?,
            oc: self.oc,
        };
        // SAFETY: the caller's promise.
        unsafe { arguments.run() }
    }
}

/// C := alpha * (op(A) + oa) * (op(B) + ob) + beta * C + oc, column-major.
///
/// # Safety
/// Matrices are as MKL describes them: of the sizes and distances given, `oc` of as many values as `offsetc` needs. Nobody
/// writes to them, or reads C, while the call runs.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is MKL's")]
pub unsafe extern "C" fn gemm_s8u8s32(
    transa: *const c_char,
    transb: *const c_char,
    offsetc: *const c_char,
    m: *const i32,
    n: *const i32,
    k: *const i32,
    alpha: *const f32,
    a: *const i8,
    lda: *const i32,
    oa: *const i8,
    b: *const u8,
    ldb: *const i32,
    ob: *const i8,
    beta: *const f32,
    c: *mut i32,
    ldc: *const i32,
    oc: *const i32,
) {
    let (trans, sizes, scales) = ([transa, transb], [m, n, k], [alpha, beta]);
    let (leading, offsets) = ([lda, ldb, ldc], [oa, ob]);
    let arguments = ByAddress { trans, offsetc, sizes, scales, a, b, leading, offsets, c, oc };
    // SAFETY: the caller's promise is that of this function.
    Function { name: "gemm_s8u8s32", parameters: &PRODUCT }.guard(|| unsafe { arguments.run(false) });
}

/// [`gemm_s8u8s32`] with one or both matrices packed: `P` in place of the transposition, and the buffer in place of the matrix.
///
/// # Safety
/// That of [`gemm_s8u8s32`]; a buffer is one of the size that [`gemm_s8u8s32_pack_get_size`] gave.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is MKL's")]
pub unsafe extern "C" fn gemm_s8u8s32_compute(
    transa: *const c_char,
    transb: *const c_char,
    offsetc: *const c_char,
    m: *const i32,
    n: *const i32,
    k: *const i32,
    alpha: *const f32,
    a: *const i8,
    lda: *const i32,
    oa: *const i8,
    b: *const u8,
    ldb: *const i32,
    ob: *const i8,
    beta: *const f32,
    c: *mut i32,
    ldc: *const i32,
    oc: *const i32,
) {
    let (trans, sizes, scales) = ([transa, transb], [m, n, k], [alpha, beta]);
    let (leading, offsets) = ([lda, ldb, ldc], [oa, ob]);
    let arguments = ByAddress { trans, offsetc, sizes, scales, a, b, leading, offsets, c, oc };
    // SAFETY: the caller's promise is that of this function.
    Function { name: "gemm_s8u8s32_compute", parameters: &PRODUCT }.guard(|| unsafe { arguments.run(true) });
}

/// The bytes that a packed matrix needs; 0 if that is refused.
///
/// # Safety
/// Addresses are null or those of values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemm_s8u8s32_pack_get_size(
    identifier_: *const c_char,
    m: *const i32,
    n: *const i32,
    k: *const i32,
) -> usize {
    let parameters = &["identifier", "m", "n", "k"];
    let function = Function { name: "gemm_s8u8s32_pack_get_size", parameters };
    // SAFETY: the caller's promise is that of `read`.
    let bytes = || unsafe {
        let (m, n, k) = (read("m", m)?, read("n", n)?, read("k", k)?);
        compute::buffer_bytes(identifier(letter("identifier", identifier_)?)?, m, n, k)
    };
    function.guard(bytes).unwrap_or(0)
}

/// Packs a column-major matrix into a buffer.
///
/// # Safety
/// Addresses are null or those of values; `src` is a matrix of the sizes and the distance given, and `dest` has the bytes that
/// [`gemm_s8u8s32_pack_get_size`] gave. Nobody writes to either while the call runs.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "the function is MKL's")]
pub unsafe extern "C" fn gemm_s8u8s32_pack(
    identifier_: *const c_char,
    trans: *const c_char,
    m: *const i32,
    n: *const i32,
    k: *const i32,
    src: *const std::ffi::c_void,
    ld: *const i32,
    dest: *mut std::ffi::c_void,
) {
    let parameters = &["identifier", "trans", "m", "n", "k", "src", "ld", "dest"];
    // SAFETY: the caller's promise is that of `read` and of `run`.
    Function { name: "gemm_s8u8s32_pack", parameters }.guard(|| unsafe {
        let identifier = identifier(letter("identifier", identifier_)?)?;
        let transposed = transposed("trans", letter("trans", trans)?, false)? == Transposed::Yes;
        let (m, n, k, ld) = (read("m", m)?, read("n", n)?, read("k", k)?, read("ld", ld)?);
        Packing { layout: Layout::Columns, identifier, transposed, m, n, k, src, ld, dest }.run()
    });
}
