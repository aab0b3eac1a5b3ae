//! A linear layer that runs: packed weights, and stages that were checked when it was built.

use crate::call::dynamic::DynamicGemm;
use crate::call::gemm::Gemm;
use crate::element::{ElementType, Int8Element};
use crate::engine::threads::Threads;
use crate::error::Error;
use crate::matrix::view::MatMut;
use crate::output::owned::{OwnedDequantize, OwnedRequantize};
use crate::product::operands::{FloatLhs, Lhs};
use crate::weights::packed::PackedB;
use std::fmt;

/// A linear layer, `y = activation(x · W + bias)`, whose weights are 8-bit and packed once.
///
/// x is M×K (any number of rows, K input features), W is K×N, y is M×N. Float weights are quantized symmetrically, one
/// scale per output feature ([`quantize_columns`](crate::quantize_columns)). A layer runs in up to three ways:
///
/// | method | x | y | what it calls |
/// |---|---|---|---|
/// | [`run_dynamic`](Self::run_dynamic) | f32, quantized by the call | f32 | [`DynamicGemm::run_f32`] |
/// | [`run_f32`](Self::run_f32) | u8 or i8, with [`input`](crate::LinearBuilder::input) | f32 | [`Gemm::run_f32`] |
/// | [`run_requantized`](Self::run_requantized) | u8 or i8, with `input` | u8 or i8, with [`output`](crate::LinearBuilder::output) | [`Gemm::run_requantized`] |
///
/// It owns all it needs, and threads may share it, in an [`Arc`](std::sync::Arc) for example. A clone copies the weights.
///
/// ```
/// use qgemm::{Linear, MatMut, MatRef, QuantParams, quantize};
///
/// // The weight of a PyTorch Linear(3, 2): [out, in].
/// let weight = [0.5f32, -1.0, 0.25, 2.0, 0.0, -0.5];
/// let input = QuantParams::from_range(-1.0f32, 2.0f32, 0, 255)?; // measured on samples
/// let layer = Linear::out_in(MatRef::row_major(&weight, 2, 3)?)
///     .bias(&[0.1, -0.2])
///     .relu()
///     .input::<u8>(input)
///     .build()?;
///
/// let x = [1.0f32, 0.5, -1.0, 0.0, 2.0, 1.0]; // two rows
/// let mut y = [0.0; 4];
/// layer.run_dynamic(MatRef::row_major(&x, 2, 3)?, MatMut::row_major(&mut y, 2, 2)?)?;
/// let float = [0.0, 2.3, 0.0, 0.0]; // relu of -0.15, 2.3, -1.65 and -0.7
/// assert!(y.iter().zip(float).all(|(y, float)| (y - float).abs() < 0.02));
///
/// let mut xq = [0u8; 6];
/// quantize(&x, input, &mut xq)?;
/// layer.run_f32(MatRef::row_major(&xq, 2, 3)?, MatMut::row_major(&mut y, 2, 2)?)?;
/// assert!(y.iter().zip(float).all(|(y, float)| (y - float).abs() < 0.02));
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone)]
pub struct Linear {
    pub(super) weights: PackedB,
    pub(super) weight_scales: Vec<f32>,
    pub(super) asymmetric: bool,
    pub(super) per_tensor: bool,
    pub(super) dynamic: OwnedDequantize,
    pub(super) input: Option<Static>,
    pub(super) threads: Threads<'static>,
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the scales and biases, of which there may be thousands.
        f.debug_struct("Linear")
            .field("weights", &self.weights)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// The stages for 8-bit inputs.
#[derive(Clone)]
pub(super) struct Static {
    pub(super) element: ElementType,
    pub(super) zero_point: i32,
    pub(super) to_f32: OwnedDequantize,
    pub(super) to_bytes: Option<ToBytes>,
}

/// The stage to 8-bit outputs.
#[derive(Clone)]
pub(super) struct ToBytes {
    pub(super) element: ElementType,
    pub(super) bias: Option<Vec<i32>>,
    pub(super) stage: OwnedRequantize,
}

impl Linear {
    /// K: the features of the input.
    pub fn in_features(&self) -> usize {
        self.weights.k()
    }

    /// N: the features of the output.
    pub fn out_features(&self) -> usize {
        self.weights.n()
    }

    /// The packed weights.
    pub fn weights(&self) -> &PackedB {
        &self.weights
    }

    /// The scale of each column of the weights.
    pub fn weight_scales(&self) -> &[f32] {
        &self.weight_scales
    }

    /// The layer, on other threads: at most so many, say (see [`Threads`]).
    #[must_use]
    pub fn threads(self, threads: impl Into<Threads<'static>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// f32 to f32: each row of x is quantized by the call, or all of it, as the builder said.
    ///
    /// # Errors
    /// Those of [`DynamicGemm::run_f32`]; `y` is then as it was.
    pub fn run_dynamic<'x>(&self, x: impl Into<FloatLhs<'x>>, y: MatMut<'_, f32>) -> Result<(), Error> {
        let x: FloatLhs<'_> = x.into();
        let gemm = DynamicGemm::new(x, &self.weights).threads(self.threads);
        let gemm = if self.asymmetric { gemm.asymmetric() } else { gemm };
        let gemm = if self.per_tensor { gemm.per_tensor() } else { gemm };
        gemm.run_f32(y, &self.dynamic)
    }

    /// 8 bits to f32, for an x quantized with the parameters given as [`input`](crate::LinearBuilder::input).
    ///
    /// # Errors
    /// [`Error::Missing`] if none were given, [`Error::Element`] if x has another type; those of [`Gemm::run_f32`]. `y` is
    /// then as it was.
    pub fn run_f32<'x>(&self, x: impl Into<Lhs<'x>>, y: MatMut<'_, f32>) -> Result<(), Error> {
        let (gemm, input) = self.product(x.into(), "Linear::run_f32")?;
        gemm.run_f32(y, &input.to_f32)
    }

    /// 8 bits to 8 bits, for an x quantized with the parameters given as [`input`](crate::LinearBuilder::input); y has those given
    /// as [`output`](crate::LinearBuilder::output).
    ///
    /// # Errors
    /// [`Error::Missing`] if either was not given, [`Error::Element`] if x or y has another type; those of
    /// [`Gemm::run_requantized`]. `y` is then as it was.
    pub fn run_requantized<'x, T: Int8Element>(
        &self,
        x: impl Into<Lhs<'x>>,
        y: MatMut<'_, T>,
    ) -> Result<(), Error> {
        const CALL: &str = "Linear::run_requantized";
        let (gemm, input) = self.product(x.into(), CALL)?;
        let missing = Error::Missing { argument: "output", needed_by: CALL };
        let ToBytes { element, bias, stage } = input.to_bytes.as_ref().ok_or(missing)?;
        if T::TYPE != *element {
            return Err(Error::Element { argument: "y", got: T::TYPE, need: *element });
        }
        let gemm = bias.as_ref().map_or(gemm, |bias| gemm.bias(bias));
        gemm.run_requantized(y, stage)
    }

    /// The product of an 8-bit x, and its stages.
    fn product<'s>(&'s self, x: Lhs<'s>, needed_by: &'static str) -> Result<(Gemm<'s>, &'s Static), Error> {
        let input = self.input.as_ref().ok_or(Error::Missing { argument: "input", needed_by })?;
        if x.element_type() != input.element {
            return Err(Error::Element { argument: "x", got: x.element_type(), need: input.element });
        }
        let gemm = Gemm::new(x, &self.weights).a_zero(input.zero_point);
        Ok((gemm.threads(self.threads), input))
    }
}
