//! A linear layer of PyTorch, quantized after training: calibrated on batches, then run in three ways.

use qgemm::{Error, Linear, MatMut, MatRef, Observer, quantize};

pub(crate) fn main() -> Result<(), Error> {
    // Data: a weight of [out, in], a bias, batches of inputs.
    let (m, k, n) = (64, 512, 256);
    let weight: Vec<f32> = (0..n * k).map(|i| noise(i) * (0.02 + (i / k % 7) as f32 * 0.01)).collect();
    let bias: Vec<f32> = (0..n).map(|j| noise(j + 7) * 0.5).collect();
    let batches: Vec<Vec<f32>> = (1..4).map(|b| (0..m * k).map(|i| noise(i * b) + 0.3).collect()).collect();

    // Calibration: the ranges of inputs and of outputs, which hold 0.
    let (mut inputs, mut outputs) = (Observer::min_max(), Observer::percentile(99.99)?);
    for x in &batches {
        inputs.observe(x)?;
        outputs.observe(&float_layer(x, &weight, &bias, (m, k, n)))?;
    }
    let (input, output) = (inputs.params(0, 255)?, outputs.params(0, 255)?);

    // The layer, once: symmetric weights per output feature, biases in i32, ReLU.
    let layer = Linear::out_in(MatRef::row_major(&weight, n, k)?).bias(&bias).relu();
    let layer = layer.input::<u8>(input).output::<u8>(output).build()?;

    // Each batch: f32 to f32, and u8 to u8 and f32.
    let x = &batches[0];
    let (mut xq, mut yq) = (vec![0u8; m * k], vec![0u8; m * n]);
    let (mut dynamic, mut y) = (vec![0f32; m * n], vec![0f32; m * n]);
    layer.run_dynamic(MatRef::row_major(x, m, k)?, MatMut::row_major(&mut dynamic, m, n)?)?;
    quantize(x, input, &mut xq)?;
    layer.run_requantized(MatRef::row_major(&xq, m, k)?, MatMut::row_major(&mut yq, m, n)?)?;
    layer.run_f32(MatRef::row_major(&xq, m, k)?, MatMut::row_major(&mut y, m, n)?)?;

    let float = float_layer(x, &weight, &bias, (m, k, n));
    let yq: Vec<f32> = yq.iter().map(|q| output.dequantize(*q)).collect();
    for (name, y) in [("f32 to f32", &dynamic), ("u8 to f32", &y), ("u8 to u8", &yq)] {
        let error = y.iter().zip(&float).map(|(y, f)| (y - f).abs()).fold(0.0, f32::max);
        println!(
            "{name}: off by at most {error:.3}, of outputs up to {:.1}",
            float.iter().copied().fold(0.0, f32::max)
        );
        assert!(error < 0.15);
    }
    Ok(())
}

/// relu(x · weightᵀ + bias) in floats.
fn float_layer(x: &[f32], weight: &[f32], bias: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
    let dot = |i: usize, j: usize| (0..k).map(|l| x[i * k + l] * weight[j * k + l]).sum::<f32>();
    (0..m * n).map(|at| (dot(at / n, at % n) + bias[at % n]).max(0.0)).collect()
}

/// Numbers in -1..=1 without a pattern.
fn noise(i: usize) -> f32 {
    (i as u32).wrapping_mul(2_654_435_761).wrapping_add(0x9e37_79b9).rotate_left(15).wrapping_mul(0x85eb_ca6b)
        as f32
        / (1u64 << 31) as f32
        - 1.0
}
