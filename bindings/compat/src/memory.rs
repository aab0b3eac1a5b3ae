//! Matrices and arrays that C passes by address.

use qgemm::{Error, Int8Element, MatMut, MatRef, Operand, RawParts, RawPartsMut};
use std::ops::Range;

/// An 8-bit matrix, by address, with strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Input<T> {
    pub(crate) first: *const T,
    pub(crate) shape: (usize, usize),
    pub(crate) strides: (usize, usize),
}

impl<T> Input<T> {
    /// The matrix whose rows, or whose columns if it is transposed, lie `ld` elements apart. `shape` is that of the matrix as
    /// it is multiplied.
    pub(crate) fn new(first: *const T, shape: (usize, usize), ld: usize, transposed: bool) -> Self {
        Self { first, shape, strides: if transposed { (1, ld) } else { (ld, 1) } }
    }

    pub(crate) fn transpose(self) -> Self {
        let ((rows, cols), (down, right)) = (self.shape, self.strides);
        Self { shape: (cols, rows), strides: (right, down), ..self }
    }

    fn bytes(&self) -> Result<Range<usize>, Error> {
        span(self.first.addr(), self.shape, self.strides, size_of::<T>())
    }
}

impl<T: Int8Element> Input<T> {
    /// The matrix: in place, or, if it meets the memory of the output, as a copy in `copy`.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::TooLarge`] or [`Error::Memory`].
    ///
    /// # Safety
    /// Unless it is refused, the matrix is there for `'a`, and nobody else writes to it.
    pub(crate) unsafe fn view<'a>(
        &self,
        output: &Output,
        copy: &'a mut Vec<T>,
    ) -> Result<Operand<'a>, Error> {
        let ((rows, cols), (down, right)) = (self.shape, self.strides);
        if !meets(&self.bytes()?, &output.bytes()?) {
            // SAFETY: the caller promises the matrix; the output, which the call writes, lies elsewhere.
            let parts = unsafe { RawParts::new(self.first, rows, cols, down, right) };
            return Ok(MatRef::from_raw_parts(parts)?.into());
        }
        reserve(copy, rows.saturating_mul(cols))?;
        for i in 0..rows {
            for j in 0..cols {
                // SAFETY: element (i, j) of the matrix, which the caller promises: it has elements, and fits the address
                // space, since its memory meets that of the output.
                copy.push(unsafe { self.first.add(i * down + j * right).read() });
            }
        }
        Ok(MatRef::row_major(copy, rows, cols)?.into())
    }
}

/// C: rows of contiguous elements, `ld` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) first: *mut i32,
    pub(crate) shape: (usize, usize),
    pub(crate) ld: usize,
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.shape.0 == 0 || self.shape.1 == 0
    }

    /// # Errors
    /// [`Error::Address`] or [`Error::TooLarge`].
    ///
    /// # Safety
    /// Unless it is refused, the matrix is there for `'a`, and nobody else, and no other view, reads or writes its elements.
    pub(crate) unsafe fn view<'a>(&self) -> Result<MatMut<'a, i32>, Error> {
        let (rows, cols) = self.shape;
        // SAFETY: the caller promises the elements, which are in one piece of memory. Code that this compiler does not see
        // handed it over, and each bit pattern is an i32.
        let parts = unsafe { RawPartsMut::new(self.first, rows, cols, self.ld, 1) };
        MatMut::from_raw_parts(parts)
    }

    /// # Safety
    /// [`view`](Self::view) has not refused the matrix, `i` is one of its rows, and its promise holds for `'a`.
    pub(crate) unsafe fn row<'a>(&self, i: usize) -> &'a mut [i32] {
        // SAFETY: the row lies within the matrix, whose address and extent `view` found right.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(i * self.ld), self.shape.1) }
    }

    /// The memory from the first to the last element.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if no address space holds it.
    pub(crate) fn bytes(&self) -> Result<Range<usize>, Error> {
        span(self.first.addr(), self.shape, (self.ld, 1), size_of::<i32>())
    }
}

fn span(
    start: usize,
    shape: (usize, usize),
    strides: (usize, usize),
    size: usize,
) -> Result<Range<usize>, Error> {
    if shape.0 == 0 || shape.1 == 0 {
        return Ok(start..start);
    }
    let end = || {
        let (down, right) = ((shape.0 - 1).checked_mul(strides.0)?, (shape.1 - 1).checked_mul(strides.1)?);
        let len = down.checked_add(right)?.checked_add(1)?.checked_mul(size)?;
        isize::try_from(len).ok()?;
        start.checked_add(len)
    };
    match end() {
        Some(end) => Ok(start..end),
        None => Err(Error::TooLarge { argument: "matrix", shape, strides }),
    }
}

/// Whether two pieces of memory have a byte in common.
pub(crate) fn meets(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}

/// A copy of the `len` numbers at `first`, which needs no alignment.
///
/// # Errors
/// [`Error::Address`] if it is null, [`Error::Memory`].
///
/// # Safety
/// Unless it is refused, so many numbers are there.
pub(crate) unsafe fn copied(first: *const i32, len: usize) -> Result<Vec<i32>, Error> {
    if first.is_null() && len > 0 {
        return Err(Error::Address { argument: "co", got: 0, align: 1 });
    }
    let mut numbers = Vec::new();
    reserve(&mut numbers, len)?;
    // SAFETY: the caller promises `len` numbers.
    numbers.extend((0..len).map(|i| unsafe { first.add(i).read_unaligned() }));
    Ok(numbers)
}

/// Empties a vector and makes room for `len` values.
///
/// # Errors
/// [`Error::Memory`].
pub(crate) fn reserve<T>(values: &mut Vec<T>, len: usize) -> Result<(), Error> {
    values.clear();
    let bytes = len.saturating_mul(size_of::<T>());
    values.try_reserve_exact(len).map_err(|_| Error::Memory { purpose: "call", bytes })
}
