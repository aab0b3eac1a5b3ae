//! Memory between inaccessible pages.

use bytemuck::Pod;
use std::ops::{Deref, DerefMut};

/// Where values are flush against an inaccessible page; the other end is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    End,
    Start,
}

/// Values that an inaccessible page precedes or follows.
pub struct Guarded<T> {
    map: *mut libc::c_void,
    bytes: usize,
    first: *mut T,
    len: usize,
}

impl<T: Pod> Guarded<T> {
    pub fn new(values: &[T], side: Side) -> Self {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let size = size_of_val(values);
        let inner = size.next_multiple_of(page);
        let bytes = inner + 2 * page;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the mapping is new, so that nothing else refers to it; its inner part becomes accessible.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(map, libc::MAP_FAILED);
        if inner > 0 {
            // SAFETY: the part lies in the mapping, which is this function's.
            let access =
                unsafe { libc::mprotect(map.byte_add(page), inner, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!(access, 0);
        }
        let offset = if side == Side::End { inner - size } else { 0 };
        // SAFETY: the address lies in the mapping. A page has the alignment of all numbers, and sizes are multiples of it.
        let first: *mut T = unsafe { map.byte_add(page + offset) }.cast();
        let mut memory = Self { map, bytes, first, len: values.len() };
        memory.copy_from_slice(values);
        memory
    }
}

impl<T: Pod> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many accessible values, zeroed by the system or written since, that `self` owns.
        unsafe { std::slice::from_raw_parts(self.first, self.len) }
    }
}

impl<T: Pod> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.len) }
    }
}

impl<T: Pod> AsRef<[u8]> for Guarded<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

// SAFETY: the memory is owned like a vector's, and values are plain numbers.
unsafe impl<T: Pod> Send for Guarded<T> {}
// SAFETY: likewise; it is changed through `&mut` alone.
unsafe impl<T: Pod> Sync for Guarded<T> {}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping that `new` made, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.map, self.bytes) };
    }
}

/// The pages are there: who reads one value beyond dies. The child does, and the test goes on.
#[test]
fn a_value_beyond_ends_the_process() {
    let dies = |side: Side, beyond: isize| {
        let values = Guarded::new(&[1u8, 2, 3], side);
        // SAFETY: the child does nothing but read a byte and exit, which is safe after a fork.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let at = if side == Side::End { 2 + beyond } else { -beyond };
            // SAFETY: none: the byte is inaccessible unless `beyond` is 0, and the process is to end by that.
            let byte = unsafe { values.first.offset(at).read_volatile() };
            // SAFETY: it ends the child without running anything of the parent's.
            unsafe { libc::_exit(i32::from(byte == 77)) };
        }
        let mut status = 0;
        // SAFETY: it is this process's child, and the status is this function's.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        libc::WIFSIGNALED(status)
    };
    for side in [Side::End, Side::Start] {
        assert!(!dies(side, 0), "{side:?}");
        assert!(dies(side, 1), "{side:?}");
    }
}
