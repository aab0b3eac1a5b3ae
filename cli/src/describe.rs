//! Random products in words, for the report of one that failed.

use crate::cases::{Case, Integers, Kind, Layout, Output, Product, Reals, Rows, Target};
use crate::npy::{Bytes, Matrix8};
use crate::stage::{Factor, FloatStage, Residual, Scaling, Stage};
use crate::values::Values;
use std::fmt::{self, Debug, Display, Formatter};

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, threads } = self;
        match kind {
            Kind::Single(product) => write!(f, "{product}\n  threads  {threads}"),
            Kind::Dynamic(product) => write!(f, "{product}\n  threads  {threads}"),
            Kind::Batch(products) => {
                write!(f, "  batch    of {} on {threads} thread(s)", products.len())?;
                let mut each = products.iter().enumerate();
                each.try_for_each(|(i, product)| write!(f, "\n  -------- product {i}\n{product}"))
            }
        }
    }
}

impl<A: Display> Display for Product<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { k, a, b, b_zero, c: Target { rows, cols, layout, .. }, .. } = self;
        writeln!(f, "  shape    M={rows} K={k} N={cols}")?;
        let packed = self.packed_for.map_or("not packed ahead".into(), |a| format!("packed for {a}"));
        writeln!(f, "  b        {}, {packed}, zero point {}", Matrix(b), Each(b_zero))?;
        writeln!(f, "  c        strides {} {}", layout.row_stride, layout.col_stride)?;
        write!(f, "{a}")
    }
}

impl Display for Integers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rows, zero, bias, output } = self;
        writeln!(f, "  a        {rows}, zero point {}", Each(zero))?;
        writeln!(f, "  bias     {}", bias.as_deref().map_or("none".into(), brief))?;
        write!(f, "  output   {output}")
    }
}

impl Display for Reals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { layout: Layout { row_stride, col_stride, .. }, data, output, .. } = self;
        let scheme = if self.asymmetric { "asymmetric" } else { "symmetric" };
        let per = if self.per_tensor { "tensor" } else { "row" };
        let values = brief(data);
        writeln!(f, "  a        f32, strides {row_stride} {col_stride}, {scheme} per {per}: {values}")?;
        write!(f, "  output   {output}")
    }
}

impl Display for Rows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Rows::Plain(a) => write!(f, "{}", Matrix(a)),
            Rows::Gathered { source, indices, taps, padding } => {
                write!(f, "{taps} tap(s) of {} rows of {}, ", source.rows, Matrix(source))?;
                let padding = padding.map_or("the zero point".into(), |value| value.to_string());
                write!(f, "indices {}, padding {padding}", brief(indices))
            }
        }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Output::Sums { accumulate: true } => f.write_str("i32, added to what is there"),
            Output::Sums { accumulate: false } => f.write_str("i32"),
            Output::Signed(stage) => write!(f, "i8, {stage}"),
            Output::Unsigned(stage) => write!(f, "u8, {stage}"),
            Output::Floats(stage) => write!(f, "{stage}"),
        }
    }
}

impl<T> Display for Stage<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { scaling, zero, .. } = self;
        let table = if self.table.is_some() { "a table" } else { "no table" };
        write!(f, "{scaling}, zero point {zero}, {}, {table}", clamp(&self.clamp))
    }
}

impl Display for FloatStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bias = self.bias.as_deref().map_or("none".into(), brief);
        write!(f, "f32, scale {}, bias {bias}, {}", self.scale, clamp(&self.clamp))
    }
}

fn clamp<T: Display>(clamp: &Option<(T, T)>) -> String {
    clamp.as_ref().map_or("no clamp".into(), |(lo, hi)| format!("clamp {lo},{hi}"))
}

/// The first of many values.
fn brief<T: Debug>(values: &[T]) -> String {
    let more = if values.len() > 4 { format!(" and {} more", values.len() - 4) } else { String::new() };
    format!("{:?}{more}", &values[..values.len().min(4)])
}

/// An operand in short.
struct Matrix<'a>(&'a Matrix8);

impl Display for Matrix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let element = if matches!(self.0.data, Bytes::I8(_)) { "i8" } else { "u8" };
        write!(f, "{element}, strides {} {}", self.0.strides.0, self.0.strides.1)
    }
}

/// One value, or the first ones.
struct Each<'a, T>(&'a Values<T>);

impl<T: Debug> Display for Each<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Values::One(value) => write!(f, "{value:?}"),
            Values::Each(values) => write!(f, "per row or column {}", brief(values)),
        }
    }
}

impl Display for Scaling {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scaling::Float(scale, None) => write!(f, "scale {scale}"),
            Scaling::Float(scale, Some(Residual { matrix, scale: factor, zero })) => {
                write!(f, "scale {scale}, residual {}, scale {factor:e}, zero point {zero}", Matrix(matrix))
            }
            Scaling::Fixed(multipliers, rounding) => {
                write!(f, "multiplier {}, rounding {rounding:?}", Each(multipliers))
            }
            Scaling::Real(factors) => write!(f, "real factor {}", Each(factors)),
        }
    }
}

impl Display for Factor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Factor::One(scale) => write!(f, "{scale:e}"),
            Factor::Columns(scales) => write!(f, "per column {}", brief(scales)),
            Factor::Rows(scales) => write!(f, "per row {}", brief(scales)),
            Factor::Both(rows, columns) => {
                write!(f, "per row {} times per column {}", brief(rows), brief(columns))
            }
        }
    }
}
