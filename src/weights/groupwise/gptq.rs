//! Group-wise weights from GPTQ's tensors.

use crate::element::ElementType;
use crate::error::{Error, check_length};
use crate::weights::groupwise::pack::{GroupSource, pack, shape, times, unpack};
use crate::weights::groupwise::packed::GroupwiseB;
use crate::weights::groupwise::scales::{GroupScales, PackedScales};
use qgemm_kernels::CodeBits;

/// The tensors of a layer that GPTQ quantized, for [`GroupwiseB::from_gptq`]. Those of integers of 32 bits are given as
/// bytes, little-endian, as files hold them; each holds 32 / bits codes, the lowest first.
#[derive(Clone, Copy, Debug)]
pub struct Gptq<'a> {
    /// The input features.
    pub k: usize,
    /// The output features.
    pub n: usize,
    /// The bits of a code.
    pub bits: CodeBits,
    /// `group_size`; at least K if there is one group.
    pub group: usize,
    /// `qweight`, [K·bits/32, N] integers: each holds codes of consecutive rows.
    pub qweight: &'a [u8],
    /// `qzeros`, [groups, N·bits/32] integers: each holds zero points of consecutive columns.
    pub qzeros: &'a [u8],
    /// `scales`, a matrix of groups×N.
    pub scales: GroupScales<'a>,
    /// `g_idx`: the group of each row, if there is such a tensor. It has to be that of consecutive rows.
    pub g_idx: Option<&'a [i32]>,
    /// Whether zero points are stored less one, as in checkpoint format `gptq` (not in `gptq_v2`).
    pub zeros_less_one: bool,
}

impl GroupwiseB {
    /// Packs a layer that GPTQ quantized. Weights quantized with `desc_act` (act-order) are refused: their `g_idx` assigns
    /// rows to groups in another order, which the caller can undo by permuting rows of B and columns of A.
    ///
    /// # Errors
    /// [`Error::Group`], [`Error::Multiple`], [`Error::Length`] or [`Error::Shape`] if sizes do not fit each other,
    /// [`Error::GroupOrder`] for act-order, [`Error::Code`] if a zero point is 16 or 256, [`Error::NotFinite`] if a scale is not
    /// finite, [`Error::Memory`], [`Error::Kernel`] or [`Error::Variable`] as for [`builder`](Self::builder).
    pub fn from_gptq(layer: &Gptq<'_>) -> Result<Self, Error> {
        let Gptq { k, n, bits, group, qweight, qzeros, scales, g_idx, zeros_less_one } = *layer;
        let shape = shape(k, n, group, bits)?;
        let each = 32 / bits.bits();
        for (argument, got) in [("k", k), ("n", n)] {
            if !got.is_multiple_of(each) {
                return Err(Error::Multiple { argument, got, of: each });
            }
        }
        check_length("qweight", qweight.len(), times(times(k / each, n), 4))?;
        check_length("qzeros", qzeros.len(), times(times(n / each, shape.groups()), 4))?;
        if let Some(g_idx) = g_idx {
            check_length("g_idx", g_idx.len(), k)?;
            for (row, &got) in g_idx.iter().enumerate() {
                let need = row / group;
                if usize::try_from(got) != Ok(need) {
                    return Err(Error::GroupOrder { row, got, need });
                }
            }
        }
        pack(GroupSource {
            shape,
            element: ElementType::U8,
            scales: PackedScales::new(scales, &shape, "scales")?,
            minimums: None,
            codes: &|rows, j, out| {
                for (k, out) in rows.zip(out) {
                    *out = unpack(qweight, (k / each * n + j) * each + k % each, bits);
                }
                Ok(())
            },
            zeros: &|g, j| {
                let got = i32::from(unpack(qzeros, g * n + j, bits)) + i32::from(zeros_less_one);
                let max = i32::from(bits.max());
                let too_large = Error::Code { argument: "qzeros", row: g, column: j, got, min: 0, max };
                u8::try_from(got).ok().filter(|zero| *zero <= bits.max()).ok_or(too_large)
            },
        })
    }
}
