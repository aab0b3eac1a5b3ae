//! The cost of the output stages and of zero points: the same products with each of them, on a shape with a long K,
//! where the stage takes a small share of the time, and on one with a short K, where it takes a large one.

use crate::data::{self, Operands, Shape};
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::{I8, U8};
use qgemm::{Dequantize, DynamicGemm, Gemm, MatRef, Requantize, Scale, reference};
use std::hint::black_box;

/// M, K, N. Small enough to be checked in all rows: `data::check` cannot select zero points and scales per row.
const SHAPES: [Shape; 2] = [[128, 768, 768], [3136, 64, 64]];

/// Zero points, biases and scales per row and per column.
struct Terms {
    a_zero: Vec<i32>,
    b_zero: Vec<i32>,
    bias: Vec<i32>,
    f32_bias: Vec<f32>,
    row_scales: Vec<f32>,
}

impl Terms {
    fn new([m, _, n]: Shape) -> Self {
        Self {
            a_zero: (0..m as i32).map(|i| 100 + i % 50).collect(),
            b_zero: (0..n as i32).map(|j| j % 9 - 4).collect(),
            bias: (0..n as i32).map(|j| 37 * j - 1000).collect(),
            f32_bias: (0..n).map(|j| j as f32 * 0.25).collect(),
            row_scales: (0..m).map(|i| 0.5 + i as f32 / m as f32).collect(),
        }
    }
}

pub fn benches(c: &mut Criterion) {
    for shape in SHAPES {
        let operands = Operands::new(shape);
        sums(c, &operands);
        bytes(c, &operands);
        floats(c, &operands);
        dynamic(c, &operands);
    }
}

/// Adds zero points and a bias to a product.
type AddTerms<'a> = &'a dyn Fn(Gemm<'a>) -> Gemm<'a>;

fn sums(c: &mut Criterion, operands: &Operands) {
    let shape = operands.shape;
    let (name, terms, packed) = (data::name(shape), Terms::new(shape), operands.packed(U8));
    let mut group = c.benchmark_group("epilogue/i32");
    group.throughput(Throughput::Elements(data::macs(shape)));
    let cases: [(&str, AddTerms<'_>); 4] = [
        ("plain", &|gemm| gemm),
        ("bias", &|gemm| gemm.bias(&terms.bias)),
        ("zeros", &|gemm| gemm.a_zero(110).b_zero(-3).bias(&terms.bias)),
        ("zeros_each", &|gemm| gemm.a_zero(&terms.a_zero).b_zero(&terms.b_zero).bias(&terms.bias)),
    ];
    let mut c = vec![0i32; shape[0] * shape[2]];
    for (case, add_terms) in cases {
        let product = add_terms(Gemm::new(operands.a(), &packed));
        product.run_i32(data::output(&mut c, shape)).unwrap();
        data::check(&name, shape, &operands.a, &c, |_, c| reference::run_i32(&product, c));
        group.bench_function(BenchmarkId::new(case, &name), |bench| {
            bench.iter(|| product.run_i32(data::output(black_box(&mut c), shape)).unwrap());
        });
    }
    let product = Gemm::new(operands.a(), &packed);
    // Accumulated once into zeros, the result is that of `run_i32`.
    c.fill(0);
    product.accumulate_i32(data::output(&mut c, shape)).unwrap();
    data::check(&name, shape, &operands.a, &c, |_, c| reference::run_i32(&product, c));
    group.bench_function(BenchmarkId::new("accumulate", &name), |bench| {
        bench.iter(|| product.accumulate_i32(data::output(black_box(&mut c), shape)).unwrap());
    });
}

fn bytes(c: &mut Criterion, operands: &Operands) {
    let shape = operands.shape;
    let (name, terms, packed) = (data::name(shape), Terms::new(shape), operands.packed(U8));
    let mut group = c.benchmark_group("epilogue/u8");
    group.throughput(Throughput::Elements(data::macs(shape)));
    let one = Requantize::new(operands.scales[0], 128).unwrap();
    let each = Requantize::new(&operands.scales, 128).unwrap();
    let relu = each.clamp_to(128, 255);
    let columns = operands.scales.as_slice();
    let rows = Requantize::new(Scale::RowsByColumns { rows: &terms.row_scales, columns }, 128).unwrap();
    let cases: [(&str, AddTerms<'_>, _); 5] = [
        ("plain", &|gemm| gemm, one),
        ("zero_scales", &|gemm| gemm.a_zero(110), each),
        ("zero_scales_rows", &|gemm| gemm.a_zero(110), rows),
        ("zeros_bias_relu", &|gemm| gemm.a_zero(110).b_zero(-3).bias(&terms.bias), relu),
        ("zeros_each", &|gemm| gemm.a_zero(&terms.a_zero).b_zero(&terms.b_zero).bias(&terms.bias), each),
    ];
    let mut c = vec![0u8; shape[0] * shape[2]];
    for (case, add_terms, stage) in cases {
        let product = add_terms(Gemm::new(operands.a(), &packed));
        product.run_requantized(data::output(&mut c, shape), stage).unwrap();
        data::check(&name, shape, &operands.a, &c, |_, c| reference::run_requantized(&product, c, stage));
        group.bench_function(BenchmarkId::new(case, &name), |bench| {
            bench.iter(|| product.run_requantized(data::output(black_box(&mut c), shape), stage).unwrap());
        });
    }
}

fn floats(c: &mut Criterion, operands: &Operands) {
    let shape = operands.shape;
    let (name, terms, packed) = (data::name(shape), Terms::new(shape), operands.packed(U8));
    let mut group = c.benchmark_group("epilogue/f32");
    group.throughput(Throughput::Elements(data::macs(shape)));
    let stage = Dequantize::new(&operands.scales).unwrap().bias(&terms.f32_bias);
    let product = Gemm::new(operands.a(), &packed).a_zero(110);
    let mut c = vec![0f32; shape[0] * shape[2]];
    product.run_f32(data::output(&mut c, shape), stage).unwrap();
    data::check(&name, shape, &operands.a, &c, |_, c| reference::run_f32(&product, c, stage));
    group.bench_function(BenchmarkId::new("zero_scales_bias", &name), |bench| {
        bench.iter(|| product.run_f32(data::output(black_box(&mut c), shape), stage).unwrap());
    });
}

/// A is f32 and is quantized by the call.
fn dynamic(c: &mut Criterion, operands: &Operands) {
    let shape @ [m, k, _] = operands.shape;
    let name = data::name(shape);
    let x: Vec<f32> = operands.a_signed.iter().map(|&a| f32::from(a) * 0.03 + 0.5).collect();
    let (for_i8, for_u8) = (operands.packed(I8), operands.packed(U8));
    let product = |b| DynamicGemm::new(MatRef::row_major(&x, m, k).unwrap(), b);
    let stage = Dequantize::dynamic(&operands.scales).unwrap();
    let mut group = c.benchmark_group("epilogue/dynamic");
    group.throughput(Throughput::Elements(data::macs(shape)));
    let cases = [
        ("rows_i8", product(&for_i8)),
        ("rows_u8", product(&for_u8).asymmetric()),
        ("tensor_u8", product(&for_u8).asymmetric().per_tensor()),
    ];
    let mut c = vec![0f32; shape[0] * shape[2]];
    for (case, product) in cases {
        product.run_f32(data::output(&mut c, shape), stage).unwrap();
        data::check(&name, shape, &x, &c, |_, c| reference::run_dynamic_f32(&product, c, stage));
        group.bench_function(BenchmarkId::new(case, &name), |bench| {
            bench.iter(|| product.run_f32(data::output(black_box(&mut c), shape), stage).unwrap());
        });
    }
}
