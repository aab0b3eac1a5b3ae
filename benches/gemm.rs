//! Products, packing and quantization under criterion; elements per second are multiply-adds (or
//! packed, or quantized, values) per second. `QGEMM_ISA` picks the kernels. Each product's result is
//! checked once before it is timed. For comparisons with other libraries there is `qgemm bench`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use qgemm::{ElementType, Gemm, MatMut, MatRef, PackedB, QuantParams, Requantize, quantize, reference};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::hint::black_box;

/// M, K, N: large, tall, odd, small, tiny, matrix-vector.
const SHAPES: [[usize; 3]; 7] = [
    [512, 512, 512],
    [128, 768, 3072],
    [3136, 64, 64],
    [127, 129, 131],
    [64, 64, 64],
    [16, 16, 16],
    [1, 4096, 4096],
];

struct Operands {
    a: Vec<u8>,
    b: Vec<i8>,
    scale: Vec<f32>,
}

fn operands([m, k, n]: [usize; 3]) -> Operands {
    let mut rng = StdRng::seed_from_u64(7);
    Operands {
        a: (0..m * k).map(|_| rng.random()).collect(),
        b: (0..k * n).map(|_| rng.random()).collect(),
        scale: (0..n).map(|_| rng.random_range(1e-4..1e-3)).collect(),
    }
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for shape @ [m, k, n] in SHAPES {
        let Operands { a, b, scale } = operands(shape);
        let b = PackedB::pack(MatRef::row_major(&b, k, n).unwrap(), ElementType::U8).unwrap();
        let product = Gemm::new(MatRef::row_major(&a, m, k).unwrap(), &b);
        let name = format!("{m}x{k}x{n}");
        group.throughput(Throughput::Elements((m * k * n) as u64));

        let (mut sums, mut want) = (vec![0i32; m * n], vec![0i32; m * n]);
        product.run_i32(MatMut::row_major(&mut sums, m, n).unwrap()).unwrap();
        reference::run_i32(&product, MatMut::row_major(&mut want, m, n).unwrap()).unwrap();
        assert!(sums == want, "{name}: a wrong result");
        group.bench_function(BenchmarkId::new("u8s8s32", &name), |bench| {
            bench.iter(|| product.run_i32(MatMut::row_major(black_box(&mut sums), m, n).unwrap()).unwrap());
        });

        let product = product.a_zero(110).b_zero(-3);
        let output = Requantize::new(&scale, 7).unwrap();
        let (mut bytes, mut want) = (vec![0u8; m * n], vec![0u8; m * n]);
        product.run_requantized(MatMut::row_major(&mut bytes, m, n).unwrap(), &output).unwrap();
        reference::run_requantized(&product, MatMut::row_major(&mut want, m, n).unwrap(), &output).unwrap();
        assert!(bytes == want, "{name}: a wrong result");
        group.bench_function(BenchmarkId::new("u8s8u8_zp", &name), |bench| {
            bench.iter(|| {
                let c = MatMut::row_major(black_box(&mut bytes), m, n).unwrap();
                product.run_requantized(c, &output).unwrap();
            });
        });
    }
    group.finish();
}

fn packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("pack");
    let (k, n) = (768, 3072);
    let Operands { b, .. } = operands([1, k, n]);
    group.throughput(Throughput::Elements((k * n) as u64));
    let views = [("KxN", MatRef::row_major(&b, k, n)), ("NxK", MatRef::col_major(&b, k, n))];
    for (name, view) in views {
        let view = view.unwrap();
        let packed = PackedB::pack(view, ElementType::U8).unwrap();
        assert_eq!(packed.get(k - 1, n - 1), view.get(k - 1, n - 1).map(|&b| i32::from(b)));
        group.bench_function(name, |bench| {
            bench.iter(|| PackedB::pack(black_box(view), ElementType::U8).unwrap());
        });
    }
    group.finish();
}

fn quantizing(c: &mut Criterion) {
    let mut group = c.benchmark_group("quantize");
    let x: Vec<f32> = (0..1 << 16).map(|i| (i % 1000) as f32 * 0.01 - 5.0).collect();
    let mut q = vec![0i8; x.len()];
    let params = QuantParams::from_data(&x, -127, 127).unwrap();
    quantize(&x, params, &mut q).unwrap();
    assert_eq!((q[0], q[999]), (-127, 127));
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("i8", |bench| bench.iter(|| quantize(black_box(&x), params, &mut q).unwrap()));
    group.finish();
}

criterion_group!(benches, products, packing, quantizing);
criterion_main!(benches);
