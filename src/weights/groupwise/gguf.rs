//! Group-wise weights from the blocks of GGUF files.

use crate::buffer;
use crate::element::ElementType;
use crate::error::{Error, check_length};
use crate::matrix::view::MatRef;
use crate::weights::groupwise::pack::{GroupSource, pack, shape, times};
use crate::weights::groupwise::packed::GroupwiseB;
use crate::weights::groupwise::scales::{PURPOSE, PackedScales};
use half::f16;
use qgemm_kernels::CodeBits;

/// A type of blocks of a GGUF file: 32 values of k, with one or two numbers in half precision before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GgufType {
    /// 18 bytes: the scale, 16 bytes of codes of 4 bits. Zero point 8.
    Q4_0,
    /// 20 bytes: the scale, the minimum, 16 bytes of codes of 4 bits.
    Q4_1,
    /// 34 bytes: the scale, 32 `i8`.
    Q8_0,
}

/// Values of a block.
const BLOCK: usize = 32;

impl GgufType {
    /// The bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            GgufType::Q4_0 => 18,
            GgufType::Q4_1 => 20,
            GgufType::Q8_0 => 34,
        }
    }

    /// The bits of a code.
    pub const fn bits(self) -> CodeBits {
        match self {
            GgufType::Q4_0 | GgufType::Q4_1 => CodeBits::Four,
            GgufType::Q8_0 => CodeBits::Eight,
        }
    }

    /// The bytes before the codes of a block.
    const fn head(self) -> usize {
        match self {
            GgufType::Q4_0 | GgufType::Q8_0 => 2,
            GgufType::Q4_1 => 4,
        }
    }
}

impl GroupwiseB {
    /// Packs a tensor of a GGUF file: `n` rows of `k` values, which are the columns of B (`ggml` multiplies by the transpose).
    /// Codes of [`GgufType::Q8_0`] become `i8`, others `u8`.
    ///
    /// # Errors
    /// [`Error::Multiple`] if `k` is no multiple of 32, [`Error::Length`] if `blocks` has another length,
    /// [`Error::NotFinite`] if a scale or minimum is, [`Error::Memory`], [`Error::Kernel`] or [`Error::Variable`] as for
    /// [`builder`](Self::builder).
    pub fn from_gguf(kind: GgufType, (n, k): (usize, usize), blocks: &[u8]) -> Result<Self, Error> {
        if !k.is_multiple_of(BLOCK) {
            return Err(Error::Multiple { argument: "k", got: k, of: BLOCK });
        }
        let shape = shape(k, n, BLOCK, kind.bits())?;
        let (groups, size, head) = (shape.groups(), kind.block_bytes(), kind.head());
        check_length("blocks", blocks.len(), times(times(n, groups), size))?;
        // The numbers of all blocks, one after the other.
        let numbers = |at: usize| -> Result<PackedScales, Error> {
            let mut values = Vec::new();
            buffer::reserve(&mut values, n * groups, PURPOSE)?;
            values.extend(
                blocks.chunks_exact(size).map(|block| f16::from_le_bytes([block[at], block[at + 1]])),
            );
            let values = MatRef::row_major(&values, n, groups)?.transpose();
            PackedScales::new(values.into(), &shape, if at == 0 { "scales" } else { "minimums" })
        };
        let (element, zero) = match kind {
            GgufType::Q4_0 => (ElementType::U8, 8),
            GgufType::Q4_1 => (ElementType::U8, 0),
            GgufType::Q8_0 => (ElementType::I8, 128),
        };
        pack(GroupSource {
            shape,
            element,
            scales: numbers(0)?,
            minimums: if kind == GgufType::Q4_1 { Some(numbers(2)?) } else { None },
            codes: &|rows, j, out| {
                for (k, out) in rows.zip(out) {
                    let codes = &blocks[(j * groups + k / BLOCK) * size..][head..size];
                    let k = k % BLOCK;
                    *out = match kind {
                        GgufType::Q8_0 => codes[k] ^ 0x80,
                        // Low nibbles are the first half of a block, high ones the second.
                        _ if k < BLOCK / 2 => codes[k] & 15,
                        _ => codes[k - BLOCK / 2] >> 4,
                    };
                }
                Ok(())
            },
            zeros: &|_, _| Ok(zero),
        })
    }
}
