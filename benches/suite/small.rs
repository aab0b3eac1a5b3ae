//! Small products: the whole call, its micro-kernel alone, and the difference.
//!
//! `kernel` times `Ready::run`, including the checks of its arguments, on a panel that was packed ahead, with A
//! widened ahead if the kernel reads 16 bits. `overhead` times batches of calls and batches of kernel runs in
//! turns, so that both see the same clock frequency and load, and subtracts one time from the other. Both exist
//! only for shapes where B is one panel.

use crate::data::{self, Operands, Shape};
use criterion::{BenchmarkId, Criterion, Throughput};
use qgemm::ElementType::U8;
use qgemm::{Gemm, MatMut, MatRef, PackedB, Requantize, reference};
use qgemm_kernels::{
    BlockMut, ColumnStats, Features, Line, Output, PackJob, PanelProduct, Ready, Source, Stored, TABLE,
    Variant, pack_panel,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SHAPES: [Shape; 5] = [[1, 16, 16], [16, 16, 16], [32, 32, 32], [64, 64, 64], [7, 333, 19]];

pub fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("small");
    for shape in SHAPES {
        let name = data::name(shape);
        let operands = Operands::new(shape);
        let packed = operands.packed(U8);
        let product = Gemm::new(operands.a(), &packed);
        let mut sums = vec![0i32; shape[0] * shape[2]];
        group.throughput(Throughput::Elements(data::macs(shape)));

        let expected =
            |a: MatRef<'_, u8>, c: MatMut<'_, i32>| reference::run_i32(&Gemm::new(a, operands.b()), c);
        product.run_i32(data::output(&mut sums, shape)).unwrap();
        data::check(&name, shape, &operands.a, &sums, expected);
        group.bench_function(BenchmarkId::new("u8s8s32", &name), |bench| {
            bench.iter(|| call(&product, &mut sums, shape));
        });

        let product = product.a_zero(110);
        let output = Requantize::new(&operands.scales, 7).unwrap();
        let mut bytes = vec![0u8; sums.len()];
        product.run_requantized(data::output(&mut bytes, shape), output).unwrap();
        data::check(&name, shape, &operands.a, &bytes, |a, c| {
            reference::run_requantized(&Gemm::new(a, operands.b()).a_zero(110), c, output)
        });
        group.bench_function(BenchmarkId::new("u8s8u8_zp", &name), |bench| {
            bench.iter(|| {
                product.run_requantized(data::output(black_box(&mut bytes), shape), output).unwrap();
            });
        });

        let Some(kernel) = OnePanel::new(&operands, &packed) else { continue };
        let product = Gemm::new(operands.a(), &packed);
        sums.fill(0);
        kernel.run(&mut sums);
        data::check(&name, shape, &operands.a, &sums, expected);
        group.bench_function(BenchmarkId::new("kernel", &name), |bench| {
            bench.iter(|| kernel.run(&mut sums));
        });
        group.bench_function(BenchmarkId::new("overhead", &name), |bench| {
            bench.iter_custom(|calls| {
                let (mut spent, mut kernels) = (Duration::ZERO, Duration::ZERO);
                for start in (0..calls).step_by(BATCH as usize) {
                    let batch = BATCH.min(calls - start);
                    spent += timed(batch, || call(&product, &mut sums, shape));
                    kernels += timed(batch, || kernel.run(&mut sums));
                }
                // Criterion does not accept a time of 0.
                spent.saturating_sub(kernels).max(Duration::from_nanos(1))
            });
        });
    }
    group.finish();
}

/// Calls per reading of the clock.
const BATCH: u64 = 1000;

fn timed(calls: u64, mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        run();
    }
    start.elapsed()
}

fn call(product: &Gemm<'_>, c: &mut [i32], shape: Shape) {
    product.run_i32(data::output(black_box(c), shape)).unwrap();
}

/// A micro-kernel and its operands, for a B of one panel.
struct OnePanel {
    shape: Shape,
    /// The bytes of A as the kernel reads it, 8-bit or widened to 16 bits.
    a: Vec<u8>,
    kernel: Ready,
    variant: &'static Variant,
    panel: Vec<Line>,
    /// The correction of each row, which is 0 without zero points.
    row: Vec<i32>,
}

impl OnePanel {
    /// `None` if B is more than one panel.
    fn new(operands: &Operands, packed: &PackedB) -> Option<Self> {
        let [m, k, n] = operands.shape;
        let table_row = TABLE.iter().find(|kernel| kernel.name == packed.kernel().name)?;
        let kernel = table_row.ready(&Features::detect())?;
        let variant = table_row.variants.iter().find(|v| v.a != Stored::I8 && v.b != Stored::U8)?;
        if n > kernel.nr {
            return None;
        }
        let a = match variant.a {
            Stored::I16 => operands.a.iter().flat_map(|&a| i16::from(a).to_ne_bytes()).collect(),
            _ => operands.a.clone(),
        };
        let mut panel = vec![Line([0; 64]); kernel.panel_bytes(k, n, variant.b)?.div_ceil(64)];
        let source = Source { bits: bytemuck::cast_slice(&operands.b), row_stride: n, col_stride: 1 };
        let bytes = &mut bytemuck::cast_slice_mut(&mut panel)[..kernel.panel_bytes(k, n, variant.b)?];
        let job = PackJob { source, rows: k, cols: n, signed: true, stored: variant.b };
        pack_panel(kernel, &job, bytes, &mut ColumnStats::NONE.clone());
        let row = vec![0; m];
        Some(Self { shape: operands.shape, a, kernel, variant, panel, row })
    }

    fn run(&self, c: &mut [i32]) {
        let [m, k, n] = self.shape;
        let mut c = BlockMut::new(black_box(c), m, n, n, 1).expect("the output has this shape");
        let product = PanelProduct {
            k,
            a: &self.a,
            lda: k * self.variant.a.size(),
            a_from_memory: false,
            b_exceeds_l2: false,
            panels: bytemuck::cast_slice(&self.panel),
            col: None,
            row: &self.row,
            outer: &[],
        };
        self.kernel.run(self.variant, &product, Output::Sums { c: &mut c, accumulate: false });
    }
}
