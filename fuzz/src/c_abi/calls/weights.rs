//! Weights: packed, saved, loaded, mapped.

use crate::c_abi::calls::{Name, Passed, Struct, name, result};
use crate::c_abi::memory::Memory;
use crate::c_abi::promise::{Array, Promised};
use qgemm_c::formats::*;
use qgemm_c::groupwise::*;
use qgemm_c::matrix::qgemm_matrix;
use qgemm_c::saved::*;
use qgemm_c::status::qgemm_status;
use qgemm_c::weights::*;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Weights, and the time for which bytes that they are mapped from stay as they are.
#[derive(Debug)]
pub struct Weights<'m> {
    handle: *mut qgemm_weights,
    /// Whether `release` is called when they are freed.
    releases: bool,
    saved: PhantomData<&'m [u8]>,
}

/// How often weights have said that they need their bytes no more.
static RELEASED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn release(context: *mut c_void) {
    assert_eq!(context.addr(), (&raw const RELEASED).addr());
    RELEASED.fetch_add(1, Ordering::Relaxed);
}

impl Drop for Weights<'_> {
    fn drop(&mut self) {
        let before = RELEASED.load(Ordering::Relaxed);
        // SAFETY: the handle was made by the library, and this is the one place that frees it.
        unsafe { qgemm_weights_free(self.handle) };
        assert_eq!(RELEASED.load(Ordering::Relaxed), before + usize::from(self.releases));
    }
}

impl Weights<'_> {
    /// For a field of a product, as long as these live.
    pub(super) fn handle(&self) -> *const qgemm_weights {
        self.handle
    }

    /// The description of the weights, and the name of their kernel.
    pub fn info(&self, to: Passed) -> (qgemm_status, Option<qgemm_weights_description>) {
        // SAFETY: the handle is alive until the next line.
        let name = unsafe { CStr::from_ptr(qgemm_kernel_name(self.handle)) };
        assert!(!name.is_empty());
        // SAFETY: the handle is alive, and there is room for a description or the address is refused.
        result(to, |to| unsafe { qgemm_weights_info(self.handle, to) })
    }

    /// The bytes of saved weights.
    pub fn size(&self, to: Passed) -> (qgemm_status, Option<usize>) {
        // SAFETY: the handle is alive, and there is room for a number or the address is refused.
        result(to, |to| unsafe { qgemm_saved_size(self.handle, to) })
    }

    /// Saves them to so many bytes.
    pub fn save(&self, len: usize) -> (qgemm_status, Vec<u8>) {
        let mut to = vec![0xa5; len];
        // SAFETY: the handle is alive, and so many bytes are there.
        let status = unsafe { qgemm_save(self.handle, to.as_mut_ptr(), to.len()) };
        (status, to)
    }

    /// Saves them to a file.
    pub fn save_file(&self, path: Name<'_>) -> qgemm_status {
        // SAFETY: the handle is alive, and the path is null or ends with a zero byte.
        unsafe { qgemm_save_file(self.handle, name(path)) }
    }
}

/// A call that makes weights.
fn weights<'m>(
    to: Passed,
    call: impl FnOnce(*mut *mut qgemm_weights) -> qgemm_status,
) -> (qgemm_status, Option<Weights<'m>>) {
    let (status, handle) = result(to, call);
    (status, handle.map(|handle| Weights { handle, releases: false, saved: PhantomData }))
}

/// A call that makes weights of options, once these hold what they promise.
fn weights_of<T: Promised>(
    memory: &Memory,
    options: Struct<T>,
    to: Passed,
    pack: unsafe extern "C" fn(*const T, *mut *mut qgemm_weights) -> qgemm_status,
) -> (qgemm_status, Option<Weights<'static>>) {
    options.value.check(memory);
    // SAFETY: what the options name is there, as was just checked, so are the options, with the bytes behind them, and
    // room for a handle; or the address is refused.
    options.pass(|options| weights(to, |to| unsafe { pack(options, to) }))
}

/// See `qgemm_pack`. The options' own kernel is not used, but `kernel`.
pub fn pack(
    memory: &Memory,
    b: Struct<qgemm_matrix>,
    options: Option<(Struct<qgemm_pack_options>, Name<'_>)>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    b.value.check(memory);
    b.pass(|b| {
        let Some((mut options, kernel)) = options else {
            // SAFETY: the matrix is there, as was just checked, and room for a handle; options may be null.
            return weights(to, |to| unsafe { qgemm_pack(b, std::ptr::null(), to) });
        };
        options.value.kernel = name(kernel);
        // SAFETY: likewise, and the options are there, with a name that ends with a zero byte.
        options.pass(|options| weights(to, |to| unsafe { qgemm_pack(b, options, to) }))
    })
}

/// See `qgemm_pack_groupwise`. The options' own kernel is not used, but `kernel`.
pub fn pack_groupwise(
    memory: &Memory,
    mut options: Struct<qgemm_groupwise_options>,
    kernel: Name<'_>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    options.value.kernel = name(kernel);
    weights_of(memory, options, to, qgemm_pack_groupwise)
}

/// See `qgemm_pack_onnx`.
pub fn pack_onnx(
    memory: &Memory,
    options: Struct<qgemm_onnx_options>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    weights_of(memory, options, to, qgemm_pack_onnx)
}

/// See `qgemm_pack_gptq`.
pub fn pack_gptq(
    memory: &Memory,
    options: Struct<qgemm_gptq_options>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    weights_of(memory, options, to, qgemm_pack_gptq)
}

/// See `qgemm_pack_awq`.
pub fn pack_awq(
    memory: &Memory,
    options: Struct<qgemm_awq_options>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    weights_of(memory, options, to, qgemm_pack_awq)
}

/// See `qgemm_pack_float`.
pub fn pack_float(
    memory: &Memory,
    b: Struct<qgemm_matrix>,
    (bits, group, scheme): (u32, usize, u32),
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    b.value.check(memory);
    // SAFETY: the matrix is there, as was just checked, and room for a handle; or an address is refused.
    b.pass(|b| weights(to, |to| unsafe { qgemm_pack_float(b, bits, group, scheme, to) }))
}

/// See `qgemm_pack_gguf`.
pub fn pack_gguf(
    memory: &Memory,
    element: u32,
    (n, k): (usize, usize),
    blocks: Array<u8>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    blocks.check(memory);
    // SAFETY: the blocks are there, as was just checked, and room for a handle; or an address is refused.
    weights(to, |to| unsafe { qgemm_pack_gguf(element, n, k, blocks.first, blocks.len, to) })
}

/// Saved bytes as they are passed: some of them, or null.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'m> {
    /// All that are there.
    pub bytes: &'m [u8],
    /// Whether their address is null.
    pub is_null: bool,
}

impl Saved<'_> {
    fn first(&self) -> *const u8 {
        if self.is_null { std::ptr::null() } else { self.bytes.as_ptr() }
    }
}

/// Options of loading, with the kernel's name.
pub type LoadOptions<'n> = Option<(Struct<qgemm_load_options>, Name<'n>)>;

fn with_load_options<R>(options: LoadOptions<'_>, call: impl FnOnce(*const qgemm_load_options) -> R) -> R {
    let Some((mut options, kernel)) = options else { return call(std::ptr::null()) };
    options.value.kernel = name(kernel);
    options.pass(call)
}

/// See `qgemm_load`.
pub fn load(
    saved: Saved<'_>,
    options: LoadOptions<'_>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    let len = saved.bytes.len();
    with_load_options(options, |options| {
        weights(to, |to| {
            // SAFETY: the bytes are there and borrowed, so are the options, and room for a handle; or an address is refused.
            unsafe { qgemm_load(saved.first(), len, options, to) }
        })
    })
}

/// See `qgemm_map`.
pub fn map<'m>(
    saved: Saved<'m>,
    options: LoadOptions<'_>,
    releases: bool,
    to: Passed,
) -> (qgemm_status, Option<Weights<'m>>) {
    let (len, context) = (saved.bytes.len(), (&raw const RELEASED).cast_mut().cast());
    let release: qgemm_release = if releases { Some(release) } else { None };
    let before = RELEASED.load(Ordering::Relaxed);
    // SAFETY: the bytes are there, and borrowed for as long as the weights live; `release` may be called so on any thread.
    // So are the options, and room for a handle; or an address is refused.
    let map = |to, options| unsafe { qgemm_map(saved.first(), len, options, release, context, to) };
    let (status, mapped) = with_load_options(options, |options| weights(to, |to| map(to, options)));
    assert_eq!(RELEASED.load(Ordering::Relaxed), before, "released by the call itself");
    let owned = |mut mapped: Weights<'m>| {
        mapped.releases = releases;
        mapped
    };
    (status, mapped.map(owned))
}

/// See `qgemm_map_file`. Nobody but a case uses its file, and saves to it as a whole.
pub fn map_file(
    path: Name<'_>,
    options: LoadOptions<'_>,
    to: Passed,
) -> (qgemm_status, Option<Weights<'static>>) {
    // SAFETY: nobody changes the file, which a call may only replace or remove; the path is null or ends with a zero byte.
    // The options are there, and room for a handle; or an address is refused.
    with_load_options(options, |options| weights(to, |to| unsafe { qgemm_map_file(name(path), options, to) }))
}

/// See `qgemm_saved_info`.
pub fn saved_info(saved: Saved<'_>, to: Passed) -> (qgemm_status, Option<qgemm_saved_description>) {
    let len = saved.bytes.len();
    // SAFETY: the bytes are there, and room for a description; or an address is refused.
    result(to, |to| unsafe { qgemm_saved_info(saved.first(), len, to) })
}
