//! The calls, and all that is unsafe about them: addresses of structs, handles, and results.
//!
//! Each function here is safe: it checks what the header has its caller promise
//! ([`Promised`](crate::c_abi::promise::Promised)), and handles own what they stand for. What the header says is refused
//! is not checked.
#![allow(unsafe_code, reason = "the functions of the C binding are called as C calls them")]

mod products;
mod surroundings;
mod weights;

pub use products::*;
pub use surroundings::*;
pub use weights::*;

use qgemm_c::status::{QGEMM_OK, qgemm_last_error, qgemm_status};
use std::ffi::{CStr, c_char};

/// How the address of a struct, or of room for a result, is passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Passed {
    /// As it has to be.
    Right,
    /// Null.
    Null,
    /// One byte further.
    Misaligned,
}

impl Passed {
    fn address<T>(self, address: *const T) -> *const T {
        match self {
            Passed::Right => address,
            Passed::Null => std::ptr::null(),
            Passed::Misaligned => address.wrapping_byte_add(1),
        }
    }
}

/// A struct with the bytes of later versions behind it, as many as a `struct_size` may claim.
#[repr(C)]
struct Placed<T> {
    value: T,
    later: [u8; 4096],
}

/// A struct that is passed by address.
#[derive(Clone, Copy, Debug)]
pub struct Struct<T> {
    /// The struct.
    pub value: T,
    /// Its address.
    pub passed: Passed,
    /// The value of each byte behind it.
    pub later: u8,
}

impl<T> Struct<T> {
    /// A struct that is passed as it has to be.
    pub fn right(value: T) -> Self {
        Self { value, passed: Passed::Right, later: 0 }
    }

    /// Calls with its address.
    fn pass<R>(self, call: impl FnOnce(*const T) -> R) -> R {
        let placed = Box::new(Placed { value: self.value, later: [self.later; 4096] });
        call(self.passed.address((&raw const *placed).cast()))
    }
}

/// The text of the last error.
pub fn last_error() -> String {
    // SAFETY: the text ends with a zero byte, and no call fails on this thread meanwhile.
    let text = unsafe { CStr::from_ptr(qgemm_last_error()) };
    text.to_str().expect("it is UTF-8").to_string()
}

/// Calls with the address of room for a result, which is as it was if the call is refused.
fn result<T>(to: Passed, call: impl FnOnce(*mut T) -> qgemm_status) -> (qgemm_status, Option<T>) {
    const { assert!(align_of::<T>() <= align_of::<u64>()) };
    const BEFORE: u64 = 0xa5a5_a5a5_a5a5_a5a5;
    let mut room = vec![BEFORE; size_of::<T>() / 8 + 2];
    let first = room.as_mut_ptr().cast::<T>();
    let status = call(to.address(first).cast_mut());
    if status != QGEMM_OK {
        assert!(room.iter().all(|&word| word == BEFORE), "a result was written, status {status}");
        return (status, None);
    }
    assert_eq!(to, Passed::Right, "a result went nowhere");
    // SAFETY: the call has written a `T` there, as it has succeeded.
    (status, Some(unsafe { first.read() }))
}

/// A name that ends with a zero byte, or null.
pub type Name<'n> = Option<&'n CStr>;

fn name(name: Name<'_>) -> *const c_char {
    name.map_or(std::ptr::null(), CStr::as_ptr)
}
