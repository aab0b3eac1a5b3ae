//! Packed columns with their statistics, in memory that a caller lends: for interfaces in which the caller owns the buffer that
//! packed weights lie in, and no call frees it.
//!
//! ```text
//!   48  4  type of elements: 0 u8, 1 i8      52  4  type of the activations that they were packed for
//!   56  4  CRC-32 of the name of the kernel whose layout they have
//!   64 16  kernel of each panel, a byte: 0 that kernel, else 1 more than its place among those with a proof beside it
//!   80 16  elements                          96 16  low 32 bits of the sums of columns
//!  112 16  high 32 bits, if there are some  128 16  terms of the signs of activations, if there are some
//!  144 16  Σ|b|                             160 16  least and greatest values
//! ```
//!
//! The checksum is not compared when it is mapped, and statistics are believed: that takes a moment, where
//! [`PackedB::map`] takes as long as packing. No other CPU than the one that wrote a snapshot reads it.

use crate::buffer;
use crate::dispatch::select::Dispatch;
use crate::element::ElementType;
use crate::error::{Error, SavedProblem};
use crate::weights::column_stats::{ColumnStats, high_len};
use crate::weights::pack::{TOO_LARGE, most_panel_bytes, place};
use crate::weights::packed::PackedB;
use crate::weights::packed_columns::{PackedColumns, Panel, variant_for};
use crate::weights::saved::format::{HEADER, Kind, Reader, Writer, wrong};
use crate::weights::storage::Owner;
use qgemm_kernels::{Line, Ready};
use std::borrow::Cow;
use std::sync::Arc;

/// The purpose that errors name.
const PURPOSE: &str = "snapshot";

impl PackedB {
    /// The most bytes that [`write_snapshot`](Self::write_snapshot) of a K×N matrix takes that was packed by `dispatch`,
    /// whatever its values.
    ///
    /// # Errors
    /// [`Error::Memory`] if no address space holds so many.
    pub fn snapshot_bytes(
        dispatch: &Dispatch,
        (k, n): (usize, usize),
        element: ElementType,
        activations: ElementType,
    ) -> Result<usize, Error> {
        let kernel = dispatch.choose(k, n);
        let most = || {
            let padded = kernel.padded_values(n)?;
            let values = |bytes| padded.checked_mul(bytes)?.checked_next_multiple_of(64);
            let lines = most_panel_bytes(dispatch, &kernel, (k, n), activations, element)?;
            let sections = [
                n.div_ceil(kernel.nr).checked_next_multiple_of(64)?,
                lines.checked_next_multiple_of(64)?,
                values(4)?,
                values(4)?,
                values(4)?,
                values(8)?,
                values(4)?,
            ];
            sections.into_iter().try_fold(HEADER, usize::checked_add)
        };
        most().ok_or(TOO_LARGE)
    }

    /// Writes the weights and their statistics to the first bytes of `to`, for [`map_snapshot`](Self::map_snapshot), and returns
    /// how many bytes they are. `dispatch` is the one that they were packed with.
    ///
    /// # Errors
    /// [`Error::Length`] if `to` is too short, [`Error::Saved`] if a panel has a kernel that `dispatch` has not,
    /// [`Error::Memory`]. Nothing is written then.
    pub fn write_snapshot(&self, dispatch: &Dispatch, to: &mut [u8]) -> Result<usize, Error> {
        let PackedColumns { panels, lines, stats, .. } = &self.columns;
        let kernel = self.columns.kernel();
        let mut codes = Vec::new();
        buffer::reserve(&mut codes, panels.len(), PURPOSE)?;
        for panel in panels {
            let mut proven = dispatch.proven_beside(&kernel);
            codes.push(match proven.position(|proven| proven == panel.kernel) {
                Some(place) => place as u8 + 1,
                None if panel.kernel == kernel => 0,
                None => return wrong("dispatch", 0),
            });
        }
        let mut min_max = Vec::new();
        buffer::reserve(&mut min_max, stats.min_max.len(), PURPOSE)?;
        min_max.extend(stats.min_max.iter().map(|(lo, hi)| [*lo, *hi]));
        let mut writer = Writer::new(Kind::Snapshot, self.k(), self.n());
        writer.u32(48, u32::from(self.element_type() == ElementType::I8));
        writer.u32(52, u32::from(self.packed_for() == ElementType::I8));
        writer.u32(56, crc32fast::hash(kernel.name.as_bytes()));
        writer.section(64, Cow::Borrowed(&codes));
        writer.section(80, Cow::Borrowed(bytemuck::cast_slice(lines)));
        writer.section(96, Cow::Borrowed(bytemuck::cast_slice(&stats.stored_sum)));
        writer.section(112, Cow::Borrowed(bytemuck::cast_slice(&stats.sum_high)));
        writer.section(128, Cow::Borrowed(bytemuck::cast_slice(&stats.sign_shift_terms)));
        writer.section(144, Cow::Borrowed(bytemuck::cast_slice(&stats.abs_sum)));
        writer.section(160, Cow::Borrowed(bytemuck::cast_slice(&min_max)));
        let (got, need) = (to.len(), writer.len());
        if got < need {
            return Err(Error::Length { argument: PURPOSE, got, need });
        }
        let mut to = to;
        writer.write(&mut to).expect("there are so many bytes");
        Ok(need)
    }

    /// Weights as [`write_snapshot`](Self::write_snapshot) wrote them, on this CPU and for the same kernels. Elements stay where
    /// `owner` has them if they lie at a multiple of 64 bytes in memory, else they are copied; statistics, about 20 bytes per
    /// column, are copied.
    ///
    /// Neither elements nor statistics are checked. Bytes that were changed since, or are changed later, make products wrong, or
    /// panic.
    ///
    /// # Errors
    /// [`Error::Saved`] if there is no such snapshot, or it was written for other kernels; [`Error::Memory`].
    pub fn map_snapshot(
        owner: impl AsRef<[u8]> + Send + Sync + 'static,
        dispatch: &Dispatch,
    ) -> Result<Self, Error> {
        let owner: Owner = Arc::new(owner);
        let (reader, got) = Reader::unchecked((*owner).as_ref(), Some(&owner))?;
        if got != Kind::Snapshot as u32 {
            return Err(Error::Saved { problem: SavedProblem::Kind { got, need: Kind::Snapshot as u32 } });
        }
        let (k, n) = reader.shape()?;
        let (element, activations) =
            (reader.element_type("element", 48)?, reader.element_type("activations", 52)?);
        let kernel = dispatch.choose(k, n);
        let name = reader.u32(56);
        if name != crc32fast::hash(kernel.name.as_bytes()) {
            return wrong("kernel", name.into());
        }
        let exact = Panel {
            kernel,
            variant: variant_for(kernel.table_row(), activations, element),
            start: 0,
            width: 0,
        };
        let mut panels = read_kernels(&reader, exact, n, dispatch)?;
        let bytes = place(&mut panels, &kernel, k, n).ok_or(TOO_LARGE)?;
        let lines = reader.values::<Line>("elements", 80, bytes.div_ceil(64))?;
        let stats = read_stats(&reader, &kernel, k, n)?;
        let caches = dispatch.caches();
        let columns =
            PackedColumns { kernel, caches, k, n, first: 0, element, activations, panels, lines, stats };
        Ok(Self { columns })
    }
}

/// Panels whose kernels are known and whose places are not.
fn read_kernels(
    reader: &Reader<'_>,
    exact: Panel,
    n: usize,
    dispatch: &Dispatch,
) -> Result<Vec<Panel>, Error> {
    let codes = reader.section("panels", 64)?;
    if codes.len() != n.div_ceil(exact.kernel.nr) {
        return wrong("panels", codes.len() as u64);
    }
    let mut panels = Vec::new();
    buffer::reserve(&mut panels, codes.len(), PURPOSE)?;
    for code in codes {
        panels.push(match code {
            0 => exact,
            _ => match dispatch.proven_beside(&exact.kernel).nth(usize::from(*code) - 1) {
                Some(kernel) => Panel { kernel, variant: &kernel.table_row().variants[0], ..exact },
                None => return wrong("panel", (*code).into()),
            },
        });
    }
    Ok(panels)
}

fn read_stats(reader: &Reader<'_>, kernel: &Ready, k: usize, n: usize) -> Result<ColumnStats, Error> {
    let padded = kernel.padded_values(n).ok_or(TOO_LARGE)?;
    let numbers = |name, at, count| reader.copied::<i32>(name, at, count);
    // There are all of them, or none if they are all 0.
    let terms = if reader.section("terms", 128)?.is_empty() { 0 } else { padded };
    let ends = reader.copied::<[i16; 2]>("extremes", 160, padded)?;
    let mut min_max = Vec::new();
    buffer::reserve(&mut min_max, padded, PURPOSE)?;
    min_max.extend(ends.iter().map(|[lo, hi]| (*lo, *hi)));
    let mut stats = ColumnStats {
        stored_sum: numbers("sums", 96, padded)?,
        sum_high: numbers("sums", 112, high_len(padded, k))?,
        sign_shift_terms: numbers("terms", 128, terms)?,
        abs_sum: reader.copied("magnitudes", 144, padded)?,
        min_max,
        all: (0, 0, 0),
    };
    stats.finish(n, k);
    Ok(stats)
}
