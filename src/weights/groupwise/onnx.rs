//! Group-wise weights from ONNX's `MatMulNBits`.

use crate::element::ElementType;
use crate::error::{Error, check_length};
use crate::weights::groupwise::pack::{GroupSource, pack, shape, times, unpack};
use crate::weights::groupwise::packed::GroupwiseB;
use crate::weights::groupwise::scales::{GroupScales, PackedScales};
use qgemm_kernels::{CodeBits, in_default_float_mode};

/// The attributes and tensors of ONNX Runtime's operator `com.microsoft.MatMulNBits`, for
/// [`GroupwiseB::from_onnx`].
#[derive(Clone, Copy, Debug)]
pub struct MatMulNBits<'a> {
    /// The attribute `K`.
    pub k: usize,
    /// The attribute `N`.
    pub n: usize,
    /// The attribute `bits`.
    pub bits: CodeBits,
    /// The attribute `block_size`.
    pub block_size: usize,
    /// `B`: [N, blocks, block_size·bits/8] bytes, blocks = ceil(K / block_size), the low nibble first.
    pub b: &'a [u8],
    /// `scales`, as a matrix of N×blocks.
    pub scales: GroupScales<'a>,
    /// `zero_points`.
    pub zero_points: OnnxZeros<'a>,
}

/// The input `zero_points` of [`MatMulNBits`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum OnnxZeros<'a> {
    /// There is none: 8 for 4 bits, 128 for 8.
    None,
    /// [N, ceil(blocks·bits/8)] bytes, the low nibble first.
    Packed(&'a [u8]),
    /// Numbers in the type of the scales, a matrix of N×blocks. They have to be integers of the range of codes.
    Real(GroupScales<'a>),
}

/// A matrix with rows and columns exchanged.
fn transpose(scales: GroupScales<'_>) -> GroupScales<'_> {
    match scales {
        GroupScales::F32(scales) => scales.transpose().into(),
        GroupScales::F16(scales) => scales.transpose().into(),
        GroupScales::Bf16(scales) => scales.transpose().into(),
    }
}

impl GroupwiseB {
    /// Packs the weights of ONNX Runtime's `MatMulNBits`.
    ///
    /// # Errors
    /// [`Error::Group`], [`Error::Length`] or [`Error::Shape`] if sizes do not fit each other, [`Error::Multiple`] if blocks are
    /// no whole bytes, [`Error::NotFinite`] if a scale is not finite, [`Error::FloatRange`] if a zero point is no integer of the
    /// range of codes, [`Error::Memory`], [`Error::Kernel`] or [`Error::Variable`] as for [`builder`](Self::builder).
    pub fn from_onnx(weights: &MatMulNBits<'_>) -> Result<Self, Error> {
        let MatMulNBits { k, n, bits, block_size, b, scales, zero_points } = *weights;
        let shape = shape(k, n, block_size, bits)?;
        let blocks = shape.groups();
        let codes_per_byte = 8 / bits.bits();
        // A single block may have any number of rows otherwise.
        if !block_size.is_multiple_of(codes_per_byte) {
            return Err(Error::Multiple { argument: "block_size", got: block_size, of: codes_per_byte });
        }
        let codes_per_column = times(blocks, block_size);
        check_length("b", b.len(), times(n, codes_per_column / codes_per_byte))?;
        let packed_zeros = (blocks * bits.bits()).div_ceil(8);
        let mut real = None;
        match zero_points {
            OnnxZeros::None => (),
            OnnxZeros::Packed(zeros) => check_length("zero_points", zeros.len(), times(n, packed_zeros))?,
            OnnxZeros::Real(zeros) => {
                real = Some(PackedScales::new(transpose(zeros), &shape, "zero_points")?)
            }
        }
        let zero_of = |g, j| -> Result<u8, Error> {
            Ok(match (zero_points, &real) {
                (OnnxZeros::Packed(zeros), _) => unpack(&zeros[j * packed_zeros..][..packed_zeros], g, bits),
                (_, Some(real)) => {
                    let got = real.at(shape.scale_at(g, j));
                    let max = f32::from(bits.max());
                    let is_code = in_default_float_mode(|| (0.0..=max).contains(&got) && got == got.trunc());
                    if !is_code {
                        let argument = "zero_points";
                        return Err(Error::FloatRange {
                            argument,
                            got: got.into(),
                            min: 0.0,
                            max: max.into(),
                        });
                    }
                    got as u8
                }
                _ => 1 << (bits.bits() - 1),
            })
        };
        pack(GroupSource {
            shape,
            element: ElementType::U8,
            scales: PackedScales::new(transpose(scales), &shape, "scales")?,
            minimums: None,
            codes: &|rows, j, out| {
                for (k, out) in rows.zip(out) {
                    *out = unpack(b, j * codes_per_column + k, bits);
                }
                Ok(())
            },
            zeros: &zero_of,
        })
    }
}
