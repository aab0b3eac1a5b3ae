//! Calls that multiply: every output stage, every path of the engine, f32 activations, batches.

use crate::calls::{Call, LEAST, Outcome, SUBNORMAL, bits, call};
use qgemm::*;

/// The size of zero points, which decides in what the engine adds: 32-bit integers, f64 or 64-bit integers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Zeros {
    Near,
    Far,
    Farthest,
}

const ZEROS: [Zeros; 3] = [Zeros::Near, Zeros::Far, Zeros::Farthest];

/// The arguments of a product, and numbers for its output stages. All are made ahead, in the default mode.
#[derive(Clone, Copy)]
pub struct Inputs {
    shape: (usize, usize, usize),
    a: &'static [u8],
    b: &'static [i8],
    zeros: (i32, i32),
    bias: &'static [i32],
    /// The scale that takes most sums to 8 bits.
    unit: f32,
    rows: &'static [f32],
    columns: &'static [f32],
    /// Subnormal scales, and those that take their products with sums to 8 bits.
    tiny_rows: &'static [f32],
    vast_columns: &'static [f32],
    real_bias: &'static [f32],
    tiny_bias: &'static [f32],
    factors: &'static [f64],
    multipliers: &'static [Multiplier],
    table: &'static Table<i8>,
}

fn leaked<T>(values: impl Iterator<Item = T>) -> &'static [T] {
    values.collect::<Vec<_>>().leak()
}

fn inputs((m, k, n): (usize, usize, usize), zeros: Zeros) -> Inputs {
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    let (zeros, unit) = match zeros {
        Zeros::Near => ((10, 3), 2e-4),
        Zeros::Far => ((1 << 20, -3), 1e-8),
        Zeros::Farthest => ((1 << 30, 1 << 24), 4e-17 / k as f32),
    };
    let varied = |i: usize| 1.0 + i as f32 / 7.0;
    let columns = leaked((0..n).map(|j| unit / varied(j % 5)));
    let quantized = |scale| QuantParams { scale, zero_point: -3 };
    let table = Table::activation(Activation::Gelu, quantized(0.05), quantized(0.03)).unwrap();
    Inputs {
        shape: (m, k, n),
        a: leaked((0..m * k).map(value)),
        b: leaked((0..k * n).map(|i| value(i + 77) as i8)),
        zeros,
        bias: leaked((0..n).map(|j| j as i32 * 31 - 400)),
        unit,
        rows: leaked((0..m).map(|i| unit * varied(i % 9))),
        columns,
        tiny_rows: leaked((0..m).map(|i| SUBNORMAL * varied(i % 9))),
        vast_columns: leaked(columns.iter().map(|column| column / SUBNORMAL)),
        real_bias: leaked((0..n).map(|j| 0.1 * j as f32)),
        tiny_bias: leaked((0..n).map(|j| SUBNORMAL * j as f32)),
        factors: leaked(columns.iter().map(|column| f64::from(*column) * 1.01)),
        multipliers: leaked(columns.iter().map(|column| Multiplier::from_real((*column).into()).unwrap())),
        table: Box::leak(Box::new(table)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Sums,
    PerTensor,
    PerColumn,
    PerRow,
    RowsByColumns,
    Clamped,
    Relu6,
    WithResidual,
    WithTinyResidual,
    WithResidualInPlace,
    WithTable,
    FixedPoint(Rounding),
    Factor,
    Factors,
    F32PerTensor,
    F32PerColumn,
    F32PerRow,
    F32RowsByColumns,
    F32Tiny,
    F32TinyBias,
    F32Clamped,
    F32Residual,
    F32ResidualInPlace,
    F32Activation(Activation),
}

const STAGES: [Stage; 32] = [
    Stage::Sums,
    Stage::PerTensor,
    Stage::PerColumn,
    Stage::PerRow,
    Stage::RowsByColumns,
    Stage::Clamped,
    Stage::Relu6,
    Stage::WithResidual,
    Stage::WithTinyResidual,
    Stage::WithResidualInPlace,
    Stage::WithTable,
    Stage::FixedPoint(Rounding::Gemmlowp),
    Stage::FixedPoint(Rounding::Ruy),
    Stage::FixedPoint(Rounding::Single),
    Stage::FixedPoint(Rounding::Reference),
    Stage::Factor,
    Stage::Factors,
    Stage::F32PerTensor,
    Stage::F32PerColumn,
    Stage::F32PerRow,
    Stage::F32RowsByColumns,
    Stage::F32Tiny,
    Stage::F32TinyBias,
    Stage::F32Clamped,
    Stage::F32Residual,
    Stage::F32ResidualInPlace,
    Stage::F32Activation(Activation::Gelu),
    Stage::F32Activation(Activation::GeluTanh),
    Stage::F32Activation(Activation::Silu),
    Stage::F32Activation(Activation::Sigmoid),
    Stage::F32Activation(Activation::Tanh),
    Stage::F32Activation(Activation::HardSwish),
];

/// One of each kind.
const FEW_STAGES: &[Stage] =
    &[Stage::Sums, Stage::PerColumn, Stage::WithResidual, Stage::Factors, Stage::F32RowsByColumns];

enum Output {
    Sums,
    Bytes(Requantize<'static>),
    Floats(Dequantize<'static>),
}

impl Inputs {
    /// The output, made in the mode that the thread is in.
    fn output(self, stage: Stage) -> Result<Output, Error> {
        let Self { shape: (m, _, n), unit, rows, columns, .. } = self;
        let residual = MatRef::new(&self.b[..n], m, n, 0, 1)?;
        let both = Scale::RowsByColumns { rows: self.tiny_rows, columns: self.vast_columns };
        let bytes = |requantize| Ok(Output::Bytes(requantize));
        let floats = |dequantize| Ok(Output::Floats(dequantize));
        match stage {
            Stage::Sums => Ok(Output::Sums),
            Stage::PerTensor => bytes(Requantize::new(unit, 1)?),
            Stage::PerColumn => bytes(Requantize::new(columns, -2)?),
            Stage::PerRow => bytes(Requantize::new(Scale::PerRow(rows), 3)?),
            Stage::RowsByColumns => bytes(Requantize::new(both, 0)?),
            Stage::Clamped => bytes(Requantize::new(columns, 5)?.clamp_to(5, 90)),
            Stage::Relu6 => bytes(Requantize::new(columns, 5)?.relu6(0.11)?),
            Stage::WithResidualInPlace => bytes(Requantize::new(columns, 5)?.residual_in_place(0.37, 4)),
            Stage::WithResidual => bytes(Requantize::new(columns, 5)?.residual(residual, 0.37, 4)),
            Stage::WithTinyResidual => bytes(Requantize::new(unit, 5)?.residual(residual, SUBNORMAL, 4)),
            Stage::WithTable => bytes(Requantize::new(both, 5)?.table(self.table)),
            Stage::FixedPoint(rounding) => bytes(Requantize::fixed_point(self.multipliers, rounding, 1)?),
            Stage::Factor => bytes(Requantize::in_f64(self.factors[0], 1)?),
            Stage::Factors => bytes(Requantize::in_f64(self.factors, 1)?),
            Stage::F32PerTensor => floats(Dequantize::new(unit)?),
            Stage::F32PerColumn => floats(Dequantize::new(columns)?.bias(self.real_bias)),
            Stage::F32PerRow => floats(Dequantize::new(Scale::PerRow(rows))?.bias(self.real_bias)),
            Stage::F32RowsByColumns => floats(Dequantize::new(both)?),
            Stage::F32Tiny => floats(Dequantize::new(LEAST)?),
            Stage::F32TinyBias => floats(Dequantize::new(0.0)?.bias(self.tiny_bias)),
            Stage::F32Clamped => floats(Dequantize::new(LEAST)?.clamp_to(-SUBNORMAL, LEAST)),
            Stage::F32Residual => {
                let residual = MatRef::new(&self.tiny_bias[..n], m, n, 0, 1)?;
                floats(Dequantize::new(LEAST)?.residual(residual))
            }
            Stage::F32ResidualInPlace => floats(Dequantize::new(columns)?.residual_in_place()),
            Stage::F32Activation(activation) => floats(Dequantize::new(columns)?.activation(activation)),
        }
    }

    fn a(self) -> MatRef<'static, u8> {
        MatRef::row_major(self.a, self.shape.0, self.shape.1).unwrap()
    }

    fn b(self) -> MatRef<'static, i8> {
        MatRef::row_major(self.b, self.shape.1, self.shape.2).unwrap()
    }

    fn product(self, b: impl Into<Rhs<'static>>) -> Gemm<'static> {
        Gemm::new(self.a(), b)
            .a_zero(self.zeros.0)
            .b_zero(self.zeros.1)
            .bias(self.bias)
            .threads(qgemm::Threads::ALL.eager())
    }

    fn packed(self, dispatch: &Dispatch) -> Gemm<'static> {
        let packed = PackedB::pack_with(dispatch, self.b(), ElementType::U8).unwrap();
        self.product(&*Box::leak(Box::new(packed)))
    }
}

/// Calls `run` with memory for so many values, each of whose bytes is 3, and returns the bits that it stores.
fn stored<T: bytemuck::Pod>(len: usize, run: impl FnOnce(&mut [T]) -> Result<(), Error>) -> Outcome {
    let mut c = vec![T::zeroed(); len];
    bytemuck::cast_slice_mut(&mut c).fill(3u8);
    run(&mut c)?;
    Ok(bytemuck::cast_slice(&c).to_vec())
}

impl Output {
    fn run(&self, gemm: &Gemm<'_>, (m, n): (usize, usize)) -> Outcome {
        match self {
            Output::Sums => stored(m * n, |c| gemm.run_i32(MatMut::row_major(c, m, n)?)),
            Output::Bytes(output) => {
                stored::<i8>(m * n, |c| gemm.run_requantized(MatMut::row_major(c, m, n)?, output))
            }
            Output::Floats(output) => stored(m * n, |c| gemm.run_f32(MatMut::row_major(c, m, n)?, output)),
        }
    }

    fn run_reference(&self, gemm: &Gemm<'_>, (m, n): (usize, usize)) -> Outcome {
        match self {
            Output::Sums => stored(m * n, |c| reference::run_i32(gemm, MatMut::row_major(c, m, n)?)),
            Output::Bytes(output) => {
                stored::<i8>(m * n, |c| reference::run_requantized(gemm, MatMut::row_major(c, m, n)?, output))
            }
            Output::Floats(output) => {
                stored(m * n, |c| reference::run_f32(gemm, MatMut::row_major(c, m, n)?, output))
            }
        }
    }
}

/// Every stage of a product, each made by the call.
fn each_stage(name: &str, inputs: Inputs, gemm: Gemm<'static>) -> impl Iterator<Item = Call> {
    stages(&STAGES, name, inputs, gemm)
}

fn stages(
    stages: &'static [Stage],
    name: &str,
    inputs: Inputs,
    gemm: Gemm<'static>,
) -> impl Iterator<Item = Call> + use<> {
    let (m, k, n) = inputs.shape;
    let name = format!("{name} {m}x{k}x{n}");
    stages.iter().map(move |&stage| {
        call(format!("{stage:?} {name}"), move || inputs.output(stage)?.run(&gemm, (m, n)))
    })
}

pub fn of_every_kernel() -> Vec<Call> {
    let mut calls = Vec::new();
    for kernel in Dispatch::available() {
        let dispatch: &'static Dispatch = Box::leak(Box::new(Dispatch::named(kernel.name).unwrap()));
        for shape in [(1, 16, 16), (5, 40, 70), (37, 9, 33)] {
            for zeros in ZEROS {
                let inputs = inputs(shape, zeros);
                let name = format!("{zeros:?} {}", kernel.name);
                calls.extend(each_stage(&name, inputs, inputs.packed(dispatch)));
                let unpacked = inputs.product(inputs.b()).dispatch(dispatch);
                calls.extend(each_stage(&format!("{name} unpacked"), inputs, unpacked));
            }
        }
    }
    calls
}

pub fn of_the_reference() -> Vec<Call> {
    let mut calls = Vec::new();
    for zeros in ZEROS {
        let inputs = inputs((5, 40, 70), zeros);
        let gemm = inputs.product(inputs.b());
        for stage in STAGES {
            calls.push(call(format!("{stage:?} {zeros:?}"), move || {
                inputs.output(stage)?.run_reference(&gemm, (5, 70))
            }));
        }
    }
    calls.extend(dynamic_calls((5, 40, 20), |gemm, c, output| reference::run_dynamic_f32(gemm, c, output)));
    calls
}

/// A product for [`made`].
pub fn some_inputs() -> Inputs {
    inputs((5, 40, 70), Zeros::Near)
}

/// Calls with outputs that are made at once, in the mode that the thread is in.
pub fn made(inputs: Inputs) -> Vec<Call> {
    let gemm = inputs.product(inputs.b());
    let made = STAGES.map(|stage| (stage, inputs.output(stage).unwrap()));
    let calls = made
        .into_iter()
        .map(|(stage, output)| call(format!("{stage:?}"), move || output.run(&gemm, (5, 70))));
    calls.collect()
}

/// Products that are worth several threads, of packed and unpacked B, and a batch.
pub fn large() -> Vec<Call> {
    let dispatch = Dispatch::auto().unwrap();
    let mut calls = Vec::new();
    for (shape, zeros, which) in [
        ((70, 180, 131), Zeros::Near, &STAGES[..]),
        ((70, 180, 131), Zeros::Far, FEW_STAGES),
        ((70, 180, 131), Zeros::Farthest, FEW_STAGES),
        ((1, 1200, 1000), Zeros::Near, FEW_STAGES),
        ((9, 33_000, 8), Zeros::Near, FEW_STAGES),
    ] {
        let inputs = inputs(shape, zeros);
        let name = format!("{zeros:?}");
        calls.extend(stages(which, &name, inputs, inputs.packed(dispatch)));
        calls.extend(stages(which, &format!("{name} unpacked"), inputs, inputs.product(inputs.b())));
    }
    calls.push(batch("batch of equal products", [(30, 90, 131); 6].map(|shape| inputs(shape, Zeros::Near))));
    let uneven = [(3, 16, 16), (70, 180, 131), (1, 400, 300), (30, 90, 70)];
    calls.push(batch("batch of uneven products", uneven.map(|shape| inputs(shape, Zeros::Far))));
    // One of 7: all activations, schemes, layouts and scales are among these.
    let dynamic = dynamic_calls((64, 300, 80), |gemm, c, output| gemm.run_f32(c, output));
    calls.extend(dynamic.into_iter().step_by(7));
    calls
}

/// A batch of i32, 8-bit and f32 outputs of each product. Its tasks also run alone.
fn batch<const N: usize>(name: &str, all: [Inputs; N]) -> Call {
    call(name, move || {
        let outputs = all.map(|inputs| {
            let len = inputs.shape.0 * inputs.shape.2;
            (inputs, vec![0i32; len], vec![0i8; len], vec![0f32; len])
        });
        let (mut together, mut alone) = (outputs.clone(), outputs);
        qgemm::run_batch_on(&mut tasks(&mut together)?, qgemm::Threads::ALL.eager())?;
        tasks(&mut alone)?.iter_mut().try_for_each(Task::run)?;
        let stored = together.iter().chain(&alone).flat_map(|(_, sums, bytes, floats)| {
            [bytemuck::cast_slice(sums), bytemuck::cast_slice(bytes), bytemuck::cast_slice::<f32, u8>(floats)]
        });
        Ok(stored.flatten().copied().collect())
    })
}

type Outputs = (Inputs, Vec<i32>, Vec<i8>, Vec<f32>);

fn tasks(outputs: &mut [Outputs]) -> Result<Vec<Task<'static, '_>>, Error> {
    let mut tasks = Vec::new();
    for (inputs, sums, bytes, floats) in outputs {
        let (m, _, n) = inputs.shape;
        let gemm = inputs.product(inputs.b());
        let Output::Bytes(requantize) = inputs.output(Stage::PerColumn)? else { unreachable!() };
        let Output::Floats(dequantize) = inputs.output(Stage::F32RowsByColumns)? else { unreachable!() };
        tasks.push(Task::i32(gemm, MatMut::row_major(sums, m, n)?)?);
        tasks.push(Task::requantized(gemm, MatMut::row_major(bytes, m, n)?, requantize)?);
        tasks.push(Task::f32(gemm, MatMut::row_major(floats, m, n)?, dequantize)?);
    }
    Ok(tasks)
}

pub fn dynamic() -> Vec<Call> {
    dynamic_calls((5, 40, 20), |gemm, c, output| gemm.run_f32(c, output))
}

/// A linear layer, built and run in the mode; gathered rows, to 8 bits with the parameters that were found.
pub fn layers() -> Vec<Call> {
    const SHAPE: (usize, usize, usize) = (6, 40, 20);
    let (m, k, n) = SHAPE;
    let inputs = inputs(SHAPE, Zeros::Near);
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8 as f32 - 120.0;
    let weight = leaked((0..k * n).map(|i| value(i) * 1e-3));
    let tiny = leaked((0..k * n).map(|i| value(i) * 1e-41));
    let x = leaked((0..m * k).map(|i| value(i + 5) * 0.02));
    let layer = move |weight: &'static [f32], activation: Option<Activation>| {
        let layer = Linear::out_in(MatRef::row_major(weight, n, k)?).bias(inputs.real_bias).relu6();
        let output = QuantParams { scale: 0.03, zero_point: 9 };
        let layer = layer.input::<u8>(QuantParams { scale: 0.013, zero_point: 7 }).output::<i8>(output);
        let layer = match activation {
            Some(activation) => layer.activation(activation).before_activation(output),
            None => layer,
        };
        layer.build()
    };
    let run = move |layer: Linear| {
        let x = MatRef::row_major(x, m, k)?;
        let dynamic = stored(m * n, |y| layer.run_dynamic(x, MatMut::row_major(y, m, n)?))?;
        let floats = stored(m * n, |y| layer.run_f32(inputs.a(), MatMut::row_major(y, m, n)?))?;
        let bytes = stored::<i8>(m * n, |y| layer.run_requantized(inputs.a(), MatMut::row_major(y, m, n)?))?;
        Ok([dynamic, floats, bytes].concat())
    };
    let mut calls = vec![
        call("layer", move || run(layer(weight, None)?)),
        call("layer with GELU", move || run(layer(weight, Some(Activation::Gelu))?)),
        call("layer of subnormal weights", move || run(layer(tiny, None)?)),
    ];
    static INDICES: [u32; 12] = [5, GatherF32::PADDING, 0, 1, 3, 3, 2, 4, GatherF32::PADDING, 1, 5, 0];
    for (taps, asymmetric, per_tensor) in (0..8).map(|bits| (1 + (bits & 1), bits & 2 != 0, bits & 4 != 0)) {
        calls.push(call(format!("gathered, {taps} taps, {asymmetric}, {per_tensor}"), move || {
            let (rows, k) = (INDICES.len() / taps, k / taps);
            let source = MatRef::new(x, 6, k, 40, 1)?;
            let a = GatherF32::new(source, &INDICES, taps)?;
            let gemm = DynamicGemm::new(a, MatRef::row_major(inputs.b, taps * k, n)?);
            let gemm = if asymmetric { gemm.asymmetric() } else { gemm };
            let gemm = if per_tensor { gemm.per_tensor() } else { gemm };
            let mut found =
                vec![QuantParams { scale: 1.0, zero_point: 0 }; if per_tensor { 1 } else { rows }];
            let output = Requantize::dynamic(inputs.columns, 3)?;
            let bytes = stored::<i8>(rows * n, |c| {
                let c = MatMut::row_major(c, rows, n)?;
                gemm.run_requantized_with_params(c, output, &mut found)
            })?;
            let theirs = stored::<i8>(rows * n, |c| {
                reference::run_dynamic_requantized(&gemm, MatMut::row_major(c, rows, n)?, output)
            })?;
            let scales: Vec<f32> = found.iter().map(|params| params.scale).collect();
            let zeros = found.iter().flat_map(|params| params.zero_point.to_ne_bytes());
            Ok([bytes, theirs, bits(&scales), zeros.collect()].concat())
        }));
    }
    calls
}

type RunDynamic = fn(&DynamicGemm<'_>, MatMut<'_, f32>, &Dequantize<'_>) -> Result<(), Error>;

/// Activations of every size, with every scheme, layout and kind of scale.
fn dynamic_calls((m, k, n): (usize, usize, usize), run: RunDynamic) -> Vec<Call> {
    let inputs = inputs((m, k, n), Zeros::Near);
    let len = m * k;
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8 as f32 - 100.0;
    let ordinary = leaked((0..len).map(|i| value(i) * 0.037));
    let with = |at: usize, x: f32| leaked((0..len).map(move |i| if i == at { x } else { ordinary[i] }));
    let activations = [
        ("ordinary", ordinary),
        ("subnormal", leaked((0..len).map(|i| value(i) * 1e-42))),
        ("about the least normal", leaked((0..len).map(|i| value(i) * 1e-38))),
        ("least", leaked((0..len).map(|i| f32::from_bits((i % 3) as u32)))),
        ("of subnormal scale", leaked((0..len).map(|i| value(i) * 1e-37))),
        ("vast", leaked((0..len).map(|i| value(i) * 1e36))),
        ("with NaN", with(len - 3, f32::NAN)),
        ("with infinity", with(len / 2, f32::NEG_INFINITY)),
    ];
    let scales = [
        Scale::PerTensor(0.013),
        Scale::PerTensor(SUBNORMAL),
        Scale::PerTensor(1e30),
        Scale::PerColumn(inputs.vast_columns),
        Scale::PerRow(inputs.tiny_rows),
        Scale::RowsByColumns { rows: inputs.tiny_rows, columns: inputs.vast_columns },
    ];
    let mut calls = Vec::new();
    for (which, a) in activations {
        for (asymmetric, per_tensor, by_columns) in
            (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
        {
            for (number, scale) in scales.into_iter().enumerate() {
                let name = format!(
                    "dynamic {which}, asymmetric {asymmetric}, per tensor {per_tensor}, columns {by_columns}, scale {number}"
                );
                calls.push(call(name, move || {
                    let a =
                        if by_columns { MatRef::col_major(a, m, k)? } else { MatRef::row_major(a, m, k)? };
                    let gemm = DynamicGemm::new(a, inputs.b()).threads(qgemm::Threads::ALL.eager());
                    let gemm = if asymmetric { gemm.asymmetric() } else { gemm };
                    let gemm = if per_tensor { gemm.per_tensor() } else { gemm };
                    let output = Dequantize::dynamic(scale)?.bias(inputs.tiny_bias);
                    let mut c = vec![0.0; m * n];
                    run(&gemm, MatMut::row_major(&mut c, m, n)?, &output)?;
                    Ok(bits(&c))
                }));
            }
        }
    }
    calls
}
