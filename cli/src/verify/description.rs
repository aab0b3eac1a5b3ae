//! A case in words, for `--case` and for the report of a mismatch.

use crate::arguments::scales::OwnedScale;
use crate::arguments::values::Values;
use crate::files::matrices::Matrix8;
use crate::verify::case::{
    Activations, Call, Case, ColumnWeights, Dynamic, Output, OwnedFloats, OwnedLhs, Per, Product, Static,
    Weights,
};
use crate::verify::destination::{Destination, Layout};
use crate::verify::groups::{GroupWeights, GroupZeros, RealValues, Reals};
use crate::verify::operands::{GatheredFloats, GatheredRows, MatrixF32, Picks, ZeroPoints};
use crate::verify::stage::{Added, FloatStage, Limits, QuantizedResidual, QuantizedStage, Scaling};
use std::fmt::{self, Debug, Display, Formatter};

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { call, threads } = self;
        match call {
            Call::One(product) => write!(f, "{product}\n  threads  {threads}"),
            Call::Parts(product, parts) => {
                write!(f, "{product}\n  threads  {threads}, a task cut into at most {parts} parts")
            }
            Call::Batch(products) => {
                write!(f, "  batch    of {} on {threads} thread(s)", products.len())?;
                let mut each = products.iter().enumerate();
                each.try_for_each(|(i, product)| write!(f, "\n  -------- product {i}\n{product}"))
            }
        }
    }
}

impl Display for Product {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { k, a, b, c: Destination { rows, cols, layout, .. }, output, .. } = self;
        writeln!(f, "  shape    M={rows} K={k} N={cols}")?;
        writeln!(f, "  b        {b}")?;
        writeln!(f, "  c        {}", Brief(layout))?;
        writeln!(f, "  a        {a}")?;
        write!(f, "  output   {output}")
    }
}

impl Display for Weights {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Weights::Columns(ColumnWeights { b, packed_for, zero }) => {
                let packed = packed_for.map_or("not packed ahead".into(), |a| format!("packed for {a}"));
                write!(f, "{}, {packed}, zero point {zero}", Brief(b))
            }
            Weights::Groups(GroupWeights { bits, group, codes, scales, zeros, minimums }) => {
                write!(f, "{} bits in groups of {group}, {}, scales {scales}, ", bits.bits(), Brief(codes))?;
                match zeros {
                    GroupZeros::Default => f.write_str("default zero point")?,
                    GroupZeros::One(zero) => write!(f, "zero point {zero}")?,
                    GroupZeros::Each(zeros) => write!(f, "zero points {}", Brief(zeros))?,
                }
                minimums.as_ref().map_or(Ok(()), |minimums| write!(f, ", minimums {minimums}"))
            }
        }
    }
}

impl Display for Reals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.values {
            RealValues::F32(values) => write!(f, "f32, {}, {}", Brief(&self.layout), first_values(values)),
            RealValues::F16(values) => write!(f, "f16, {}, {}", Brief(&self.layout), first_values(values)),
            RealValues::Bf16(values) => write!(f, "bf16, {}, {}", Brief(&self.layout), first_values(values)),
        }
    }
}

impl Display for Activations {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Activations::Static(Static { a, a_zero, bias }) => {
                writeln!(f, "{a}, zero point {a_zero}")?;
                write!(f, "  bias     {}", bias.as_deref().map_or("none".into(), first_values))
            }
            Activations::Dynamic(Dynamic { a, asymmetric, per, with_params }) => {
                let scheme = if *asymmetric { "asymmetric" } else { "symmetric" };
                let per = match per {
                    Per::Tensor => "tensor",
                    Per::Row => "row",
                    Per::RowAndGroup => "row and group",
                };
                let back = if *with_params { ", parameters handed back" } else { "" };
                write!(f, "{a}, {scheme} per {per}{back}")
            }
        }
    }
}

impl Display for OwnedLhs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            OwnedLhs::Matrix(a) => write!(f, "{}", Brief(a)),
            OwnedLhs::Gathered(GatheredRows { source, picks, padding }) => {
                let padding = padding.map_or("the zero point".into(), |value| value.to_string());
                write!(f, "{picks} of {} rows of {}, padding {padding}", source.rows, Brief(source))
            }
        }
    }
}

impl Display for OwnedFloats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            OwnedFloats::Matrix(a) => write!(f, "{}", Brief(a)),
            OwnedFloats::Gathered(GatheredFloats { source, picks }) => {
                write!(f, "{picks} of {} rows of {}", source.rows, Brief(source))
            }
        }
    }
}

impl Display for Picks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} tap(s), indices {},", self.taps, first_values(&self.indices))
    }
}

impl Display for ZeroPoints {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ZeroPoints::I32(zeros) => write!(f, "{}", Brief(zeros)),
            ZeroPoints::I8(zeros) => write!(f, "per row or column as i8 {}", first_values(zeros)),
            ZeroPoints::U8(zeros) => write!(f, "per row or column as u8 {}", first_values(zeros)),
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
            Output::F32(stage) => write!(f, "f32, {stage}"),
        }
    }
}

impl<T> Display for QuantizedStage<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { scaling, zero_point, limits, table, is_kept } = self;
        write!(f, "{scaling}, zero point {zero_point}, ")?;
        match limits {
            None => f.write_str("no clamp")?,
            Some(Limits::Clamp(lo, hi)) => write!(f, "clamp {lo},{hi}")?,
            Some(Limits::Relu) => f.write_str("relu")?,
            Some(Limits::Relu6(output_scale)) => write!(f, "relu6 of an output of scale {output_scale:e}")?,
        }
        write!(f, ", {}{}", if table.is_some() { "a table" } else { "no table" }, kept(*is_kept))
    }
}

impl Display for FloatStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { scale, bias, residual, limits, activation, is_kept } = self;
        let bias = bias.as_deref().map_or("none".into(), first_values);
        write!(f, "scale {scale}, bias {bias}, ")?;
        match residual {
            None => f.write_str("no residual, ")?,
            Some(Added::Matrix(matrix)) => write!(f, "residual {}, ", Brief(matrix))?,
            Some(Added::InPlace) => f.write_str("residual in place, ")?,
        }
        match limits {
            None => f.write_str("no clamp")?,
            Some(Limits::Clamp(lo, hi)) => write!(f, "clamp {lo:e},{hi:e}")?,
            Some(Limits::Relu) => f.write_str("relu")?,
            Some(Limits::Relu6(())) => f.write_str("relu6")?,
        }
        let activation = activation.map_or("no activation".into(), |activation| format!("{activation:?}"));
        write!(f, ", {activation}{}", kept(*is_kept))
    }
}

fn kept(is_kept: bool) -> &'static str {
    if is_kept { ", kept" } else { "" }
}

impl Display for Scaling {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scaling::F32 { scale, residual: None } => write!(f, "scale {scale}"),
            Scaling::F32 { scale, residual: Some(residual) } => {
                let QuantizedResidual { matrix, scale: factor, zero_point } = residual;
                let matrix = match matrix {
                    Added::Matrix(matrix) => Brief(matrix).to_string(),
                    Added::InPlace => "in place".into(),
                };
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

impl Display for Brief<'_, Layout> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Layout { row_stride, col_stride, .. } = self.0;
        write!(f, "strides {row_stride} {col_stride}")
    }
}

impl Display for Brief<'_, Matrix8> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Matrix8 { data, strides: (row_stride, col_stride), .. } = self.0;
        write!(f, "{}, strides {row_stride} {col_stride}", data.element_type())
    }
}

impl Display for Brief<'_, MatrixF32> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MatrixF32 { layout, data, .. } = self.0;
        write!(f, "f32, {}, {}", Brief(layout), first_values(data))
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

/// The first four values, and the number of the others.
fn first_values<T: Debug>(values: &[T]) -> String {
    let more = if values.len() > 4 { format!(" and {} more", values.len() - 4) } else { String::new() };
    format!("{:?}{more}", &values[..values.len().min(4)])
}
