//! The errors of the library.

mod message;

use crate::element::ElementType;

/// The reason that a call was refused. The output is then as it was.
///
/// Each message begins with the name of the argument ([`argument`](Self::argument)) and says what it was and what it
/// has to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice ends before the last element of the view.
    TooShort {
        /// The argument's name.
        argument: &'static str,
        /// Rows and columns of the view.
        shape: (usize, usize),
        /// Its length.
        got: usize,
        /// The length that the shape and the strides need.
        need: usize,
    },
    /// A slice has the wrong number of values.
    Length {
        /// The argument's name.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The number that it has to have.
        need: usize,
    },
    /// A slice has a number of values that is no multiple of what each row takes.
    Multiple {
        /// The argument's name.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// Its length has to be a multiple of this.
        of: usize,
    },
    /// The offset of the view's last element, or the number of its elements, does not fit a `usize`.
    TooLarge {
        /// The argument's name.
        argument: &'static str,
        /// Rows and columns.
        shape: (usize, usize),
        /// Row and column stride.
        strides: (usize, usize),
    },
    /// Two elements of a mutable view coincide in memory.
    Overlap {
        /// Rows and columns.
        shape: (usize, usize),
        /// Row and column stride.
        strides: (usize, usize),
    },
    /// Elements of a batch of mutable views are not known to be distinct.
    BatchOverlap {
        /// How many views there are.
        count: usize,
        /// The elements from the first of one view to the first of the next.
        distance: usize,
        /// Rows and columns of each.
        shape: (usize, usize),
        /// Row and column stride of each.
        strides: (usize, usize),
    },
    /// The first element of a view has no address that an element can have.
    Address {
        /// The argument's name.
        argument: &'static str,
        /// The address.
        got: usize,
        /// It has to be a multiple of this, and not 0.
        align: usize,
    },
    /// A range of a sub-matrix is descending or reaches past the matrix.
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
        /// Its position in the list of indices.
        position: usize,
        /// The index.
        got: u32,
        /// How many rows there are.
        rows: usize,
        /// Whether the index of padding is allowed.
        padding: bool,
    },
    /// The number of columns of `a` is not the number of rows of `b`.
    InnerDimension {
        /// Columns of `a`.
        a_cols: usize,
        /// Rows of `b`.
        b_rows: usize,
    },
    /// The shape of the output is not that of the product.
    OutputShape {
        /// Rows and columns of the output.
        got: (usize, usize),
        /// Rows of `a` and columns of `b`.
        need: (usize, usize),
    },
    /// A matrix has another shape than the output, or than what it is used for.
    Shape {
        /// The argument's name.
        argument: &'static str,
        /// Its rows and columns.
        got: (usize, usize),
        /// The rows and columns that it has to have.
        need: (usize, usize),
    },
    /// An argument has elements of another 8-bit type, or is made for one, than the call needs.
    Element {
        /// The argument's name.
        argument: &'static str,
        /// Its type.
        got: ElementType,
        /// The type that it has to have.
        need: ElementType,
    },
    /// A call needs something that was not said before.
    Missing {
        /// The name of what is missing.
        argument: &'static str,
        /// The call or the argument that needs it.
        needed_by: &'static str,
    },
    /// An argument lives for one call, so that nothing can own it.
    NotOwned {
        /// The argument's name.
        argument: &'static str,
    },
    /// An argument that works with float scales only was given with fixed-point multipliers or f64 factors.
    FloatOnly {
        /// The argument's name.
        argument: &'static str,
    },
    /// A scale is negative, infinite or not a number (or zero, where it divides).
    Scale {
        /// The argument's name.
        argument: &'static str,
        /// Its position in the scales; 0 for a single scale.
        index: usize,
        /// The value.
        got: f32,
        /// Whether 0 is refused too.
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
    /// An output stage has the scale of A where the product finds it itself, or lacks it.
    ScaleOfA {
        /// Whether the stage's scales hold it.
        included: bool,
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
    /// A code or zero point of group-wise weights is outside the range of its bits.
    Code {
        /// The argument's name.
        argument: &'static str,
        /// Its row; for a zero point, its group.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        got: i32,
        /// The least value allowed.
        min: i32,
        /// The greatest value allowed.
        max: i32,
    },
    /// Groups of rows of a size that cannot be.
    Group {
        /// The size.
        got: usize,
        /// The number of rows.
        k: usize,
    },
    /// Rows are not assigned to groups in ascending order.
    GroupOrder {
        /// The row.
        row: usize,
        /// Its group.
        got: i32,
        /// The group that it has to have.
        need: usize,
    },
    /// Bytes are no saved weights that can be used.
    Saved {
        /// What is wrong with them.
        problem: SavedProblem,
    },
    /// A float argument is outside its range, or NaN.
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
        /// The range of the output type, if the clamp lies outside it; `None` if `lo > hi`.
        output: Option<(i32, i32)>,
    },
    /// A clamp of an f32 output with `lo > hi` or a limit that is NaN.
    FloatClamp {
        /// Lower and upper end.
        got: (f32, f32),
    },
    /// A value that is to be quantized or observed is infinite or NaN.
    NotFinite {
        /// The argument's name.
        argument: &'static str,
        /// Its row; 0 in a slice.
        row: usize,
        /// Its column, or its index in a slice.
        column: usize,
        /// The number.
        got: f32,
    },
    /// A range to be quantized is inverted, empty or not finite, or its width is not finite.
    QuantizationRange {
        /// Lower and upper end.
        got: (f64, f64),
    },
    /// A bias in the scale of the sums does not fit i32.
    Bias {
        /// Its position in the vector.
        index: usize,
        /// The value in the scale of the sums.
        got: f64,
    },
    /// A zero point is so far from its matrix that for this K the exact sum could reach 2^63.
    SumTooLarge {
        /// `a_zero` or `b_zero`.
        argument: &'static str,
        /// The value.
        got: i32,
        /// The common dimension.
        k: usize,
    },
    /// A kernel or instruction set does not exist, or this CPU lacks it.
    Kernel {
        /// The source of the name: `QGEMM_ISA`, or the argument's name.
        argument: &'static str,
        /// The name.
        got: String,
        /// Whether the name exists, so that this CPU lacks the instruction set.
        known: bool,
        /// The instruction sets and kernels that run here.
        available: Vec<&'static str>,
    },
    /// An environment variable has a value that cannot be read.
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        got: String,
        /// The form that it has to have.
        need: &'static str,
    },
    /// A task of a batch cannot run, for the values of its operands.
    InBatch {
        /// Its index.
        index: usize,
        /// The reason.
        error: Box<Error>,
    },
    /// There was not enough memory.
    Memory {
        /// The use of the memory.
        purpose: &'static str,
        /// The size that was asked for, in bytes; `usize::MAX` if it does not fit a `usize`.
        bytes: usize,
    },
}

/// What is wrong with saved weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SavedProblem {
    /// They do not begin as saved weights do.
    Magic,
    /// They have another form.
    Version {
        /// The version that they name.
        got: u32,
        /// The version that is read.
        need: u32,
    },
    /// They are weights of the other kind: 1 with a scale per column ([`PackedB`](crate::PackedB)), 2 with one per group
    /// ([`GroupwiseB`](crate::GroupwiseB)).
    Kind {
        /// The kind that they name.
        got: u32,
        /// The kind that is read.
        need: u32,
    },
    /// They are cut off, or something follows them.
    Length {
        /// How many bytes there are.
        got: u64,
        /// How many there have to be.
        need: u64,
    },
    /// They were changed.
    Checksum {
        /// The CRC-32 of the bytes.
        got: u32,
        /// The CRC-32 that they name.
        need: u32,
    },
    /// They hold a number that weights cannot have.
    Field {
        /// What it is for.
        name: &'static str,
        /// The number.
        got: u64,
    },
    /// They are packed for another kernel, and were not to be packed again.
    Kernel {
        /// The kernel that they are packed for.
        got: String,
        /// The kernel that this CPU, or the dispatch, chooses.
        need: &'static str,
    },
}

impl Error {
    /// The name of the argument, matrix or environment variable that was refused, as messages begin with it.
    pub fn argument(&self) -> &'static str {
        match self {
            Error::TooShort { argument, .. }
            | Error::Length { argument, .. }
            | Error::Multiple { argument, .. }
            | Error::Missing { argument, .. }
            | Error::NotFinite { argument, .. }
            | Error::TooLarge { argument, .. }
            | Error::Address { argument, .. }
            | Error::Shape { argument, .. }
            | Error::Element { argument, .. }
            | Error::FloatOnly { argument }
            | Error::NotOwned { argument }
            | Error::Scale { argument, .. }
            | Error::Range { argument, .. }
            | Error::Code { argument, .. }
            | Error::FloatRange { argument, .. }
            | Error::SumTooLarge { argument, .. }
            | Error::Kernel { argument, .. } => argument,
            Error::Variable { name, .. } => name,
            Error::Memory { purpose, .. } => purpose,
            Error::Overlap { .. } | Error::OutputShape { .. } => "output",
            Error::BatchOverlap { .. } => "output batch",
            Error::OutOfBounds { .. } => "sub-matrix",
            Error::Index { .. } => "indices",
            Error::Group { .. } => "group",
            Error::GroupOrder { .. } => "g_idx",
            Error::Saved { .. } => "saved",
            Error::InnerDimension { .. } => "b",
            Error::ScaleProduct { .. } | Error::ScaleOfA { .. } => "scale",
            Error::Clamp { .. } | Error::FloatClamp { .. } => "clamp",
            Error::QuantizationRange { .. } => "range",
            Error::Bias { .. } => "bias",
            Error::InBatch { error, .. } => error.argument(),
        }
    }

    /// The error of a task of a batch. One that is not the task's alone, which memory and the environment are, stays as it is.
    pub(crate) fn in_batch(self, index: usize) -> Self {
        match self {
            Error::Memory { .. } | Error::Kernel { .. } | Error::Variable { .. } => self,
            _ => Error::InBatch { index, error: Box::new(self) },
        }
    }

    /// The error of a part, with the row counted from the first of the whole output, of which the part begins at `first`.
    pub(crate) fn below(self, first: usize) -> Self {
        match self {
            Error::Scale { argument: argument @ ("scale" | "scale.rows"), index, got, positive } => {
                Error::Scale { argument, index: index + first, got, positive }
            }
            Error::ScaleProduct { row, column, got } => Error::ScaleProduct { row: row + first, column, got },
            other => other,
        }
    }
}

impl std::error::Error for Error {}

/// # Errors
/// [`Error::Length`] if there are `got` values, not `need`.
#[inline]
pub(crate) fn check_length(argument: &'static str, got: usize, need: usize) -> Result<(), Error> {
    if got == need { Ok(()) } else { Err(Error::Length { argument, got, need }) }
}

/// # Errors
/// [`Error::Shape`] if a matrix has `got` rows and columns, not `need`.
#[inline]
pub(crate) fn check_shape(
    argument: &'static str,
    got: (usize, usize),
    need: (usize, usize),
) -> Result<(), Error> {
    if got == need { Ok(()) } else { Err(Error::Shape { argument, got, need }) }
}
