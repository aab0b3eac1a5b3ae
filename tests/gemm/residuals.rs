//! Residuals, in place and not, activations of f32 outputs, and stages that own their values: on every kernel, in every
//! layout of the output, for sums of every width, against the specification.

use crate::spec;
use crate::support::{Byte, Fill, Layout, Matrix, Random, config, each_kernel};
use proptest::prelude::*;
use qgemm::*;

/// The width that the sums of a product need.
#[derive(Clone, Copy, Debug)]
enum Width {
    I32,
    /// i32 with terms in f64.
    Terms,
    I64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Added {
    Nothing,
    Matrix,
    Output,
}

#[derive(Clone, Debug)]
struct Case {
    shape: (usize, usize, usize),
    width: Width,
    packed: bool,
    layouts: (Layout, Layout),
    per_column: bool,
    per_row: bool,
    bias: bool,
    added: Added,
    clamp: bool,
    activation: Option<Activation>,
    owned: bool,
    kernel: usize,
    threads: usize,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let shape = (1..30usize, prop_oneof![4 => 1..70usize, 1 => 70..300usize], 1..90usize);
    let layouts = || prop::sample::select(vec![Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE]);
    let width = prop_oneof![6 => Just(Width::I32), 1 => Just(Width::Terms), 1 => Just(Width::I64)];
    let added = prop_oneof![1 => Just(Added::Nothing), 2 => Just(Added::Matrix), 2 => Just(Added::Output)];
    let activation = prop::option::of(prop::sample::select(Activation::ALL.to_vec()));
    let flags = any::<(bool, bool, bool, bool, bool, bool)>();
    (shape, width, added, activation, (layouts(), layouts()), flags, 1..4usize, any::<(usize, u64)>())
        .prop_map(|((m, n, k), width, added, activation, layouts, flags, threads, (kernel, seed))| {
            let (packed, per_column, per_row, bias, clamp, owned) = flags;
            // The raw sums of more products than this do not fit i32.
            let k = if let Width::I64 = width { k + 140_000 } else { k };
            let (m, n) = if let Width::I64 = width { (m % 3 + 1, n % 9 + 1) } else { (m, n) };
            Case {
                shape: (m, k, n),
                width,
                packed,
                layouts,
                per_column,
                per_row,
                bias,
                added,
                clamp,
                activation,
                owned,
                kernel,
                threads,
                seed,
            }
        })
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn residuals_of_f32_are_added(case in case()) {
        check_floats(&case);
    }

    #[test]
    fn residuals_of_bytes_are_added(case in case()) {
        if case.seed % 2 == 0 { check_bytes::<i8>(&case) } else { check_bytes::<u8>(&case) }
    }
}

/// The operands of a case, and its sums.
struct Operands {
    a: Matrix<u8>,
    b: Matrix<i8>,
    a_zero: i32,
    sums: Vec<Vec<i128>>,
    dispatch: Dispatch,
}

impl Operands {
    fn new(case: &Case) -> Self {
        let (m, k, n) = case.shape;
        let fill = if let Width::I64 = case.width { Fill::Max } else { Fill::Mixed };
        let a = Matrix::<u8>::filled(m, k, Layout::ROWS, fill, case.seed);
        let b = Matrix::<i8>::filled(k, n, Layout::ROWS, fill, case.seed / 3);
        let a_zero = if let Width::Terms = case.width { 40_000_000 } else { 7 };
        let sums = spec::sums(&a, &b, |_| a_zero, |_| 0, |_| 0);
        let kernels = each_kernel();
        let (_, dispatch) = kernels.into_iter().nth(case.kernel % each_kernel().len()).unwrap();
        Self { a, b, a_zero, sums, dispatch }
    }

    fn packed(&self) -> PackedB {
        PackedB::pack_with(&self.dispatch, self.b.view(), ElementType::U8).unwrap()
    }

    fn gemm<'a>(&'a self, case: &Case, packed: &'a PackedB) -> Gemm<'a> {
        let b = if case.packed { Rhs::from(packed) } else { self.b.view().into() };
        let gemm = Gemm::new(self.a.view(), b).a_zero(self.a_zero).dispatch(&self.dispatch);
        gemm.threads(Threads::at_most(case.threads).eager())
    }
}

fn scales(case: &Case, unit: f32) -> (Vec<f32>, Vec<f32>) {
    let (m, _, n) = case.shape;
    let column = |j: usize| if case.per_column { unit * (1 + j % 5) as f32 / 3.0 } else { unit };
    let row = |i: usize| if case.per_row { [0.3, 1.0, 1.7][i % 3] } else { 1.0 };
    ((0..m).map(row).collect(), (0..n).map(column).collect())
}

fn scale<'a>(case: &Case, rows: &'a [f32], columns: &'a [f32]) -> Scale<'a> {
    match (case.per_row, case.per_column) {
        (true, _) => Scale::RowsByColumns { rows, columns },
        (false, true) => Scale::PerColumn(columns),
        (false, false) => Scale::PerTensor(columns[0]),
    }
}

fn unit(case: &Case) -> f32 {
    match case.width {
        Width::I32 => 1e-3,
        Width::Terms => 1e-9,
        Width::I64 => 1e-7,
    }
}

fn check_floats(case: &Case) {
    let (m, _, n) = case.shape;
    let operands = Operands::new(case);
    let packed = operands.packed();
    let (rows, columns) = scales(case, unit(case));
    let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.3 - 4.0).collect();
    let residual = Matrix::<f32>::random(m, n, case.layouts.1, case.seed / 5);
    let mut c = Matrix::<f32>::random(m, n, case.layouts.0, case.seed / 7);
    let limits = if case.clamp { (-2.0, 1e4) } else { (f32::NEG_INFINITY, f32::INFINITY) };

    let mut want = c.clone();
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let scale = if case.per_row { rows[i] * columns[j] } else { columns[j] };
        let x = spec::dequantize(operands.sums[i][j], scale, case.bias.then_some(bias[j]));
        let x = match case.added {
            Added::Nothing => x,
            Added::Matrix => x + residual.at(i, j),
            Added::Output => x + c.at(i, j),
        };
        let x = x.clamp(limits.0, limits.1);
        want.set(i, j, case.activation.map_or(x, |activation| activation.apply(x)));
    }

    let mut output = Dequantize::new(scale(case, &rows, &columns)).unwrap().clamp_to(limits.0, limits.1);
    output = if case.bias { output.bias(&bias) } else { output };
    output = case.activation.map_or(output, |activation| output.activation(activation));
    output = if case.added == Added::Output { output.residual_in_place() } else { output };
    let owned = output.into_owned().unwrap();
    let mut output = if case.owned { owned.view() } else { output };
    output = if case.added == Added::Matrix { output.residual(residual.view()) } else { output };

    let gemm = operands.gemm(case, &packed);
    let mut by_definition = c.clone();
    by_definition.with_mut(|c| reference::run_f32(&gemm, c, output)).unwrap();
    by_definition.assert_same(&want, "reference");
    let mut parts = c.clone();
    parts.with_mut(|c| {
        let mut tasks = Task::f32(gemm, c, output).unwrap().into_parts(case.threads).unwrap();
        run_batch(&mut tasks).unwrap();
    });
    parts.assert_same(&want, "parts");
    c.with_mut(|c| gemm.run_f32(c, output)).unwrap();
    c.assert_same(&want, "kernel");
}

fn check_bytes<T: Byte>(case: &Case) {
    let (m, _, n) = case.shape;
    let operands = Operands::new(case);
    let packed = operands.packed();
    let (rows, columns) = scales(case, unit(case));
    let mut random = Random(case.seed);
    let (zero, residual_zero) = (random.below(300) as i32 - 150, random.below(300) as i32 - 150);
    let residual_scale = random.below(2000) as f32 / 1000.0;
    let residual = Matrix::<u8>::random(m, n, case.layouts.1, case.seed / 5);
    let mut c = Matrix::<T>::random(m, n, case.layouts.0, case.seed / 7);
    let range = T::TYPE.range();
    let limits = if case.clamp { (zero.clamp(range.0, range.1), i32::MAX) } else { (i32::MIN, i32::MAX) };

    let mut want = c.clone();
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let scale = if case.per_row { rows[i] * columns[j] } else { columns[j] };
        let value = match case.added {
            Added::Nothing => residual_zero,
            Added::Matrix => residual.at(i, j).into(),
            Added::Output => c.at(i, j).to_i32(),
        };
        let added = (value - residual_zero) as f32 * residual_scale;
        let limits = (limits.0.max(range.0), limits.1.min(range.1));
        let y = spec::requantize_and_add(operands.sums[i][j], scale, added, zero, limits);
        want.set(i, j, T::from_bits(y as u8));
    }

    let output = Requantize::new(scale(case, &rows, &columns), zero).unwrap().clamp_to(limits.0, limits.1);
    let output = match case.added {
        Added::Output => output.residual_in_place(residual_scale, residual_zero),
        Added::Nothing | Added::Matrix => output,
    };
    let owned = output.into_owned().unwrap();
    let output = if case.owned { owned.view() } else { output };
    let output = match case.added {
        Added::Matrix => output.residual(residual.view(), residual_scale, residual_zero),
        Added::Nothing | Added::Output => output,
    };

    let gemm = operands.gemm(case, &packed);
    let mut by_definition = c.clone();
    by_definition.with_mut(|c| reference::run_requantized(&gemm, c, output)).unwrap();
    by_definition.assert_same(&want, "reference");
    let mut parts = c.clone();
    parts.with_mut(|c| {
        let mut tasks = Task::requantized(gemm, c, output).unwrap().into_parts(case.threads).unwrap();
        run_batch(&mut tasks).unwrap();
    });
    parts.assert_same(&want, "parts");
    c.with_mut(|c| gemm.run_requantized(c, output)).unwrap();
    c.assert_same(&want, "kernel");
}

#[test]
fn relu_and_relu6_are_those_of_real_numbers() {
    let (a, b) = ([1i8; 1], (-128..=127).collect::<Vec<i8>>());
    let gemm = Gemm::new(MatRef::row_major(&a, 1, 1).unwrap(), MatRef::row_major(&b, 1, 256).unwrap());
    for (scale, zero) in [(0.05, -100), (0.31, 3), (1.0, 127), (40.0, -128), (1e-3, 0)] {
        let params = QuantParams { scale, zero_point: zero };
        // Sums in steps of 0.1.
        let output = Requantize::new(0.1 / scale, zero).unwrap();
        let run = |output: Requantize<'_>| {
            let mut c = [0i8; 256];
            gemm.run_requantized(MatMut::row_major(&mut c, 1, 256).unwrap(), output).unwrap();
            c
        };
        let (plain, relu, relu6) = (run(output), run(output.relu()), run(output.relu6(scale).unwrap()));
        let mut six = [0i8];
        quantize(&[6.0], params, &mut six).unwrap();
        for j in 0..256 {
            assert_eq!(i32::from(relu[j]), i32::from(plain[j]).max(zero), "{scale} {zero}");
            let want = i32::from(plain[j]).clamp(zero, i32::from(six[0]));
            assert_eq!(i32::from(relu6[j]), want, "{scale} {zero}");
        }
    }
    let mut reals = [0f32; 256];
    let c = MatMut::row_major(&mut reals, 1, 256).unwrap();
    gemm.run_f32(c, Dequantize::new(0.1).unwrap().relu6()).unwrap();
    assert!(reals.iter().zip(&b).all(|(y, b)| *y == (f32::from(*b) * 0.1).clamp(0.0, 6.0)));
}

#[test]
fn owned_stages_keep_all_but_residuals_of_one_call() {
    let table = Table::<u8>::from_fn(|x| x / 2);
    let halves = [Multiplier::from_real(0.5).unwrap(); 2];
    let stages = [
        Requantize::new(&[0.5, 0.25], 3).unwrap().table(&table).clamp_to(1, 200),
        Requantize::new(Scale::PerRow(&[0.5, 0.25, 2.0]), 3).unwrap().relu(),
        Requantize::fixed_point(&halves, Rounding::Gemmlowp, -1).unwrap(),
        Requantize::in_f64(&[0.5, 0.7], 1).unwrap(),
        Requantize::in_f64(0.5, 1).unwrap(),
    ];
    let (a, b) = ([9u8, 200, 3, 0, 5, 77], [1i8, -2, 3, 4]);
    let gemm = Gemm::new(MatRef::row_major(&a, 3, 2).unwrap(), MatRef::row_major(&b, 2, 2).unwrap());
    for stage in stages {
        let owned = stage.into_owned().unwrap();
        let copy = owned.clone();
        assert_eq!(owned, copy);
        let run = |stage: Requantize<'_>| {
            let mut c = [0u8; 6];
            gemm.run_requantized(MatMut::row_major(&mut c, 3, 2).unwrap(), stage).unwrap();
            c
        };
        assert_eq!(run(stage), run(copy.view()), "{stage:?}");
    }
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<OwnedRequantize>();
    shared::<OwnedDequantize>();
}

/// Each part of a dynamic product adds its own rows of the residual, and multiplies by its own rows' scales.
#[test]
fn residuals_of_dynamic_products_are_added_in_parts_too() {
    let (m, k, n) = (61, 40, 70);
    let mut random = Random(4);
    let mut number = || random.below(2001) as f32 / 100.0 - 10.0;
    let a: Vec<f32> = (0..m * k).map(|_| number()).collect();
    let b: Vec<i8> = (0..k * n).map(|_| number() as i8).collect();
    let residual: Vec<f32> = (0..m * n).map(|_| number() * 100.0).collect();
    let bytes: Vec<u8> = (0..m * n).map(|_| (number() * 10.0 + 100.0) as u8).collect();
    let rows: Vec<f32> = (0..m).map(|i| 0.25 + i as f32 / 64.0).collect();
    let packed = PackedB::pack(MatRef::row_major(&b, k, n).unwrap()).unwrap();
    let gemm = DynamicGemm::new(MatRef::row_major(&a, m, k).unwrap(), &packed);
    let to_f32 = Dequantize::dynamic(Scale::PerRow(&rows)).unwrap();
    let to_f32 = to_f32.residual(MatRef::row_major(&residual, m, n).unwrap());
    let to_bytes = Requantize::dynamic(Scale::PerRow(&rows), 7).unwrap();
    let to_bytes = to_bytes.residual(MatRef::row_major(&bytes, m, n).unwrap(), 3.5, 90);
    let (mut want, mut want_bytes) = (vec![0f32; m * n], vec![0i8; m * n]);
    reference::run_dynamic_f32(&gemm, MatMut::row_major(&mut want, m, n).unwrap(), to_f32).unwrap();
    let c = MatMut::row_major(&mut want_bytes, m, n).unwrap();
    reference::run_dynamic_requantized(&gemm, c, to_bytes).unwrap();
    for parts in [1, 2, 3, 8, 50] {
        let (mut c, mut c_bytes) = (vec![0f32; m * n], vec![0i8; m * n]);
        let task = Task::dynamic_f32(gemm, MatMut::row_major(&mut c, m, n).unwrap(), to_f32).unwrap();
        run_batch(&mut task.into_parts(parts).unwrap()).unwrap();
        assert!(c == want, "{parts} parts");
        let c = MatMut::row_major(&mut c_bytes, m, n).unwrap();
        let task = Task::dynamic_requantized(gemm, c, to_bytes).unwrap();
        run_batch(&mut task.into_parts(parts).unwrap()).unwrap();
        assert!(c_bytes == want_bytes, "{parts} parts, bytes");
    }
}
