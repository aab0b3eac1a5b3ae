//! What the functions of both interfaces do, once their choices are known.

use super::packed::{self, Shape};
use super::report::Refusal;
use super::{Identifier, Layout, OffsetC, Transposed};
use crate::memory::{Input, Output, copied};
use crate::product::{Factor, Offsets, Product};
use crate::threads::limited_by;
use qgemm::{Error, Int8Element};
use std::ffi::c_void;

/// The threads that MKL would take.
const THREADS: [&str; 2] = ["MKL_NUM_THREADS", "OMP_NUM_THREADS"];

/// A factor as it is passed.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub(super) transposed: Transposed,
    pub(super) first: *const c_void,
    pub(super) ld: i32,
    pub(super) offset: i8,
}

/// The arguments of a product.
pub(super) struct Arguments {
    pub(super) layout: Layout,
    pub(super) offsetc: OffsetC,
    pub(super) m: i32,
    pub(super) n: i32,
    pub(super) k: i32,
    pub(super) alpha: f32,
    pub(super) a: Matrix,
    pub(super) b: Matrix,
    pub(super) beta: f32,
    pub(super) c: *mut i32,
    pub(super) ldc: i32,
    pub(super) oc: *const i32,
}

fn size(name: &'static str, size: i32) -> Result<usize, Refusal> {
    usize::try_from(size).map_err(|_| Refusal::Argument(name))
}

/// A leading dimension, of at least `least`.
fn leading(name: &'static str, ld: i32, least: usize) -> Result<usize, Refusal> {
    size(name, ld).and_then(|ld| if ld >= least.max(1) { Ok(ld) } else { Err(Refusal::Argument(name)) })
}

impl Arguments {
    /// Computes the product. If it is refused, C is as it was.
    ///
    /// # Safety
    /// Matrices are as MKL describes them. Nobody writes to them, or reads C, while the call runs.
    pub(super) unsafe fn run(self) -> Result<(), Refusal> {
        let (m, n, k) = (size("m", self.m)?, size("n", self.n)?, size("k", self.k)?);
        // Rows of the factors are contiguous in row-major order, columns in the other.
        let by_rows = self.layout == Layout::Rows;
        let contiguous = |factor: &Matrix, (rows, cols): (usize, usize)| {
            if by_rows == (factor.transposed == Transposed::No) { cols } else { rows }
        };
        let lda = self.a.leading("lda", contiguous(&self.a, (m, k)))?;
        let ldb = self.b.leading("ldb", contiguous(&self.b, (k, n)))?;
        let ldc = leading("ldc", self.ldc, if by_rows { n } else { m })?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        if self.c.is_null() {
            return Err(Refusal::Argument("c"));
        }
        // SAFETY: the caller's promise.
        let offsets = unsafe { self.offsets(m, n, k) }?;
        // The transpose of a column-major product has the factors, and their roles, exchanged.
        let (left, right, shape) = match self.layout {
            Layout::Rows => ((self.a, lda, Identifier::A), (self.b, ldb, Identifier::B), (m, n)),
            Layout::Columns => ((self.b, ldb, Identifier::B), (self.a, lda, Identifier::A), (n, m)),
        };
        let c = Output { first: self.c, shape, ld: ldc };
        let offsets = match (self.layout, offsets) {
            (Layout::Columns, Offsets::Rows(each)) => Offsets::Columns(each),
            (Layout::Columns, Offsets::Columns(each)) => Offsets::Rows(each),
            (_, offsets) => offsets,
        };
        let ((left, left_ld, left_id), (right, right_ld, right_id)) = (left, right);
        let product = Product::<u8, i8> {
            // SAFETY: the caller's promise.
            left: unsafe { left.factor(left_id, (shape.0, k), left_ld, &c, false) }?,
            left_zero: -i32::from(left.offset),
            // SAFETY: the caller's promise.
            right: unsafe { right.factor(right_id, (k, shape.1), right_ld, &c, true) }?,
            right_zero: -i32::from(right.offset),
            k,
            alpha: self.alpha,
            beta: self.beta,
            offsets,
            c,
            threads: limited_by(&THREADS),
        };
        // SAFETY: the caller's promise.
        unsafe { product.run() }.map_err(|error| match error {
            Error::Address { .. } => Refusal::Argument("c"),
            error => error.into(),
        })
    }

    /// The offsets of an M×N C. MKL adds none if K is 0 and alpha is not.
    ///
    /// # Safety
    /// So many offsets as `offsetc` says are there.
    unsafe fn offsets(&self, m: usize, n: usize, k: usize) -> Result<Offsets, Refusal> {
        if k == 0 && self.alpha != 0.0 {
            return Ok(Offsets::All(0));
        }
        if self.oc.is_null() {
            return Err(Refusal::Argument("oc"));
        }
        Ok(match self.offsetc {
            // SAFETY: the caller promises so many.
            OffsetC::Row => Offsets::Columns(unsafe { copied(self.oc, n) }?),
            // SAFETY: likewise.
            OffsetC::Column => Offsets::Rows(unsafe { copied(self.oc, m) }?),
            // SAFETY: likewise.
            OffsetC::Fixed => Offsets::All(unsafe { copied(self.oc, 1) }?[0]),
        })
    }
}

impl Matrix {
    /// The leading dimension, which packed matrices have none of.
    fn leading(&self, name: &'static str, least: usize) -> Result<usize, Refusal> {
        match self.transposed {
            Transposed::Packed => Ok(1),
            _ => leading(name, self.ld, least),
        }
    }

    /// The factor of row-major order of this shape, whichever matrix of the caller's it is.
    ///
    /// # Safety
    /// Unless it is refused, the matrix is there for the time of the call.
    unsafe fn factor<T: Int8Element>(
        &self,
        identifier: Identifier,
        shape: (usize, usize),
        ld: usize,
        c: &Output,
        is_right: bool,
    ) -> Result<Factor<T>, Refusal> {
        let refused = || Refusal::Argument(if identifier == Identifier::A { "a" } else { "b" });
        if self.transposed != Transposed::Packed {
            // Transposition exchanges both the order of elements and the matrix, so that the flag holds for the factor, too.
            let input = Input::new(self.first.cast(), shape, ld, self.transposed == Transposed::Yes);
            return match self.first.is_null() && shape.0 > 0 && shape.1 > 0 {
                true => Err(refused()),
                false => Ok(Factor::Plain(input)),
            };
        }
        let (k, n) = if is_right { shape } else { (shape.1, shape.0) };
        // SAFETY: the caller promises a buffer, and that it lives.
        match unsafe { packed::read(Shape { identifier, k, n }, T::TYPE, self.first.cast()) }? {
            Some((packed, bytes)) if !packed::overlaps(&bytes, &c.bytes()?) => Ok(Factor::Packed(packed)),
            _ => Err(refused()),
        }
    }
}

/// The arguments of a packing.
pub(super) struct Packing {
    pub(super) layout: Layout,
    pub(super) identifier: Identifier,
    pub(super) transposed: bool,
    pub(super) m: i32,
    pub(super) n: i32,
    pub(super) k: i32,
    pub(super) src: *const c_void,
    pub(super) ld: i32,
    pub(super) dest: *mut c_void,
}

impl Packing {
    /// Packs. If it is refused, the buffer is as it was.
    ///
    /// # Safety
    /// `src` is a matrix as MKL describes it, and `dest` has the bytes of [`buffer_bytes`]. Nobody writes to either meanwhile.
    pub(super) unsafe fn run(self) -> Result<(), Refusal> {
        let (m, n, k) = (size("m", self.m)?, size("n", self.n)?, size("k", self.k)?);
        let by_rows = self.layout == Layout::Rows;
        let is_a = self.identifier == Identifier::A;
        let (rows, cols) = if is_a { (m, k) } else { (k, n) };
        let ld = leading("ld", self.ld, if by_rows != self.transposed { cols } else { rows })?;
        if self.src.is_null() && rows > 0 && cols > 0 {
            return Err(Refusal::Argument("src"));
        }
        if self.dest.is_null() {
            return Err(Refusal::Argument("dest"));
        }
        let shape = Shape { identifier: self.identifier, k, n: if is_a { m } else { n } };
        // The kernels read it as K×N: A is transposed. Columns of a column-major B, or of A's transpose, are contiguous.
        let transposed = self.transposed != (by_rows == is_a);
        let kn = (shape.k, shape.n);
        let dest = self.dest.cast();
        // A is of u8 in row-major order, and B in column-major order.
        match by_rows == is_a {
            // SAFETY: the caller's promise.
            true => unsafe {
                packed::pack(shape, Input::<u8>::new(self.src.cast(), kn, ld, transposed), dest)
            },
            // SAFETY: likewise.
            false => unsafe {
                packed::pack(shape, Input::<i8>::new(self.src.cast(), kn, ld, transposed), dest)
            },
        }
    }
}

/// The bytes that a buffer needs.
pub(super) fn buffer_bytes(identifier: Identifier, m: i32, n: i32, k: i32) -> Result<usize, Refusal> {
    let (m, n, k) = (size("m", m)?, size("n", n)?, size("k", k)?);
    let n = if identifier == Identifier::A { m } else { n };
    Ok(Shape { identifier, k, n }.buffer_bytes()?)
}
