//! Wrong results must be noticed, and all that the library offers must be drawn.

use crate::arguments::machine::dispatch;
use crate::files::matrices::Elements8;
use crate::verify::buffer::{Buffer, Written};
use crate::verify::case::{
    Activations, Call, Case, Dynamic, Output, OwnedFloats, OwnedLhs, Product, Static, Weights,
};
use crate::verify::definition::by_definition;
use crate::verify::destination::{Destination, Layout};
use crate::verify::groups::{GroupWeights, GroupZeros, RealValues, Reals};
use crate::verify::kernels::by_kernels;
use crate::verify::operands::ZeroPoints;
use crate::verify::outcome::{Outcome, difference};
use crate::verify::stage::{Added, FloatStage, Limits, QuantizedStage};
use crate::verify::{draw, thread_pools};
use qgemm::Dispatch;
use rayon::ThreadPool;
use std::collections::BTreeMap;

const CASES: u64 = 300;

fn portable() -> (Dispatch, Vec<ThreadPool>) {
    (dispatch("portable").unwrap(), thread_pools().unwrap())
}

impl Buffer {
    /// Inverts a bit of element `at`.
    fn spoil(&mut self, at: usize) {
        match self {
            Buffer::I32(c) => c[at] ^= 1 << 31,
            Buffer::I8(c) => c[at] ^= 1,
            Buffer::U8(c) => c[at] ^= 1,
            Buffer::F32(c) => c[at] = f32::from_bits(c[at].to_bits() ^ 1),
        }
    }

    fn pop(&mut self) {
        match self {
            Buffer::I32(c) => drop(c.pop()),
            Buffer::I8(c) => drop(c.pop()),
            Buffer::U8(c) => drop(c.pop()),
            Buffer::F32(c) => drop(c.pop()),
        }
    }
}

impl Outcome {
    fn written(&mut self) -> &mut Vec<Written> {
        match self {
            Outcome::Computed(written) => written,
            _ => panic!("the case was computed"),
        }
    }
}

/// One wrong bit is found and its place is named, in an element, in what lies between elements, and in parameters.
#[test]
fn one_wrong_bit_is_noticed() {
    let (dispatch, pools) = portable();
    for index in 0..CASES {
        let case = draw::case(1, index);
        let expected = Outcome::of(|| by_definition(&case));
        let mut got = Outcome::of(|| by_kernels(&case, &dispatch, &pools));
        assert_eq!(difference(&expected, &got, &case), None, "case {index}\n{case}");
        for (i, product) in case.products().iter().enumerate() {
            let Destination { rows, cols, layout, .. } = product.c;
            let Layout { row_stride, col_stride, len } = layout;
            let mut spoil = |at| {
                got.written()[i].c.spoil(at);
                let difference = difference(&expected, &got, &case).unwrap_or_default();
                got.written()[i].c.spoil(at);
                difference
            };
            let is_empty = product.c.is_empty();
            if !is_empty {
                let (row, col) = (index as usize % rows, index as usize % cols);
                let message = spoil(row * row_stride + col * col_stride);
                let place = format!("product {i}: 1 differ, the first at row {row}, column {col}: was ");
                assert!(message.starts_with(&place), "case {index}: {message}");
            }
            let end = if is_empty { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 };
            if end < len {
                assert!(spoil(end).contains("outside of the matrix"), "case {index}");
            }
            for at in 0..got.written()[i].params.len() {
                got.written()[i].params[at].zero_point ^= 1;
                let message = difference(&expected, &got, &case).unwrap_or_default();
                got.written()[i].params[at].zero_point ^= 1;
                let place = format!("product {i}: scale and zero point {at} handed back: was ");
                assert!(message.starts_with(&place), "case {index}: {message}");
            }
        }
    }
}

/// An output too few or too many is noticed, and so is a buffer that is too short, on either side.
#[test]
fn missing_outputs_are_noticed() {
    let mut batches = 0;
    for index in 0..CASES {
        let case = draw::case(1, index);
        let Call::Batch(products) = &case.call else { continue };
        if products.is_empty() {
            continue;
        }
        batches += 1;
        let outcome = || Outcome::of(|| by_definition(&case));
        assert_eq!(difference(&outcome(), &outcome(), &case), None);
        let mut fewer = outcome();
        fewer.written().pop();
        let mut more = outcome();
        more.written().push(Written { c: Buffer::I8(Vec::new()), params: Vec::new() });
        let mut shorter = outcome();
        let last = shorter.written().iter_mut().zip(products).rfind(|(_, product)| product.c.layout.len > 0);
        for wrong in [&fewer, &more] {
            assert!(difference(&outcome(), wrong, &case).is_some(), "case {index}");
            assert!(difference(wrong, &outcome(), &case).is_some(), "case {index}");
            assert!(difference(wrong, wrong, &case).is_some(), "case {index}");
        }
        if let Some((written, _)) = last {
            written.c.pop();
            assert!(difference(&outcome(), &shorter, &case).is_some(), "case {index}");
            assert!(difference(&shorter, &outcome(), &case).is_some(), "case {index}");
        }
    }
    assert!(batches > 10, "{batches}");
}

/// The kinds of calls that are told apart below.
fn kind(case: &Case) -> &'static str {
    match &case.call {
        Call::One(Product { b: Weights::Groups(_), a: Activations::Static(_), .. }) => "static by groups",
        Call::One(Product { b: Weights::Groups(_), .. }) => "dynamic by groups",
        Call::Parts(Product { b: Weights::Groups(_), .. }, _) => "parts by groups",
        Call::One(Product { a: Activations::Static(Static { a: OwnedLhs::Matrix(_), .. }), .. }) => "static",
        Call::One(Product { a: Activations::Static(_), .. }) => "gathered",
        Call::One(Product {
            a: Activations::Dynamic(Dynamic { a: OwnedFloats::Gathered(_), .. }), ..
        }) => "gathered floats",
        Call::One(Product { a: Activations::Dynamic(_), output: Output::F32(_), .. }) => "dynamic to f32",
        Call::One(Product { a: Activations::Dynamic(_), .. }) => "dynamic to 8 bits",
        Call::Parts(Product { a: Activations::Static(_), .. }, _) => "static parts",
        Call::Parts(Product { a: Activations::Dynamic(_), .. }, _) => "dynamic parts",
        Call::Batch(_) => "batch",
    }
}

/// Inverts a bit of all elements.
fn flip(data: &mut Elements8, bit: u8) {
    match data {
        Elements8::I8(data) => data.iter_mut().for_each(|x| *x ^= bit as i8),
        Elements8::U8(data) => data.iter_mut().for_each(|x| *x ^= bit),
    }
}

/// Products with another B are noticed, in cases of each kind.
#[test]
fn wrong_products_are_noticed() {
    let (dispatch, pools) = portable();
    let mut counts = BTreeMap::<_, (u32, u32)>::new();
    for index in 0..2 * CASES {
        let case = draw::case(2, index);
        let expected = Outcome::of(|| by_definition(&case));
        let mut wrong = case;
        let kind = kind(&wrong);
        let products = match &mut wrong.call {
            Call::One(product) | Call::Parts(product, _) => std::slice::from_mut(product),
            Call::Batch(products) => products,
        };
        for product in products {
            match &mut product.b {
                Weights::Columns(columns) => flip(&mut columns.b.data, 0x40),
                // The highest bit that all codes of 4 bits have, whatever their sign.
                Weights::Groups(groups) => flip(&mut groups.codes.data, 0x04),
            }
        }
        let got = Outcome::of(|| by_kernels(&wrong, &dispatch, &pools));
        let (noticed, seen) = counts.entry(kind).or_default();
        *seen += 1;
        *noticed += u32::from(difference(&expected, &got, &wrong).is_some());
    }
    assert_eq!(counts.len(), 11, "{counts:?}");
    // Saturated outputs and empty products do not change with B.
    for (kind, (noticed, seen)) in counts {
        assert!(seen >= 15 && noticed * 4 > seen, "{kind}: {noticed} of {seen}");
    }
}

/// The words for all that is drawn with a product.
fn features(product: &Product) -> Vec<String> {
    let zeros = |name: &str, zeros: &ZeroPoints| match zeros {
        ZeroPoints::I32(_) => format!("{name} i32"),
        ZeroPoints::I8(_) => format!("{name} i8"),
        ZeroPoints::U8(_) => format!("{name} u8"),
    };
    let (mut all, of_b) = match &product.b {
        Weights::Columns(columns) => (vec![zeros("b_zero", &columns.zero)], ""),
        Weights::Groups(groups) => (group_features(groups), "groups "),
    };
    let of_a = match &product.a {
        Activations::Static(given) => {
            all.push(zeros("a_zero", &given.a_zero));
            ""
        }
        Activations::Dynamic(Dynamic { a, with_params, per, asymmetric }) => {
            let is_gathered = matches!(a, OwnedFloats::Gathered(_));
            all.push(match &product.b {
                Weights::Columns(_) => format!("gathered {is_gathered}, per {per:?}, params {with_params}"),
                Weights::Groups(_) => format!("gathered {is_gathered}, per {per:?}, asymmetric {asymmetric}"),
            });
            "dynamic "
        }
    };
    all.extend(match &product.output {
        Output::I32 { accumulate } => vec![format!("accumulate {accumulate}")],
        Output::I8(stage) => quantized_features("i8", stage),
        Output::U8(stage) => quantized_features("u8", stage),
        Output::F32(stage) => float_features(stage),
    });
    all.into_iter().map(|feature| format!("{of_b}{of_a}{feature}")).collect()
}

fn group_features(GroupWeights { bits, codes, scales, zeros, minimums, .. }: &GroupWeights) -> Vec<String> {
    let of = |reals: &Reals| match &reals.values {
        RealValues::F32(_) => "f32",
        RealValues::F16(_) => "f16",
        RealValues::Bf16(_) => "bf16",
    };
    let zeros = match zeros {
        GroupZeros::Default => "default",
        GroupZeros::One(_) => "one",
        GroupZeros::Each(_) => "each",
    };
    vec![
        format!("{} bits of {}, zeros {zeros}", bits.bits(), codes.data.element_type()),
        format!("scales {}, minimums {}", of(scales), minimums.as_ref().map_or("none", of)),
    ]
}

fn quantized_features<T>(name: &str, stage: &QuantizedStage<T>) -> Vec<String> {
    let residual = match stage.residual().map(|residual| &residual.matrix) {
        None => "none",
        Some(Added::Matrix(_)) => "matrix",
        Some(Added::InPlace) => "in place",
    };
    vec![
        format!("{name} residual {residual}, kept {}", stage.is_kept),
        format!("{name} {}", limit(&stage.limits)),
        format!("{name} table {}", stage.table.is_some()),
    ]
}

fn float_features(stage: &FloatStage) -> Vec<String> {
    let residual = match &stage.residual {
        None => "none",
        Some(Added::Matrix(_)) => "matrix",
        Some(Added::InPlace) => "in place",
    };
    vec![
        format!("f32 residual {residual}, kept {}", stage.is_kept),
        format!("f32 {}", limit(&stage.limits)),
        format!("f32 activation {:?}", stage.activation),
    ]
}

fn limit<T, S>(limits: &Option<Limits<T, S>>) -> &'static str {
    match limits {
        None => "no clamp",
        Some(Limits::Clamp(..)) => "clamp",
        Some(Limits::Relu) => "relu",
        Some(Limits::Relu6(_)) => "relu6",
    }
}

/// All features of products are drawn, often enough that a second of `qgemm verify` has them all.
#[test]
fn all_features_are_drawn() {
    let mut counts = BTreeMap::<String, u32>::new();
    for index in 0..5000 {
        let case = draw::case(3, index);
        case.products()
            .iter()
            .flat_map(features)
            .for_each(|feature| *counts.entry(feature).or_default() += 1);
    }
    // Static products: 3 + 3 zero points, 2 of sums, for each type 6 residuals, 4 limits and 2 tables, or 7 activations;
    // dynamic ones have the same zero points of B and stages, and gathered rows, one scale, and parameters, or not.
    let float_stage = 6 + 4 + 7;
    let stages = 2 * (6 + 4 + 2) + float_stage;
    // Group-wise weights: bits, types and zero points of codes, types of scales and of minimums.
    let groups = 2 * 2 * 3 + 3 * 4;
    let by_groups = (groups + 3 + float_stage) + (groups + 2 * 3 + float_stage);
    let by_columns = (3 + 3 + 2 + stages) + (3 + 2 * 2 * 2 + stages);
    assert_eq!(counts.len(), by_columns + by_groups, "{counts:#?}");
    let rarest = counts.iter().min_by_key(|(_, count)| **count).unwrap();
    assert!(*rarest.1 >= 5, "{rarest:?}");
}
