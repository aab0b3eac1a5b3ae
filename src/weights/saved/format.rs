//! Header and sections.

use crate::buffer;
use crate::element::ElementType;
use crate::error::{Error, SavedProblem};
use crate::weights::storage::{Owner, Storage, is_swapped};
use bytemuck::Pod;
use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

pub(super) const HEADER: usize = 192;
/// The first bytes of saved weights, by which their files are known.
pub const SAVED_MAGIC: [u8; 8] = *b"qgemm\0w\n";
const VERSION: u32 = 1;
const CRC_AT: usize = 24;
/// The purpose that errors name.
const PURPOSE: &str = "saved";

/// What bytes hold.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Columns = 1,
    Groupwise = 2,
    Snapshot = 3,
}

/// The most sections.
const SECTIONS: usize = 7;

/// Bytes to be written.
pub(super) struct Writer<'a> {
    header: [u8; HEADER],
    /// Those behind the first `used` are empty.
    sections: [Cow<'a, [u8]>; SECTIONS],
    used: usize,
    end: usize,
}

/// The zeros behind a section of so many bytes.
fn padding(len: usize) -> &'static [u8] {
    &[0; 64][..len.next_multiple_of(64) - len]
}

/// Values as they are written.
pub(super) fn little_endian<T: Pod>(values: &[T]) -> Cow<'_, [u8]> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    if is_swapped::<T>() {
        let mut swapped = bytes.to_vec();
        swapped.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        return Cow::Owned(swapped);
    }
    Cow::Borrowed(bytes)
}

impl<'a> Writer<'a> {
    pub(super) fn new(kind: Kind, k: usize, n: usize) -> Self {
        let sections = [const { Cow::Borrowed([].as_slice()) }; SECTIONS];
        let mut writer = Self { header: [0; HEADER], sections, used: 0, end: HEADER };
        writer.bytes(0, &SAVED_MAGIC);
        writer.u32(8, VERSION);
        writer.u32(12, kind as u32);
        writer.u64(32, k);
        writer.u64(40, n);
        writer
    }

    pub(super) fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn u32(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, at: usize, value: usize) {
        self.bytes(at, &(value as u64).to_le_bytes());
    }

    /// Adds a section, and writes its place at `at`.
    pub(super) fn section(&mut self, at: usize, bytes: Cow<'a, [u8]>) {
        self.u64(at, self.end);
        self.u64(at + 8, bytes.len());
        self.end += bytes.len().next_multiple_of(64);
        self.sections[self.used] = bytes;
        self.used += 1;
    }

    /// The bytes that will be written.
    pub(super) fn len(&self) -> usize {
        self.end
    }

    pub(super) fn write(mut self, to: &mut dyn Write) -> io::Result<()> {
        self.u64(16, self.end);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.header);
        for bytes in &self.sections {
            crc.update(bytes);
            crc.update(padding(bytes.len()));
        }
        self.u32(CRC_AT, crc.finalize());
        to.write_all(&self.header)?;
        for bytes in &self.sections {
            to.write_all(bytes)?;
            to.write_all(padding(bytes.len()))?;
        }
        Ok(())
    }
}

/// Bytes whose length, kind and checksum are right.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    owner: Option<&'a Owner>,
}

fn refused<T>(problem: SavedProblem) -> Result<T, Error> {
    Err(Error::Saved { problem })
}

impl<'a> Reader<'a> {
    /// # Errors
    /// [`Error::Saved`] if they are no weights of this kind.
    pub(super) fn new(bytes: &'a [u8], owner: Option<&'a Owner>, kind: Kind) -> Result<Self, Error> {
        let (reader, got) = Self::any(bytes, owner)?;
        if got != kind as u32 {
            return refused(SavedProblem::Kind { got, need: kind as u32 });
        }
        Ok(reader)
    }

    /// Bytes of any kind, and the kind.
    ///
    /// # Errors
    /// [`Error::Saved`] if they are no weights.
    pub(super) fn any(bytes: &'a [u8], owner: Option<&'a Owner>) -> Result<(Self, u32), Error> {
        let (reader, found) = Self::unchecked(bytes, owner)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..CRC_AT]);
        crc.update(&[0; 4]);
        crc.update(&bytes[CRC_AT + 4..]);
        let (got, need) = (crc.finalize(), reader.u32(CRC_AT));
        if got != need {
            return refused(SavedProblem::Checksum { got, need });
        }
        Ok((reader, found))
    }

    /// [`any`](Self::any) without a look at the checksum, for which all bytes are read.
    ///
    /// # Errors
    /// [`Error::Saved`] if the header is not that of weights, or of another length.
    pub(super) fn unchecked(bytes: &'a [u8], owner: Option<&'a Owner>) -> Result<(Self, u32), Error> {
        if bytes.len() < HEADER {
            return refused(SavedProblem::Length { got: bytes.len() as u64, need: HEADER as u64 });
        }
        let reader = Self { bytes, owner };
        if bytes[..8] != SAVED_MAGIC {
            return refused(SavedProblem::Magic);
        }
        let (version, found, need) = (reader.u32(8), reader.u32(12), reader.u64(16));
        if version != VERSION {
            return refused(SavedProblem::Version { got: version, need: VERSION });
        }
        if need != bytes.len() as u64 {
            return refused(SavedProblem::Length { got: bytes.len() as u64, need });
        }
        Ok((reader, found))
    }

    /// Bytes of the header.
    pub(super) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        array
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    /// An element type of the header.
    ///
    /// # Errors
    /// [`Error::Saved`] if it is none.
    pub(super) fn element_type(&self, name: &'static str, at: usize) -> Result<ElementType, Error> {
        match self.u32(at) {
            0 => Ok(ElementType::U8),
            1 => Ok(ElementType::I8),
            other => wrong(name, other.into()),
        }
    }

    /// A size of the header.
    ///
    /// # Errors
    /// [`Error::Saved`] if it does not fit the address space.
    pub(super) fn size(&self, name: &'static str, at: usize) -> Result<usize, Error> {
        let got = self.u64(at);
        usize::try_from(got).or_else(|_| wrong(name, got))
    }

    /// K and N.
    ///
    /// # Errors
    /// [`Error::Saved`].
    pub(super) fn shape(&self) -> Result<(usize, usize), Error> {
        Ok((self.size("k", 32)?, self.size("n", 40)?))
    }

    /// The place of the section that the header names at `at`.
    ///
    /// # Errors
    /// [`Error::Saved`] if it does not lie in the bytes, or has not so many.
    fn place(&self, name: &'static str, at: usize, need: Option<usize>) -> Result<Range<usize>, Error> {
        let (start, len) = (self.size(name, at)?, self.size(name, at + 8)?);
        match start.checked_add(len) {
            Some(end) if end <= self.bytes.len() && start.is_multiple_of(64) && start >= HEADER => {
                if need.is_some_and(|need| need != len) { wrong(name, len as u64) } else { Ok(start..end) }
            }
            _ => wrong(name, start as u64),
        }
    }

    /// The `count` values of the section that the header names at `at`.
    ///
    /// # Errors
    /// [`Error::Saved`] if it has another number of them, [`Error::Memory`].
    pub(super) fn values<T: Pod>(
        &self,
        name: &'static str,
        at: usize,
        count: usize,
    ) -> Result<Storage<T>, Error> {
        let Some(need) = count.checked_mul(size_of::<T>()) else { return wrong(name, count as u64) };
        Storage::read(self.bytes, self.place(name, at, Some(need))?, self.owner, PURPOSE)
    }

    /// [`values`](Self::values), always copied and as they lie.
    ///
    /// # Errors
    /// [`Error::Saved`] if the section has another number of them, [`Error::Memory`].
    pub(super) fn copied<T: Pod>(
        &self,
        name: &'static str,
        at: usize,
        count: usize,
    ) -> Result<Vec<T>, Error> {
        let Some(need) = count.checked_mul(size_of::<T>()) else { return wrong(name, count as u64) };
        let place = self.place(name, at, Some(need))?;
        let mut values = Vec::new();
        buffer::refill(&mut values, count, T::zeroed(), PURPOSE)?;
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(&self.bytes[place]);
        Ok(values)
    }

    /// The bytes of the section that the header names at `at`.
    ///
    /// # Errors
    /// [`Error::Saved`] if it does not lie in the bytes.
    pub(super) fn section(&self, name: &'static str, at: usize) -> Result<&'a [u8], Error> {
        Ok(&self.bytes[self.place(name, at, None)?])
    }
}

/// A number that the bytes cannot have.
pub(super) fn wrong<T>(name: &'static str, got: u64) -> Result<T, Error> {
    refused(SavedProblem::Field { name, got })
}
