//! A small trained network, in float and quantized to int8, as a framework would do it with the library.
//!
//! ```text
//! images u8 -> [W1 + b1, ReLU] -> u8 -> [W2 + b2, ReLU] -> u8 -> [W3 + b3] -> logits i8
//! ```
//!
//! Weights are i8, symmetric, with a scale per column. Activations are u8 with one scale per layer, from the range
//! that the float network has on the training images. Each layer is one call: product, bias, requantization and ReLU
//! (a clamp) are fused.
//!
//! The example `digits` and the command `qgemm digits` compile this file.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use qgemm::{Dispatch, ElementType, Error, Gemm, MatMut, MatRef, PackedB, QuantParams, Requantize};
use std::io;

/// The number of images for training and calibration, which come first. The others are held out.
const TRAINING: usize = 898;
/// The scale of pixels: the integers 0 to 16 stand for 0 to 1.
const PIXEL_SCALE: f32 = 1.0 / 16.0;

/// The float network and the images.
pub struct Digits {
    /// A row of 64 pixels per image.
    images: Array2<u8>,
    labels: Array1<u8>,
    /// Weights (K×N, inputs by outputs) and biases (N) of each layer.
    layers: [(Array2<f32>, Array1<f32>); 3],
}

macro_rules! load {
    ($file:literal) => {
        array(include_bytes!(concat!("data/", $file)))
    };
}

fn dequantize_pixels(pixels: ArrayView2<'_, u8>) -> Array2<f32> {
    pixels.mapv(|pixel| f32::from(pixel) * PIXEL_SCALE)
}

/// Reads a `.npy` file; a vector becomes a matrix of one row.
fn array<T: npyz::Deserialize>(file: &[u8]) -> io::Result<Array2<T>> {
    let file = npyz::NpyFile::new(file)?;
    let shape = match *file.shape() {
        [len] => (1, len as usize),
        [rows, cols] => (rows as usize, cols as usize),
        _ => return Err(io::Error::other("not a matrix")),
    };
    Array2::from_shape_vec(shape, file.into_vec()?).map_err(io::Error::other)
}

impl Digits {
    /// Loads the files that are compiled into the program.
    pub fn load() -> io::Result<Self> {
        let vector = |file: io::Result<Array2<f32>>| Ok::<_, io::Error>(file?.remove_axis(Axis(0)));
        Ok(Self {
            images: load!("images.npy")?,
            labels: load!("labels.npy")?.remove_axis(Axis(0)),
            layers: [
                (load!("w1.npy")?, vector(load!("b1.npy"))?),
                (load!("w2.npy")?, vector(load!("b2.npy"))?),
                (load!("w3.npy")?, vector(load!("b3.npy"))?),
            ],
        })
    }

    /// The float weights (K×N, inputs by outputs) and biases (N) of each layer.
    pub fn layers(&self) -> &[(Array2<f32>, Array1<f32>); 3] {
        &self.layers
    }

    /// The training images and the held-out ones.
    fn halves(&self) -> (ArrayView2<'_, u8>, ArrayView2<'_, u8>) {
        self.images.view().split_at(Axis(0), TRAINING)
    }

    /// The pixels of the held-out images, row by row.
    pub fn held_out(&self) -> Vec<u8> {
        self.halves().1.iter().copied().collect()
    }

    /// The pixels of the held-out images as floats, a row per image.
    pub fn held_out_floats(&self) -> Array2<f32> {
        dequantize_pixels(self.halves().1)
    }

    /// The number of held-out images whose greatest logit is that of their label. `logits` has a row per image.
    pub fn correct<T: Copy + PartialOrd>(&self, logits: &[T]) -> usize {
        let classes = self.layers[2].1.len();
        let best = |row: &[T]| (1..classes).fold(0, |best, j| if row[j] > row[best] { j } else { best });
        let pairs = logits.chunks_exact(classes).zip(self.labels.iter().skip(TRAINING));
        pairs.filter(|(row, label)| best(row) == usize::from(**label)).count()
    }

    /// The float network: the outputs of all three layers.
    pub fn forward(&self, x: &Array2<f32>) -> [Array2<f32>; 3] {
        let [(w1, b1), (w2, b2), (w3, b3)] = &self.layers;
        let mut h1 = x.dot(w1);
        h1 += b1;
        h1.mapv_inplace(|x| x.max(0.0));
        let mut h2 = h1.dot(w2);
        h2 += b2;
        h2.mapv_inplace(|x| x.max(0.0));
        let mut logits = h2.dot(w3);
        logits += b3;
        [h1, h2, logits]
    }

    /// Quantizes the network for the kernels of `dispatch`.
    pub fn quantize(&self, dispatch: &Dispatch) -> Result<Network, Error> {
        // Calibration: the ranges of the layers' outputs on the training images.
        let [h1, h2, logits] = self.forward(&dequantize_pixels(self.halves().0));
        let range = |x: &Array2<f32>| {
            let least = x.iter().copied().fold(f32::INFINITY, f32::min);
            let greatest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            (f64::from(least), f64::from(greatest))
        };
        // After a ReLU the range starts at 0, so the zero point is 0.
        let pixels = QuantParams { scale: PIXEL_SCALE, zero_point: 0 };
        let h1 = QuantParams::from_range(0.0, range(&h1).1, 0, 255)?;
        let h2 = QuantParams::from_range(0.0, range(&h2).1, 0, 255)?;
        let (least, greatest) = range(&logits);
        let logits = QuantParams::from_range(least, greatest, -128, 127)?;
        let [l1, l2, l3] = &self.layers;
        Ok(Network {
            layers: [
                Layer::quantize(dispatch, l1, pixels, h1)?,
                Layer::quantize(dispatch, l2, h1, h2)?,
                Layer::quantize(dispatch, l3, h2, logits)?,
            ],
        })
    }
}

/// A layer y = x·W + b in int8.
struct Layer {
    weights: PackedB,
    /// Integers in the scale of the sums, the scale of the inputs times that of the column of W.
    bias: Vec<i32>,
    /// Factors from the sums to the output, one per column.
    scales: Vec<f32>,
    input_zero: i32,
    output_zero: i32,
}

impl Layer {
    fn quantize(
        dispatch: &Dispatch,
        (w, b): &(Array2<f32>, Array1<f32>),
        input: QuantParams,
        output: QuantParams,
    ) -> Result<Self, Error> {
        let (k, n) = w.dim();
        // The greatest magnitude of a column becomes 127. A column of zeros gets scale 1; any would do.
        let greatest = w.map_axis(Axis(0), |column| column.iter().fold(0.0f32, |m, x| m.max(x.abs())));
        let column_scales = greatest.mapv(|m| if m > 0.0 { m / 127.0 } else { 1.0 });
        let quantized: Vec<i8> =
            w.indexed_iter().map(|((_, j), x)| (x / column_scales[j]).round_ties_even() as i8).collect();
        let weights = PackedB::pack_with(dispatch, MatRef::row_major(&quantized, k, n)?, ElementType::U8)?;
        let quantize_bias = |(b, scale): (&f32, &f32)| {
            let unit = f64::from(input.scale) * f64::from(*scale);
            (f64::from(*b) / unit).round_ties_even() as i32
        };
        Ok(Self {
            weights,
            bias: b.iter().zip(&column_scales).map(quantize_bias).collect(),
            scales: column_scales.iter().map(|scale| input.scale * scale / output.scale).collect(),
            input_zero: input.zero_point,
            output_zero: output.zero_point,
        })
    }

    /// The product of `m` rows of inputs with the weights, described but not run.
    fn product<'a>(&'a self, x: &'a [u8], m: usize) -> Result<Gemm<'a>, Error> {
        let x = MatRef::row_major(x, m, self.weights.k())?;
        Ok(Gemm::new(x, &self.weights).a_zero(self.input_zero).bias(&self.bias))
    }

    /// Runs a layer with ReLU: outputs are clamped to the zero point and above.
    fn hidden(&self, x: &[u8], m: usize, y: &mut [u8]) -> Result<(), Error> {
        let output = Requantize::new(&self.scales, self.output_zero)?.clamp_to(self.output_zero, 255);
        self.product(x, m)?.run_requantized(MatMut::row_major(y, m, self.weights.n())?, output)
    }

    /// Runs a layer without ReLU.
    fn last(&self, x: &[u8], m: usize, y: &mut [i8]) -> Result<(), Error> {
        let output = Requantize::new(&self.scales, self.output_zero)?;
        self.product(x, m)?.run_requantized(MatMut::row_major(y, m, self.weights.n())?, output)
    }
}

/// The quantized network.
pub struct Network {
    layers: [Layer; 3],
}

/// The outputs of all layers for a batch of images, allocated once.
pub struct Buffers {
    images: usize,
    h1: Vec<u8>,
    h2: Vec<u8>,
    /// The output of the network, a row per image.
    pub logits: Vec<i8>,
}

impl Network {
    /// Buffers for batches of `images` images.
    pub fn buffers(&self, images: usize) -> Buffers {
        let [n1, n2, n3] = [0, 1, 2].map(|i: usize| self.layers[i].weights.n());
        Buffers { images, h1: vec![0; images * n1], h2: vec![0; images * n2], logits: vec![0; images * n3] }
    }

    /// Runs all layers on the pixels of a batch; the result is `buffers.logits`.
    pub fn forward(&self, pixels: &[u8], buffers: &mut Buffers) -> Result<(), Error> {
        let Buffers { images, h1, h2, logits } = buffers;
        let [l1, l2, l3] = &self.layers;
        l1.hidden(pixels, *images, h1)?;
        l2.hidden(h1, *images, h2)?;
        l3.last(h2, *images, logits)
    }
}
