//! Quantization from f32 to 8 bits, and back.

use criterion::{Criterion, Throughput};
use qgemm::{QuantParams, dequantize, dynamic_quantize_linear, quantize};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::hint::black_box;

/// Elements of a tensor of 128 tokens by 768 values.
const LEN: usize = 128 * 768;

pub fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("quantize");
    group.throughput(Throughput::Elements(LEN as u64));
    let mut rng = StdRng::seed_from_u64(7);
    let x: Vec<f32> = (0..LEN).map(|_| rng.random_range(-3.0..5.0)).collect();
    // A range narrower than that of the data, so that some values saturate.
    let params = QuantParams::from_range(-2.5, 4.5, -128, 127).unwrap();
    let QuantParams { scale, zero_point } = params;

    let mut q = vec![0i8; LEN];
    quantize(&x, params, &mut q).unwrap();
    let want = |x: &f32| ((x / scale).round_ties_even() as i32 + zero_point).clamp(-128, 127) as i8;
    assert!(x.iter().map(want).eq(q.iter().copied()), "i8: a wrong result");
    group.bench_function("i8", |bench| bench.iter(|| quantize(black_box(&x), params, &mut q).unwrap()));

    let mut real = vec![0.0; LEN];
    dequantize(&q, params, &mut real).unwrap();
    let want = |q: &i8| (i32::from(*q) - zero_point) as f32 * scale;
    assert!(q.iter().map(want).eq(real.iter().copied()), "dequantize: a wrong result");
    group.bench_function("dequantize", |bench| {
        bench.iter(|| dequantize(black_box(&q), params, &mut real).unwrap());
    });

    group.bench_function("range", |bench| {
        bench.iter(|| QuantParams::from_data(black_box(&x), -128, 127).unwrap());
    });

    let mut q = vec![0u8; LEN];
    let QuantParams { scale, zero_point } = dynamic_quantize_linear(&x, &mut q).unwrap();
    let want = |x: &f32| ((x / scale).round_ties_even() as i32 + zero_point).clamp(0, 255) as u8;
    assert!(x.iter().map(want).eq(q.iter().copied()), "dynamic: a wrong result");
    group.bench_function("dynamic_u8", |bench| {
        bench.iter(|| dynamic_quantize_linear(black_box(&x), &mut q).unwrap());
    });
    group.finish();
}
