//! Products with group-wise weights.

use crate::call::gemm::{all_of, shape};
use crate::engine::groupwise;
use crate::engine::threads::Threads;
use crate::error::Error;
use crate::matrix::view::MatMut;
use crate::output::dequantize::Dequantize;
use crate::output::destination::Destination;
use crate::output::region::Extent;
use crate::output::scale::ScaleOfA;
use crate::product::groupwise::{Activations, GroupLhs, GroupProduct};
use crate::product::operands::{FloatLhs, Lhs};
use crate::product::zero_point::ZeroPoint;
use crate::weights::groupwise::packed::GroupwiseB;

/// f32 or 8-bit activations times weights of 4 or 8 bits with a scale per column and group of k, to f32.
///
/// ```text
/// q[m,k]   = A[m,k], or of an f32 A: saturate(round_half_even(A[m,k] / s) + z)
/// s[m,n,g] = Σ_{k in g} (q[m,k] - z[m]) · (code[k,n] - zero[g,n])                        exact
/// acc      = 0;  for g ascending: acc = fma(f32(s[m,n,g]), t, acc)                       one rounding
///            with minimums also:  acc = fma(f32(Σ_{k in g} (q[m,k] - z[m])), u, acc)
/// x        = acc · (s[m] · scale)                                   s[m] where rows have scales that the call found
/// ```
///
/// t is `scale[g,n]`, and u `minimum[g,n]`; where each group of a row has its own scale s, they are `f32(s · scale[g,n])` and
/// `f32(s · minimum[g,n])`. Groups are added in their order, so that the result is the same on every CPU, for every number
/// of rows and threads. An output stage makes C from x as elsewhere: its scale comes on top of those of the weights, and is
/// 1 for [`Dequantize::groupwise`]. Results that overflow are infinite; a NaN has the bits 0x7fc00000.
///
/// ```
/// use qgemm::{CodeBits, Dequantize, GroupScheme, GroupwiseGemm, MatMut, MatRef, quantize_groups};
///
/// // A layer of 64 inputs and 2 outputs, its weights to 4 bits in groups of 32.
/// let w: Vec<f32> = (0..64 * 2).map(|i| (i as f32 * 0.37).sin()).collect();
/// let w = MatRef::row_major(&w, 64, 2)?;
/// let b = quantize_groups(w, CodeBits::Four, 32, GroupScheme::Symmetric)?.pack()?;
///
/// let a: Vec<f32> = (0..3 * 64).map(|i| (i as f32 * 0.11).cos()).collect();
/// let a = MatRef::row_major(&a, 3, 64)?;
/// let (mut c, bias) = ([0f32; 6], [0.5, -0.5]);
/// let output = Dequantize::groupwise().bias(&bias).relu();
/// GroupwiseGemm::new(a, &b).run_f32(MatMut::row_major(&mut c, 3, 2)?, &output)?;
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GroupwiseGemm<'a> {
    pub(crate) product: GroupProduct<'a>,
    pub(crate) threads: Threads<'a>,
}

impl<'a> GroupwiseGemm<'a> {
    /// The product of f32 activations (M×K, perhaps a [`GatherF32`](crate::GatherF32), or of 16-bit floats), which the call quantizes with a scale
    /// for each row and group, and `b` (K×N).
    pub fn new(a: impl Into<FloatLhs<'a>>, b: &'a GroupwiseB) -> Self {
        let a = GroupLhs::Float { a: a.into(), activations: Activations::default() };
        Self { product: GroupProduct { a, b }, threads: Threads::ALL }
    }

    /// The product of activations of 8 bits (M×K, perhaps a [`Gather`](crate::Gather)) and `b` (K×N). Their scales are given
    /// in the output stage: one, or one per row.
    pub fn quantized(a: impl Into<Lhs<'a>>, b: &'a GroupwiseB) -> Self {
        let a = GroupLhs::Quantized { a: a.into(), zero: ZeroPoint::PerTensor(0) };
        Self { product: GroupProduct { a, b }, threads: Threads::ALL }
    }

    /// The way in which f32 activations are quantized. Those of 8 bits are taken as they are.
    #[must_use]
    pub fn activations(mut self, activations: Activations) -> Self {
        if let GroupLhs::Float { activations: old, .. } = &mut self.product.a {
            *old = activations;
        }
        self
    }

    /// The zero point of activations of 8 bits: one, or one per row, values of their type. Those of f32 activations are found
    /// by the call.
    #[must_use]
    pub fn a_zero(mut self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        if let GroupLhs::Quantized { zero: old, .. } = &mut self.product.a {
            *old = zero.into();
        }
        self
    }

    /// The threads that may do the work: at most so many, or an engine's own (see [`Threads`]). Without this they are
    /// [`Threads::ALL`]. The result does not depend on them.
    #[must_use]
    pub fn threads(self, threads: impl Into<Threads<'a>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// Stores f32 values. `output` is [`Dequantize::groupwise`], or made by [`Dequantize::dynamic`] with a further scale; for
    /// activations of 8 bits it is made by [`Dequantize::new`] with their scale.
    ///
    /// # Errors
    /// [`Error::InnerDimension`], [`Error::OutputShape`], [`Error::Shape`], [`Error::Length`] if sizes do not fit each other;
    /// [`Error::ScaleOfA`] if the stage is for the other kind of activations; [`Error::FloatClamp`]; [`Error::Range`] if a
    /// zero point is no value of A's type; [`Error::NotFinite`] if a value of an f32 A is infinite or NaN,
    /// [`Error::QuantizationRange`] if the greatest value less the least is infinite; [`Error::Scale`] if the scale of a row
    /// times that of `output` is; [`Error::Memory`] if there is not enough; [`Error::Variable`] if `QGEMM_VERBOSE` is wrong. `c` is
    /// then left as it was. If `c` is empty, values of A are not read.
    pub fn run_f32<'o>(&self, c: MatMut<'_, f32>, output: impl Into<Dequantize<'o>>) -> Result<(), Error> {
        let (all, output) = (all_of(&c), output.into());
        self.check(shape(&c), &output)?;
        groupwise::run::run(&self.product, all, c.block, &output, self.threads)
    }

    /// Checks that all arguments fit each other, whatever A holds.
    pub(crate) fn check(&self, c: (usize, usize), output: &Dequantize<'_>) -> Result<(), Error> {
        self.product.check(c)?;
        let expected = match self.product.a {
            GroupLhs::Float { .. } => ScaleOfA::Found,
            GroupLhs::Quantized { .. } => ScaleOfA::Included,
        };
        output.check(c, expected)
    }

    /// Computes a part of the output. `destination` holds that part only, and its stage is for the whole output.
    pub(crate) fn run(
        &self,
        destination: &mut Destination<'_, '_>,
        extent: Extent,
        threads: Threads<'_>,
    ) -> Result<(), Error> {
        let Destination::F32 { c, dequant } = destination else {
            unreachable!("it was made with f32 values")
        };
        groupwise::run::run(&self.product, extent, c.reborrow(), dequant, threads)
    }
}
