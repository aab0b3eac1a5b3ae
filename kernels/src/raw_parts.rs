//! Matrices by the address of their first element, with the promise of the code that knows the memory.

use crate::layout::{LayoutError, extent};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// A read-only matrix that is no slice of the program's: of a foreign library, or a strided part of an array. Element
/// (i, j) lies `i * row_stride + j * col_stride` elements after the first.
///
/// Making one is a promise about memory. Whether the layout can be used is checked where it is used.
pub struct RawParts<'a, T> {
    first: *const T,
    shape: (usize, usize),
    strides: (usize, usize),
    life: PhantomData<&'a [T]>,
}

impl<T> Clone for RawParts<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RawParts<'_, T> {}

impl<'a, T> RawParts<'a, T> {
    /// A `rows` x `cols` matrix whose first element is at `first`, with strides in elements. Strides may be 0; they are
    /// not negative.
    ///
    /// A null or misaligned `first` is no breach of the promise below: the matrix is then refused. Neither is one that
    /// spans more than `isize::MAX` bytes, nor any pointer and strides if `rows` or `cols` is 0.
    ///
    /// # Safety
    /// Unless the matrix is refused or has no elements, the memory from its first to its last element, also that which
    /// lies between elements, is for all of the lifetime `'a`
    ///
    /// - part of one allocation, and may be read through `first`;
    /// - filled with values of `T`;
    /// - written by nobody.
    #[must_use]
    pub unsafe fn new(
        first: *const T,
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        Self { first, shape: (rows, cols), strides: (row_stride, col_stride), life: PhantomData }
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Elements from one row, and from one column, to the next.
    pub fn strides(&self) -> (usize, usize) {
        self.strides
    }
}

/// All values of a matrix from the first to the last element.
///
/// # Errors
/// [`LayoutError::TooLarge`] if they reach further than `isize::MAX` bytes, [`LayoutError::Address`] if the pointer is
/// null or misaligned. A matrix without elements has neither error.
pub fn raw_slice<'a, T>(parts: &RawParts<'a, T>) -> Result<&'a [T], LayoutError> {
    let Some(len) = checked_len(parts.first, parts.shape, parts.strides)? else { return Ok(&[]) };
    // SAFETY: the pointer is aligned and not null, and the length does not exceed isize::MAX bytes, all of which was
    // just checked. The caller of `RawParts::new` promised the rest: these values are in one allocation, initialized,
    // readable and written by nobody for 'a.
    Ok(unsafe { core::slice::from_raw_parts(parts.first, len) })
}

/// A mutable matrix that is no slice of the program's. Element (i, j) lies `i * row_stride + j * col_stride` elements
/// after the first. Only elements are reached, nothing between them.
///
/// Making one is a promise about memory. Whether the layout can be used is checked where it is used.
pub struct RawPartsMut<'a, T> {
    pub(crate) first: *mut T,
    pub(crate) shape: (usize, usize),
    pub(crate) strides: (usize, usize),
    pub(crate) life: PhantomData<&'a mut [T]>,
}

impl<T> RawPartsMut<'_, T> {
    /// A `rows` x `cols` matrix whose first element is at `first`, with strides in elements. They are not negative, and
    /// the elements are distinct.
    ///
    /// A null or misaligned `first` is no breach of the promise below: the matrix is then refused. Neither is a matrix
    /// in which two elements coincide, one that spans more than `isize::MAX` bytes, nor any pointer and strides if
    /// `rows` or `cols` is 0.
    ///
    /// # Safety
    /// Unless the matrix is refused or has no elements, each element is for all of the lifetime `'a`
    ///
    /// - part of one allocation with all others, and may be read and written through `first`;
    /// - a value of `T`, also if it is only to be written;
    /// - read and written by nobody else, and no other reference to it exists, as if this were a `&mut T` to it.
    #[must_use]
    pub unsafe fn new(first: *mut T, rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        Self { first, shape: (rows, cols), strides: (row_stride, col_stride), life: PhantomData }
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Elements from one row, and from one column, to the next.
    pub fn strides(&self) -> (usize, usize) {
        self.strides
    }

    /// The address of the first element, once it and the layout are checked; a dangling one if there is no element.
    ///
    /// # Errors
    /// [`LayoutError::TooLarge`] and [`LayoutError::Address`], as for [`raw_slice`].
    pub(crate) fn checked_first(&self) -> Result<*mut T, LayoutError> {
        let len = checked_len(self.first, self.shape, self.strides)?;
        Ok(if len.is_some() { self.first } else { NonNull::dangling().as_ptr() })
    }
}

fn debug<T>(
    f: &mut core::fmt::Formatter<'_>,
    name: &str,
    first: *const T,
    shape: (usize, usize),
    strides: (usize, usize),
) -> core::fmt::Result {
    f.debug_struct(name).field("first", &first).field("shape", &shape).field("strides", &strides).finish()
}

impl<T> core::fmt::Debug for RawParts<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        debug(f, "RawParts", self.first, self.shape, self.strides)
    }
}

impl<T> core::fmt::Debug for RawPartsMut<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        debug(f, "RawPartsMut", self.first, self.shape, self.strides)
    }
}

/// The number of values from the first to the last element; `None` if there is no element.
fn checked_len<T>(
    first: *const T,
    (rows, cols): (usize, usize),
    (row_stride, col_stride): (usize, usize),
) -> Result<Option<usize>, LayoutError> {
    let len = extent(rows, cols, row_stride, col_stride).ok_or(LayoutError::TooLarge)?;
    if len == 0 {
        return Ok(None);
    }
    let bytes = len.checked_mul(size_of::<T>()).ok_or(LayoutError::TooLarge)?;
    if isize::try_from(bytes).is_err() {
        return Err(LayoutError::TooLarge);
    }
    if first.is_null() || !first.is_aligned() {
        return Err(LayoutError::Address { got: first.addr(), align: align_of::<T>() });
    }
    Ok(Some(len))
}
