//! The text that `qgemm forward` prints.

use crate::forward::layer::{Deviation, Layer, Outcome, Q, Seconds};
use crate::forward::typical::Typical;
use crate::text::{duration, matrix};
use anyhow::Result;
use qgemm::QuantParams;
use std::io::Write;

pub fn print(layer: &Layer, outcome: &Outcome, with_times: bool, out: &mut dyn Write) -> Result<()> {
    let Outcome { x, w, bias, y_quantized, y, y_float, error, seconds } = outcome;
    let ((m, n), k) = (layer.output_shape(), layer.x.cols);
    let plus_bias = if bias.is_some() { " + b" } else { "" };
    writeln!(out, "Y = X·W{plus_bias} in int8, M = {m}, K = {k}, N = {n}")?;
    writeln!(out, "\nParameters: real = scale * (q - zero point), q in [{}, {}]", Q.0, Q.1)?;
    let tensors = [("x", Some(x)), ("w", Some(w)), ("b", bias.as_ref()), ("y", Some(y_quantized))];
    let mut is_outside = false;
    for (name, t) in tensors.into_iter().filter_map(|(name, t)| Some((name, t?))) {
        let QuantParams { scale, zero_point } = t.params;
        writeln!(out, "  s{name} {scale:<12} z{name} {zero_point}")?;
        is_outside |= !(Q.0..=Q.1).contains(&zero_point);
    }
    if is_outside {
        writeln!(out, "  (a zero point beyond [{}, {}] is that of a range that does not hold 0)", Q.0, Q.1)?;
    }
    writeln!(out)?;
    matrix(out, "Xq", (m, k), &x.q)?;
    matrix(out, "Wq", (k, n), &w.q)?;
    if let Some(bias) = bias {
        matrix(out, "bq", (1, n), &bias.q)?;
    }
    matrix(out, "Yq, integer Y", (m, n), &y_quantized.q)?;
    matrix(out, "Y, dequantized", (m, n), y)?;
    matrix(out, "Y, float", (m, n), y_float)?;
    print_error(error, y_quantized.params, out)?;
    if with_times {
        let Seconds { quantize_x, int8_product, f32_product } = seconds;
        let [x, int8, f32] = [quantize_x, int8_product, f32_product].map(|&seconds| duration(seconds));
        writeln!(
            out,
            "time          {int8} for the int8 product (which packs W), {x} to quantize X, {f32} for the f32 product"
        )?;
    }
    Ok(())
}

pub fn print_typical(layer: &Typical, out: &mut dyn Write) -> Result<()> {
    let Typical { x_params, x, w_scales, w, bias, y_params, y_quantized, y, y_float, error } = layer;
    let (m, k, n) = Typical::SHAPE;
    writeln!(out, "Y = relu(X·W + b) as networks have it, M = {m}, K = {k}, N = {n}")?;
    writeln!(
        out,
        "\nParameters: X and Y are u8, of ranges that hold 0; W is i8, a scale per column, zero point 0"
    )?;
    writeln!(out, "  sx {:<12} zx {}", x_params.scale, x_params.zero_point)?;
    writeln!(out, "  sw {}", w_scales.map(|scale| scale.to_string()).join(" "))?;
    writeln!(out, "  sy {:<12} zy {}", y_params.scale, y_params.zero_point)?;
    writeln!(out)?;
    matrix(out, "Xq", (m, k), x)?;
    matrix(out, "Wq", (k, n), w)?;
    matrix(out, "bq, i32 in steps of sx * sw", (1, n), bias)?;
    matrix(out, "Yq, integer Y", (m, n), y_quantized)?;
    matrix(out, "Y, dequantized", (m, n), y)?;
    matrix(out, "Y, float", (m, n), y_float)?;
    print_error(error, *y_params, out)
}

fn print_error(error: &Deviation, y_params: QuantParams, out: &mut dyn Write) -> Result<()> {
    let step = f64::from(y_params.scale);
    writeln!(out, "\nlargest error {:.4} ({:.2} of a step)", error.max, error.max / step)?;
    writeln!(out, "mean error    {:.4}", error.mean)?;
    Ok(())
}
