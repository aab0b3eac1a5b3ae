//! A layer as networks have it: Y = relu(X·W + b) with i8 weights that have a scale per column, and u8 activations.

use crate::forward::layer::Deviation;
use anyhow::Result;
use qgemm::{
    ElementType, Gemm, MatMut, MatRef, PackedB, QuantParams, Requantize, dequantize, quantize, quantize_bias,
    quantize_columns, requantize_scales,
};

const M: usize = 2;
const K: usize = 4;
const N: usize = 3;

/// The columns of W differ in size by a factor of 20, which a scale for each evens out.
const X: [f32; M * K] = [0.4, -1.0, -0.2, 2.8, 0.2, 1.0, 0.4, 3.0];
const W: [f32; K * N] = [0.5, -0.6, 0.03, 0.25, 0.8, -0.01, -0.75, 0.4, 0.02, 0.1, 0.3, 0.04];
const BIAS: [f32; N] = [0.1, -0.2, 0.05];

/// The ranges of X and Y, as calibration finds them. That of Y begins at 0, because of the ReLU.
const X_RANGE: (f32, f32) = (-1.0, 3.0);
const Y_RANGE: (f32, f32) = (0.0, 2.0);

/// The layer in int8, and its distance from float.
pub struct Typical {
    pub x_params: QuantParams,
    pub x: [u8; M * K],
    /// The scales of the columns of W.
    pub w_scales: [f32; N],
    pub w: [i8; K * N],
    /// In steps of the scale of X times that of the column.
    pub bias: [i32; N],
    pub y_params: QuantParams,
    pub y_quantized: [u8; M * N],
    /// Y, dequantized.
    pub y: [f32; M * N],
    /// Y of the float layer.
    pub y_float: [f32; M * N],
    pub error: Deviation,
}

impl Typical {
    /// M, K and N.
    pub const SHAPE: (usize, usize, usize) = (M, K, N);

    pub fn compute() -> Result<Self> {
        // Once: weights, bias, and the scales from the sums to Y.
        let (mut w, mut w_scales) = ([0; K * N], [0.0; N]);
        quantize_columns(MatRef::row_major(&W, K, N)?, MatMut::row_major(&mut w, K, N)?, &mut w_scales)?;
        let x_params = QuantParams::from_range(X_RANGE.0, X_RANGE.1, 0, 255)?;
        let y_params = QuantParams::from_range(Y_RANGE.0, Y_RANGE.1, 0, 255)?;
        let (mut bias, mut scales) = ([0; N], [0.0; N]);
        quantize_bias(&BIAS, x_params.scale, &w_scales, &mut bias)?;
        requantize_scales(x_params.scale, &w_scales, y_params.scale, &mut scales)?;
        let weights = PackedB::pack_for(MatRef::row_major(&w, K, N)?, ElementType::U8)?;

        // For each batch of inputs.
        let (mut x, mut y_quantized) = ([0; M * K], [0; M * N]);
        quantize(&X, x_params, &mut x)?;
        let product =
            Gemm::new(MatRef::row_major(&x, M, K)?, &weights).a_zero(x_params.zero_point).bias(&bias);
        let output = Requantize::new(&scales, y_params.zero_point)?.relu();
        product.run_requantized(MatMut::row_major(&mut y_quantized, M, N)?, output)?;

        let mut y = [0.0; M * N];
        dequantize(&y_quantized, y_params, &mut y)?;
        let float = float_layer();
        let error = Deviation::between(&y, &float);
        let y_float = float.map(|y| y as f32);
        Ok(Self { x_params, x, w_scales, w, bias, y_params, y_quantized, y, y_float, error })
    }
}

/// Y in f64, row by row.
fn float_layer() -> [f64; M * N] {
    std::array::from_fn(|at| {
        let (i, j) = (at / N, at % N);
        let products = (0..K).map(|k| f64::from(X[i * K + k]) * f64::from(W[k * N + j]));
        (products.sum::<f64>() + f64::from(BIAS[j])).max(0.0)
    })
}
