//! Group-wise weights from AWQ's tensors.

use crate::element::ElementType;
use crate::error::{Error, check_length};
use crate::weights::groupwise::pack::{GroupSource, pack, shape, times, unpack};
use crate::weights::groupwise::packed::GroupwiseB;
use crate::weights::groupwise::scales::{GroupScales, PackedScales};
use qgemm_kernels::CodeBits;

/// The tensors of a layer that AWQ quantized to 4 bits (version `gemm`), for [`GroupwiseB::from_awq`]. Those of integers of
/// 32 bits are given as bytes, little-endian, as files hold them; each holds 8 codes, of columns 0 2 4 6 1 3 5 7 from the lowest.
#[derive(Clone, Copy, Debug)]
pub struct Awq<'a> {
    /// The input features.
    pub k: usize,
    /// The output features.
    pub n: usize,
    /// `group_size`; at least K if there is one group.
    pub group: usize,
    /// `qweight`, [K, N/8] integers.
    pub qweight: &'a [u8],
    /// `qzeros`, [groups, N/8] integers.
    pub qzeros: &'a [u8],
    /// `scales`, a matrix of groups×N.
    pub scales: GroupScales<'a>,
}

/// The place of the code of a column among those of its integer.
const PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

impl GroupwiseB {
    /// Packs a layer that AWQ quantized.
    ///
    /// # Errors
    /// [`Error::Group`], [`Error::Multiple`], [`Error::Length`] or [`Error::Shape`] if sizes do not fit each other,
    /// [`Error::NotFinite`] if a scale is not finite, [`Error::Memory`], [`Error::Kernel`] or [`Error::Variable`] as for
    /// [`builder`](Self::builder).
    pub fn from_awq(layer: &Awq<'_>) -> Result<Self, Error> {
        let Awq { k, n, group, qweight, qzeros, scales } = *layer;
        let shape = shape(k, n, group, CodeBits::Four)?;
        if !n.is_multiple_of(8) {
            return Err(Error::Multiple { argument: "n", got: n, of: 8 });
        }
        check_length("qweight", qweight.len(), times(k, n / 2))?;
        check_length("qzeros", qzeros.len(), times(shape.groups(), n / 2))?;
        let at = |row: usize, j: usize| row * n + j / 8 * 8 + PLACES[j % 8];
        pack(GroupSource {
            shape,
            element: ElementType::U8,
            scales: PackedScales::new(scales, &shape, "scales")?,
            minimums: None,
            codes: &|rows, j, out| {
                rows.zip(out).for_each(|(k, out)| *out = unpack(qweight, at(k, j), CodeBits::Four));
                Ok(())
            },
            zeros: &|g, j| Ok(unpack(qzeros, at(g, j), CodeBits::Four)),
        })
    }
}
