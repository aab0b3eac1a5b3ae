//! Intel MKL's `gemm_s8u8s32`, with its packing, for C and for callers of the Fortran interface. MKL_INT is 32 bits (lp64).
//!
//! Column-major, A is of i8 and B of u8; row-major, it is the other way round, since MKL exchanges the factors. Here the
//! factors of row-major order are `left`, of u8, and `right`, of i8: a column-major C is the transpose of a row-major one.

mod cblas;
mod compute;
mod fortran;
mod packed;
mod report;

/// The order of elements.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Rows,
    Columns,
}

/// A choice among constants of MKL's, as an argument gives it.
#[derive(Clone, Copy, PartialEq)]
enum Transposed {
    No,
    Yes,
    /// The matrix is packed.
    Packed,
}

/// The matrix that is packed.
#[derive(Clone, Copy, PartialEq)]
enum Identifier {
    A,
    B,
}

#[derive(Clone, Copy)]
enum OffsetC {
    /// An offset for each column.
    Row,
    /// An offset for each row.
    Column,
    Fixed,
}
