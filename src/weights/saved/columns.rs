//! Weights per column as bytes.
//!
//! ```text
//!   48  4  type of elements: 0 u8, 1 i8      52  4  type of the activations that they were packed for
//!   56  8  columns of a panel
//!   64 16  panels, 64 bytes each             80 16  elements, rounded up to 64 bytes
//!   96 32  name of the kernel whose layout they have, zeros behind it
//! ```
//!
//! A panel:
//!
//! ```text
//!    0 32  name of its kernel                32  4  values of k in a group (KR)
//!   36  4  stored elements: 0 u8, 1 i8, 2 i16, which are their values plus a shift (0, 128, or -128)
//!   40  8  offset of its first byte          48  8  columns that it has room for
//! ```
//!
//! Element (k, j) of a panel is number `(k / KR · width + j) · KR + k mod KR`. This is enough to read the elements anywhere; where
//! the kernel is the one that would be chosen, they are used as they lie. Sums of columns, and proofs that a panel suits its kernel,
//! are not believed: they are computed again.

use crate::buffer;
use crate::dispatch::select::Dispatch;
use crate::element::ElementType;
use crate::error::{Error, SavedProblem};
use crate::matrix::operand::Operand;
use crate::matrix::view::MatRef;
use crate::weights::pack::{PackSource, StatsNeeded};
use crate::weights::packed::PackedB;
use crate::weights::packed_columns::PackedColumns;
use crate::weights::saved::format::{Kind, Reader, Writer, wrong};
use crate::weights::storage::Owner;
use qgemm_kernels::{Convert, Stored};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

const PANEL_RECORD: usize = 64;
pub(super) const NAME: usize = 32;
/// The purpose that errors name.
const PURPOSE: &str = "packed b";

/// What becomes of saved weights that are packed for another kernel than the one that would be chosen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherLayout {
    /// They are packed again, in memory of their own.
    Repack,
    /// They are refused, by [`Error::Saved`].
    Refuse,
}

impl PackedB {
    /// Writes the weights to `to`, in a form that [`load`](Self::load) and [`map`](Self::map) read on any CPU. It is documented
    /// in `src/weights/saved`.
    ///
    /// # Errors
    /// Those of `to`, and [`io::ErrorKind::OutOfMemory`]. What was written then is not whole, and will be refused.
    pub fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        let columns = &self.columns;
        let kernel = columns.kernel();
        let mut writer = Writer::new(Kind::Columns, self.k(), self.n());
        writer.u32(48, u32::from(self.element_type() == ElementType::I8));
        writer.u32(52, u32::from(self.packed_for() == ElementType::I8));
        writer.u64(56, kernel.nr);
        writer.bytes(96, &name_bytes(kernel.name));
        let mut records = Vec::new();
        buffer::refill(&mut records, PANEL_RECORD * columns.panels().len(), 0, PURPOSE)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        for (panel, record) in columns.panels().iter().zip(records.chunks_exact_mut(PANEL_RECORD)) {
            record[..NAME].copy_from_slice(&name_bytes(panel.kernel.name));
            record[32..36].copy_from_slice(&(panel.kernel.kr as u32).to_le_bytes());
            record[36..40].copy_from_slice(&stored_code(panel.variant.b).to_le_bytes());
            record[40..48].copy_from_slice(&(panel.start as u64).to_le_bytes());
            record[48..56].copy_from_slice(&(panel.width as u64).to_le_bytes());
        }
        writer.section(64, Cow::Owned(records));
        writer.section(80, little_endian(columns));
        writer.write(to)
    }

    /// Reads weights that [`save`](Self::save) wrote, for one of the given kernels. They are copied.
    ///
    /// Sums of columns, and proofs that panels suit their kernels, are computed again, which takes as long as packing does and,
    /// for that time, the memory of the elements once more.
    ///
    /// # Errors
    /// [`Error::Saved`] if they are no such bytes, cut off, or changed, or packed for another kernel and `other` refuses that;
    /// [`Error::Memory`].
    pub fn load(saved: &[u8], dispatch: &Dispatch, other: OtherLayout) -> Result<Self, Error> {
        read(saved, None, dispatch, other)
    }

    /// [`load`](Self::load) without a copy that stays: if the layout is the one that the kernel reads, elements stay where `owner`
    /// has them, and live as long as the weights need them. A mapped file is shared by all processes that map it: see
    /// [`GroupwiseB::map`](crate::GroupwiseB::map).
    ///
    /// Bytes that do not begin at a multiple of 64 in memory are copied. An owner that later gives other bytes than it gave here
    /// makes products wrong, or panic.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn map(
        owner: impl AsRef<[u8]> + Send + Sync + 'static,
        dispatch: &Dispatch,
        other: OtherLayout,
    ) -> Result<Self, Error> {
        let owner: Owner = Arc::new(owner);
        read((*owner).as_ref(), Some(&owner), dispatch, other)
    }
}

fn name_bytes(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// A kernel's name, as far as it is text.
pub(super) fn name_of(bytes: &[u8; NAME]) -> String {
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    buffer::text(text.trim_end_matches('\0'))
}

fn stored_code(stored: Stored) -> u32 {
    match stored {
        Stored::U8 => 0,
        Stored::I8 => 1,
        Stored::I16 => 2,
    }
}

/// The elements as they are written.
fn little_endian(columns: &PackedColumns) -> Cow<'_, [u8]> {
    let bytes: &[u8] = bytemuck::cast_slice(&columns.lines);
    let wide = columns.panels().iter().filter(|panel| panel.variant.b == Stored::I16);
    if cfg!(target_endian = "little") || wide.clone().next().is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut swapped = bytes.to_vec();
    for panel in wide {
        let len = columns.panel_bytes(panel).len();
        swapped[panel.start..][..len].chunks_exact_mut(2).for_each(<[u8]>::reverse);
    }
    Cow::Owned(swapped)
}

fn read(
    saved: &[u8],
    owner: Option<&Owner>,
    dispatch: &Dispatch,
    other: OtherLayout,
) -> Result<PackedB, Error> {
    let reader = Reader::new(saved, owner, Kind::Columns)?;
    let (k, n) = reader.shape()?;
    let (element, activations) =
        (reader.element_type("element", 48)?, reader.element_type("activations", 52)?);
    let name = reader.array::<NAME>(96);
    let chosen = dispatch.choose(k, n);
    let same = name == name_bytes(chosen.name);
    if !same && other == OtherLayout::Refuse {
        let (got, need) = (name_of(&name), chosen.table_row().name);
        return Err(Error::Saved { problem: SavedProblem::Kernel { got, need } });
    }
    let elements = reader.section("elements", 80)?;
    let panels = read_panels(&reader, elements.len(), (k, n))?;
    let values = unpack(elements, &panels, (k, n), element)?;
    let bits = MatRef::row_major(&values, k, n)?;
    let source = PackSource { b: Operand { bits, element }, activations, dispatch };
    let mut columns = PackedColumns::empty(&source);
    columns.pack(&source, 0..n, StatsNeeded::All)?;
    // Else the file is by another version, or its numbers are in another order than this CPU's.
    let as_packed = matches!(little_endian(&columns), Cow::Borrowed(bytes) if bytes == elements);
    if same && as_packed && owner.is_some() {
        columns.lines = reader.values("elements", 80, columns.lines.len())?;
    }
    Ok(PackedB { columns })
}

/// A panel as it was saved.
struct SavedPanel {
    kr: usize,
    stored: Stored,
    start: usize,
    width: usize,
    /// The columns of the matrix in it.
    columns: usize,
}

/// The panels, which lie in so many bytes of elements.
///
/// # Errors
/// [`Error::Saved`] if they cannot be what they say, or do not lie there.
fn read_panels(reader: &Reader<'_>, bytes: usize, (k, n): (usize, usize)) -> Result<Vec<SavedPanel>, Error> {
    let (nr, records) = (reader.size("nr", 56)?, reader.section("panels", 64)?);
    if nr == 0 {
        return wrong("nr", 0);
    }
    let count = n.div_ceil(nr);
    if count.checked_mul(PANEL_RECORD) != Some(records.len()) {
        return wrong("panels", records.len() as u64);
    }
    let mut panels = Vec::new();
    buffer::reserve(&mut panels, count, PURPOSE)?;
    for (p, record) in records.chunks_exact(PANEL_RECORD).enumerate() {
        let number = |at: usize, len: usize| {
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(&record[at..at + len]);
            u64::from_le_bytes(bytes)
        };
        let (kr, start, width) = (number(32, 4), number(40, 8), number(48, 8));
        let stored = match number(36, 4) {
            0 => Stored::U8,
            1 => Stored::I8,
            2 => Stored::I16,
            other => return wrong("stored type", other),
        };
        if !(1..=256).contains(&kr) {
            return wrong("kr", kr);
        }
        let columns = nr.min(n - p * nr);
        let end = (k as u64)
            .checked_next_multiple_of(kr)
            .and_then(|rows| rows.checked_mul(width)?.checked_mul(stored.size() as u64)?.checked_add(start));
        if width < columns as u64 || end.is_none_or(|end| end > bytes as u64) {
            return wrong("panel", p as u64);
        }
        // All of it lies in the elements, so that it fits.
        panels.push(SavedPanel {
            kr: kr as usize,
            stored,
            start: start as usize,
            width: width as usize,
            columns,
        });
    }
    Ok(panels)
}

/// The bits of the K×N elements, row by row.
///
/// # Errors
/// [`Error::Memory`], or [`Error::Saved`] if an element is no value of its type.
fn unpack(
    elements: &[u8],
    panels: &[SavedPanel],
    (k, n): (usize, usize),
    element: ElementType,
) -> Result<Vec<u8>, Error> {
    let mut values = Vec::new();
    let len = if panels.is_empty() { 0 } else { k.saturating_mul(n) };
    buffer::refill(&mut values, len, 0, PURPOSE)?;
    let mut first = 0;
    for SavedPanel { kr, stored, start, width, columns } in panels {
        let mask = Convert::new(element == ElementType::I8, *stored).mask();
        let size = stored.size();
        let from = &elements[*start..];
        for row in 0..k {
            let to = &mut values[row * n + first..][..*columns];
            let in_row = (row / kr * width * kr + row % kr) * size;
            for (j, to) in to.iter_mut().enumerate() {
                let at = in_row + j * kr * size;
                *to = from[at] ^ mask;
                if *stored == Stored::I16 {
                    let value = i32::from(i16::from_le_bytes([from[at], from[at + 1]]));
                    let (least, greatest) = element.range();
                    if !(least..=greatest).contains(&value) {
                        return wrong("element", value as u64);
                    }
                }
            }
        }
        first += columns;
    }
    Ok(values)
}
