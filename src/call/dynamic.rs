//! Products of f32 activations, which the call quantizes.

use crate::call::gemm::{Gemm, all_of, shape};
use crate::dispatch::select::Dispatch;
use crate::element::Int8Element;
use crate::engine;
use crate::engine::quantized_a::{self, FloatA, QuantizedA};
use crate::engine::threads::Threads;
use crate::error::{Error, check_length};
use crate::matrix::operand::Operand;
use crate::matrix::view::{MatMut, MatRef};
use crate::output::dequantize::Dequantize;
use crate::output::destination::Destination;
use crate::output::region::Extent;
use crate::output::requantize::Requantize;
use crate::output::scale::{Scale, ScaleOfA};
use crate::product::operands::{FloatLhs, Lhs, Rhs};
use crate::product::zero_point::ZeroPoint;
use crate::product::{Product, accumulator};
use crate::quantize::params::QuantParams;
use crate::quantize::scheme::Scheme;
use crate::trace::{self, Call};
use qgemm_kernels::in_default_float_mode;

/// f32 in, f32 or 8 bits out: A is quantized, multiplied by an 8-bit B, and the exact sums are scaled, in one call.
///
/// ```text
/// q[m,k] = saturate(round_half_even(A[m,k] / s[m]) + z[m])
/// acc    = Σ_k (q[m,k] - z[m]) · (B[k,n] - zb[n])
/// x      = f32(acc) · (s[m] · scale[n])
/// ```
///
/// Every division and product rounds to nearest even, by itself. An output stage makes C from x: a [`Dequantize`] with the
/// scale of B, a [`Requantize`] with that of B over that of the output. Scales per row of the stage, if it has some, are
/// multiplied with s first. The scale s and the zero point z come from each row of A, or from all of it:
///
/// | | q | s | z |
/// |---|---|---|---|
/// | symmetric (default) | i8, -127..=127 | max\|a\| / 127 | 0 |
/// | [`asymmetric`](Self::asymmetric) | u8 | (hi - lo) / 255 | saturate(round_half_even(-lo / s)) |
///
/// where [lo, hi] is the range of the values, widened to hold 0: ONNX DynamicQuantizeLinear. Where the
/// quotient is 0, as for values that are all 0, s is 1.
///
/// ```
/// use qgemm::{Dequantize, DynamicGemm, ElementType, MatMut, MatRef, PackedB};
///
/// let weights = [64i8, -127, 127, 1]; // 2 x 2
/// let b = PackedB::pack_for(MatRef::row_major(&weights, 2, 2)?, ElementType::I8)?;
/// let output = Dequantize::dynamic(&[0.5, 0.25])?.bias(&[1.0, 0.0]); // steps of the columns of B
///
/// let a = [127.0f32, -64.0, 254.0, 2.0]; // 2 x 2, quantized to (127, -64) by 1 and (127, 1) by 2
/// let mut c = [0f32; 4];
/// DynamicGemm::new(MatRef::row_major(&a, 2, 2)?, &b).run_f32(MatMut::row_major(&mut c, 2, 2)?, &output)?;
/// assert_eq!(c, [1.0, -16_193.0 * 0.25, 8255.0 + 1.0, -16_128.0 * 0.5]);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// A may be of [`f16`](crate::half::f16) or [`bf16`](crate::half::bf16) as well: the result is that of an f32 A with the same values.
///
/// B is best packed for [`ElementType::I8`](crate::ElementType::I8) activations, and for
/// [`U8`](crate::ElementType::U8) if they are asymmetric. The quantized A, M·K bytes and 12 to 76 per row, lies in
/// memory that the calling thread keeps (see [`release_thread_memory`](crate::release_thread_memory)); where several taps
/// of a [`GatherF32`](crate::GatherF32) have one scale, the quantized source lies there instead.
#[derive(Clone, Copy, Debug)]
pub struct DynamicGemm<'a> {
    pub(crate) a: FloatLhs<'a>,
    pub(crate) b: Rhs<'a>,
    pub(crate) b_zero: ZeroPoint<'a>,
    pub(crate) scheme: Scheme,
    pub(crate) per_tensor: bool,
    pub(crate) dispatch: Option<&'a Dispatch>,
    pub(crate) threads: Threads<'a>,
}

impl<'a> DynamicGemm<'a> {
    /// The product of `a` (M×K, perhaps a [`GatherF32`](crate::GatherF32)) and `b` (K×N), each row of `a` quantized
    /// symmetrically.
    pub fn new(a: impl Into<FloatLhs<'a>>, b: impl Into<Rhs<'a>>) -> Self {
        let b_zero = ZeroPoint::PerTensor(0);
        Self {
            a: a.into(),
            b: b.into(),
            b_zero,
            scheme: Scheme::Symmetric,
            per_tensor: false,
            dispatch: None,
            threads: Threads::ALL,
        }
    }

    /// Quantizes to u8, with a zero point.
    #[must_use]
    pub fn asymmetric(self) -> Self {
        Self { scheme: Scheme::Asymmetric, ..self }
    }

    /// Quantizes all of A by one scale and zero point; gathered rows by those of all of their source, picked or not.
    #[must_use]
    pub fn per_tensor(self) -> Self {
        Self { per_tensor: true, ..self }
    }

    /// The zero point of B: one, or N of them, one per column.
    #[must_use]
    pub fn b_zero(self, zero: impl Into<ZeroPoint<'a>>) -> Self {
        Self { b_zero: zero.into(), ..self }
    }

    /// The kernels to choose from if B is not packed. A packed B has its own, and ignores these.
    #[must_use]
    pub fn dispatch(self, dispatch: &'a Dispatch) -> Self {
        Self { dispatch: Some(dispatch), ..self }
    }

    /// The threads that may do the work: at most so many, or an engine's own (see [`Threads`]). Without this they are
    /// [`Threads::ALL`]. The result does not depend on them.
    #[must_use]
    pub fn threads(self, threads: impl Into<Threads<'a>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// Stores f32 values, scaled from the exact sums. `output` is made by [`Dequantize::dynamic`].
    ///
    /// # Errors
    /// Those of [`Gemm::run_f32`]; [`Error::NotFinite`] if a value of A is infinite or NaN,
    /// [`Error::QuantizationRange`] if the greatest value less the least is infinite, [`Error::Scale`] or
    /// [`Error::ScaleProduct`] if a scale of A times one of `output` is infinite, and [`Error::Memory`] if there is not
    /// enough for the quantized A. `c` is then left as it was. If `c` is empty, values of A are not read, and no error
    /// depends on them.
    pub fn run_f32<'o>(&self, c: MatMut<'_, f32>, output: impl Into<Dequantize<'o>>) -> Result<(), Error> {
        let all = all_of(&c);
        let mut destination = self.f32_destination(c, &output.into())?;
        self.run(&mut destination, all, self.threads, None)
    }

    /// [`run_f32`](Self::run_f32) that hands back the scales and zero points that it finds: of each row of A, or one for
    /// all of it. They are written if there is no error and `c` is not empty.
    ///
    /// # Errors
    /// Those of [`run_f32`](Self::run_f32), and [`Error::Length`] if `params` has not one value per row (one, for
    /// [`per_tensor`](Self::per_tensor)).
    pub fn run_f32_with_params<'o>(
        &self,
        c: MatMut<'_, f32>,
        output: impl Into<Dequantize<'o>>,
        params: &mut [QuantParams],
    ) -> Result<(), Error> {
        let all = all_of(&c);
        let mut destination = self.f32_destination(c, &output.into())?;
        self.check_params(params)?;
        self.run(&mut destination, all, self.threads, Some(params))
    }

    /// Stores 8-bit values, requantized from the exact sums. `output` is made by [`Requantize::dynamic`].
    ///
    /// # Errors
    /// Those of [`Gemm::run_requantized`], and those of [`run_f32`](Self::run_f32) that depend on A.
    pub fn run_requantized<'o, T: Int8Element>(
        &self,
        c: MatMut<'_, T>,
        output: impl Into<Requantize<'o>>,
    ) -> Result<(), Error> {
        let all = all_of(&c);
        let mut destination = self.bytes_destination(c, &output.into())?;
        self.run(&mut destination, all, self.threads, None)
    }

    /// [`run_requantized`](Self::run_requantized) that hands back what it finds, as
    /// [`run_f32_with_params`](Self::run_f32_with_params) does.
    ///
    /// # Errors
    /// Those of both.
    pub fn run_requantized_with_params<'o, T: Int8Element>(
        &self,
        c: MatMut<'_, T>,
        output: impl Into<Requantize<'o>>,
        params: &mut [QuantParams],
    ) -> Result<(), Error> {
        let all = all_of(&c);
        let mut destination = self.bytes_destination(c, &output.into())?;
        self.check_params(params)?;
        self.run(&mut destination, all, self.threads, Some(params))
    }

    /// An output of f32 values, once all arguments are found to fit each other, whatever A holds.
    pub(crate) fn f32_destination<'c, 'o>(
        &self,
        c: MatMut<'c, f32>,
        output: &Dequantize<'o>,
    ) -> Result<Destination<'c, 'o>, Error> {
        self.check(shape(&c))?;
        output.check(shape(&c), ScaleOfA::Found)?;
        Ok(Destination::F32 { c: c.block, dequant: *output })
    }

    /// An output of 8-bit values, once all arguments are found to fit each other, whatever A holds.
    pub(crate) fn bytes_destination<'c, 'o, T: Int8Element>(
        &self,
        c: MatMut<'c, T>,
        output: &Requantize<'o>,
    ) -> Result<Destination<'c, 'o>, Error> {
        self.check(shape(&c))?;
        let requant = output.for_output(shape(&c), T::TYPE, ScaleOfA::Found)?;
        Ok(Destination::Bytes { c: c.block.into_bits(), requant })
    }

    /// Checks that the operands fit each other and an output of shape `c`, whatever A holds.
    pub(crate) fn check(&self, c: (usize, usize)) -> Result<(), Error> {
        // All zero points within the type bound the sums alike.
        let bits = MatRef::new(&[0], self.a.rows(), self.a.cols(), 0, 0)?;
        let any_a = Operand { bits, element: self.scheme.element() };
        accumulator::check_i64(&self.quantized(any_a, &[]).a_zero(0).product(c)?)
    }

    /// Checks that there is room for the parameters.
    pub(crate) fn check_params(&self, params: &[QuantParams]) -> Result<(), Error> {
        check_length("params", params.len(), if self.per_tensor { 1 } else { self.a.rows() })
    }

    /// Reserves the memory that this thread needs to compute `m` rows of the output alone.
    pub(crate) fn reserve(&self, m: usize, destination: &Destination<'_, '_>) -> Result<(), Error> {
        if m == 0 || self.b.shape().1 == 0 {
            return Ok(());
        }
        quantized_a::with(|quantized| {
            let float_a = self.float_a();
            quantized.reserve(&float_a, m)?;
            // Zero points decide how wide sums are. They will be between those for the widest and for the narrowest.
            for a_zero in [0, 128] {
                let gemm = self.quantized(quantized.lhs(&float_a, 0..m)?, &[]).a_zero(a_zero);
                engine::run::reserve(&Product::checked_before(&gemm.arguments), 0..m, destination)?;
            }
            Ok(())
        })?
    }

    fn float_a(&self) -> FloatA<'a> {
        FloatA { a: self.a, scheme: self.scheme, per_tensor: self.per_tensor }
    }

    /// Computes a part of the output. `destination` holds that part only, and its stage is for the whole output.
    pub(crate) fn run(
        &self,
        destination: &mut Destination<'_, '_>,
        extent: Extent,
        threads: Threads<'_>,
        params: Option<&mut [QuantParams]>,
    ) -> Result<(), Error> {
        if extent.rows.is_empty() || extent.columns.is_empty() {
            return Ok(());
        }
        quantized_a::with(|quantized| {
            let rows = extent.rows.clone();
            let mut quantize = || quantized.fill(&self.float_a(), rows.clone(), self.b.shape().1, threads);
            if trace::is_silent() || !trace::is_heard()? {
                quantize()?;
            } else {
                trace::tell(self.quantization(rows.len()), quantize)?;
            }
            let scale = destination.scale().of_rows(rows.clone());
            in_default_float_mode(|| quantized.multiply_scales(scale)).map_err(|e| e.below(rows.start))?;
            self.run_quantized(quantized, scale, destination, extent, threads)?;
            if let Some(params) = params {
                params.iter_mut().zip(quantized.params()).for_each(|(given, found)| *given = found);
            }
            Ok(())
        })?
    }

    /// The quantization of some rows of A, in words.
    fn quantization(&self, rows: usize) -> Call {
        let per = if self.per_tensor { "tensor" } else { "row" };
        Call {
            kind: "quantize",
            a: format!("f32 {rows}x{}", self.a.cols()),
            b: String::new(),
            c: format!("{} {rows}x{}", self.scheme.element(), self.a.cols()),
            stage: format!("one scale per {per}"),
            kernel: "",
            blocks: String::new(),
            threads: None,
        }
    }

    /// Multiplies rows that were quantized, and whose scales times `scale` were found finite.
    fn run_quantized(
        &self,
        quantized: &QuantizedA,
        scale: Scale<'_>,
        destination: &mut Destination<'_, '_>,
        extent: Extent,
        threads: Threads<'_>,
    ) -> Result<(), Error> {
        let (first, m) = (extent.rows.start, extent.rows.len());
        let mut part = destination.with_scale(quantized.scale(scale), extent.rows.clone())?;
        let float_a = self.float_a();
        let gemm = self.quantized(quantized.lhs(&float_a, extent.rows)?, quantized.zeros());
        let product = Product::checked_before(&gemm.arguments);
        debug_assert!(first + m <= self.a.rows() && product.m == m);
        engine::run::run(&product, Extent { rows: 0..m, columns: extent.columns }, &mut part, threads)
    }

    /// The product of a quantized A, whose rows have the given zero points.
    pub(crate) fn quantized<'q>(&'q self, a: impl Into<Lhs<'q>>, zeros: &'q [i32]) -> Gemm<'q> {
        let mut gemm = Gemm::new(a, self.b).b_zero(self.b_zero);
        gemm.arguments.dispatch = self.dispatch;
        match self.scheme {
            Scheme::Symmetric => gemm,
            Scheme::Asymmetric if self.per_tensor => gemm.a_zero(zeros.first().copied().unwrap_or(0)),
            Scheme::Asymmetric => gemm.a_zero(zeros),
        }
    }
}
