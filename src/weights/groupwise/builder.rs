//! Group-wise weights from plain matrices.

use crate::element::ElementType;
use crate::error::{Error, check_shape};
use crate::matrix::operand::Operand;
use crate::weights::groupwise::pack::{GroupSource, pack, shape};
use crate::weights::groupwise::packed::{GroupwiseB, shift};
use crate::weights::groupwise::scales::{GroupScales, PackedScales};
use qgemm_kernels::CodeBits;

/// Describes [`GroupwiseB`]; made by [`GroupwiseB::builder`].
///
/// ```
/// use qgemm::{CodeBits, GroupwiseB, MatRef};
///
/// // A column of 32 rows, codes 0 to 15, in two groups of 16.
/// let codes: Vec<u8> = (0..32).map(|k| k % 16).collect();
/// let scales = [0.5f32, 2.0];
/// let b = GroupwiseB::builder(CodeBits::Four, 16)
///     .pack(MatRef::row_major(&codes, 32, 1)?, MatRef::row_major(&scales, 2, 1)?)?;
/// assert_eq!(b.code(17, 0), Some(1));
/// assert_eq!(b.zero(1, 0), Some(8)); // for 4 bits, if nothing else is said
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GroupwiseBuilder<'a> {
    bits: CodeBits,
    group: usize,
    zeros: ZerosGiven<'a>,
    minimums: Option<GroupScales<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum ZerosGiven<'a> {
    Usual,
    One(i32),
    Each(Operand<'a>),
}

impl GroupwiseB {
    /// Weights of so many bits, in groups of `group` rows: a multiple of 8, such as 32 or 128, or at least K for one group of
    /// all rows. The usual groups are 16, 32, 64, 128 and 256; sums of groups of up to 256 are exact in f32.
    pub fn builder<'a>(bits: CodeBits, group: usize) -> GroupwiseBuilder<'a> {
        GroupwiseBuilder { bits, group, zeros: ZerosGiven::Usual, minimums: None }
    }
}

impl<'a> GroupwiseBuilder<'a> {
    /// One zero point for all codes. Without this and [`zeros`](Self::zeros) it is 0 for codes of `i8`, and for `u8` the
    /// middle: 8 for 4 bits, 128 for 8.
    #[must_use]
    pub fn zero(self, zero: impl Into<i32>) -> Self {
        Self { zeros: ZerosGiven::One(zero.into()), ..self }
    }

    /// A zero point for each group and column: a matrix of groups×N, of the type of the codes and in their range.
    #[must_use]
    pub fn zeros(self, zeros: impl Into<Operand<'a>>) -> Self {
        Self { zeros: ZerosGiven::Each(zeros.into()), ..self }
    }

    /// A real number for each group and column (groups×N) that is added to the values, as in GGUF's `Q4_1`. Codes that are
    /// meant without a zero point besides, as those are, need `zero(0)`.
    #[must_use]
    pub fn minimums(self, minimums: impl Into<GroupScales<'a>>) -> Self {
        Self { minimums: Some(minimums.into()), ..self }
    }

    /// Packs codes (K×N; of 4 bits 0..=15 in `u8` or -8..=7 in `i8`) with their scales (groups×N; any finite numbers).
    ///
    /// A weight that is stored as [N, K], with scales as [N, groups], is packed from transposed views.
    ///
    /// # Errors
    /// [`Error::Group`] if the size of groups is wrong, [`Error::Shape`] if scales, minimums or zero points have another
    /// shape, [`Error::Code`] if a code or zero point is out of its range, [`Error::NotFinite`] if a scale or minimum is,
    /// [`Error::Element`] if zero points are of another type than codes, [`Error::Memory`] if there is not enough,
    /// [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
    pub fn pack<'b>(
        self,
        codes: impl Into<Operand<'b>>,
        scales: impl Into<GroupScales<'b>>,
    ) -> Result<GroupwiseB, Error> {
        let codes = codes.into();
        let (element, bits) = (codes.element, self.bits);
        let shape = shape(codes.rows(), codes.cols(), self.group, bits)?;
        let shift = shift(element, bits);
        let stored = |argument, (row, column), got: i32| {
            let (min, max) = (-shift, i32::from(bits.max()) - shift);
            let found = u8::try_from(got + shift).ok().filter(|code| *code <= bits.max());
            found.ok_or(Error::Code { argument, row, column, got, min, max })
        };
        if let ZerosGiven::Each(zeros) = self.zeros {
            check_shape("zeros", (zeros.rows(), zeros.cols()), (shape.groups(), shape.n()))?;
            if zeros.element != element {
                return Err(Error::Element { argument: "zeros", got: zeros.element, need: element });
            }
        }
        let usual = match element {
            ElementType::I8 => 0,
            ElementType::U8 => 1 << (bits.bits() - 1),
        };
        let (one, each) = match self.zeros {
            ZerosGiven::Usual => (usual, None),
            ZerosGiven::One(zero) => (zero, None),
            ZerosGiven::Each(zeros) => (usual, Some(zeros)),
        };
        // Also where there is no group that would ask for it.
        stored("zero", (0, 0), one)?;
        let source = GroupSource {
            shape,
            element,
            scales: PackedScales::new(scales.into(), &shape, "scales")?,
            minimums: match self.minimums {
                None => None,
                Some(minimums) => Some(PackedScales::new(minimums, &shape, "minimums")?),
            },
            codes: &|rows, j, out| {
                for (k, out) in rows.zip(out) {
                    let code = codes.get(k, j).expect("it is a row and column of the matrix");
                    *out = stored("codes", (k, j), code)?;
                }
                Ok(())
            },
            zeros: &|g, j| match each {
                None => stored("zero", (g, j), one),
                Some(zeros) => stored("zeros", (g, j), zeros.get(g, j).expect("the shape was checked")),
            },
        };
        pack(source)
    }
}
