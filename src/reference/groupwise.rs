//! [`GroupwiseGemm`] in plain loops.

use crate::call::gemm::shape;
use crate::call::groupwise::GroupwiseGemm;
use crate::element::ElementType;
use crate::error::Error;
use crate::matrix::view::MatMut;
use crate::output::dequantize::Dequantize;
use crate::product::groupwise::{Activations, GroupLhs};
use crate::reference::real::{
    QUANTIZED_A, clamped, dynamic_params, element, real, row_scales, with_capacity, with_row_scales,
};
use qgemm_kernels::in_default_float_mode;

/// [`GroupwiseGemm::run_f32`].
///
/// # Errors
/// Those of the method. Memory is needed for the quantized A.
pub fn run_groupwise_f32<'o>(
    gemm: &GroupwiseGemm<'_>,
    c: MatMut<'_, f32>,
    output: impl Into<Dequantize<'o>>,
) -> Result<(), Error> {
    in_default_float_mode(|| {
        let (all, output) = (shape(&c), output.into());
        gemm.check(all, &output)?;
        if all.0 == 0 || all.1 == 0 {
            return Ok(());
        }
        multiply(gemm, &QuantizedRows::new(gemm)?, c, &output)
    })
}

/// A, quantized, without its zero points.
struct QuantizedRows {
    /// M·K values less the zero point of their row.
    values: Vec<i32>,
    /// M scales that the call found; 1 where there are none.
    rows: Vec<f32>,
    /// M·groups scales, or none.
    groups: Vec<f32>,
}

impl QuantizedRows {
    fn new(gemm: &GroupwiseGemm<'_>) -> Result<Self, Error> {
        let b = gemm.product.b;
        let ((m, k), group) = (gemm.product.a.shape(), b.group());
        let mut values = with_capacity(m.saturating_mul(k), QUANTIZED_A)?;
        let mut rows = with_capacity(m, QUANTIZED_A)?;
        let mut groups = with_capacity(m.saturating_mul(b.groups()), QUANTIZED_A)?;
        for i in 0..m {
            let (a, activations) = match &gemm.product.a {
                GroupLhs::Quantized { a, zero } => {
                    let zero = zero.at(i);
                    values.extend((0..k).map(|l| a.get(i, l, zero).expect("the shapes were checked") - zero));
                    rows.push(1.0);
                    continue;
                }
                GroupLhs::Float { a, activations } => (a, *activations),
            };
            let scheme = activations.scheme();
            let (lo, hi) = if scheme.element() == ElementType::U8 { (0, 255) } else { (-127, 127) };
            let parts = match activations {
                Activations::PerRowAndGroup => group,
                Activations::PerRow | Activations::PerRowAsymmetric => k.max(1),
            };
            for start in (0..k).step_by(parts) {
                let part = start..k.min(start + parts);
                let params = dynamic_params(scheme, ("a", a), i..i + 1, part.clone())?;
                values.extend(part.map(|l| {
                    let steps = (real(a, i, l) / params.scale).round_ties_even() as i64;
                    (steps + i64::from(params.zero_point)).clamp(lo, hi) as i32 - params.zero_point
                }));
                if activations == Activations::PerRowAndGroup {
                    groups.push(params.scale);
                } else {
                    rows.push(params.scale);
                }
            }
            rows.resize(i + 1, 1.0);
        }
        Ok(Self { values, rows, groups })
    }
}

fn multiply(
    gemm: &GroupwiseGemm<'_>,
    a: &QuantizedRows,
    mut c: MatMut<'_, f32>,
    output: &Dequantize<'_>,
) -> Result<(), Error> {
    let b = gemm.product.b;
    let (m, n) = shape(&c);
    let (k, groups) = (b.k(), b.groups());
    let rows = row_scales(&a.rows, output.scale)?;
    if let Some((index, got)) = rows.iter().copied().enumerate().find(|(_, scale)| !scale.is_finite()) {
        return Err(Error::Scale { argument: "scale", index, got, positive: false });
    }
    let scale = with_row_scales(output.scale, &rows);
    for i in 0..m {
        for j in 0..n {
            let mut acc = 0f32;
            for g in 0..groups {
                let exists = "it is a group and column of the weights";
                let zero = b.zero(g, j).expect(exists);
                let (mut sum, mut sum_of_a) = (0i64, 0i64);
                for l in g * b.group()..k.min(g * b.group() + b.group()) {
                    let value = i64::from(a.values[i * k + l]);
                    sum += value * i64::from(b.code(l, j).expect(exists) - zero);
                    sum_of_a += value;
                }
                let with_a =
                    |factor: f32| a.groups.get(i * groups + g).map_or(factor, |scale| scale * factor);
                acc = (sum as f32).mul_add(with_a(b.scale(g, j).expect(exists)), acc);
                if let Some(minimum) = b.minimum(g, j) {
                    acc = (sum_of_a as f32).mul_add(with_a(minimum), acc);
                }
            }
            let c = element(&mut c, i, j);
            let y = clamped(acc * scale.at(i, j), (i, j), *c, output);
            let y = if y.is_nan() { f32::from_bits(0x7fc0_0000) } else { y };
            *c = output.activation.map_or(y, |activation| activation.apply(y));
        }
    }
    Ok(())
}
