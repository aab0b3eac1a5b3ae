//! Packed matrices in memory of the caller's: they need no other memory, so that nothing is left when the caller frees it.
//!
//! A buffer begins with a header, then come, at a multiple of 64 bytes in memory, the library's packed weights with their
//! statistics. All numbers are as this CPU has them.
//!
//! ```text
//!    0  8  "qgemmMKL"               24  8  rows of A or columns of B
//!    8  4  version, 1               32  8  K
//!   12  4  161 A, 162 B             40  8  first byte of the weights
//!   16  4  0 u8, 1 i8               48  8  bytes of the weights
//!   20  4  0                        56  8  checksum of what is before it (FNV-1a)
//! ```
//!
//! A buffer that was moved to an address of another alignment is used all the same; its elements are then copied by each call.

use super::Identifier;
use super::report::Refusal;
use crate::memory::{Input, meets};
use qgemm::{Dispatch, ElementType, Error, Int8Element, MatRef, PackedB, RawParts};
use std::ops::Range;

const MAGIC: [u8; 8] = *b"qgemmMKL";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const LINE: usize = 64;

/// The shape of a packed matrix: what the kernels read is K×N.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) identifier: Identifier,
    pub(super) k: usize,
    /// The rows of A, or the columns of B.
    pub(super) n: usize,
}

/// The type of activations for weights of a type: the other one.
fn activations(weights: ElementType) -> ElementType {
    match weights {
        ElementType::I8 => ElementType::U8,
        ElementType::U8 => ElementType::I8,
    }
}

impl Shape {
    /// The bytes of a buffer, whatever the layout is, which decides the type of elements.
    ///
    /// # Errors
    /// [`Error::Memory`] if they overflow, [`Error::Kernel`], [`Error::Variable`].
    pub(super) fn buffer_bytes(&self) -> Result<usize, Error> {
        let dispatch = Dispatch::auto()?;
        let bytes =
            |element| PackedB::snapshot_bytes(dispatch, (self.k, self.n), element, activations(element));
        let most = bytes(ElementType::I8)?.max(bytes(ElementType::U8)?);
        let too_large = Error::Memory { purpose: "packed", bytes: usize::MAX };
        most.checked_add(HEADER + LINE).filter(|&bytes| isize::try_from(bytes).is_ok()).ok_or(too_large)
    }

    fn code(&self) -> u32 {
        match self.identifier {
            Identifier::A => 161,
            Identifier::B => 162,
        }
    }
}

/// Packs `weights` (K×N) into a buffer.
///
/// # Safety
/// Unless it is refused, the matrix is there, the buffer has the bytes of its shape, and nobody else uses it meanwhile.
pub(super) unsafe fn pack<T: Int8Element>(
    shape: Shape,
    weights: Input<T>,
    buffer: *mut u8,
) -> Result<(), Refusal> {
    let dispatch = Dispatch::auto()?;
    let ((k, n), (down, right)) = (weights.shape, weights.strides);
    // SAFETY: the caller promises the matrix. The buffer is written when it is no longer looked at.
    let parts = unsafe { RawParts::new(weights.first, k, n, down, right) };
    let packed = PackedB::pack_with(dispatch, MatRef::from_raw_parts(parts)?, activations(T::TYPE))?;
    let start = (buffer.addr() + HEADER).next_multiple_of(LINE) - buffer.addr();
    let room = shape.buffer_bytes()? - start;
    // SAFETY: the caller promises the bytes of this shape's buffer, of which these are the last ones. Code that this compiler
    // does not see handed them over, and each bit pattern is a u8.
    let to = unsafe { std::slice::from_raw_parts_mut(buffer.add(start), room) };
    let len = packed.write_snapshot(dispatch, to)?;
    let header = header(shape, T::TYPE, start, len);
    // SAFETY: likewise; the weights begin behind the header.
    unsafe { buffer.copy_from_nonoverlapping(header.as_ptr(), HEADER) };
    Ok(())
}

fn header(shape: Shape, element: ElementType, start: usize, len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(8, &VERSION.to_ne_bytes());
    put(12, &shape.code().to_ne_bytes());
    put(16, &u32::from(element == ElementType::I8).to_ne_bytes());
    put(24, &(shape.n as u64).to_ne_bytes());
    put(32, &(shape.k as u64).to_ne_bytes());
    put(40, &(start as u64).to_ne_bytes());
    put(48, &(len as u64).to_ne_bytes());
    let sum = checksum(&header[..56]);
    header[56..].copy_from_slice(&sum.to_ne_bytes());
    header
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Bytes of a buffer that lives as long as the call that reads it.
struct Lent(*const u8, usize);

// SAFETY: the bytes are only read, by the call's own threads, while the caller promises that nobody writes to them.
unsafe impl Send for Lent {}
// SAFETY: likewise.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `read` checks that a header with its checksum says that so many bytes are there, which only `pack` writes,
        // and its caller promises that they live until the weights are dropped.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

/// The packed weights in a buffer, and its bytes; `None` if it holds none of this shape and type.
///
/// # Safety
/// Unless it is null, the buffer has at least the bytes of a header, and as many as `pack` wrote if it did. It lives as
/// long as the weights, and nobody writes to it.
pub(super) unsafe fn read(
    shape: Shape,
    element: ElementType,
    buffer: *const u8,
) -> Result<Option<(PackedB, Range<usize>)>, Error> {
    if buffer.is_null() {
        return Ok(None);
    }
    let mut found = [0; HEADER];
    // SAFETY: the caller promises the bytes of a header.
    unsafe { found.as_mut_ptr().copy_from_nonoverlapping(buffer, HEADER) };
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&found[at..at + 8]);
        u64::from_ne_bytes(bytes) as usize
    };
    let (start, len) = (number(40), number(48));
    if found != header(shape, element, start, len) {
        return Ok(None);
    }
    // SAFETY: the header is one of this shape, so that so many bytes are there.
    let lent = Lent(unsafe { buffer.add(start) }, len);
    match PackedB::map_snapshot(lent, Dispatch::auto()?) {
        Ok(packed) if (packed.k(), packed.n(), packed.element_type()) == (shape.k, shape.n, element) => {
            Ok(Some((packed, buffer.addr()..buffer.addr() + start + len)))
        }
        Ok(_) | Err(Error::Saved { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an output lies in a buffer.
pub(super) fn overlaps(buffer: &Range<usize>, output: &Range<usize>) -> bool {
    meets(buffer, output)
}
