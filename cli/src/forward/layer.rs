//! A float layer Y = X·W + b, or without b, computed in int8 and in float.

use crate::errors::{invalid_because, with_option_names};
use crate::files::matrices::FloatMatrix;
use crate::memory::{room, zeros};
use anyhow::Result;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use qgemm::{Gemm, MatMut, MatRef, QuantParams, Requantize, dequantize, fold_bias, quantize};
use std::time::Instant;

/// The least and the greatest quantized integer: all of i8 but -128, so that the range is symmetric.
pub const Q: (i32, i32) = (-127, 127);

/// The range of reals that is quantized; `None` for the range of the data.
pub type Range = Option<(f64, f64)>;

pub struct Ranges {
    pub x: Range,
    pub w: Range,
    pub bias: Range,
    pub y: Range,
}

pub struct Layer {
    /// M×K.
    pub x: FloatMatrix,
    /// K×N.
    pub w: FloatMatrix,
    /// N values.
    pub bias: Option<Vec<f32>>,
    pub ranges: Ranges,
}

/// A tensor in int8, with its scale and zero point.
pub struct QuantizedTensor {
    pub params: QuantParams,
    pub q: Vec<i8>,
}

/// The output of a layer, and the steps towards it.
pub struct Outcome {
    pub x: QuantizedTensor,
    pub w: QuantizedTensor,
    pub bias: Option<QuantizedTensor>,
    pub y_quantized: QuantizedTensor,
    /// Y, dequantized.
    pub y: Vec<f32>,
    /// Y of the float layer.
    pub y_float: Vec<f32>,
    pub error: Deviation,
    pub seconds: Seconds,
}

/// Distances of the dequantized Y from that of the float layer.
pub struct Deviation {
    pub max: f64,
    pub mean: f64,
}

/// Times in seconds.
pub struct Seconds {
    pub quantize_x: f64,
    pub int8_product: f64,
    pub f32_product: f64,
}

impl Layer {
    /// M and N.
    pub fn output_shape(&self) -> (usize, usize) {
        (self.x.rows, self.w.cols)
    }

    pub fn compute(&self) -> Result<Outcome> {
        let (m, n) = self.output_shape();
        let (k, len) = (self.x.cols, m.saturating_mul(n));
        let mut q: Vec<i8> = zeros("--x and --w", format_args!("{m}x{k} and {k}x{n}"), len)?;
        let mut y = zeros::<f32>("--x and --w", format_args!("{m}x{k} and {k}x{n}"), len)?;
        let (y_f64, f32_product) = self.float_product()?;
        let mut y_float = room::<f32>("--x and --w", format_args!("{m}x{k} and {k}x{n}"), len)?;
        y_float.extend(y_f64.iter().map(|&y| y as f32));

        let to_f32 = |m: &FloatMatrix| m.data.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let (x32, w32) = (to_f32(&self.x), to_f32(&self.w));
        let Ranges { x: x_range, w: w_range, bias: bias_range, y: y_range } = self.ranges;
        let w = quantized(&w32, w_range, Names { data: "--w", range: "--w-range" })?;
        let quantized_bias =
            |bias| quantized(bias, bias_range, Names { data: "--bias", range: "--bias-range" });
        let bias = self.bias.as_deref().map(quantized_bias).transpose()?;
        let start = Instant::now();
        let x = quantized(&x32, x_range, Names { data: "--x", range: "--x-range" })?;
        let quantize_x = start.elapsed().as_secs_f64();
        let y_params = params(&y_float, y_range, Names { data: "--x and --w", range: "--y-range" })?;

        // The i32 bias has the scale of the sums, sx·sw.
        let mut i32_bias = zeros("--w", format_args!("{k}x{n}"), n)?;
        let (sx, sw, sy) = (x.params.scale, w.params.scale, y_params.scale);
        if let Some(bias) = &bias {
            fold_bias(&bias.q, bias.params, sx, sw, &mut i32_bias)
                .map_err(|e| with_option_names(e, &[("bias", "--bias")]))?;
        }

        let option_names = [
            ("scale", "--y-range"),
            ("output zero point", "--y-range"),
            ("a_zero", "--x-range"),
            ("b_zero", "--w-range"),
        ];
        let rename = |e| with_option_names(e, &option_names);
        // In f64 the product of two scales is neither 0 nor infinite. A quotient that is 0 in f32 is so near to 0 that all
        // sums round to the zero point.
        let scale = f64::from(sx) * f64::from(sw) / f64::from(sy);
        let output = Requantize::new(scale as f32, y_params.zero_point).map_err(rename)?;
        let output = output.clamp_to(Q.0, Q.1);
        let (a, b) = (MatRef::row_major(&x.q, m, k)?, MatRef::row_major(&w.q, k, n)?);
        let product = Gemm::new(a, b).a_zero(x.params.zero_point).b_zero(w.params.zero_point);
        let product = if bias.is_some() { product.bias(&i32_bias) } else { product };
        let start = Instant::now();
        product.run_requantized(MatMut::row_major(&mut q, m, n)?, output).map_err(rename)?;
        let int8_product = start.elapsed().as_secs_f64();

        dequantize(&q, y_params, &mut y)?;
        let error = Deviation::between(&y, &y_f64);
        let y_quantized = QuantizedTensor { params: y_params, q };
        let seconds = Seconds { quantize_x, int8_product, f32_product };
        Ok(Outcome { x, w, bias, y_quantized, y, y_float, error, seconds })
    }

    /// Y in f64, row by row, and the seconds that the product alone takes in f32.
    fn float_product(&self) -> Result<(Vec<f64>, f64)> {
        // However many rows a file without elements claims: loops over them might never end.
        if self.x.rows == 0 || self.w.cols == 0 {
            return Ok((Vec::new(), 0.0));
        }
        let array =
            |m: &FloatMatrix| ArrayView2::from_shape((m.rows, m.cols), &m.data).map(|view| view.to_owned());
        let (x, w) = (array(&self.x)?, array(&self.w)?);
        let (x32, w32) = (x.mapv(|x| x as f32), w.mapv(|w| w as f32));
        // `dot` would end the process where an output of files without elements does not fit memory.
        let (m, n) = self.output_shape();
        let was = format_args!("{m}x{} and {}x{n}", self.x.cols, self.w.rows);
        let mut y32 = zeros::<f32>("--x and --w", was, m.saturating_mul(n))?;
        let start = Instant::now();
        general_mat_mul(1.0, &x32, &w32, 0.0, &mut ArrayViewMut2::from_shape((m, n), &mut y32)?);
        std::hint::black_box(&y32);
        let seconds = start.elapsed().as_secs_f64();
        drop(y32);
        let mut y = zeros::<f64>("--x and --w", was, m.saturating_mul(n))?;
        let mut view = ArrayViewMut2::from_shape((m, n), &mut y)?;
        general_mat_mul(1.0, &x, &w, 0.0, &mut view);
        for mut row in view.rows_mut() {
            let bias = self.bias.iter().flatten();
            row.iter_mut().zip(bias).for_each(|(y, &b)| *y += f64::from(b));
        }
        Ok((y, seconds))
    }
}

impl Deviation {
    pub fn between(y: &[f32], float: &[f64]) -> Self {
        let distances = y.iter().zip(float).map(|(&y, &float)| (f64::from(y) - float).abs());
        let (max, sum) = distances.fold((0.0f64, 0.0), |(max, sum), e| (max.max(e), sum + e));
        Self { max, mean: sum / (y.len().max(1) as f64) }
    }
}

/// The options to name in an error: of a tensor's data, and of its range.
#[derive(Clone, Copy)]
struct Names {
    data: &'static str,
    range: &'static str,
}

fn quantized(data: &[f32], range: Range, names: Names) -> Result<QuantizedTensor> {
    let params = params(data, range, names)?;
    let mut q: Vec<i8> = zeros(names.data, "too large", data.len())?;
    quantize(data, params, &mut q)?;
    // `quantize` saturates values beyond a given range at -128, the end of i8, which lies outside of Q.
    q.iter_mut().for_each(|q| *q = (*q).max(Q.0 as i8));
    Ok(QuantizedTensor { params, q })
}

fn params(data: &[f32], range: Range, names: Names) -> Result<QuantParams> {
    match range {
        Some((lo, hi)) => QuantParams::from_range_tight(lo, hi, Q.0, Q.1).map_err(|e| {
            let must = "a range that int8 can be scaled to";
            invalid_because(names.range, format_args!("{lo},{hi}"), e, must)
        }),
        None => QuantParams::from_data_tight(data, Q.0, Q.1).map_err(|e| {
            let must = format!("of a range that int8 can be scaled to (it can be given as {})", names.range);
            invalid_because(names.data, "the data's own", e, must)
        }),
    }
}
