//! The text that `qgemm forward` prints.

use crate::forward::layer::{Layer, Outcome, Q, Seconds};
use crate::text::{duration, matrix};
use anyhow::Result;
use std::io::Write;

pub fn print(layer: &Layer, outcome: &Outcome, with_times: bool, out: &mut dyn Write) -> Result<()> {
    let Outcome { x, w, bias, y_quantized, y, y_float, error, seconds } = outcome;
    let ((m, n), k) = (layer.output_shape(), layer.x.cols);
    writeln!(out, "Y = X·W + b in int8, M = {m}, K = {k}, N = {n}")?;
    writeln!(out, "\nParameters: real = scale * (q - zero point), q in [{}, {}]", Q.0, Q.1)?;
    for (name, t) in [("x", x), ("w", w), ("b", bias), ("y", y_quantized)] {
        writeln!(out, "  s{name} {:<12} z{name} {}", t.params.scale, t.params.zero_point)?;
    }
    writeln!(out)?;
    matrix(out, "Xq", (m, k), &x.q)?;
    matrix(out, "Wq", (k, n), &w.q)?;
    matrix(out, "bq", (1, n), &bias.q)?;
    matrix(out, "Yq, integer Y", (m, n), &y_quantized.q)?;
    matrix(out, "Y, dequantized", (m, n), y)?;
    matrix(out, "Y, float", (m, n), y_float)?;
    let step = f64::from(y_quantized.params.scale);
    writeln!(out, "\nlargest error {:.4} ({:.2} of a step)", error.max, error.max / step)?;
    writeln!(out, "mean error    {:.4}", error.mean)?;
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
