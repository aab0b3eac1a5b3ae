//! Group-wise weights from f32 by rounding to nearest.

use crate::buffer;
use crate::error::Error;
use crate::matrix::view::MatRef;
use crate::weights::groupwise::builder::GroupwiseBuilder;
use crate::weights::groupwise::pack::shape;
use crate::weights::groupwise::packed::GroupwiseB;
use crate::weights::groupwise::scales::{PURPOSE, groups_with_columns};
use qgemm_kernels::{CodeBits, in_default_float_mode};

/// The way in which [`quantize_groups`] rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupScheme {
    /// The zero point is the middle code.
    Symmetric,
    /// Each group has a zero point of its own.
    Asymmetric,
}

/// Codes, scales and zero points that [`quantize_groups`] made: row-major matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedGroups {
    /// The number of rows.
    pub k: usize,
    /// The number of columns.
    pub n: usize,
    /// The bits of a code.
    pub bits: CodeBits,
    /// The rows of a group.
    pub group: usize,
    /// K×N codes: 0..=15, or 0..=255.
    pub codes: Vec<u8>,
    /// groups×N.
    pub scales: Vec<f32>,
    /// groups×N, of [`GroupScheme::Asymmetric`]; else all are 8, or 128.
    pub zeros: Option<Vec<u8>>,
}

/// Quantizes weights (K×N, any strides) in groups of rows, each with a scale of its own, by rounding to nearest. In f64, for a
/// group of a column with the values w:
///
/// | | scale | zero | code |
/// |---|---|---|---|
/// | symmetric | f32(max\|w\| / h) | h + 1 | clamp(round_half_even(w / scale), -h, h) + h + 1 |
/// | asymmetric | f32((hi - lo) / c) | clamp(round_half_even(-lo / scale), 0, c) | clamp(round_half_even(w / scale) + zero, 0, c) |
///
/// where h is 7 or 127, c is 15 or 255, and [lo, hi] is the range of the values, widened to hold 0. A scale of 0 becomes 1.
///
/// ```
/// use qgemm::{CodeBits, GroupScheme, MatRef, quantize_groups};
///
/// let w = [0.7f32, -0.1, 0.34, 0.0]; // 4 x 1
/// let w = MatRef::row_major(&w, 4, 1)?;
/// let quantized = quantize_groups(w, CodeBits::Four, 32, GroupScheme::Symmetric)?;
/// assert_eq!(quantized.codes, [15, 7, 11, 8]);
/// let b = quantized.pack()?;
/// assert_eq!(b.code(2, 0), Some(11));
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Group`] if the size of groups is wrong, [`Error::NotFinite`] if a value is infinite or NaN,
/// [`Error::QuantizationRange`] if a scale would be infinite, [`Error::Memory`] if there is not enough.
pub fn quantize_groups(
    w: MatRef<'_, f32>,
    bits: CodeBits,
    group: usize,
    scheme: GroupScheme,
) -> Result<QuantizedGroups, Error> {
    let shape = shape(w.rows(), w.cols(), group, bits)?;
    let (k, n, groups) = (shape.k(), shape.n(), shape.groups());
    let mut codes = Vec::new();
    buffer::refill(&mut codes, k * n, 0, PURPOSE)?;
    let mut scales = Vec::new();
    buffer::refill(&mut scales, groups * n, 0.0, PURPOSE)?;
    let mut zeros = Vec::new();
    buffer::refill(&mut zeros, groups * n, 0, PURPOSE)?;
    in_default_float_mode(|| {
        for g in 0..groups_with_columns(&shape) {
            let rows = g * group..g * group + shape.group_len(g);
            for j in 0..n {
                let value = |row: usize| f64::from(*w.get(row, j).expect("it is a row of the matrix"));
                let (mut lo, mut hi) = (0f64, 0f64);
                for row in rows.clone() {
                    let x = value(row);
                    if !x.is_finite() {
                        return Err(Error::NotFinite { argument: "w", row, column: j, got: x as f32 });
                    }
                    (lo, hi) = (lo.min(x), hi.max(x));
                }
                let (max, middle) = (f64::from(bits.max()), f64::from(1 << (bits.bits() - 1)));
                let scale = match scheme {
                    GroupScheme::Symmetric => hi.max(-lo) / (middle - 1.0),
                    GroupScheme::Asymmetric => (hi - lo) / max,
                } as f32;
                let scale = if scale == 0.0 { 1.0 } else { scale };
                if !scale.is_finite() {
                    return Err(Error::QuantizationRange { got: (lo, hi) });
                }
                let rounded = |x: f64| (x / f64::from(scale)).round_ties_even();
                let (zero, least) = match scheme {
                    GroupScheme::Symmetric => (middle, 1.0),
                    GroupScheme::Asymmetric => (rounded(-lo).clamp(0.0, max), 0.0),
                };
                (scales[g * n + j], zeros[g * n + j]) = (scale, zero as u8);
                for row in rows.clone() {
                    codes[row * n + j] = (rounded(value(row)) + zero).clamp(least, max) as u8;
                }
            }
        }
        Ok(())
    })?;
    let zeros = (scheme == GroupScheme::Asymmetric).then_some(zeros);
    Ok(QuantizedGroups { k, n, bits, group, codes, scales, zeros })
}

impl QuantizedGroups {
    /// Packs the weights.
    ///
    /// # Errors
    /// Those of [`GroupwiseBuilder::pack`].
    pub fn pack(&self) -> Result<GroupwiseB, Error> {
        let groups = self.k.div_ceil(self.group.max(1));
        let mut builder: GroupwiseBuilder<'_> = GroupwiseB::builder(self.bits, self.group);
        if let Some(zeros) = &self.zeros {
            builder = builder.zeros(MatRef::row_major(zeros, groups, self.n)?);
        }
        let codes = MatRef::row_major(&self.codes, self.k, self.n)?;
        builder.pack(codes, MatRef::row_major(&self.scales, groups, self.n)?)
    }
}
