//! The description of a linear layer, and what is made of it: quantized and packed weights, quantized biases, stages.

use crate::buffer;
use crate::call::linear::layer::{Linear, Static, ToBytes};
use crate::element::{ElementType, Int8Element};
use crate::engine::threads::Threads;
use crate::error::{Error, check_length};
use crate::matrix::operand::Operand;
use crate::matrix::view::{MatMut, MatRef};
use crate::one_or_each::OneOrEach;
use crate::output::activation::Activation;
use crate::output::dequantize::Dequantize;
use crate::output::owned::OwnedDequantize;
use crate::output::requantize::Requantize;
use crate::output::table::Table;
use crate::quantize::bias::quantize_bias;
use crate::quantize::checks::all_positive;
use crate::quantize::params::QuantParams;
use crate::quantize::per_channel::{quantize_columns, quantize_rows};
use crate::quantize::scales::{product_scales, requantize_scales};
use crate::weights::packed::PackedB;
use qgemm_kernels::in_default_float_mode;

/// A [`Linear`] that is being described. [`build`](Self::build) makes it, and checks everything.
#[derive(Clone, Debug)]
#[must_use]
pub struct LinearBuilder<'a> {
    weights: Weights<'a>,
    bias: Option<&'a [f32]>,
    clamp: Clamp,
    activation: Option<Activation>,
    input: Option<(ElementType, QuantParams)>,
    output: Option<(ElementType, QuantParams)>,
    before_activation: Option<QuantParams>,
    asymmetric: bool,
    per_tensor: bool,
    threads: Threads<'static>,
}

/// Weights as they are given: K×N, or N×K.
#[derive(Clone, Debug)]
enum Weights<'a> {
    InOut(MatRef<'a, f32>),
    OutIn(MatRef<'a, f32>),
    /// K×N, with the scales of columns.
    Quantized(Operand<'a>, OneOrEach<'a, f32>),
}

#[derive(Clone, Copy, Debug)]
enum Clamp {
    None,
    Relu,
    Relu6,
}

impl Linear {
    /// A layer of float weights of N rows and K columns, \[out, in\]: the weight of PyTorch's `Linear`.
    pub fn out_in(weight: MatRef<'_, f32>) -> LinearBuilder<'_> {
        LinearBuilder::new(Weights::OutIn(weight))
    }

    /// A layer of float weights of K rows and N columns, \[in, out\]: the weight of TensorFlow's `Dense`, and of ONNX MatMul.
    pub fn in_out(weight: MatRef<'_, f32>) -> LinearBuilder<'_> {
        LinearBuilder::new(Weights::InOut(weight))
    }

    /// A layer of 8-bit weights of N rows and K columns, \[out, in\], without zero points, and their scales: one, or one
    /// per row.
    pub fn out_in_quantized<'a>(
        weight: impl Into<Operand<'a>>,
        scales: impl Into<OneOrEach<'a, f32>>,
    ) -> LinearBuilder<'a> {
        let Operand { bits, element } = weight.into();
        let transposed = Operand { bits: bits.transpose(), element };
        LinearBuilder::new(Weights::Quantized(transposed, scales.into()))
    }

    /// A layer of 8-bit weights of K rows and N columns, \[in, out\], without zero points, and their scales: one, or one per
    /// column.
    pub fn in_out_quantized<'a>(
        weight: impl Into<Operand<'a>>,
        scales: impl Into<OneOrEach<'a, f32>>,
    ) -> LinearBuilder<'a> {
        LinearBuilder::new(Weights::Quantized(weight.into(), scales.into()))
    }
}

impl<'a> LinearBuilder<'a> {
    fn new(weights: Weights<'a>) -> Self {
        Self {
            weights,
            bias: None,
            clamp: Clamp::None,
            activation: None,
            input: None,
            output: None,
            before_activation: None,
            asymmetric: false,
            per_tensor: false,
            threads: Threads::ALL,
        }
    }

    /// N values that are added to the products, as real numbers. For 8-bit outputs they are rounded to i32 in the scale of
    /// the sums ([`quantize_bias`]).
    pub fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Limits the output to real numbers from 0 on.
    pub fn relu(self) -> Self {
        Self { clamp: Clamp::Relu, ..self }
    }

    /// Limits the output to the real numbers 0 to 6.
    pub fn relu6(self) -> Self {
        Self { clamp: Clamp::Relu6, ..self }
    }

    /// A function of each output. For 8-bit outputs it is a table of the 256 values that the product may take before it,
    /// with the parameters that [`before_activation`](Self::before_activation) gives.
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// The type and the parameters of 8-bit inputs.
    pub fn input<T: Int8Element>(self, params: QuantParams) -> Self {
        Self { input: Some((T::TYPE, params)), ..self }
    }

    /// The type and the parameters of 8-bit outputs.
    pub fn output<T: Int8Element>(self, params: QuantParams) -> Self {
        Self { output: Some((T::TYPE, params)), ..self }
    }

    /// The parameters of 8-bit values before the [`activation`](Self::activation), of the type of the output: the range of
    /// `x · W + bias`, measured like that of the output.
    pub fn before_activation(self, params: QuantParams) -> Self {
        Self { before_activation: Some(params), ..self }
    }

    /// [`run_dynamic`](Linear::run_dynamic) quantizes x to u8, with zero points.
    pub fn asymmetric(self) -> Self {
        Self { asymmetric: true, ..self }
    }

    /// [`run_dynamic`](Linear::run_dynamic) quantizes all rows of x by one scale.
    pub fn per_tensor(self) -> Self {
        Self { per_tensor: true, ..self }
    }

    /// The threads that calls may use (see [`Threads`]).
    pub fn threads(self, threads: impl Into<Threads<'static>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// Quantizes the weights, unless they are, and packs them; quantizes the bias; checks everything.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a weight is infinite or NaN, [`Error::Length`] if there is not one scale or bias per output
    /// feature, [`Error::Scale`] if a scale of weights, input or output is not finite and positive or a product of them
    /// is not, [`Error::Bias`] if a bias does not fit i32, [`Error::Range`] if the zero point of the output is beyond
    /// ±2^21, [`Error::Missing`] if there is an output without an input, or an activation without the parameters before it,
    /// and those of [`PackedB::pack`].
    pub fn build(self) -> Result<Linear, Error> {
        let activations = match self.input {
            Some((element, _)) => element,
            None if self.asymmetric => ElementType::U8,
            None => ElementType::I8,
        };
        let (weights, weight_scales) = self.weights.pack(activations)?;
        let n = weights.n();
        self.bias.map_or(Ok(()), |bias| check_length("bias", bias.len(), n))?;
        let dynamic = self.float_stage(Dequantize::dynamic(&weight_scales)?)?;
        let input = match self.input {
            Some(input) => Some(self.static_stages(input, &weight_scales)?),
            None if self.output.is_some() => {
                return Err(Error::Missing { argument: "input", needed_by: "an 8-bit output" });
            }
            None => None,
        };
        let Self { asymmetric, per_tensor, threads, .. } = self;
        Ok(Linear { weights, weight_scales, asymmetric, per_tensor, dynamic, input, threads })
    }

    fn float_stage(&self, scaled: Dequantize<'_>) -> Result<OwnedDequantize, Error> {
        let stage = self.bias.map_or(scaled, |bias| scaled.bias(bias));
        let stage = match self.clamp {
            Clamp::None => stage,
            Clamp::Relu => stage.relu(),
            Clamp::Relu6 => stage.relu6(),
        };
        self.activation.map_or(stage, |activation| stage.activation(activation)).into_owned()
    }

    fn static_stages(
        &self,
        (element, params): (ElementType, QuantParams),
        weight_scales: &[f32],
    ) -> Result<Static, Error> {
        let mut scales = zeros(weight_scales.len())?;
        product_scales(params.scale, weight_scales, &mut scales)?;
        let to_f32 = self.float_stage(Dequantize::new(&scales)?)?;
        let to_bytes = match self.output {
            Some((ElementType::I8, output)) => {
                Some(self.bytes_stage::<i8>(params.scale, output, weight_scales)?)
            }
            Some((ElementType::U8, output)) => {
                Some(self.bytes_stage::<u8>(params.scale, output, weight_scales)?)
            }
            None => None,
        };
        Ok(Static { element, zero_point: params.zero_point, to_f32, to_bytes })
    }

    fn bytes_stage<T: Int8Element>(
        &self,
        input_scale: f32,
        output: QuantParams,
        weight_scales: &[f32],
    ) -> Result<ToBytes, Error> {
        let needed_by = "an activation to 8 bits";
        let (stored, table) = match (self.activation, self.before_activation) {
            (None, _) => (output, None),
            (Some(_), None) => return Err(Error::Missing { argument: "before_activation", needed_by }),
            (Some(activation), Some(before)) => {
                (before, Some(Table::<T>::activation(activation, before, output)?))
            }
        };
        let mut scales = zeros(weight_scales.len())?;
        requantize_scales(input_scale, weight_scales, stored.scale, &mut scales)?;
        let stage = Requantize::new(&scales, stored.zero_point)?;
        let stage = match self.clamp {
            Clamp::None => stage,
            Clamp::Relu => stage.relu(),
            Clamp::Relu6 => stage.relu6(stored.scale)?,
        };
        let stage = table.as_ref().map_or(stage, |table| stage.table(table)).into_owned()?;
        let bias = match self.bias {
            None => None,
            Some(bias) => {
                let mut sums = zeros(bias.len())?;
                quantize_bias(bias, input_scale, weight_scales, &mut sums)?;
                Some(sums)
            }
        };
        Ok(ToBytes { element: T::TYPE, bias, stage })
    }
}

impl Weights<'_> {
    /// The packed weights, and the scale of each column.
    fn pack(&self, activations: ElementType) -> Result<(PackedB, Vec<f32>), Error> {
        match self {
            Weights::InOut(w) => {
                let (k, n) = (w.rows(), w.cols());
                let (mut q, mut scales) = (zeros(k.saturating_mul(n))?, zeros(n)?);
                quantize_columns(*w, MatMut::row_major(&mut q, k, n)?, &mut scales)?;
                Ok((PackedB::pack_for(MatRef::row_major(&q, k, n)?, activations)?, scales))
            }
            Weights::OutIn(w) => {
                let (n, k) = (w.rows(), w.cols());
                let (mut q, mut scales) = (zeros(k.saturating_mul(n))?, zeros(n)?);
                quantize_rows(*w, MatMut::row_major(&mut q, n, k)?, &mut scales)?;
                Ok((PackedB::pack_for(MatRef::row_major(&q, n, k)?.transpose(), activations)?, scales))
            }
            Weights::Quantized(w, scales) => {
                let n = w.cols();
                scales.check_len("scales", n)?;
                in_default_float_mode(|| all_positive("scales", scales.values()))?;
                let mut each = zeros(n)?;
                (0..n).zip(&mut each).for_each(|(j, each)| *each = scales.at(j));
                Ok((PackedB::pack_for(*w, activations)?, each))
            }
        }
    }
}

/// # Errors
/// [`Error::Memory`] if there is not enough.
fn zeros<T: Copy + Default>(len: usize) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    buffer::refill(&mut values, len, T::default(), "layer")?;
    Ok(values)
}
