//! Group-wise weights: codes of 4 or 8 bits with a scale for each column and group of rows.

use crate::matrix::qgemm_matrix;
use crate::memory::{self, Options};
use crate::status::{Failure, QGEMM_RANGE, guard, qgemm_status};
use crate::weights::{Packed, dispatch, qgemm_weights};
use rust::{CodeBits, GgufType, GroupScheme, GroupwiseB, quantize_groups};
use std::ffi::c_char;

/// Group-wise weights:
///
///     B[k,n] = scale[g,n] * (code[k,n] - zero[g,n])  (+ minimum[g,n])      where g = k / group
///
/// A matrix with `type` 0 (all zeros) is left out. Weights that are stored as [N, K], with scales as [N, groups], are
/// passed as transposes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_groupwise_options {
    /// sizeof(qgemm_groupwise_options)
    pub struct_size: usize,
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// 1: `zero` is the zero point of all. 0: that is 0 for codes of QGEMM_I8, and for QGEMM_U8 the middle, 8 or 128.
    pub has_zero: u32,
    /// The zero point of all, if `has_zero` is 1 and there are no `zeros`.
    pub zero: i32,
    /// Rows of a group: a multiple of 8, such as 32 or 128, or at least K for one group.
    pub group: usize,
    /// K×N, a code in each byte: of 4 bits 0 to 15 in QGEMM_U8 or -8 to 7 in QGEMM_I8.
    pub codes: qgemm_matrix,
    /// groups×N, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
    pub scales: qgemm_matrix,
    /// groups×N zero points of the codes' type; or left out.
    pub zeros: qgemm_matrix,
    /// groups×N numbers that are added, QGEMM_F32, QGEMM_F16 or QGEMM_BF16; or left out.
    pub minimums: qgemm_matrix,
    /// The kernel or instruction set, such as "avx2"; NULL for the best of this CPU.
    pub kernel: *const c_char,
}

// SAFETY: it begins with a usize, and holds integers and raw pointers.
unsafe impl Options for qgemm_groupwise_options {}

/// The bits of a code.
pub(crate) fn code_bits(bits: u32) -> Result<CodeBits, Failure> {
    match bits {
        4 => Ok(CodeBits::Four),
        8 => Ok(CodeBits::Eight),
        _ => Err(Failure::new(QGEMM_RANGE, "bits", "has to be 4 or 8")),
    }
}

/// Packs group-wise weights. `*weights` is written if the call succeeds. The matrices are not needed afterwards.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_MEMORY, QGEMM_KERNEL; QGEMM_RANGE
/// for a code or zero point that is not of so many bits; QGEMM_NOT_FINITE for scales or minimums that are not finite.
///
/// # Safety
/// Each pointer is null or to what its type says, and matrices are as qgemm_matrix says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack_groupwise(
    options: *const qgemm_groupwise_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let options = unsafe { memory::options("options", options) }?;
        let mut builder = GroupwiseB::builder(code_bits(options.bits)?, options.group);
        match options.has_zero {
            0 => {}
            1 => builder = builder.zero(options.zero),
            got => return Err(Failure::choice("has_zero", got)),
        }
        if !options.zeros.is_absent() {
            // SAFETY: the caller promises a matrix, which nobody changes during the call.
            builder = builder.zeros(unsafe { options.zeros.operand("zeros") }?);
        }
        if !options.minimums.is_absent() {
            // SAFETY: likewise.
            builder = builder.minimums(unsafe { options.minimums.scales("minimums") }?);
        }
        // SAFETY: likewise.
        let codes = unsafe { options.codes.operand("codes") }?;
        // SAFETY: likewise.
        let scales = unsafe { options.scales.scales("scales") }?;
        let mut packed = builder.pack(codes, scales)?;
        // SAFETY: the caller promises a text or null.
        if let Some(dispatch) = unsafe { dispatch(options.kernel) }? {
            packed = packed.with_dispatch(&dispatch);
        }
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Groupwise(packed), weights) }
    })
}

/// How qgemm_pack_float quantizes the weights of a group: by the greatest magnitude.
pub const QGEMM_GROUPS_SYMMETRIC: u32 = 0;
/// By the range, widened to hold 0, with a zero point.
pub const QGEMM_GROUPS_ASYMMETRIC: u32 = 1;

/// Quantizes float weights (K×N, QGEMM_F32) to codes of 4 or 8 bits by rounding to nearest, with an f32 scale for each
/// column and group of rows, and packs them. `scheme` is QGEMM_GROUPS_SYMMETRIC or QGEMM_GROUPS_ASYMMETRIC.
///
/// Errors: those of qgemm_pack_groupwise; QGEMM_NOT_FINITE if a weight is not finite, or a scale would not be.
///
/// # Safety
/// Each pointer is null or to what its type says, and the matrix is as qgemm_matrix says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack_float(
    b: *const qgemm_matrix,
    bits: u32,
    group: usize,
    scheme: u32,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a matrix, which nobody changes during the call.
        let b = unsafe { memory::read("b", b)?.f32("b") }?;
        let scheme = match scheme {
            QGEMM_GROUPS_SYMMETRIC => GroupScheme::Symmetric,
            QGEMM_GROUPS_ASYMMETRIC => GroupScheme::Asymmetric,
            got => return Err(Failure::choice("scheme", got)),
        };
        let packed = quantize_groups(b, code_bits(bits)?, group, scheme)?.pack()?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Groupwise(packed), weights) }
    })
}

/// Blocks of 18 bytes with 32 values: an f16 scale, codes of 4 bits.
pub const QGEMM_GGUF_Q4_0: u32 = 2;
/// Blocks of 20 bytes with 32 values: an f16 scale and minimum, codes of 4 bits.
pub const QGEMM_GGUF_Q4_1: u32 = 3;
/// Blocks of 34 bytes with 32 values: an f16 scale, 32 bytes.
pub const QGEMM_GGUF_Q8_0: u32 = 8;

/// Packs a tensor of a GGUF file: `n` rows of `k` values, which are the columns of B. `type` is QGEMM_GGUF_Q4_0, _Q4_1 or
/// _Q8_0 (the file's own numbers); `blocks` holds `len` bytes.
///
/// Errors: QGEMM_NULL, QGEMM_SHAPE if `k` is no multiple of 32 or `len` is not what the sizes need, QGEMM_TYPE,
/// QGEMM_NOT_FINITE, QGEMM_MEMORY, QGEMM_KERNEL.
///
/// # Safety
/// `blocks` points to `len` bytes, which nobody changes during the call; `weights` is NULL or the address of a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack_gguf(
    r#type: u32,
    n: usize,
    k: usize,
    blocks: *const u8,
    len: usize,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        let kind = match r#type {
            QGEMM_GGUF_Q4_0 => GgufType::Q4_0,
            QGEMM_GGUF_Q4_1 => GgufType::Q4_1,
            QGEMM_GGUF_Q8_0 => GgufType::Q8_0,
            got => return Err(Failure::choice("type", got)),
        };
        // SAFETY: the caller promises so many bytes.
        let blocks = unsafe { memory::array("blocks", blocks, len) }?;
        let packed = GroupwiseB::from_gguf(kind, (n, k), blocks)?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Groupwise(packed), weights) }
    })
}
