//! Everything that a caller can get wrong, as a value.

use crate::element::ElementType;
use std::fmt;

/// Why a call was refused. Nothing was written when one of these is returned.
///
/// Each message names the argument, what it was, and what it had to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice does not reach as far as the view's last element.
    TooShort {
        /// The argument's name.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The length that the shape and the strides need.
        need: usize,
    },
    /// A vector with one value per row or column has another length.
    Length {
        /// The argument's name.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The number of rows or columns.
        need: usize,
    },
    /// The offset of the view's last element, or the number of its elements, does not fit the address space.
    TooLarge {
        /// The argument's name.
        argument: &'static str,
        /// Rows and columns.
        shape: (usize, usize),
        /// Row and column stride.
        strides: (usize, usize),
    },
    /// Two elements of a mutable view are the same memory.
    Overlap {
        /// Rows and columns.
        shape: (usize, usize),
        /// Row and column stride.
        strides: (usize, usize),
    },
    /// A sub-matrix reaches past its matrix.
    OutOfBounds {
        /// The rows asked for: start and end.
        rows: (usize, usize),
        /// The columns asked for: start and end.
        cols: (usize, usize),
        /// Rows and columns of the matrix.
        shape: (usize, usize),
    },
    /// An index of a row that does not exist.
    Index {
        /// Its place in the list of indices.
        position: usize,
        /// The index.
        got: u32,
        /// How many rows there are.
        rows: usize,
    },
    /// `a` has not as many columns as `b` has rows.
    InnerDimension {
        /// Columns of `a`.
        a_cols: usize,
        /// Rows of `b`.
        b_rows: usize,
    },
    /// The output has not the product's shape.
    OutputShape {
        /// Rows and columns of the output.
        got: (usize, usize),
        /// Rows of `a` and columns of `b`.
        need: (usize, usize),
    },
    /// A matrix that goes with the output has not its shape.
    Shape {
        /// The argument's name.
        argument: &'static str,
        /// Its rows and columns.
        got: (usize, usize),
        /// Rows and columns of the output.
        need: (usize, usize),
    },
    /// An argument that goes with the output is not made for its type.
    Element {
        /// The argument's name.
        argument: &'static str,
        /// The type it is made for.
        got: ElementType,
        /// The type of the output.
        need: ElementType,
    },
    /// An argument that has no meaning with fixed-point multipliers or real factors.
    FloatOnly {
        /// The argument's name.
        argument: &'static str,
    },
    /// A scale is negative, infinite or not a number (or zero, where it divides).
    Scale {
        /// The argument's name.
        argument: &'static str,
        /// Its place in a vector of scales.
        index: usize,
        /// The value.
        got: f32,
        /// Whether zero is refused too.
        positive: bool,
    },
    /// The scale of a row times that of a column is not finite.
    ScaleProduct {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// Their scales.
        got: (f32, f32),
    },
    /// An integer argument is outside its range.
    Range {
        /// The argument's name.
        argument: &'static str,
        /// The value.
        got: i64,
        /// The least value allowed.
        min: i64,
        /// The greatest value allowed.
        max: i64,
    },
    /// A real argument is outside its range, or not a number.
    FloatRange {
        /// The argument's name.
        argument: &'static str,
        /// The value.
        got: f64,
        /// The least value allowed.
        min: f64,
        /// The greatest value allowed.
        max: f64,
    },
    /// A clamp with `lo > hi`, or one that leaves no value of the output type.
    Clamp {
        /// Lower and upper end.
        got: (i32, i32),
        /// The range of the output type, if that is what it misses.
        output: Option<(i32, i32)>,
    },
    /// A clamp of an f32 output with `lo > hi` or a limit that is not a number.
    FloatClamp {
        /// Lower and upper end.
        got: (f32, f32),
    },
    /// A real number to be quantized that is infinite or not a number.
    NotFinite {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// The number.
        got: f32,
    },
    /// A range of real numbers that is inverted, empty or not finite.
    QuantizationRange {
        /// Lower and upper end.
        got: (f64, f64),
    },
    /// A folded bias does not fit i32.
    Bias {
        /// Its place in the vector.
        index: usize,
        /// The value in the scale of the accumulator.
        got: f64,
    },
    /// A zero point so large, for this K, that the exact sum could pass 2^63.
    SumTooLarge {
        /// `a_zero` or `b_zero`.
        argument: &'static str,
        /// The value.
        got: i32,
        /// The common dimension.
        k: usize,
    },
    /// A kernel or instruction set that does not exist or that this CPU lacks.
    Kernel {
        /// Where the name came from: `QGEMM_ISA`, or the argument's name.
        argument: &'static str,
        /// The name.
        got: String,
        /// Whether it is a name that exists (then this CPU lacks it).
        known: bool,
        /// The instruction sets and kernels that can run here.
        available: Vec<&'static str>,
    },
    /// An environment variable with a value that means nothing.
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        got: String,
        /// What it has to be.
        need: &'static str,
    },
    /// There was not enough memory.
    Memory {
        /// What it was for.
        purpose: &'static str,
        /// How much was asked for, in bytes (`usize::MAX` if not even that fits).
        bytes: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooShort { argument, got, need } => {
                write!(
                    f,
                    "{argument}: has {got} elements, must have at least {need} for its shape and strides"
                )
            }
            Error::Length { argument, got, need } => {
                write!(f, "{argument}: has {got} values, must have {need}")
            }
            Error::TooLarge { argument, shape: (m, n), strides: (rs, cs) } => write!(
                f,
                "{argument}: a {m}x{n} view with strides {rs} and {cs} does not fit the address space, must be smaller"
            ),
            Error::Overlap { shape: (m, n), strides: (rs, cs) } => write!(
                f,
                "output: in a {m}x{n} view with strides {rs} and {cs} elements overlap, must be distinct"
            ),
            Error::OutOfBounds { rows, cols, shape: (m, n) } => write!(
                f,
                "sub-matrix: was rows {}..{} and columns {}..{}, must be ascending and lie within {m}x{n}",
                rows.0, rows.1, cols.0, cols.1
            ),
            Error::Index { position, got, rows } => {
                write!(f, "indices: value {position} was {got}, must be below {rows}, or that of padding")
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
                write!(f, "{argument}: is for {got}, must be for the output's {need}")
            }
            Error::FloatOnly { argument } => {
                write!(
                    f,
                    "{argument}: was given with fixed-point multipliers or real factors, must be with float scales"
                )
            }
            Error::Scale { argument, index, got, positive } => {
                let must = if *positive { "positive" } else { "not negative" };
                write!(f, "{argument}: value {index} was {got}, must be finite and {must}")
            }
            Error::ScaleProduct { row, column, got: (x, y) } => {
                write!(f, "scale: row {row} times column {column} was {x:e} times {y:e}, must be finite")
            }
            Error::Range { argument, got, min, max } => {
                write!(f, "{argument}: was {got}, must be in {min}..={max}")
            }
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
            Error::NotFinite { row, column, got } => {
                write!(f, "a: element ({row}, {column}) was {got}, must be finite")
            }
            Error::QuantizationRange { got: (lo, hi) } => {
                write!(f, "range: was {lo},{hi}, must be finite, not empty, and ascending")
            }
            Error::Bias { index, got } => {
                write!(f, "bias: value {index} is {got} in the accumulator's scale, must fit i32")
            }
            Error::SumTooLarge { argument, got, k } => {
                write!(
                    f,
                    "{argument}: was {got}, must be smaller for k = {k}: the exact sum has to stay below 2^63"
                )
            }
            Error::Kernel { argument, got, known, available } => {
                let why = if *known { "which this CPU lacks" } else { "which does not exist" };
                write!(f, "{argument}: was '{got}', {why}; must be one of: {}", available.join(" "))
            }
            Error::Variable { name, got, need } => write!(f, "{name}: was '{got}', must be {need}"),
            Error::Memory { purpose, bytes } => {
                write!(f, "{purpose}: needs {bytes} bytes, more than there is")
            }
        }
    }
}

impl std::error::Error for Error {}
