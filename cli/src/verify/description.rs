//! A case in words, for `--case` and for the report of a mismatch.

use crate::arguments::values::Values;
use crate::files::matrices::Matrix8;
use crate::owned_output::{OwnedDequantize, OwnedRequantize, OwnedScale, Residual, Scaling};
use crate::verify::case::{
    Call, Case, Destination, Dynamic, GatheredRows, Layout, Output, OwnedLhs, Product, Static,
};
use std::fmt::{self, Debug, Display, Formatter};

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { call, threads } = self;
        match call {
            Call::Single(product) => write!(f, "{product}\n  threads  {threads}"),
            Call::Dynamic(product) => write!(f, "{product}\n  threads  {threads}"),
            Call::Batch(products) => {
                write!(f, "  batch    of {} on {threads} thread(s)", products.len())?;
                let mut each = products.iter().enumerate();
                each.try_for_each(|(i, product)| write!(f, "\n  -------- product {i}\n{product}"))
            }
        }
    }
}

impl<Q: Display> Display for Product<Q> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { k, quantization, b, b_zero, c: Destination { rows, cols, layout, .. }, .. } = self;
        writeln!(f, "  shape    M={rows} K={k} N={cols}")?;
        let packed = self.packed_for.map_or("not packed ahead".into(), |a| format!("packed for {a}"));
        writeln!(f, "  b        {}, {packed}, zero point {}", Brief(b), Brief(b_zero))?;
        writeln!(f, "  c        strides {} {}", layout.row_stride, layout.col_stride)?;
        write!(f, "{quantization}")
    }
}

impl Display for Static {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { a, a_zero, bias, output } = self;
        writeln!(f, "  a        {a}, zero point {}", Brief(a_zero))?;
        writeln!(f, "  bias     {}", bias.as_deref().map_or("none".into(), first_values))?;
        write!(f, "  output   {output}")
    }
}

impl Display for Dynamic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { layout: Layout { row_stride, col_stride, .. }, a, output, .. } = self;
        let scheme = if self.asymmetric { "asymmetric" } else { "symmetric" };
        let per = if self.per_tensor { "tensor" } else { "row" };
        let values = first_values(a);
        writeln!(f, "  a        f32, strides {row_stride} {col_stride}, {scheme} per {per}: {values}")?;
        write!(f, "  output   {output}")
    }
}

impl Display for OwnedLhs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            OwnedLhs::Matrix(a) => write!(f, "{}", Brief(a)),
            OwnedLhs::Gathered(GatheredRows { source, indices, taps, padding }) => {
                write!(f, "{taps} tap(s) of {} rows of {}, ", source.rows, Brief(source))?;
                let padding = padding.map_or("the zero point".into(), |value| value.to_string());
                write!(f, "indices {}, padding {padding}", first_values(indices))
            }
        }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Output::I32 { accumulate: true } => f.write_str("i32, added to what is there"),
            Output::I32 { accumulate: false } => f.write_str("i32"),
            Output::I8(stage) => write!(f, "i8, {stage}"),
            Output::U8(stage) => write!(f, "u8, {stage}"),
            Output::F32(stage) => write!(f, "{stage}"),
        }
    }
}

impl<T> Display for OwnedRequantize<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { scaling, zero_point, clamp, table } = self;
        let table = if table.is_some() { "a table" } else { "no table" };
        write!(f, "{scaling}, zero point {zero_point}, {}, {table}", clamp_text(clamp))
    }
}

impl Display for OwnedDequantize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bias = self.bias.as_deref().map_or("none".into(), first_values);
        write!(f, "f32, scale {}, bias {bias}, {}", self.scale, clamp_text(&self.clamp))
    }
}

impl Display for Scaling {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scaling::F32 { scale, residual: None } => write!(f, "scale {scale}"),
            Scaling::F32 { scale, residual: Some(residual) } => {
                let Residual { matrix, scale: factor, zero_point } = residual;
                let matrix = Brief(matrix);
                write!(f, "scale {scale}, residual {matrix}, scale {factor:e}, zero point {zero_point}")
            }
            Scaling::F64(factors) => write!(f, "f64 factor {}", Brief(factors)),
            Scaling::FixedPoint(multipliers, rounding) => {
                write!(f, "multiplier {}, rounding {rounding:?}", Brief(multipliers))
            }
        }
    }
}

impl Display for OwnedScale {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            OwnedScale::PerTensor(scale) => write!(f, "{scale:e}"),
            OwnedScale::PerColumn(scales) => write!(f, "per column {}", first_values(scales)),
            OwnedScale::PerRow(scales) => write!(f, "per row {}", first_values(scales)),
            OwnedScale::RowsByColumns { rows, columns } => {
                write!(f, "per row {} times per column {}", first_values(rows), first_values(columns))
            }
        }
    }
}

/// Shown by type and strides, or by the first values.
struct Brief<'a, T>(&'a T);

impl Display for Brief<'_, Matrix8> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Matrix8 { data, strides: (row_stride, col_stride), .. } = self.0;
        write!(f, "{}, strides {row_stride} {col_stride}", data.element_type())
    }
}

impl<T: Debug> Display for Brief<'_, Values<T>> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Values::PerTensor(value) => write!(f, "{value:?}"),
            Values::PerAxis(values) => write!(f, "per row or column {}", first_values(values)),
        }
    }
}

fn clamp_text<T: Display>(clamp: &Option<(T, T)>) -> String {
    clamp.as_ref().map_or("no clamp".into(), |(lo, hi)| format!("clamp {lo},{hi}"))
}

/// The first four values, and the number of the others.
fn first_values<T: Debug>(values: &[T]) -> String {
    let more = if values.len() > 4 { format!(" and {} more", values.len() - 4) } else { String::new() };
    format!("{:?}{more}", &values[..values.len().min(4)])
}
