//! Real activations quantized by the call: the definition's values, the reference's too, bit for bit.

use crate::spec;
use crate::support::{Fill, Layout, Matrix, Random, config, each_kernel, each_kernel_or_best};
use proptest::prelude::*;
use qgemm::*;

/// The values in a row of A.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Spread over a range that holds 0 somewhere.
    Spread,
    /// All of one sign.
    OneSided,
    /// Multiples of half a step: every quotient with a fraction is a tie.
    Ties,
    Zero,
    Subnormal,
    /// Over a range whose width is often infinite.
    Huge,
    /// Random values of all magnitudes.
    Logarithmic,
}

impl Values {
    pub const ALL: [Values; 7] = [
        Values::Spread,
        Values::OneSided,
        Values::Ties,
        Values::Zero,
        Values::Subnormal,
        Values::Huge,
        Values::Logarithmic,
    ];

    pub fn value(self, k: usize, random: &mut Random) -> f32 {
        let unit = (random.next() >> 40) as f32 / (1u64 << 24) as f32;
        match self {
            Values::Spread => unit * 8.0 - 3.0,
            Values::OneSided => -5.0 - unit,
            // Steps of 1 for either scheme, if the extremes are there.
            Values::Ties => match k {
                0 => 127.0,
                1 => -128.0,
                2 => -127.0,
                _ => (random.below(507) as i32 - 253) as f32 / 2.0,
            },
            Values::Zero => [0.0, -0.0][random.below(2)],
            Values::Subnormal => f32::from_bits(random.below(400) as u32),
            Values::Huge => (unit - 0.5) * 1.9 * f32::MAX,
            Values::Logarithmic => f32::from_bits(random.next() as u32 & 0xbfff_ffff),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Scales {
    One,
    Columns,
    Rows,
    Both,
}

#[derive(Clone, Debug)]
struct Case {
    shape: (usize, usize, usize),
    values: Vec<Values>,
    layouts: (Layout, Layout),
    asymmetric: bool,
    per_tensor: bool,
    scales: Scales,
    bias: bool,
    each_b_zero: bool,
    packed_for: Option<ElementType>,
    kernel: usize,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let shape = (0..40usize, 0..40usize, prop_oneof![3 => 0..50usize, 1 => 0..400usize]);
    let layouts = prop::sample::select(vec![Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE]);
    let values = prop::collection::vec(prop::sample::select(Values::ALL.to_vec()), 1..5);
    let scales = prop::sample::select(vec![Scales::One, Scales::Columns, Scales::Rows, Scales::Both]);
    let packed_for = prop_oneof![Just(None), Just(Some(ElementType::I8)), Just(Some(ElementType::U8))];
    let flags = any::<(bool, bool, bool, bool)>();
    (shape, values, (layouts.clone(), layouts), flags, scales, packed_for, 0..64usize, any::<u64>()).prop_map(
        |(shape, values, layouts, flags, scales, packed_for, kernel, seed)| {
            let (asymmetric, per_tensor, bias, each_b_zero) = flags;
            Case {
                shape,
                values,
                layouts,
                asymmetric,
                per_tensor,
                scales,
                bias,
                each_b_zero,
                packed_for,
                kernel,
                seed,
            }
        },
    )
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_dynamic_product_is_its_definition(case in case()) {
        check(&case);
    }
}

/// Scale and zero point of some values.
pub fn params(values: &[f32], asymmetric: bool) -> (f32, i32) {
    let (lo, hi) = values.iter().fold((0f32, 0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
    let scale = if asymmetric { (hi - lo) / 255.0 } else { hi.max(-lo) / 127.0 };
    let scale = if scale == 0.0 { 1.0 } else { scale };
    (scale, if asymmetric { (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i32 } else { 0 })
}

fn check(case: &Case) {
    let (m, n, k) = case.shape;
    let mut random = Random(case.seed);
    let mut a = Matrix::<f32>::random(m, k, case.layouts.0, random.next());
    for (i, l) in (0..m).flat_map(|i| (0..k).map(move |l| (i, l))) {
        let kind = case.values[i % case.values.len()];
        a.set(i, l, kind.value(l, &mut random));
    }
    let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Mixed, random.next());
    let b_zeros: Vec<i32> = (0..n as i32).map(|j| if case.each_b_zero { j % 7 - 3 } else { 2 }).collect();
    let factors = |len: usize, random: &mut Random| -> Vec<f32> {
        (0..len).map(|_| (1 + random.below(1000)) as f32 / 1024.0 / 3.0).collect()
    };
    let (rows, columns) = (factors(m, &mut random), factors(n, &mut random));
    let bias: Vec<f32> = (0..n).map(|j| j as f32 * 1.1 - 20.0).collect();

    let kernels = each_kernel();
    let (kernel, dispatch) = &kernels[case.kernel % kernels.len()];
    let packed = case.packed_for.map(|element| PackedB::pack_with(dispatch, b.view(), element).unwrap());
    let rhs = packed.as_ref().map_or(Rhs::from(b.view()), Rhs::from);
    let mut gemm = DynamicGemm::new(a.view(), rhs).dispatch(dispatch).threads(qgemm::Threads::ALL.eager());
    gemm = if case.each_b_zero { gemm.b_zero(&b_zeros) } else { gemm.b_zero(2) };
    gemm = if case.asymmetric { gemm.asymmetric() } else { gemm };
    gemm = if case.per_tensor { gemm.per_tensor() } else { gemm };
    let scale = match case.scales {
        Scales::One => Scale::PerTensor(0.37),
        Scales::Columns => Scale::PerColumn(&columns),
        Scales::Rows => Scale::PerRow(&rows),
        Scales::Both => Scale::RowsByColumns { rows: &rows, columns: &columns },
    };
    let output = Dequantize::dynamic(scale).unwrap();
    let output = if case.bias { output.bias(&bias) } else { output };

    let row = |i: usize| -> Vec<f32> { (0..k).map(|l| a.at(i, l)).collect() };
    let all: Vec<f32> = (0..m).flat_map(row).collect();
    let params: Vec<_> = (0..m)
        .map(|i| match case.per_tensor {
            true => params(&all, case.asymmetric),
            false => params(&row(i), case.asymmetric),
        })
        .collect();
    let c = Matrix::<f32>::random(m, n, case.layouts.1, 1);
    let (mut ours, mut theirs) = (c.clone(), c.clone());
    let result = ours.with_mut(|c| gemm.run_f32(c, output));
    assert_eq!(result, theirs.with_mut(|c| reference::run_dynamic_f32(&gemm, c, output)));
    // Without an output, values of A do not count.
    if let Some((scale, _)) = params.iter().find(|(scale, _)| n > 0 && scale.is_infinite()) {
        assert!(matches!(result, Err(Error::QuantizationRange { .. })), "{scale} {result:?}");
        ours.assert_same(&c, "written although refused");
        let mut found = vec![NOT_FOUND; if case.per_tensor { 1 } else { m }];
        assert_eq!(ours.with_mut(|c| gemm.run_f32_with_params(c, output, &mut found)), result);
        ours.assert_same(&c, "written although refused");
        assert!(found.iter().all(|params| *params == NOT_FOUND), "handed back although refused");
        return;
    }
    let s = |i: usize, j: usize| match case.scales {
        Scales::One => params[i].0 * 0.37,
        Scales::Columns => params[i].0 * columns[j],
        Scales::Rows => params[i].0 * rows[i],
        Scales::Both => params[i].0 * rows[i] * columns[j],
    };
    assert_eq!(result, Ok(()));
    let mut quantized = Matrix::<u8>::random(m, k, Layout::ROWS, 0);
    let mut signed = Matrix::<i8>::random(m, k, Layout::ROWS, 0);
    for (i, l) in (0..m).flat_map(|i| (0..k).map(move |l| (i, l))) {
        let steps = f64::from(a.at(i, l) / params[i].0).round_ties_even() + f64::from(params[i].1);
        quantized.set(i, l, steps.clamp(0.0, 255.0) as u8);
        signed.set(i, l, steps.clamp(-127.0, 127.0) as i8);
    }
    let b_zero = |j: usize| b_zeros[j];
    let sums = match case.asymmetric {
        true => spec::sums(&quantized, &b, |i| params[i].1, b_zero, |_| 0),
        false => spec::sums(&signed, &b, |_| 0, b_zero, |_| 0),
    };
    let mut want = c;
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        want.set(i, j, spec::dequantize(sums[i][j], s(i, j), case.bias.then(|| bias[j])));
    }
    theirs.assert_same(&want, "the reference");
    ours.assert_same(&want, kernel.name);
    let mut parts = Matrix::<f32>::random(m, n, case.layouts.1, 1);
    parts.with_mut(|c| run_parts(Task::dynamic_f32(gemm, c, output).unwrap()));
    parts.assert_same(&want, "parts");

    let output = Requantize::dynamic(scale, 3).unwrap();
    let before = Matrix::<i8>::random(m, n, case.layouts.1, 4);
    let mut want = before.clone();
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        want.set(i, j, spec::requantize(sums[i][j], s(i, j), 3, (-128, 127)) as i8);
    }
    let mut found = vec![NOT_FOUND; if case.per_tensor { 1 } else { m }];
    let (mut ours, mut theirs, mut parts) = (before.clone(), before.clone(), before);
    ours.with_mut(|c| gemm.run_requantized_with_params(c, output, &mut found)).unwrap();
    ours.assert_same(&want, kernel.name);
    theirs.with_mut(|c| reference::run_dynamic_requantized(&gemm, c, output)).unwrap();
    theirs.assert_same(&want, "the reference");
    parts.with_mut(|c| run_parts(Task::dynamic_requantized(gemm, c, output).unwrap()));
    parts.assert_same(&want, "parts");
    for (found, (scale, zero_point)) in found.iter().zip(&params) {
        let empty = m == 0 || n == 0;
        let params = QuantParams { scale: *scale, zero_point: *zero_point };
        assert_eq!(*found, if empty { NOT_FOUND } else { params });
    }
}

const NOT_FOUND: QuantParams = QuantParams { scale: -1.0, zero_point: -1 };

fn run_parts(task: Task<'_, '_>) {
    let mut tasks = task.into_parts(3).unwrap();
    run_batch_on(&mut tasks, Threads::at_most(2).eager()).unwrap();
}

#[cfg(feature = "rayon")]
fn on_threads(f: &(dyn Fn(usize) + Sync)) {
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| f(threads));
    }
}

#[cfg(not(feature = "rayon"))]
fn on_threads(f: &(dyn Fn(usize) + Sync)) {
    f(1);
}

/// The four ways to quantize.
fn ways<'a>(gemm: DynamicGemm<'a>) -> [DynamicGemm<'a>; 4] {
    [gemm, gemm.per_tensor(), gemm.asymmetric(), gemm.asymmetric().per_tensor()]
}

#[test]
fn large_products_are_the_reference_s_on_every_kernel_and_number_of_threads() {
    for (kernel, dispatch) in each_kernel_or_best() {
        for ((m, k, n), layout) in [
            ((201, 333, 40), Layout::INNER),
            ((70, 1030, 35), Layout::COLS),
            ((3, 9000, 17), Layout::ROWS),
            ((1, 70_000, 2), Layout::LOOSE),
        ] {
            let mut random = Random(m as u64);
            let mut a = Matrix::<f32>::random(m, k, layout, 1);
            for (i, l) in (0..m).flat_map(|i| (0..k).map(move |l| (i, l))) {
                a.set(i, l, Values::Spread.value(l, &mut random) * (1 + i) as f32);
            }
            let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Mixed, 2);
            let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
            let output = Dequantize::dynamic(0.01).unwrap();
            for gemm in ways(DynamicGemm::new(a.view(), &packed).threads(qgemm::Threads::ALL.eager())) {
                let mut want = Matrix::<f32>::random(m, n, Layout::ROWS, 3);
                want.with_mut(|c| reference::run_dynamic_f32(&gemm, c, output)).unwrap();
                on_threads(&|threads| {
                    let mut c = Matrix::<f32>::random(m, n, Layout::ROWS, 3);
                    c.with_mut(|c| gemm.run_f32(c, output)).unwrap();
                    c.assert_same(&want, &format!("{} {m}x{k}x{n}, {threads} threads", kernel.name));
                });
            }
        }
    }
}

#[test]
fn a_number_that_is_not_finite_is_refused_with_its_place() {
    // Worth several threads: the first in the order of rows is named, whoever finds one first.
    let (m, k) = (150, 300);
    let good: Vec<f32> = (0..m * k).map(|i| (i % 1000) as f32 - 300.0).collect();
    let b = vec![1i8; k];
    let b = MatRef::row_major(&b, k, 1).unwrap();
    let output = Dequantize::dynamic(1.0).unwrap();
    for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for places in
            [vec![(0, 0)], vec![(149, 299)], vec![(70, 255), (70, 256), (140, 0)], vec![(3, 299), (4, 0)]]
        {
            let mut a = good.clone();
            places.iter().for_each(|(i, l)| a[i * k + l] = wrong);
            for a in [
                MatRef::row_major(&a, m, k).unwrap(),
                MatRef::col_major(&transposed(&a, m, k), m, k).unwrap(),
            ] {
                for gemm in ways(DynamicGemm::new(a, b)) {
                    on_threads(&|_| {
                        let mut c = vec![7f32; m];
                        let error =
                            gemm.run_f32(MatMut::row_major(&mut c, m, 1).unwrap(), output).unwrap_err();
                        let Error::NotFinite { argument: "a", row, column, got } = error else {
                            panic!("{error}")
                        };
                        assert_eq!(((row, column), got.to_bits()), (places[0], wrong.to_bits()));
                        assert!(c.iter().all(|c| *c == 7.0), "written although refused");
                    });
                    let mut c = vec![7f32; m];
                    let theirs =
                        reference::run_dynamic_f32(&gemm, MatMut::row_major(&mut c, m, 1).unwrap(), output);
                    assert!(
                        matches!(theirs, Err(Error::NotFinite { row, column, .. }) if (row, column) == places[0])
                    );
                }
            }
        }
    }
}

fn transposed(a: &[f32], m: usize, k: usize) -> Vec<f32> {
    (0..k).flat_map(|l| (0..m).map(move |i| a[i * k + l])).collect()
}

#[test]
fn what_does_not_fit_is_refused() {
    let (a, b) = ([1f32, 2.0, 3.0, -4.0], [1i8, 2]);
    let (a, b) = (MatRef::row_major(&a, 2, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
    let refused = |gemm: DynamicGemm<'_>, scale: Scale<'_>, bias: &[f32]| {
        let mut c = [5f32; 2];
        let output = Dequantize::dynamic(scale).unwrap().bias(bias);
        let error = gemm.run_f32(MatMut::row_major(&mut c, 2, 1).unwrap(), output).unwrap_err();
        let theirs = reference::run_dynamic_f32(&gemm, MatMut::row_major(&mut c, 2, 1).unwrap(), output);
        assert_eq!(theirs, Err(error.clone()));
        assert_eq!(c, [5.0; 2], "written although refused");
        error
    };
    let one = Scale::PerTensor(1.0);
    for gemm in ways(DynamicGemm::new(a, b)) {
        let transposed = DynamicGemm::new(a, MatRef::row_major(&[1i8; 3], 3, 1).unwrap());
        assert!(matches!(refused(transposed, one, &[0.0]), Error::InnerDimension { a_cols: 2, b_rows: 3 }));
        assert!(matches!(
            refused(gemm.b_zero(&[1, 2]), one, &[0.0]),
            Error::Length { argument: "b_zero", .. }
        ));
        assert!(matches!(refused(gemm, one, &[0.0; 2]), Error::Length { argument: "bias", .. }));
        assert!(matches!(refused(gemm, Scale::PerColumn(&[1.0; 2]), &[0.0]), Error::Length { .. }));
        assert!(matches!(refused(gemm, Scale::PerRow(&[1.0]), &[0.0]), Error::Length { .. }));
        let far = [f32::MAX, -f32::MAX, 1.0, 0.0];
        let far = DynamicGemm::new(MatRef::row_major(&far, 2, 2).unwrap(), b);
        // The product of the scales overflows.
        let rows = Scale::PerRow(&[1e3, 1e3]);
        assert!(matches!(refused(far, rows, &[0.0]), Error::Scale { index: 0, .. }));
        let both = Scale::RowsByColumns { rows: &[1.0, 1.0], columns: &[1e3] };
        assert!(matches!(refused(far, both, &[0.0]), Error::ScaleProduct { .. }));
        // The width of the range does.
        let error = refused(far.asymmetric(), one, &[0.0]);
        assert_eq!(error, Error::QuantizationRange { got: (f64::from(f32::MIN), f64::from(f32::MAX)) });
        assert_eq!(refused(far.asymmetric().per_tensor(), one, &[0.0]), error);
    }
    let mut c = [5f32; 3];
    let output = Dequantize::dynamic(1.0).unwrap();
    let error = DynamicGemm::new(a, b).run_f32(MatMut::row_major(&mut c, 3, 1).unwrap(), output);
    assert_eq!(error, Err(Error::OutputShape { got: (3, 1), need: (2, 1) }));
}

#[test]
fn empty_products_are_bias() {
    let (mut c, none) = ([5f32; 6], [0f32; 0]);
    let output = Dequantize::dynamic(1.0).unwrap().bias(&[1.0, -0.0, 3.0]);
    let a = MatRef::row_major(&none, 2, 0).unwrap();
    let b = MatRef::row_major(&[] as &[i8], 0, 3).unwrap();
    for gemm in ways(DynamicGemm::new(a, b)) {
        gemm.run_f32(MatMut::row_major(&mut c, 2, 3).unwrap(), output).unwrap();
        assert_eq!(c, [1.0, 0.0, 3.0, 1.0, 0.0, 3.0]);
        c = [5.0; 6];
    }
    let a = MatRef::row_major(&none, 0, 2).unwrap();
    let b = MatRef::row_major(&[1i8; 6], 2, 3).unwrap();
    for gemm in ways(DynamicGemm::new(a, b)) {
        gemm.run_f32(MatMut::row_major(&mut [], 0, 3).unwrap(), output).unwrap();
    }
}
