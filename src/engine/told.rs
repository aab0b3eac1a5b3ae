//! Calls of the engine in words, for `trace`.

use crate::engine::operation::plan_of;
use crate::engine::plan::Plan;
use crate::engine::unpacked::kernel_name;
use crate::output::dequantize::Dequantize;
use crate::output::destination::Destination;
use crate::output::requant::{Requant, Scaling};
use crate::output::scale::Scale;
use crate::product::Product;
use crate::product::groupwise::{GroupLhs, GroupProduct};
use crate::product::operands::{Lhs, Rhs};
use crate::product::zero_point::ZeroPoint;
use crate::trace::Call;

/// A product of 8-bit matrices, or the part of it that makes `m` x `n` outputs.
pub(super) fn gemm(
    product: &Product<'_>,
    (m, n): (usize, usize),
    destination: &Destination<'_, '_>,
    threads: usize,
) -> Call {
    let (b, kernel, blocks) = match product.b {
        Rhs::Packed(b) => {
            let Plan { mc, kc, nc } = plan_of(product, &b.columns);
            ("packed", b.kernel().name, format!("mc {mc} kc {kc} panels {nc}"))
        }
        Rhs::Unpacked(b) => ("in place", kernel_name(product, b), String::new()),
    };
    let (c, of_output) = match destination {
        Destination::I32 { accumulate, .. } => ("i32", if *accumulate { " accumulated" } else { "" }.into()),
        Destination::Bytes { requant, .. } => ("8-bit", requantized(requant)),
        Destination::F32 { dequant, .. } => ("f32", dequantized(dequant)),
    };
    let zeros = zero_point("a_zero", product.a_zero, "row") + &zero_point("b_zero", product.b_zero, "column");
    let bias = if product.bias.is_some() { " bias" } else { "" };
    Call {
        kind: "gemm",
        a: lhs(&product.a),
        b: format!("{} {}x{} {b}", product.b.element_type(), product.k, product.n),
        c: format!("{c} {m}x{n}"),
        stage: (zeros + bias + &of_output).trim_start().to_string(),
        kernel,
        blocks,
        threads: Some(threads),
    }
}

/// A product with group-wise weights, or the part of it that makes `m` x `n` outputs.
pub(super) fn groupwise(
    product: &GroupProduct<'_>,
    (m, n): (usize, usize),
    dequant: &Dequantize<'_>,
    threads: usize,
) -> Call {
    let b = product.b;
    let a = match &product.a {
        GroupLhs::Float { a, activations } => format!("f32 {}x{} {activations:?}", a.rows(), a.cols()),
        GroupLhs::Quantized { a, .. } => lhs(a),
    };
    Call {
        kind: "groupwise",
        a,
        b: format!("{}-bit {}x{} groups of {}", b.bits().bits(), b.k(), b.n(), b.group()),
        c: format!("f32 {m}x{n}"),
        stage: dequantized(dequant).trim_start().to_string(),
        kernel: b.kernel_name(),
        blocks: String::new(),
        threads: Some(threads),
    }
}

fn lhs(a: &Lhs<'_>) -> String {
    let how = match a {
        Lhs::Matrix(_) if a.in_place().is_some() => "",
        Lhs::Matrix(_) => " by columns",
        Lhs::Gathered(_) => " gathered",
    };
    format!("{} {}x{}{how}", a.element_type(), a.rows(), a.cols())
}

/// Nothing for a zero point of 0.
fn zero_point(name: &str, zero: ZeroPoint<'_>, axis: &str) -> String {
    match zero {
        ZeroPoint::PerTensor(0) => String::new(),
        ZeroPoint::PerTensor(zero) => format!(" {name} {zero}"),
        _ => format!(" {name} per {axis}"),
    }
}

fn requantized(requant: &Requant<'_>) -> String {
    let scaling = match requant.scaling {
        Scaling::Float(of) => scale(of),
        Scaling::FixedPoint(..) => " fixed-point multipliers",
        Scaling::F64(_) => " f64 factors",
    };
    let zero = zero_point("c_zero", ZeroPoint::PerTensor(requant.zero_point), "");
    let residual = if requant.residual.is_some() { " residual" } else { "" };
    let table = if requant.table.is_some() { " table" } else { "" };
    format!("{scaling}{zero}{residual}{table}")
}

fn dequantized(dequant: &Dequantize<'_>) -> String {
    let bias = if dequant.bias.is_some() { " f32 bias" } else { "" };
    let residual = if dequant.residual.is_some() { " residual" } else { "" };
    let activation = dequant.activation.map_or(String::new(), |activation| format!(" {activation:?}"));
    format!("{}{bias}{residual}{activation}", scale(dequant.scale))
}

fn scale(scale: Scale<'_>) -> &'static str {
    match scale {
        Scale::PerTensor(_) => " one scale",
        Scale::PerColumn(_) => " scale per column",
        Scale::PerRow(_) => " scale per row",
        Scale::RowsByColumns { .. } => " scale per row and column",
    }
}
