//! Group-wise weights in the layouts of other software: ONNX Runtime, GPTQ, AWQ.

use crate::groupwise::code_bits;
use crate::matrix::qgemm_matrix;
use crate::memory::{self, Options};
use crate::stage::flag;
use crate::status::{Failure, guard, qgemm_status};
use crate::weights::{Packed, qgemm_weights};
use rust::{Awq, Gptq, GroupwiseB, MatMulNBits, OnnxZeros};

/// Attributes and tensors of ONNX Runtime's operator `com.microsoft.MatMulNBits`. blocks = ceil(k / block_size).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_onnx_options {
    /// sizeof(qgemm_onnx_options)
    pub struct_size: usize,
    /// The attribute `bits`: 4 or 8.
    pub bits: u32,
    /// The attributes `K`, `N` and `block_size`.
    pub k: usize,
    pub n: usize,
    pub block_size: usize,
    /// `B`: [n, blocks, block_size * bits / 8] bytes.
    pub b: *const u8,
    pub b_len: usize,
    /// `scales`, n×blocks, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
    pub scales: qgemm_matrix,
    /// `zero_points` of type uint8: [n, ceil(blocks * bits / 8)] bytes; or NULL. Without zero points they are 8 or 128.
    pub zero_points: *const u8,
    pub zero_points_len: usize,
    /// `zero_points` in the type of the scales, n×blocks; or left out.
    pub real_zero_points: qgemm_matrix,
}

// SAFETY: it begins with a usize, and holds integers and raw pointers.
unsafe impl Options for qgemm_onnx_options {}

/// Packs the weights of a `MatMulNBits`. `*weights` is written if the call succeeds. The tensors are not needed afterwards.
///
/// Errors: those of qgemm_pack_groupwise; QGEMM_OPTIONS if there are zero points of both kinds; QGEMM_RANGE for real ones that
/// are no codes.
///
/// # Safety
/// Each pointer is null or to what its type says, arrays hold as many bytes as their lengths say, and matrices are as
/// qgemm_matrix says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack_onnx(
    options: *const qgemm_onnx_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let options = unsafe { memory::options("options", options) }?;
        let (packed, len) = (options.zero_points, options.zero_points_len);
        // SAFETY: the caller promises so many bytes.
        let packed = unsafe { memory::optional_array("zero_points", packed, len) }?;
        let zero_points = match (packed, options.real_zero_points.is_absent()) {
            (None, true) => OnnxZeros::None,
            (Some(zeros), true) => OnnxZeros::Packed(zeros),
            // SAFETY: the caller promises a matrix, which nobody changes during the call.
            (None, false) => OnnxZeros::Real(unsafe { options.real_zero_points.scales("zero_points") }?),
            (Some(_), false) => return Err(Failure::options("zero_points", "are given twice")),
        };
        let found = MatMulNBits {
            k: options.k,
            n: options.n,
            bits: code_bits(options.bits)?,
            block_size: options.block_size,
            // SAFETY: the caller promises so many bytes.
            b: unsafe { memory::array("b", options.b, options.b_len) }?,
            // SAFETY: the caller promises a matrix.
            scales: unsafe { options.scales.scales("scales") }?,
            zero_points,
        };
        let packed = GroupwiseB::from_onnx(&found)?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Groupwise(packed), weights) }
    })
}

/// The tensors of a layer that GPTQ quantized. Those of int32 are given as bytes, little-endian, as files hold them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_gptq_options {
    /// sizeof(qgemm_gptq_options)
    pub struct_size: usize,
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// 1: zero points are stored less one, as in checkpoint format `gptq`. 0: as they are, as in `gptq_v2`.
    pub zeros_less_one: u32,
    /// The input and the output features.
    pub k: usize,
    pub n: usize,
    /// `group_size`; at least K for one group.
    pub group: usize,
    /// `qweight`: [k * bits / 32, n] numbers of int32.
    pub qweight: *const u8,
    /// In bytes.
    pub qweight_len: usize,
    /// `qzeros`: [groups, n * bits / 32] numbers of int32.
    pub qzeros: *const u8,
    /// In bytes.
    pub qzeros_len: usize,
    /// groups×n, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
    pub scales: qgemm_matrix,
    /// The group of each row, which has to be that of consecutive rows (no act-order); or NULL.
    pub g_idx: *const i32,
    pub g_idx_len: usize,
}

// SAFETY: it begins with a usize, and holds integers and raw pointers.
unsafe impl Options for qgemm_gptq_options {}

/// Packs a layer that GPTQ quantized. `*weights` is written if the call succeeds. The tensors are not needed afterwards.
///
/// Errors: those of qgemm_pack_groupwise; QGEMM_RANGE for act-order, and for a zero point that is no code.
///
/// # Safety
/// Each pointer is null or to what its type says, arrays hold as much as their lengths say, and the matrix is as qgemm_matrix
/// says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack_gptq(
    options: *const qgemm_gptq_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let options = unsafe { memory::options("options", options) }?;
        let layer = Gptq {
            k: options.k,
            n: options.n,
            bits: code_bits(options.bits)?,
            group: options.group,
            // SAFETY: the caller promises so many bytes.
            qweight: unsafe { memory::array("qweight", options.qweight, options.qweight_len) }?,
            // SAFETY: likewise.
            qzeros: unsafe { memory::array("qzeros", options.qzeros, options.qzeros_len) }?,
            // SAFETY: the caller promises a matrix.
            scales: unsafe { options.scales.scales("scales") }?,
            // SAFETY: the caller promises so many numbers.
            g_idx: unsafe { memory::optional_array("g_idx", options.g_idx, options.g_idx_len) }?,
            zeros_less_one: flag("zeros_less_one", options.zeros_less_one)?,
        };
        let packed = GroupwiseB::from_gptq(&layer)?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Groupwise(packed), weights) }
    })
}

/// The tensors of a layer that AWQ quantized to 4 bits (version `gemm`). Those of int32 are given as bytes, little-endian.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_awq_options {
    /// sizeof(qgemm_awq_options)
    pub struct_size: usize,
    /// The input and the output features.
    pub k: usize,
    pub n: usize,
    /// `group_size`; at least K for one group.
    pub group: usize,
    /// `qweight`: [k, n / 8] numbers of int32.
    pub qweight: *const u8,
    /// In bytes.
    pub qweight_len: usize,
    /// `qzeros`: [groups, n / 8] numbers of int32.
    pub qzeros: *const u8,
    /// In bytes.
    pub qzeros_len: usize,
    /// groups×n, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
    pub scales: qgemm_matrix,
}

// SAFETY: it begins with a usize, and holds integers and raw pointers.
unsafe impl Options for qgemm_awq_options {}

/// Packs a layer that AWQ quantized. `*weights` is written if the call succeeds. The tensors are not needed afterwards.
///
/// Errors: those of qgemm_pack_groupwise.
///
/// # Safety
/// Each pointer is null or to what its type says, arrays hold as many bytes as their lengths say, and the matrix is as
/// qgemm_matrix says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack_awq(
    options: *const qgemm_awq_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let options = unsafe { memory::options("options", options) }?;
        let layer = Awq {
            k: options.k,
            n: options.n,
            group: options.group,
            // SAFETY: the caller promises so many bytes.
            qweight: unsafe { memory::array("qweight", options.qweight, options.qweight_len) }?,
            // SAFETY: likewise.
            qzeros: unsafe { memory::array("qzeros", options.qzeros, options.qzeros_len) }?,
            // SAFETY: the caller promises a matrix.
            scales: unsafe { options.scales.scales("scales") }?,
        };
        let packed = GroupwiseB::from_awq(&layer)?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Groupwise(packed), weights) }
    })
}
