//! The network with weights of 4 bits, for f32 activations.
//!
//! ```text
//! images f32 -> [W1 + b1, ReLU] -> f32 -> [W2 + b2, ReLU] -> f32 -> [W3 + b3] -> logits f32
//! ```
//!
//! Weights have a scale per column and group of 32 rows. Nothing is calibrated: each layer quantizes its inputs itself,
//! with a scale for each row and group.

use crate::network::Digits;
use ndarray::{Array1, Array2};
use qgemm::{
    CodeBits, Dequantize, Dispatch, Error, GroupScheme, GroupwiseB, GroupwiseGemm, MatMut, MatRef,
    quantize_groups,
};

/// The rows of a group.
pub const GROUP: usize = 32;

/// The network in 4 bits.
pub struct FourBitNetwork {
    layers: [Layer; 3],
}

struct Layer {
    weights: GroupwiseB,
    bias: Vec<f32>,
}

/// The outputs of all layers for a batch of images, allocated once.
pub struct FloatBuffers {
    images: usize,
    h1: Vec<f32>,
    h2: Vec<f32>,
    /// The output of the network, a row per image.
    pub logits: Vec<f32>,
}

impl FourBitNetwork {
    /// Quantizes the network for the group-wise kernel of `dispatch`.
    pub fn quantize(digits: &Digits, dispatch: &Dispatch) -> Result<Self, Error> {
        let [l1, l2, l3] = digits.layers();
        let layers =
            [Layer::quantize(dispatch, l1)?, Layer::quantize(dispatch, l2)?, Layer::quantize(dispatch, l3)?];
        Ok(Self { layers })
    }

    /// Buffers for batches of `images` images.
    pub fn buffers(&self, images: usize) -> FloatBuffers {
        let [h1, h2, logits] = self.layers.each_ref().map(|layer| vec![0.0; images * layer.weights.n()]);
        FloatBuffers { images, h1, h2, logits }
    }

    /// Runs all layers on the pixels of a batch, given as floats; the result is `buffers.logits`.
    pub fn forward(&self, pixels: &[f32], buffers: &mut FloatBuffers) -> Result<(), Error> {
        let FloatBuffers { images, h1, h2, logits } = buffers;
        let [l1, l2, l3] = &self.layers;
        l1.run(pixels, *images, h1, Dequantize::relu)?;
        l2.run(h1, *images, h2, Dequantize::relu)?;
        l3.run(h2, *images, logits, |output| output)
    }
}

impl Layer {
    fn quantize(dispatch: &Dispatch, (w, b): &(Array2<f32>, Array1<f32>)) -> Result<Self, Error> {
        let (k, n) = w.dim();
        let w: Vec<f32> = w.iter().copied().collect();
        let w = MatRef::row_major(&w, k, n)?;
        let weights = quantize_groups(w, CodeBits::Four, GROUP, GroupScheme::Symmetric)?.pack()?;
        Ok(Self { weights: weights.with_dispatch(dispatch), bias: b.to_vec() })
    }

    /// Runs the layer on `m` rows of inputs. `finish` adds a ReLU to its output, or nothing.
    fn run<'a>(
        &'a self,
        x: &[f32],
        m: usize,
        y: &mut [f32],
        finish: impl Fn(Dequantize<'a>) -> Dequantize<'a>,
    ) -> Result<(), Error> {
        let output = finish(Dequantize::groupwise().bias(&self.bias));
        let x = MatRef::row_major(x, m, self.weights.k())?;
        GroupwiseGemm::new(x, &self.weights).run_f32(MatMut::row_major(y, m, self.weights.n())?, output)
    }
}
