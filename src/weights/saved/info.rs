//! What saved weights are, by their header alone.

use crate::element::ElementType;
use crate::error::{Error, SavedProblem};
use crate::weights::saved::columns::{NAME, name_of};
use crate::weights::saved::format::{Kind, Reader, wrong};
use crate::weights::saved::groupwise::code_bits;
use qgemm_kernels::{CodeBits, ScaleBits};

/// What saved weights are.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SavedInfo {
    /// K, the number of rows.
    pub k: usize,
    /// N, the number of columns.
    pub n: usize,
    /// The type of elements, or of codes.
    pub element: ElementType,
    /// What only one kind has.
    pub kind: SavedKind,
}

/// The kind of saved weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SavedKind {
    /// [`PackedB`](crate::PackedB).
    Columns {
        /// The type of activations that they were packed for.
        activations: ElementType,
        /// The kernel whose layout they have.
        kernel: String,
    },
    /// [`GroupwiseB`](crate::GroupwiseB).
    Groupwise {
        /// The bits of a code.
        bits: CodeBits,
        /// The rows of a group.
        group: usize,
        /// The type of scales.
        scales: ScaleBits,
        /// The type of minimums, if there are some.
        minimums: Option<ScaleBits>,
        /// Whether there is a zero point for each scale, not one for all.
        zeros: bool,
    },
}

/// What saved weights are. The checksum is compared; what follows the header is not looked at.
///
/// # Errors
/// [`Error::Saved`] if they are no such bytes, cut off, or changed.
pub fn saved_info(saved: &[u8]) -> Result<SavedInfo, Error> {
    let (reader, kind) = Reader::any(saved, None)?;
    let (k, n) = reader.shape()?;
    let scale_type = |name, code| match code {
        0 => Ok(ScaleBits::F32),
        1 => Ok(ScaleBits::F16),
        2 => Ok(ScaleBits::Bf16),
        other => wrong(name, u64::from(other)),
    };
    if kind == Kind::Columns as u32 {
        let element = reader.element_type("element", 48)?;
        let activations = reader.element_type("activations", 52)?;
        let kernel = name_of(&reader.array::<NAME>(96));
        return Ok(SavedInfo { k, n, element, kind: SavedKind::Columns { activations, kernel } });
    }
    if kind != Kind::Groupwise as u32 {
        return Err(Error::Saved { problem: SavedProblem::Kind { got: kind, need: Kind::Columns as u32 } });
    }
    let kind = SavedKind::Groupwise {
        bits: code_bits(&reader)?,
        group: reader.size("group", 48)?,
        scales: scale_type("scales", reader.u32(64))?,
        minimums: match reader.u32(68) {
            0 => None,
            code => Some(scale_type("minimums", code - 1)?),
        },
        zeros: reader.u32(72) == 1,
    };
    Ok(SavedInfo { k, n, element: reader.element_type("element", 60)?, kind })
}
