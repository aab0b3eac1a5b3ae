//! The messages of errors.

use crate::error::{Error, SavedProblem};
use std::fmt;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooShort { argument, shape: (m, n), got, need } => {
                write!(
                    f,
                    "{argument}: has {got} elements, must have at least {need} for {m}x{n} and its strides"
                )
            }
            Error::Length { argument, got, need } => {
                write!(f, "{argument}: has {got} values, must have {need}")
            }
            Error::Multiple { argument, got, of } => {
                write!(f, "{argument}: has {got} values, must have a multiple of {of}")
            }
            Error::Missing { argument, needed_by } => {
                write!(f, "{argument}: was not given, must be for {needed_by}")
            }
            Error::TooLarge { argument, shape: (m, n), strides: (rs, cs) } => write!(
                f,
                "{argument}: a {m}x{n} view with strides {rs} and {cs} does not fit the address space, must be smaller"
            ),
            Error::Overlap { shape: (m, n), strides: (rs, cs) } => write!(
                f,
                "output: in a {m}x{n} view with strides {rs} and {cs} elements overlap, must be distinct"
            ),
            Error::BatchOverlap { count, distance, shape: (m, n), strides: (rs, cs) } => write!(
                f,
                "output batch: {count} matrices of {m}x{n} with strides {rs} and {cs}, {distance} elements apart, are \
                 not known to be distinct, must nest"
            ),
            Error::Address { argument, got, align } => {
                write!(f, "{argument}: was at address {got:#x}, must be at a multiple of {align} above 0")
            }
            Error::OutOfBounds { rows, cols, shape: (m, n) } => write!(
                f,
                "sub-matrix: was rows {}..{} and columns {}..{}, must be ascending and lie within {m}x{n}",
                rows.0, rows.1, cols.0, cols.1
            ),
            Error::Index { position, got, rows, padding } => {
                let or = if *padding { ", or that of padding" } else { "" };
                write!(f, "indices: value {position} was {got}, must be below {rows}{or}")
            }
            Error::InnerDimension { a_cols, b_rows } => {
                write!(f, "b: has {b_rows} rows, must have as many as a has columns ({a_cols})")
            }
            Error::OutputShape { got, need } => {
                write!(f, "output: is {}x{}, must be {}x{}", got.0, got.1, need.0, need.1)
            }
            Error::Shape { argument, got, need } => {
                write!(f, "{argument}: is {}x{}, must be {}x{}", got.0, got.1, need.0, need.1)
            }
            Error::Element { argument, got, need } => {
                write!(f, "{argument}: is of {got}, must be of {need}")
            }
            Error::NotOwned { argument } => {
                write!(f, "{argument}: was given to a stage to be kept, must be given to each call's view of it")
            }
            Error::FloatOnly { argument } => write!(
                f,
                "{argument}: was given with fixed-point multipliers or f64 factors, must be with float scales"
            ),
            Error::Scale { argument, index, got, positive } => {
                let must = if *positive { "positive" } else { "not negative" };
                write!(f, "{argument}: value {index} was {got}, must be finite and {must}")
            }
            Error::ScaleProduct { row, column, got: (x, y) } => {
                write!(f, "scale: row {row} times column {column} was {x:e} times {y:e}, must be finite")
            }
            Error::ScaleOfA { included: true } => f.write_str(
                "scale: was given with that of a (`new`), must be without (`dynamic`) where the call quantizes a",
            ),
            Error::ScaleOfA { included: false } => f.write_str(
                "scale: was given without that of a (`dynamic`), must be with it (`new`) where a is quantized already",
            ),
            Error::Range { argument, got, min, max } => {
                write!(f, "{argument}: was {got}, must be in {min}..={max}")
            }
            Error::Code { argument, row, column, got, min, max } => {
                write!(f, "{argument}: element ({row}, {column}) was {got}, must be in {min}..={max}")
            }
            Error::Group { got, k } => {
                write!(f, "group: was {got}, must be a multiple of 8 above 0, or at least k = {k}")
            }
            Error::GroupOrder { row, got, need } => write!(
                f,
                "g_idx: value {row} was {got}, must be {need}: groups of consecutive rows, in order (permute the rows of b, \
                 and gather the columns of a)"
            ),
            Error::InBatch { index, error } => write!(f, "{error} (task {index} of the batch)"),
            Error::Saved { problem } => write!(f, "saved: {problem}"),
            Error::FloatRange { argument, got, min, max } => {
                write!(f, "{argument}: was {got:e}, must be in {min:e}..={max:e}")
            }
            Error::Clamp { got: (lo, hi), output: None } => {
                write!(f, "clamp: was {lo},{hi}, must not be inverted")
            }
            Error::Clamp { got: (lo, hi), output: Some((min, max)) } => {
                write!(f, "clamp: was {lo},{hi}, must leave some of the output type's {min}..={max}")
            }
            Error::FloatClamp { got: (lo, hi) } => {
                write!(f, "clamp: was {lo},{hi}, must be numbers and not inverted")
            }
            Error::NotFinite { argument, row, column, got } => {
                write!(f, "{argument}: element ({row}, {column}) was {got}, must be finite")
            }
            Error::QuantizationRange { got: (lo, hi) } => {
                write!(
                    f,
                    "range: was {lo:e},{hi:e}, must be ascending, not empty, finite and of finite width"
                )
            }
            Error::Bias { index, got } => {
                write!(f, "bias: value {index} is {got} in the accumulator's scale, must fit i32")
            }
            Error::SumTooLarge { argument, got, k } => write!(
                f,
                "{argument}: was {got}, must be smaller for k = {k}: the exact sum has to stay below 2^63"
            ),
            Error::Kernel { argument, got, known, available } => {
                let why = if *known { "which this CPU lacks" } else { "which does not exist" };
                write!(f, "{argument}: was '{got}', {why}; must be one of:")?;
                available.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Error::Variable { name, got, need } => write!(f, "{name}: was '{got}', must be {need}"),
            Error::Memory { purpose, bytes } => {
                write!(f, "{purpose}: needs {bytes} bytes, more than there is")
            }
        }
    }
}

impl fmt::Display for SavedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: u32| match kind {
            1 => "weights per column (PackedB)",
            2 => "group-wise weights (GroupwiseB)",
            _ => "something unknown",
        };
        match self {
            SavedProblem::Magic => write!(f, "was no file of packed weights, must be one"),
            SavedProblem::Version { got, need } => write!(f, "version was {got}, must be {need}"),
            SavedProblem::Kind { got, need } => write!(f, "was {}, must be {}", kind(*got), kind(*need)),
            SavedProblem::Length { got, need } => write!(f, "was {got} bytes, must be {need}"),
            SavedProblem::Checksum { got, need } => {
                write!(f, "checksum was {got:08x}, must be {need:08x}: the bytes were changed")
            }
            SavedProblem::Field { name, got } => {
                write!(f, "{name} was {got}, which these weights cannot have")
            }
            SavedProblem::Kernel { got, need } => {
                write!(f, "was packed for the kernel {got}, must be for {need}, or be packed again")
            }
        }
    }
}
