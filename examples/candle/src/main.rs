//! The speed of [`QgemmLinear`] beside candle's own layers.

use anyhow::Result;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use clap::Parser;
use qgemm_candle::QgemmLinear;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Times a linear layer of candle, and its output's distance from that of f32 weights, through candle and through qgemm.
#[derive(Parser)]
struct Options {
    /// Input features, a multiple of 32.
    #[arg(short, default_value_t = 4096)]
    k: usize,
    /// Output features.
    #[arg(short, default_value_t = 4096)]
    n: usize,
    /// Numbers of rows of x.
    #[arg(short, value_delimiter = ',', default_value = "1,16,128")]
    m: Vec<usize>,
    /// Seconds for each layer and number of rows.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// Calls in turns, so that what disturbs one disturbs all: the least and the median seconds of each.
fn time(layers: &[(&str, Box<dyn Module>)], x: &Tensor, seconds: f64) -> Result<Vec<(f64, f64)>> {
    let mut times = vec![Vec::new(); layers.len()];
    let end = Instant::now() + Duration::from_secs_f64(seconds * layers.len() as f64);
    while Instant::now() < end || times[0].len() < 3 {
        for ((_, layer), times) in layers.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(layer.forward(black_box(x))?);
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let summary = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        (times[0], times[times.len() / 2])
    };
    Ok(times.into_iter().map(summary).collect())
}

/// The greatest distance of two outputs, in parts of the greatest value.
fn distance(y: &Tensor, expected: &Tensor) -> Result<f32> {
    let greatest = |t: &Tensor| t.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
    Ok(greatest(&(y - expected)?)? / greatest(expected)?)
}

fn main() -> Result<()> {
    let Options { k, n, m, seconds } = Options::parse();
    anyhow::ensure!(k > 0 && k % 32 == 0, "-k: was {k}, must be a multiple of 32");
    let device = Device::Cpu;
    let w = Tensor::randn(0f32, 1.0 / (k as f32).sqrt(), (n, k), &device)?;
    let quantized = |kind| QTensor::quantize(&w, kind);
    let mut layers: Vec<(&str, Box<dyn Module>)> = vec![("candle f32", Box::new(QMatMul::Tensor(w.clone())))];
    for (candle, ours, kind) in
        [("candle Q8_0", "qgemm  Q8_0", GgmlDType::Q8_0), ("candle Q4_0", "qgemm  Q4_0", GgmlDType::Q4_0)]
    {
        layers.push((candle, Box::new(QMatMul::from_qtensor(quantized(kind)?)?)));
        layers.push((ours, Box::new(QgemmLinear::gguf(&quantized(kind)?, None)?)));
    }
    layers.push(("qgemm  int8", Box::new(QgemmLinear::int8(&w, None)?)));
    println!("{n} outputs of {k} inputs; distance from f32 in parts of the greatest output\n");
    println!("| rows | layer | min us | median us | GMAC/s | distance |\n|---:|---|---:|---:|---:|---:|");
    for m in m {
        let x = Tensor::randn(0f32, 1.0, (m, k), &device)?;
        let expected = layers[0].1.forward(&x)?;
        for ((name, layer), (least, median)) in layers.iter().zip(time(&layers, &x, seconds)?) {
            let distance = distance(&layer.forward(&x)?, &expected)?;
            let speed = (m * k * n) as f64 / least / 1e9;
            println!(
                "| {m} | {name} | {:.1} | {:.1} | {speed:.1} | {distance:.4} |",
                least * 1e6,
                median * 1e6
            );
        }
    }
    Ok(())
}
