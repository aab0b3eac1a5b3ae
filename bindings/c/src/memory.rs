//! Values that C passes by address: options, arrays, texts, places for results.

use crate::status::{Failure, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE};
use std::alloc::{Layout, alloc};
use std::ffi::{CStr, c_char};

/// Checks an address for `len` values of `T`.
fn check<T>(argument: &'static str, address: *const T, len: usize) -> Result<(), Failure> {
    if address.is_null() {
        return Err(Failure::null(argument));
    }
    if !address.is_aligned() {
        return Err(Failure::new(QGEMM_MISALIGNED, argument, "is not aligned"));
    }
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(Failure::new(QGEMM_TOO_LARGE, argument, "has more values than the address space holds")),
    }
}

/// An array of `len` numbers; none if `len` is 0, wherever it is.
///
/// # Safety
/// Unless it is refused, the array is there, filled, and written by nobody for `'a`. Every bit pattern is a `T`.
pub(crate) unsafe fn array<'a, T: Copy>(
    argument: &'static str,
    first: *const T,
    len: usize,
) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    check(argument, first, len)?;
    // SAFETY: `check` found the address neither null nor misaligned, and the size at most isize::MAX bytes. The caller
    // promises that so many values are there, and that nobody writes to them.
    Ok(unsafe { std::slice::from_raw_parts(first, len) })
}

/// An array that may be left out: `None` if it is null and `len` is 0.
///
/// # Safety
/// That of [`array`].
pub(crate) unsafe fn optional_array<'a, T: Copy>(
    argument: &'static str,
    first: *const T,
    len: usize,
) -> Result<Option<&'a [T]>, Failure> {
    if first.is_null() && len == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's promise is that of `array`.
    unsafe { array(argument, first, len) }.map(Some)
}

/// An array of `len` numbers that the call writes.
///
/// # Safety
/// Unless it is refused, the array is there, and nobody else reads or writes it for `'a`. Every bit pattern is a `T`.
pub(crate) unsafe fn array_mut<'a, T: Copy>(
    argument: &'static str,
    first: *mut T,
    len: usize,
) -> Result<&'a mut [T], Failure> {
    if len == 0 {
        return Ok(&mut []);
    }
    check(argument, first, len)?;
    // SAFETY: `check` found the address neither null nor misaligned, and the size at most isize::MAX bytes. The caller
    // promises that the memory is there for this call alone. Its bytes may be any: C may not have set them, but they
    // were fixed outside this program's code before the call, and every bit pattern is a value.
    Ok(unsafe { std::slice::from_raw_parts_mut(first, len) })
}

/// A single value that is read; a copy, so that nothing that the call writes can change it.
///
/// # Safety
/// Unless it is refused, a `T` is there.
pub(crate) unsafe fn read<T: Copy>(argument: &'static str, address: *const T) -> Result<T, Failure> {
    check(argument, address, 1)?;
    // SAFETY: the address is neither null nor misaligned, and the caller promises that a value is there.
    Ok(unsafe { *address })
}

/// A borrowed value, such as a handle.
///
/// # Safety
/// Unless it is refused, a `T` is there, and stays unchanged for `'a`.
pub(crate) unsafe fn borrow<'a, T>(argument: &'static str, address: *const T) -> Result<&'a T, Failure> {
    check(argument, address, 1)?;
    // SAFETY: the address is neither null nor misaligned, and the caller promises that a value is there for 'a.
    Ok(unsafe { &*address })
}

/// Writes a single result.
///
/// # Safety
/// Unless it is refused, the address is that of memory for a `T` which nobody else uses.
pub(crate) unsafe fn write<T>(argument: &'static str, address: *mut T, value: T) -> Result<(), Failure> {
    check(argument, address, 1)?;
    // SAFETY: the address is neither null nor misaligned, and the caller promises memory for a value. What was there
    // before is not read.
    unsafe { address.write(value) };
    Ok(())
}

/// Hands a new handle to the caller, who frees it by [`free`].
///
/// # Safety
/// Unless it is refused, `out` is the address of memory for a pointer which nobody else uses.
pub(crate) unsafe fn hand_out<T>(argument: &'static str, value: T, out: *mut *mut T) -> Result<(), Failure> {
    check(argument, out, 1)?;
    const { assert!(size_of::<T>() > 0) };
    // `Box::new` would end the program where there is no memory.
    // SAFETY: the size is not 0.
    let handle = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    if handle.is_null() {
        return Err(Failure::memory());
    }
    // SAFETY: the handle was just allocated for a `T`, and `check` has found `out` neither null nor misaligned; the caller
    // promises memory for a pointer there.
    unsafe {
        handle.write(value);
        out.write(handle);
    }
    Ok(())
}

/// Frees a handle, unless it is null.
///
/// # Safety
/// It is null or was made by [`hand_out`], was not freed before, and nobody uses it any more.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: `hand_out` allocated it with the layout of a `T`, as a box is, and filled it. The caller promises that it
        // is freed here alone, and once.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// A name, or `None` if it is null.
///
/// # Safety
/// Unless it is null, it is a text that ends with a zero byte and that nobody changes for `'a`.
pub(crate) unsafe fn text<'a>(
    argument: &'static str,
    text: *const c_char,
) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not null, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(text) };
    match text.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Failure::new(QGEMM_SHAPE, argument, "is no UTF-8")),
    }
}

/// A struct of options that begins with its size, as a `size_t` field `struct_size`. Later versions of a struct are
/// longer, and zeros in the fields that they add mean what was before these were added.
///
/// # Safety
/// The struct is `#[repr(C)]`, begins with a `usize`, and all zero bytes, as every other bit pattern, are a value of it.
pub(crate) unsafe trait Options: Copy {}

/// A copy of options. Those of a later header are taken if the fields that this library does not know are 0.
///
/// # Safety
/// Unless the address is refused, there is a `size_t` with the size of the struct, and so many bytes in all.
pub(crate) unsafe fn options<T: Options>(argument: &'static str, address: *const T) -> Result<T, Failure> {
    // SAFETY: the caller promises that a size is there; it is the first field, so that its address is the struct's.
    let size = unsafe { read(argument, address.cast::<usize>()) }?;
    if size < size_of::<T>() {
        return Err(Failure::new(QGEMM_SHAPE, argument, "struct_size is less than the size of the struct"));
    }
    // More than this is no struct but memory that was not set.
    const MOST: usize = 4096;
    if size > MOST {
        return Err(Failure::new(QGEMM_SHAPE, argument, "struct_size is no size of such a struct"));
    }
    // SAFETY: the caller promises that `size` bytes are there, and that is at least the size of a `T`, which any bytes
    // make up: so says `Options`.
    let value = unsafe { read(argument, address) }?;
    // SAFETY: the bytes behind those of the `T` are part of the caller's struct, which has `size` of them.
    let rest = unsafe { array(argument, address.add(1).cast::<u8>(), size - size_of::<T>()) }?;
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Failure::options(argument, "has fields that this version of the library does not know"));
    }
    Ok(value)
}

/// Room for `len` values more.
pub(crate) fn reserve<T>(values: &mut Vec<T>, len: usize) -> Result<(), Failure> {
    values.try_reserve_exact(len).map_err(|_| Failure::memory())
}
