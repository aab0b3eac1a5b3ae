//! Weights as bytes: saved, loaded, mapped, described.

use crate::files;
use crate::matrix::{QGEMM_BF16, QGEMM_F16, QGEMM_F32, QGEMM_I8, QGEMM_U8, qgemm_type};
use crate::memory::{self, Options};
use crate::status::{Failure, guard, qgemm_status};
use crate::weights::{Packed, Release, dispatch, qgemm_release, qgemm_weights};
use rust::{Dispatch, ElementType, Error, GroupwiseB, OtherLayout, PackedB, SavedInfo, SavedKind, ScaleBits};
use std::ffi::{c_char, c_void};
use std::io::{self, Write};

/// Weights that were saved for another kernel than the one that would be chosen here: they are packed again, in memory of
/// their own.
pub const QGEMM_REPACK: u32 = 0;
/// They are refused, by QGEMM_SAVED.
pub const QGEMM_REFUSE: u32 = 1;

/// How saved weights are read. All zeros but `struct_size` are the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_load_options {
    /// sizeof(qgemm_load_options)
    pub struct_size: usize,
    /// QGEMM_REPACK or QGEMM_REFUSE. Group-wise weights have the same layout for all kernels.
    pub other_layout: u32,
    /// The kernel or instruction set, such as "avx2"; NULL for the best of this CPU.
    pub kernel: *const c_char,
}

// SAFETY: it begins with a usize, and holds integers and a raw pointer.
unsafe impl Options for qgemm_load_options {}

/// Bytes that are counted.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn save(packed: &Packed, to: &mut dyn Write) -> io::Result<()> {
    match packed {
        Packed::Bytes(b) => b.save(to),
        Packed::Groupwise(b) => b.save(to),
    }
}

fn saved_size(packed: &Packed) -> Result<usize, Failure> {
    let mut count = Count(0);
    save(packed, &mut count).map_err(|error| Failure::file("to", error))?;
    Ok(count.0)
}

/// The number of bytes that qgemm_save writes for weights.
///
/// # Safety
/// `weights` is NULL or a handle that was not freed, `size` is NULL or the address of a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_saved_size(weights: *const qgemm_weights, size: *mut usize) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a handle.
        let weights = unsafe { memory::borrow("weights", weights) }?;
        // SAFETY: the caller promises memory for a number.
        unsafe { memory::write("size", size, saved_size(&weights.packed)?) }
    })
}

/// Writes weights of either kind to `to`, which holds `len` bytes: as many as qgemm_saved_size says. Any CPU reads them, by
/// qgemm_load or qgemm_map. The form is that of the Rust library and of the command `qgemm pack`.
///
/// Errors: QGEMM_NULL, QGEMM_SHAPE if `len` is another number, QGEMM_MEMORY.
///
/// # Safety
/// `weights` is NULL or a handle that was not freed; `to` is the address of `len` bytes which nobody else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_save(weights: *const qgemm_weights, to: *mut u8, len: usize) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a handle.
        let weights = unsafe { memory::borrow("weights", weights) }?;
        let need = saved_size(&weights.packed)?;
        if len != need {
            return Err(Error::Length { argument: "to", got: len, need }.into());
        }
        // SAFETY: the caller promises so many bytes for this call alone.
        let mut to = unsafe { memory::array_mut("to", to, len) }?;
        save(&weights.packed, &mut to).map_err(|error| Failure::file("to", error))
    })
}

/// Writes weights to a file, which is replaced if it exists: whole, or not at all. `path` is UTF-8. Processes that have mapped
/// the file that is replaced keep it.
///
/// Errors: QGEMM_NULL; QGEMM_SHAPE if `path` is no UTF-8; QGEMM_FILE, QGEMM_MEMORY.
///
/// # Safety
/// `weights` is NULL or a handle that was not freed; `path` is NULL or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_save_file(weights: *const qgemm_weights, path: *const c_char) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a handle.
        let weights = unsafe { memory::borrow("weights", weights) }?;
        // SAFETY: the caller promises a text.
        let path = unsafe { memory::text("path", path) }?.ok_or(Failure::null("path"))?;
        files::replace("path", path, |file| save(&weights.packed, file))
    })
}

/// What saved weights are read for.
struct Choice {
    kernels: Option<Dispatch>,
    other: OtherLayout,
}

impl Choice {
    /// # Safety
    /// `options` is null or the address of such a struct, whose name is null or a text that ends with a zero byte.
    unsafe fn new(options: *const qgemm_load_options) -> Result<Self, Failure> {
        if options.is_null() {
            return Ok(Self { kernels: None, other: OtherLayout::Repack });
        }
        // SAFETY: the caller's promise is the same.
        let options = unsafe { memory::options("options", options) }?;
        let other = match options.other_layout {
            QGEMM_REPACK => OtherLayout::Repack,
            QGEMM_REFUSE => OtherLayout::Refuse,
            got => return Err(Failure::choice("other_layout", got)),
        };
        // SAFETY: likewise.
        Ok(Self { kernels: unsafe { dispatch(options.kernel) }?, other })
    }

    fn kernels(&self) -> Result<&Dispatch, Failure> {
        match &self.kernels {
            Some(kernels) => Ok(kernels),
            None => Ok(Dispatch::auto()?),
        }
    }

    fn of_groups(&self, b: GroupwiseB) -> Packed {
        Packed::Groupwise(match &self.kernels {
            Some(kernels) => b.with_dispatch(kernels),
            None => b,
        })
    }

    /// Copies weights.
    fn load(&self, saved: &[u8]) -> Result<Packed, Failure> {
        if is_groupwise(saved) {
            return Ok(self.of_groups(GroupwiseB::load(saved)?));
        }
        Ok(Packed::Bytes(PackedB::load(saved, self.kernels()?, self.other)?))
    }

    /// Uses weights where they are.
    fn map(&self, saved: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Packed, Failure> {
        if is_groupwise(saved.as_ref()) {
            return Ok(self.of_groups(GroupwiseB::map(saved)?));
        }
        Ok(Packed::Bytes(PackedB::map(saved, self.kernels()?, self.other)?))
    }
}

/// Whether saved weights say that they are group-wise. What they hold is checked by who reads them.
fn is_groupwise(saved: &[u8]) -> bool {
    saved.get(12..16) == Some(&2u32.to_le_bytes())
}

/// Reads weights of either kind that were saved, `len` bytes at `saved`, which are copied. `options` may be NULL. `*weights` is
/// written if the call succeeds.
///
/// Errors: QGEMM_NULL; QGEMM_SAVED if they are no such bytes, cut off or changed, or for another kernel and
/// `other_layout` refuses that; QGEMM_NOT_FINITE, QGEMM_TYPE, QGEMM_KERNEL, QGEMM_MEMORY.
///
/// # Safety
/// `saved` is the address of `len` bytes, which nobody changes during the call. Other pointers are null or to what their
/// types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_load(
    saved: *const u8,
    len: usize,
    options: *const qgemm_load_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options, or null.
        let choice = unsafe { Choice::new(options) }?;
        // SAFETY: the caller promises so many bytes.
        let packed = choice.load(unsafe { memory::array("saved", saved, len) }?)?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(packed, weights) }
    })
}

/// Bytes of the caller's.
struct Bytes(&'static [u8]);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

/// qgemm_load without a copy: what the kernel reads as it was saved stays at `saved`, which begins at a multiple of 64 bytes
/// (else it is copied). The bytes stay there, and nobody changes them, until the weights are freed.
///
/// `release(context)` is called once, by qgemm_weights_free, when nothing needs the bytes any more; also if the weights were
/// packed again. It is not called if this call is refused. NULL for no such call.
///
/// Errors: those of qgemm_load.
///
/// # Safety
/// `saved` is the address of `len` bytes, which are there and as they are until the weights are freed. `release` may be called
/// on any thread, and does not throw. Other pointers are null or to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_map(
    saved: *const u8,
    len: usize,
    options: *const qgemm_load_options,
    release: qgemm_release,
    context: *mut c_void,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options, or null.
        let choice = unsafe { Choice::new(options) }?;
        // SAFETY: the caller promises so many bytes, for as long as the weights live, which own what holds this slice; if
        // the call is refused, that is dropped before it returns.
        let saved: &'static [u8] = unsafe { memory::array("saved", saved, len) }?;
        let (packed, release) = (choice.map(Bytes(saved))?, Some(Release { release, context }));
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out_mapped(packed, release, weights) }
    })
}

/// qgemm_map of a file, which all processes that map it share in memory. `path` is UTF-8.
///
/// Errors: those of qgemm_load; QGEMM_SHAPE if `path` is no UTF-8; QGEMM_FILE.
///
/// # Safety
/// Until the weights are freed nobody changes or truncates the file; it may be replaced by another (qgemm_save_file) or
/// removed. Each pointer is null or to what its type says; `path` is a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_map_file(
    path: *const c_char,
    options: *const qgemm_load_options,
    weights: *mut *mut qgemm_weights,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options, or null.
        let choice = unsafe { Choice::new(options) }?;
        // SAFETY: the caller promises a text.
        let path = unsafe { memory::text("path", path) }?.ok_or(Failure::null("path"))?;
        // SAFETY: the caller promises that nobody changes the file as long as the weights live, which own the mapping.
        let packed = choice.map(unsafe { files::map("path", path) }?)?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { qgemm_weights::hand_out(packed, weights) }
    })
}

/// Weights with scales per column, or none: of qgemm_pack.
pub const QGEMM_SAVED_COLUMNS: u32 = 1;
/// Group-wise weights.
pub const QGEMM_SAVED_GROUPWISE: u32 = 2;

/// What qgemm_saved_info tells.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_saved_description {
    /// QGEMM_SAVED_COLUMNS or QGEMM_SAVED_GROUPWISE.
    pub kind: u32,
    /// Bits of a code: 8, or 4 for group-wise weights of 4 bits.
    pub bits: u32,
    /// K, the rows.
    pub k: usize,
    /// N, the columns.
    pub n: usize,
    /// The rows of a group; 0 for QGEMM_SAVED_COLUMNS.
    pub group: usize,
    /// The type of the values or codes: QGEMM_I8 or QGEMM_U8.
    pub r#type: qgemm_type,
    /// The type of the activations that they were packed for; 0 for QGEMM_SAVED_GROUPWISE.
    pub activations: qgemm_type,
    /// The type of the scales of groups; 0 for QGEMM_SAVED_COLUMNS.
    pub scales: qgemm_type,
    /// The type of the minimums of groups; 0 if there are none.
    pub minimums: qgemm_type,
    /// 1 if there is a zero point for each scale; else 0.
    pub zeros: u32,
    /// The kernel whose layout they have, which ends with a zero byte; empty for QGEMM_SAVED_GROUPWISE.
    pub kernel: [c_char; 64],
}

fn element_type(element: ElementType) -> qgemm_type {
    match element {
        ElementType::I8 => QGEMM_I8,
        ElementType::U8 => QGEMM_U8,
    }
}

fn scale_type(scales: ScaleBits) -> qgemm_type {
    match scales {
        ScaleBits::F32 => QGEMM_F32,
        ScaleBits::F16 => QGEMM_F16,
        ScaleBits::Bf16 => QGEMM_BF16,
    }
}

fn describe(SavedInfo { k, n, element, kind, .. }: SavedInfo) -> Result<qgemm_saved_description, Failure> {
    let mut about = qgemm_saved_description {
        kind: QGEMM_SAVED_COLUMNS,
        bits: 8,
        k,
        n,
        group: 0,
        r#type: element_type(element),
        activations: 0,
        scales: 0,
        minimums: 0,
        zeros: 0,
        kernel: [0; 64],
    };
    match kind {
        SavedKind::Columns { activations, kernel } => {
            about.activations = element_type(activations);
            let most = about.kernel.len() - 1;
            for (to, byte) in about.kernel[..most].iter_mut().zip(kernel.bytes()) {
                *to = byte.cast_signed() as c_char;
            }
        }
        SavedKind::Groupwise { bits, group, scales, minimums, zeros } => {
            (about.kind, about.bits, about.group) = (QGEMM_SAVED_GROUPWISE, bits.bits() as u32, group);
            (about.scales, about.minimums) = (scale_type(scales), minimums.map_or(0, scale_type));
            about.zeros = zeros.into();
        }
        _ => return Err(Failure::new(crate::status::QGEMM_SAVED, "saved", "are weights of an unknown kind")),
    }
    Ok(about)
}

/// What saved weights are, by their header. The checksum is compared; values are not looked at.
///
/// Errors: QGEMM_NULL; QGEMM_SAVED if they are no such bytes, cut off, or changed.
///
/// # Safety
/// `saved` is the address of `len` bytes, which nobody changes during the call; `description` is NULL or the address of such
/// a struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_saved_info(
    saved: *const u8,
    len: usize,
    description: *mut qgemm_saved_description,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises so many bytes.
        let found = describe(rust::saved_info(unsafe { memory::array("saved", saved, len) }?)?)?;
        // SAFETY: the caller promises memory for the struct.
        unsafe { memory::write("description", description, found) }
    })
}
