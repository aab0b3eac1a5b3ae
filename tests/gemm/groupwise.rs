//! Products with group-wise weights against `reference`, byte for byte: kernels, threads, layouts, stages; and one digest.

use crate::digest::Numbers;
use crate::support::{cases, scale};
use qgemm::half::{bf16, f16};
use qgemm::*;
use sha2::{Digest, Sha256};

const CASES: u32 = 300;
const DIGEST: &str = "9426a0eeda49db658a6d8bd8c97db0e5af03091cd553f2b37693a456c768ac2e";

/// The operands of a case.
struct Case {
    m: usize,
    k: usize,
    n: usize,
    bits: CodeBits,
    group: usize,
    codes: Vec<u8>,
    signed: bool,
    scales: Vec<f32>,
    scale_type: usize,
    zeros: Option<Vec<u8>>,
    minimums: Option<Vec<f32>>,
    /// f32 activations.
    a: Vec<f32>,
    /// 8-bit activations.
    q: Vec<u8>,
    q_signed: bool,
    q_zeros: Vec<i32>,
    /// 0 to 2 quantize `a`, 3 takes `q`.
    activations: usize,
    gathered: Vec<u32>,
    column_major: bool,
    residual: Vec<f32>,
    bias: Vec<f32>,
    row_scales: Vec<f32>,
    column_scales: Vec<f32>,
    stage: usize,
    scaled: usize,
    /// The layouts of A and of the residual.
    layouts: (Layout, Layout),
}

/// How a matrix lies in memory.
#[derive(Clone, Copy)]
enum Layout {
    Rows,
    RowsApart,
    Columns,
    /// No two elements side by side.
    Spread,
}

impl Layout {
    const ALL: [Layout; 4] = [Layout::Rows, Layout::RowsApart, Layout::Columns, Layout::Spread];

    /// Row-major elements in this layout, and the strides of rows and columns.
    fn lay_out<T: Copy + Default>(self, elements: &[T], rows: usize, cols: usize) -> (Vec<T>, usize, usize) {
        let (row, col) = match self {
            Layout::Rows => (cols, 1),
            Layout::RowsApart => (cols + 3, 1),
            Layout::Columns => (1, rows),
            Layout::Spread => (2 * cols, 2),
        };
        let mut data = vec![T::default(); rows * row + cols * col];
        for (at, element) in elements.iter().enumerate() {
            data[at / cols * row + at % cols * col] = *element;
        }
        (data, row, col)
    }
}

impl Case {
    fn new(seed: u32) -> Self {
        let r = &mut Numbers(u64::from(seed) * 7919 + 5);
        let limit = if seed.is_multiple_of(8) { 130 } else { 40 };
        let (m, k, n) = (r.below(limit / 4), r.below(3 * limit), r.below(limit));
        let bits = if r.flip() { CodeBits::Four } else { CodeBits::Eight };
        let group = [8, 16, 32, 64, 128, 256, 1000][r.below(7)];
        let groups = k.div_ceil(group);
        let mask = if bits == CodeBits::Four { 15 } else { 255 };
        let signed = r.flip();
        // i8 codes of 4 bits are extended signs.
        let code = |bits: u32| match (signed, mask) {
            (true, 15) => (bits as i8 & 15) - 8,
            _ => bits as i8 & mask as u8 as i8,
        } as u8;
        // Numbers that are the same everywhere: quotients by powers of two.
        let real = |r: &mut Numbers| (r.below(1 << 16) as f32 - 32_768.0) / 4096.0;
        let zeros = r.flip();
        let minimums = r.below(3) == 0;
        let sparse = r.below(3) == 0;
        let q_signed = r.flip();
        Self {
            m,
            k,
            n,
            bits,
            group,
            codes: (0..k * n).map(|_| code(r.next())).collect(),
            signed,
            scales: (0..groups * n).map(|_| real(r) / 64.0).collect(),
            scale_type: r.below(3),
            zeros: zeros.then(|| (0..groups * n).map(|_| code(r.next())).collect()),
            minimums: minimums.then(|| (0..groups * n).map(|_| real(r)).collect()),
            a: (0..m * k).map(|_| if sparse && r.below(40) > 0 { 0.0 } else { real(r) }).collect(),
            q: (0..m * k).map(|_| if r.below(4) == 0 { 0x80 } else { r.next() as u8 }).collect(),
            q_signed,
            q_zeros: (0..m).map(|_| r.below(256) as i32 - if q_signed { 128 } else { 0 }).collect(),
            activations: r.below(4),
            gathered: if r.below(4) == 0 && m > 0 {
                (0..m).map(|_| r.below(m as u32) as u32).collect()
            } else {
                vec![]
            },
            column_major: r.below(4) == 0,
            residual: (0..m * n).map(|_| real(r)).collect(),
            bias: (0..n).map(|_| real(r) * 8.0).collect(),
            row_scales: (0..m).map(|_| r.below(1000) as f32 / 512.0).collect(),
            column_scales: (0..n).map(|_| r.below(1000) as f32 / 512.0).collect(),
            stage: r.below(6),
            scaled: r.below(5),
            layouts: (Layout::ALL[r.below(4)], Layout::ALL[r.below(4)]),
        }
    }

    fn weights(&self, dispatch: Option<&Dispatch>) -> GroupwiseB {
        let Self { k, n, group, .. } = *self;
        let groups = k.div_ceil(group);
        let f16s: Vec<f16> = self.scales.iter().map(|x| f16::from_f32(*x)).collect();
        let bf16s: Vec<bf16> = self.scales.iter().map(|x| bf16::from_f32(*x)).collect();
        let scales: GroupScales = match self.scale_type {
            0 => MatRef::row_major(&self.scales, groups, n).unwrap().into(),
            1 => MatRef::row_major(&f16s, groups, n).unwrap().into(),
            _ => MatRef::row_major(&bf16s, groups, n).unwrap().into(),
        };
        let mut builder = GroupwiseB::builder(self.bits, group);
        if let Some(zeros) = &self.zeros {
            builder = builder.zeros(bytes(zeros, self.signed, (groups, n), (n, 1)));
        }
        if let Some(minimums) = &self.minimums {
            builder = builder.minimums(MatRef::row_major(minimums, groups, n).unwrap());
        }
        let b = builder.pack(bytes(&self.codes, self.signed, (k, n), (n, 1)), scales).unwrap();
        match dispatch {
            None => b,
            Some(dispatch) => b.with_dispatch(dispatch),
        }
    }

    /// Calls `f` with the product and its output stage.
    fn with_product<R>(&self, b: &GroupwiseB, f: impl FnOnce(GroupwiseGemm<'_>, Dequantize<'_>) -> R) -> R {
        let Self { m, k, n, .. } = *self;
        let (a, row, col) = self.layouts.0.lay_out(&self.a, m, k);
        let a = MatRef::new(&a, m, k, row, col).unwrap();
        let (q, row, col) = self.layouts.0.lay_out(&self.q, m, k);
        let q = bytes(&q, self.q_signed, (m, k), (row, col));
        let gemm = match (self.activations, self.gathered.is_empty()) {
            (3, true) => GroupwiseGemm::quantized(q, b).a_zero(&self.q_zeros),
            (3, false) => {
                GroupwiseGemm::quantized(Gather::rows(q, &self.gathered).unwrap(), b).a_zero(&self.q_zeros)
            }
            (way, true) => GroupwiseGemm::new(a, b).activations(WAYS[way]),
            (way, false) => {
                GroupwiseGemm::new(GatherF32::rows(a, &self.gathered).unwrap(), b).activations(WAYS[way])
            }
        };
        let scale = match self.scaled {
            0 => Scale::PerTensor(1.0),
            1 => Scale::PerTensor(0.75),
            2 => Scale::PerRow(&self.row_scales),
            3 => Scale::PerColumn(&self.column_scales),
            _ => Scale::RowsByColumns { rows: &self.row_scales, columns: &self.column_scales },
        };
        let output = if self.activations == 3 { Dequantize::new(scale) } else { Dequantize::dynamic(scale) };
        let output = output.unwrap();
        let (residual, row, col) = self.layouts.1.lay_out(&self.residual, m, n);
        let residual = MatRef::new(&residual, m, n, row, col).unwrap();
        f(
            gemm,
            match self.stage {
                0 => output,
                1 => output.bias(&self.bias),
                2 => output.bias(&self.bias).clamp_to(-3.0, 40.5),
                3 => output.relu().residual(residual),
                4 => output.bias(&self.bias).residual_in_place().activation(Activation::Silu),
                _ => output.activation(Activation::HardSwish).relu6(),
            },
        )
    }

    /// The output as bits, row-major.
    fn output(&self, run: impl FnOnce(MatMut<'_, f32>)) -> Vec<u32> {
        let Self { m, n, .. } = *self;
        let mut c: Vec<f32> = self.residual.clone();
        let shape =
            if self.column_major { MatMut::col_major(&mut c, m, n) } else { MatMut::row_major(&mut c, m, n) };
        run(shape.unwrap());
        let at = |i, j| if self.column_major { c[j * m + i] } else { c[i * n + j] };
        (0..m * n).map(|x| at(x / n, x % n).to_bits()).collect()
    }
}

const WAYS: [Activations; 3] =
    [Activations::PerRowAndGroup, Activations::PerRow, Activations::PerRowAsymmetric];

/// A matrix of some shape and strides.
fn bytes(bits: &[u8], signed: bool, shape: (usize, usize), strides: (usize, usize)) -> Operand<'_> {
    let ((rows, cols), (row, col)) = (shape, strides);
    match signed {
        true => MatRef::new(bytemuck::cast_slice::<u8, i8>(bits), rows, cols, row, col).unwrap().into(),
        false => MatRef::new(bits, rows, cols, row, col).unwrap().into(),
    }
}

/// Every kernel that runs here; the best alone where an emulator takes seconds.
fn dispatches() -> Vec<Dispatch> {
    let mut names: Vec<_> = Dispatch::available_groupwise().collect();
    if scale() < 10 {
        names.drain(..names.len() - 1);
    }
    names.into_iter().map(|name| Dispatch::named(name).unwrap()).collect()
}

fn digest(of: impl Fn(&Case) -> Vec<u32>) -> String {
    let mut hash = Sha256::new();
    for seed in 0..CASES {
        for bits in of(&Case::new(seed)) {
            hash.update(bits.to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_reference_has_the_digest() {
    let reference = |case: &Case| {
        case.with_product(&case.weights(None), |gemm, stage| {
            case.output(|c| reference::run_groupwise_f32(&gemm, c, stage).unwrap())
        })
    };
    assert_eq!(digest(reference), DIGEST);
}

#[test]
fn every_kernel_has_the_digest() {
    for (i, dispatch) in dispatches().iter().enumerate() {
        let kernel = |case: &Case| {
            case.with_product(&case.weights(Some(dispatch)), |gemm, stage| {
                case.output(|c| gemm.threads(1 + i % 3).run_f32(c, stage).unwrap())
            })
        };
        assert_eq!(digest(kernel), DIGEST, "{}", dispatch.groupwise_kernel());
    }
}

#[test]
fn kernels_do_what_the_reference_does() {
    for seed in 0..cases(600) as u32 {
        let case = Case::new(1_000_000 + seed);
        let b = case.weights(None);
        let want = case.with_product(&b, |gemm, stage| {
            case.output(|c| reference::run_groupwise_f32(&gemm, c, stage).unwrap())
        });
        for dispatch in dispatches() {
            // Small caches make several blocks of rows.
            let caches = Caches { l2: 1 << (10 + seed % 8), ..dispatch.caches() };
            let b = case.weights(Some(&dispatch.clone().with_caches(caches)));
            let got = case.with_product(&b, |gemm, stage| case.output(|c| gemm.run_f32(c, stage).unwrap()));
            assert_eq!(got, want, "seed {seed}, {}", b.kernel_name());
            let tasks = case.with_product(&b, |gemm, stage| {
                case.output(|c| {
                    let task = Task::groupwise_f32(gemm, c, stage).unwrap();
                    run_batch(&mut task.into_parts(1 + seed as usize % 9).unwrap()).unwrap();
                })
            });
            // A residual in place is in C once.
            assert_eq!(tasks, want, "seed {seed}, {}, in parts", b.kernel_name());
        }
    }
}

/// Rows of a product do not depend on the other rows, nor on the threads.
#[test]
fn a_row_is_the_same_alone_and_in_a_batch_on_any_number_of_threads() {
    let (m, k, n) = (64, 416, 300);
    let r = &mut Numbers(11);
    let w: Vec<f32> = (0..k * n).map(|_| r.below(2001) as f32 - 1000.0).collect();
    let a: Vec<f32> = (0..m * k).map(|_| r.below(2001) as f32 - 1000.0).collect();
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for (group, activations) in [(32, WAYS[0]), (128, WAYS[1]), (64, WAYS[2])] {
            let w = MatRef::row_major(&w, k, n).unwrap();
            let b = quantize_groups(w, bits, group, GroupScheme::Asymmetric).unwrap().pack().unwrap();
            for dispatch in dispatches() {
                let b = b.clone().with_dispatch(&dispatch);
                let run = |rows: std::ops::Range<usize>, threads: Threads<'_>| {
                    let mut c = vec![0f32; rows.len() * n];
                    let a = MatRef::row_major(&a[rows.start * k..], rows.len(), k).unwrap();
                    let c_view = MatMut::row_major(&mut c, rows.len(), n).unwrap();
                    let gemm = GroupwiseGemm::new(a, &b).activations(activations).threads(threads);
                    gemm.run_f32(c_view, Dequantize::groupwise()).unwrap();
                    c
                };
                let all = run(0..m, Threads::at_most(1));
                for threads in 2..=8 {
                    assert!(run(0..m, Threads::at_most(threads).eager()) == all, "{threads} threads");
                }
                for i in 0..m {
                    assert!(run(i..i + 1, Threads::ALL) == all[i * n..][..n], "row {i}, {}", b.kernel_name());
                }
                for rows in [0..3, 3..64, 7..15] {
                    assert!(run(rows.clone(), Threads::ALL) == all[rows.start * n..rows.end * n]);
                }
            }
        }
    }
}

#[test]
fn groups_longer_than_vector_kernels_take_are_exact() {
    // Zero points of 255 times the sum of a row do not fit 32 bits either.
    let k = 100_000;
    let a = vec![-128i8; k];
    let codes = vec![255u8; k * 2];
    let scales = [1f32, 0.5];
    for zero in [0u8, 3, 255] {
        let b = GroupwiseB::builder(CodeBits::Eight, k)
            .zero(zero)
            .pack(MatRef::row_major(&codes, k, 2).unwrap(), MatRef::row_major(&scales, 1, 2).unwrap())
            .unwrap();
        assert!(b.kernel_name().starts_with("scalar"));
        assert_eq!(b.zero(0, 1), Some(zero.into()));
        let mut c = [0f32; 2];
        let gemm = GroupwiseGemm::quantized(MatRef::row_major(&a, 1, k).unwrap(), &b).a_zero(127);
        gemm.run_f32(MatMut::row_major(&mut c, 1, 2).unwrap(), Dequantize::new(1.0).unwrap()).unwrap();
        // Beyond 32 bits, unless the zero point is 255.
        let sum = (-255 * (255 - i64::from(zero)) * k as i64) as f32;
        assert_eq!(c, [sum, sum * 0.5]);
    }
}

#[test]
fn results_that_overflow_are_infinite_and_nan_has_one_form() {
    let (codes, scales, a) = ([15u8; 48], [f32::MAX, f32::MAX, -f32::MAX], [1e30f32; 48]);
    let b = GroupwiseB::builder(CodeBits::Four, 16)
        .pack(MatRef::row_major(&codes, 48, 1).unwrap(), MatRef::row_major(&scales, 3, 1).unwrap())
        .unwrap();
    for dispatch in dispatches() {
        let b = b.clone().with_dispatch(&dispatch);
        let gemm = GroupwiseGemm::new(MatRef::row_major(&a, 1, 48).unwrap(), &b);
        for stage in [Dequantize::groupwise(), Dequantize::groupwise().residual_in_place()] {
            let mut c = [0f32];
            gemm.run_f32(MatMut::row_major(&mut c, 1, 1).unwrap(), stage).unwrap();
            assert_eq!(c[0].to_bits(), 0x7fc0_0000, "{}", b.kernel_name());
        }
    }
}

#[test]
fn weights_take_their_bits_and_little_more() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for (k, n) in [(256, 256), (256, 257), (257, 257), (260, 289), (1000, 333), (4096, 300)] {
            for group in [16, 32, 128] {
                let codes = vec![7u8; k * n];
                let groups = k.div_ceil(group);
                let scales = vec![f16::ONE; groups * n];
                let zeros: Vec<u8> = (0..groups * n).map(|i| (i % 16) as u8).collect();
                let b = GroupwiseB::builder(bits, group)
                    .zeros(MatRef::row_major(&zeros, groups, n).unwrap())
                    .pack(
                        MatRef::row_major(&codes, k, n).unwrap(),
                        MatRef::row_major(&scales, groups, n).unwrap(),
                    )
                    .unwrap();
                let width = if bits == CodeBits::Four { 4 } else { 8 };
                let least = (k * n * width + groups * n * (16 + width)) / 8;
                // Steps of 8 rows are not cut: 257 rows of 4 bits take the room of 264.
                let most = if k % 8 == 0 { 1.03 } else { 1.033 };
                assert!(
                    b.bytes() as f64 <= most * least as f64,
                    "{k}x{n}, {group}: {} of {least}",
                    b.bytes()
                );
            }
        }
    }
}

#[test]
fn weights_come_back_as_they_were() {
    for seed in 0..cases(200) as u32 {
        let case = Case::new(2_000_000 + seed);
        let Case { k, n, group, .. } = case;
        let b = case.weights(None);
        let mut codes = vec![0u8; k * n];
        if case.signed {
            let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut codes);
            b.unpack(MatMut::row_major(codes, k, n).unwrap()).unwrap();
        } else {
            b.unpack(MatMut::row_major(&mut codes, k, n).unwrap()).unwrap();
        }
        assert_eq!(codes, case.codes);
        let mut values = vec![0f32; k * n];
        b.dequantize(MatMut::row_major(&mut values, k, n).unwrap()).unwrap();
        let usual = if case.signed {
            0
        } else if case.bits == CodeBits::Four {
            8
        } else {
            128
        };
        let int = |bits: u8| if case.signed { i32::from(bits as i8) } else { i32::from(bits) };
        for (at, value) in values.iter().enumerate() {
            let (g, j) = (at / n / group, at % n);
            let scale = match case.scale_type {
                0 => case.scales[g * n + j],
                1 => f16::from_f32(case.scales[g * n + j]).to_f32(),
                _ => bf16::from_f32(case.scales[g * n + j]).to_f32(),
            };
            let zero = case.zeros.as_ref().map_or(usual, |zeros| int(zeros[g * n + j]));
            assert_eq!(b.zero(g, j), Some(zero));
            let product = (int(case.codes[at]) - zero) as f32 * scale;
            let want = case.minimums.as_ref().map_or(product, |minimums| product + minimums[g * n + j]);
            assert_eq!(value.to_bits(), want.to_bits());
        }
        assert_eq!((b.code(k, 0), b.zero(b.groups(), 0), b.scale(0, n)), (None, None, None));
    }
}
