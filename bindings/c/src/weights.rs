//! Packed weights: the handle, 8-bit ones, and what can be asked of either kind.

use crate::matrix::{QGEMM_I8, QGEMM_U8, element_type, qgemm_matrix, qgemm_type};
use crate::memory::{self, Options};
use crate::status::{Failure, guard, qgemm_status};
use rust::{CodeBits, Dispatch, ElementType, GroupwiseB, PackedB};
use std::ffi::{c_char, c_void};

/// Weights that were packed once, for any number of products on any threads at the same time. Made by qgemm_pack,
/// qgemm_pack_groupwise, qgemm_load and their like, and freed by qgemm_weights_free.
pub struct qgemm_weights {
    pub(crate) packed: Packed,
    /// The kernel's name with a zero byte.
    kernel: [u8; 64],
    /// What is called once `packed` is gone, which may lie in memory of the caller's.
    release: Option<Release>,
}

/// Tells the caller that memory of his own is not needed any more.
pub type qgemm_release = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// A function of the caller's, with what it is passed.
#[derive(Clone, Copy)]
pub(crate) struct Release {
    pub(crate) release: qgemm_release,
    pub(crate) context: *mut c_void,
}

// SAFETY: the context is only handed to the caller's own function, by the thread that frees the weights: the caller promises
// that the function may be called on any thread.
unsafe impl Send for Release {}
// SAFETY: likewise.
unsafe impl Sync for Release {}

pub(crate) enum Packed {
    Bytes(PackedB),
    Groupwise(GroupwiseB),
}

impl qgemm_weights {
    /// Hands packed weights to the caller.
    ///
    /// # Safety
    /// `out` is null or the address of memory for a pointer.
    pub(crate) unsafe fn hand_out(packed: Packed, out: *mut *mut Self) -> Result<(), Failure> {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::hand_out_mapped(packed, None, out) }
    }

    /// Hands packed weights to the caller which may lie in memory of his own. If that is refused, `release` is not called.
    ///
    /// # Safety
    /// That of [`hand_out`](Self::hand_out).
    pub(crate) unsafe fn hand_out_mapped(
        packed: Packed,
        release: Option<Release>,
        out: *mut *mut Self,
    ) -> Result<(), Failure> {
        let name = match &packed {
            Packed::Bytes(b) => b.kernel().name,
            Packed::Groupwise(b) => b.kernel_name(),
        };
        let mut kernel = [0; 64];
        let len = name.len().min(kernel.len() - 1);
        kernel[..len].copy_from_slice(&name.as_bytes()[..len]);
        // SAFETY: the caller's promise is the same.
        unsafe { memory::hand_out("weights", Self { packed, kernel, release }, out) }
    }
}

// Handles may be used by several threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<qgemm_weights>();
    shared::<crate::stage::qgemm_stage>();
};

/// How qgemm_pack packs. All zeros but `struct_size` are the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_pack_options {
    /// sizeof(qgemm_pack_options)
    pub struct_size: usize,
    /// The type of the activations that will be multiplied, QGEMM_U8 (also 0) or QGEMM_I8. The other type gives the same
    /// results, on some CPUs a little slower. f32 activations are quantized to i8, asymmetric ones to u8.
    pub activations: qgemm_type,
    /// The kernel or instruction set, such as "avx2"; NULL for the best of this CPU.
    pub kernel: *const c_char,
}

// SAFETY: it begins with a usize, and holds integers and a raw pointer.
unsafe impl Options for qgemm_pack_options {}

/// The kernels of a name, if there is one.
///
/// # Safety
/// `name` is null or a text that ends with a zero byte.
pub(crate) unsafe fn dispatch(name: *const c_char) -> Result<Option<Dispatch>, Failure> {
    // SAFETY: the caller's promise is the same.
    let name = unsafe { memory::text("kernel", name) }?;
    Ok(name.map(Dispatch::named).transpose()?)
}

/// Packs B, the weights of a product: K×N, QGEMM_I8 or QGEMM_U8, of any strides. A weight that is stored as [N, K] is
/// passed as its transpose: rows = K, cols = N, row_stride = 1, col_stride = K.
///
/// `options` may be NULL. `*weights` is written if the call succeeds. `b` is not needed afterwards.
///
/// Errors: QGEMM_NULL, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_MEMORY; QGEMM_KERNEL if `options->kernel`, or
/// QGEMM_ISA, QGEMM_CACHES or QGEMM_AMX_OVERHEAD in the environment, is wrong.
///
/// # Safety
/// Each pointer is null or to what its type says, and the matrix is as qgemm_matrix says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_pack(
    b: *const qgemm_matrix,
    options: *const qgemm_pack_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a matrix at `b`, and nobody changes it during the call.
        let b = unsafe { memory::read("b", b)?.operand("b") }?;
        let (mut activations, mut named) = (ElementType::U8, None);
        if !options.is_null() {
            // SAFETY: the caller promises options there.
            let options = unsafe { memory::options("options", options) }?;
            if options.activations != 0 {
                activations = element_type("activations", options.activations)?;
            }
            // SAFETY: the caller promises a text or null.
            named = unsafe { dispatch(options.kernel) }?;
        }
        let packed = match &named {
            Some(dispatch) => PackedB::pack_with(dispatch, b, activations)?,
            None => PackedB::pack_for(b, activations)?,
        };
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(Packed::Bytes(packed), weights) }
    })
}

/// Frees weights. NULL is allowed. Of weights that qgemm_map made, `release` is called then.
///
/// # Safety
/// `weights` is NULL, or was made by this library, was not freed before, and is used by no call any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_weights_free(weights: *mut qgemm_weights) {
    guard(|| {
        if weights.is_null() {
            return Ok(());
        }
        // SAFETY: the caller promises a handle.
        let release = unsafe { memory::borrow("weights", weights) }?.release;
        // SAFETY: the handle is of this library, which makes them by `hand_out`, and the caller frees it once.
        unsafe { memory::free(weights) };
        if let Some(Release { release: Some(release), context }) = release {
            // SAFETY: the caller promised a function that may be called so, and it is called this once.
            unsafe { release(context) };
        }
        Ok(())
    });
}

/// What qgemm_weights_info tells.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_weights_description {
    /// K, the rows.
    pub k: usize,
    /// N, the columns.
    pub n: usize,
    /// The memory that they take, in bytes.
    pub bytes: usize,
    /// Bits of a code: 8, or 4 for group-wise weights of 4 bits.
    pub bits: u32,
    /// The type of the values or codes: QGEMM_I8 or QGEMM_U8.
    pub r#type: qgemm_type,
    /// The rows of a group; 0 for 8-bit weights that are not group-wise.
    pub group: usize,
}

/// Shape, type and size of weights.
///
/// # Safety
/// `weights` is NULL or a handle that was not freed, `description` is NULL or the address of such a struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_weights_info(
    weights: *const qgemm_weights,
    description: *mut qgemm_weights_description,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a handle.
        let weights = unsafe { memory::borrow("weights", weights) }?;
        let (k, n, bytes, bits, element, group) = match &weights.packed {
            Packed::Bytes(b) => (b.k(), b.n(), b.bytes(), CodeBits::Eight, b.element_type(), 0),
            Packed::Groupwise(b) => (b.k(), b.n(), b.bytes(), b.bits(), b.element_type(), b.group()),
        };
        let r#type = if element == ElementType::I8 { QGEMM_I8 } else { QGEMM_U8 };
        let bits = if bits == CodeBits::Four { 4 } else { 8 };
        let found = qgemm_weights_description { k, n, bytes, bits, r#type, group };
        // SAFETY: the caller promises memory for the struct.
        unsafe { memory::write("description", description, found) }
    })
}

/// The name of the kernel that multiplies by these weights, such as "avx512vnni-6x64c4": the instruction set comes first.
/// NULL for NULL. The text lives as long as the weights.
///
/// # Safety
/// `weights` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_kernel_name(weights: *const qgemm_weights) -> *const c_char {
    let mut name = std::ptr::null();
    guard(|| {
        // SAFETY: the caller promises a handle.
        name = unsafe { memory::borrow("weights", weights) }?.kernel.as_ptr().cast();
        Ok(())
    });
    name
}
