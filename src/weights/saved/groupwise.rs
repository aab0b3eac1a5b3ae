//! Group-wise weights as bytes.
//!
//! ```text
//!   48  8  rows of a group        56  4  bits of a code, 4 or 8          60  4  type of codes: 0 u8, 1 i8
//!   64  4  type of scales: 0 f32, 1 f16, 2 bf16                          68  4  1 more for minimums; 0: there are none
//!   72  4  0: one zero point for all, 1: one per scale                   76  4  the one zero point, as it is stored
//!   80 16  codes, rounded up to 64 bytes                                 96 16  scales
//!  112 16  minimums                                                     128 16  zero points
//! ```
//!
//! Sections are in the layout of `kernels/src/groupwise/layout.rs`, which all CPUs share.

use crate::dispatch::select::Dispatch;
use crate::element::ElementType;
use crate::error::Error;
use crate::weights::groupwise::pack::shape;
use crate::weights::groupwise::packed::{GroupwiseB, Zeros};
use crate::weights::groupwise::scales::PackedScales;
use crate::weights::saved::format::{Kind, Reader, Writer, little_endian, wrong};
use crate::weights::storage::Owner;
use qgemm_kernels::{CodeBits, GroupShape, Line, MAX_VECTOR_GROUP};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

impl GroupwiseB {
    /// Writes the weights to `to`, in a form that [`load`](Self::load) and [`map`](Self::map) read on any CPU. It is documented
    /// in `src/weights/saved`.
    ///
    /// # Errors
    /// Those of `to`. What was written then is not whole, and will be refused.
    pub fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut writer = Writer::new(Kind::Groupwise, self.k(), self.n());
        writer.u64(48, self.group());
        writer.u32(56, self.bits().bits() as u32);
        writer.u32(60, u32::from(self.element == ElementType::I8));
        writer.u32(64, self.scales.code());
        writer.section(80, little_endian(&self.lines));
        writer.section(96, bytes(&self.scales));
        if let Some(minimums) = &self.minimums {
            writer.u32(68, 1 + minimums.code());
            writer.section(112, bytes(minimums));
        }
        match &self.zeros {
            Zeros::One(zero) => writer.u32(76, u32::from(*zero)),
            Zeros::Each(zeros) => {
                writer.u32(72, 1);
                writer.section(128, little_endian(zeros));
            }
        }
        writer.write(to)
    }

    /// Reads weights that [`save`](Self::save) wrote. They are copied.
    ///
    /// # Errors
    /// [`Error::Saved`] if they are no such bytes, cut off, or changed; [`Error::NotFinite`] if a scale is infinite or not a number;
    /// [`Error::Memory`], [`Error::Kernel`] or [`Error::Variable`].
    pub fn load(saved: &[u8]) -> Result<Self, Error> {
        read(saved, None)
    }

    /// [`load`](Self::load) without a copy: codes, scales and zero points stay where `owner` has them, and live as long as
    /// weights need them. A mapped file is shared by all processes that map it:
    ///
    /// ```no_run
    /// let file = std::fs::File::open("weights.qgemm")?;
    /// // SAFETY: no one changes or truncates the file while it is mapped.
    /// let weights = qgemm::GroupwiseB::map(unsafe { memmap2::Mmap::map(&file)? })?;
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// What does not begin at a multiple of 64 bytes in memory, and numbers on a CPU of other byte order, are copied. An owner that
    /// later gives other bytes than it gave here makes products wrong, or panic.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn map(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        let owner: Owner = Arc::new(owner);
        read((*owner).as_ref(), Some(&owner))
    }
}

/// Scales as they are written.
fn bytes(scales: &PackedScales) -> Cow<'_, [u8]> {
    match scales {
        PackedScales::F32(scales) => little_endian(scales),
        PackedScales::F16(scales) | PackedScales::Bf16(scales) => little_endian(scales),
    }
}

fn read(saved: &[u8], owner: Option<&Owner>) -> Result<GroupwiseB, Error> {
    let dispatch = Dispatch::auto()?;
    let reader = Reader::new(saved, owner, Kind::Groupwise)?;
    let ((k, n), group) = (reader.shape()?, reader.size("group", 48)?);
    let (bits, element) = (code_bits(&reader)?, reader.element_type("element", 60)?);
    if group == 0 || (k > group && !group.is_multiple_of(8)) {
        return wrong("group", group as u64);
    }
    let shape = shape(k, n, group, bits)?;
    let lines = reader.values::<Line>("codes", 80, shape.codes_len().div_ceil(64))?;
    let scales = read_scales(&reader, &shape, "scales", (reader.u32(64), 96))?;
    let minimums = match reader.u32(68) {
        0 => None,
        code => Some(read_scales(&reader, &shape, "minimums", (code - 1, 112))?),
    };
    let zeros = match (reader.u32(72), reader.u32(76)) {
        // The scalar kernel, which multiplies longer groups, needs them all.
        (0, _) if shape.longest_group() > MAX_VECTOR_GROUP && shape.zeros_len() > 0 => {
            return wrong("zeros", 0);
        }
        (0, zero) if zero <= u32::from(bits.max()) => Zeros::One(zero as u8),
        (0, zero) => return wrong("zero", zero.into()),
        (1, _) => Zeros::Each(reader.values("zeros", 128, shape.zeros_len())?),
        (other, _) => return wrong("zeros", other.into()),
    };
    let (kernel, caches) = (dispatch.groupwise(shape.longest_group()), dispatch.caches());
    Ok(GroupwiseB { shape, element, lines, scales, minimums, zeros, kernel, caches })
}

/// # Errors
/// [`Error::Saved`] if codes have other bits.
pub(super) fn code_bits(reader: &Reader<'_>) -> Result<CodeBits, Error> {
    match reader.u32(56) {
        4 => Ok(CodeBits::Four),
        8 => Ok(CodeBits::Eight),
        other => wrong("bits", other.into()),
    }
}

/// Scales or minimums of the type and at the place that the header has.
fn read_scales(
    reader: &Reader<'_>,
    shape: &GroupShape,
    name: &'static str,
    (code, at): (u32, usize),
) -> Result<PackedScales, Error> {
    let scales = match code {
        0 => PackedScales::F32(reader.values(name, at, shape.scales_len())?),
        1 => PackedScales::F16(reader.values(name, at, shape.scales_len())?),
        2 => PackedScales::Bf16(reader.values(name, at, shape.scales_len())?),
        other => return wrong(name, other.into()),
    };
    scales.checked(shape, name)
}
