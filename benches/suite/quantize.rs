//! Quantization from f32 to 8 bits, and back.

use criterion::{Criterion, Throughput};
use qgemm::{
    MatMut, MatRef, Observer, QuantParams, dequantize, dynamic_quantize_linear, quantize, quantize_columns,
    quantize_rows,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::hint::black_box;

/// A tensor of 128 tokens by 768 values.
const SHAPE: (usize, usize) = (128, 768);
const LEN: usize = SHAPE.0 * SHAPE.1;

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

    // From row-major to row-major.
    let (m, n) = SHAPE;
    let mut q = vec![0i8; LEN];
    let mut scales = vec![0f32; m.max(n)];
    let greatest = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |max, x| max.max(x.abs()));
    let x = MatRef::row_major(&x, m, n).unwrap();
    let value = |i: usize, j: usize| *x.get(i, j).unwrap();
    let mut by_rows = || {
        let out = MatMut::row_major(&mut q, m, n).unwrap();
        quantize_rows(black_box(x), out, &mut scales[..m]).unwrap();
    };
    by_rows();
    group.bench_function("rows", |bench| bench.iter(&mut by_rows));
    for i in 0..m {
        let scale = greatest(&mut (0..n).map(|j| value(i, j))) / 127.0;
        assert_eq!(scales[i], scale, "rows: a wrong scale");
        let want = (0..n).map(|j| (value(i, j) / scale).round_ties_even() as i8);
        assert!(want.eq(q[i * n..][..n].iter().copied()), "rows: a wrong result");
    }
    let mut by_columns = || {
        let out = MatMut::row_major(&mut q, m, n).unwrap();
        quantize_columns(black_box(x), out, &mut scales[..n]).unwrap();
    };
    by_columns();
    group.bench_function("columns", |bench| bench.iter(&mut by_columns));
    for j in 0..n {
        let scale = greatest(&mut (0..m).map(|i| value(i, j))) / 127.0;
        assert_eq!(scales[j], scale, "columns: a wrong scale");
        let want = (0..m).map(|i| (value(i, j) / scale).round_ties_even() as i8);
        assert!(want.eq((0..m).map(|i| q[i * n + j])), "columns: a wrong result");
    }

    let mut observer = Observer::percentile(99.9).unwrap();
    let values = x.row(0).unwrap();
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function("percentile", |bench| bench.iter(|| observer.observe(black_box(values)).unwrap()));
    group.finish();
}
