//! Matrices as C describes them.

use crate::memory;
use crate::overlap::{Place, Span};
use crate::status::{Failure, QGEMM_SHAPE, QGEMM_TYPE};
use half::{bf16, f16};
use rust::{ElementType, Error, GroupScales, MatMut, MatRef, Operand, RawParts, RawPartsMut, ZeroPoint};
use std::ffi::c_void;

/// The type of elements: one of QGEMM_I8 and those below it. 0 is none of them.
pub type qgemm_type = u32;

/// int8_t
pub const QGEMM_I8: qgemm_type = 1;
/// uint8_t
pub const QGEMM_U8: qgemm_type = 2;
/// int32_t
pub const QGEMM_I32: qgemm_type = 3;
/// float
pub const QGEMM_F32: qgemm_type = 4;
/// IEEE half precision, in two bytes
pub const QGEMM_F16: qgemm_type = 5;
/// bfloat16, in two bytes
pub const QGEMM_BF16: qgemm_type = 6;

/// A matrix that is read. Element (i, j) lies `i * row_stride + j * col_stride` elements (not bytes) after `data`. Strides
/// are 0 or more; a row-major matrix has `row_stride = cols, col_stride = 1`, its transpose has both pairs exchanged.
///
/// All memory from the first to the last element, also between elements, is there and filled, and nobody writes to it
/// while a call runs. Without elements `data` may be anything. All zeros are no matrix.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_matrix {
    /// The address of element (0, 0).
    pub data: *const c_void,
    pub rows: usize,
    pub cols: usize,
    pub row_stride: isize,
    pub col_stride: isize,
    pub r#type: qgemm_type,
}

/// A matrix that is written. Its elements lie as those of a qgemm_matrix, and no two coincide.
///
/// All elements are in one piece of memory, which nobody else uses while a call runs. They need not be set before, unless
/// a call adds to them. Memory between elements is neither read nor written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_matrix_mut {
    /// The address of element (0, 0).
    pub data: *mut c_void,
    pub rows: usize,
    pub cols: usize,
    pub row_stride: isize,
    pub col_stride: isize,
    pub r#type: qgemm_type,
}

/// Zero points: one for a matrix, or one for each row of A or column of B. All zeros mean the zero point 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_zero_points {
    /// One for each row or column, of `type`; NULL for one for all.
    pub each: *const c_void,
    /// How many `each` holds.
    pub len: usize,
    /// The type of `each`: QGEMM_I32, QGEMM_I8 or QGEMM_U8.
    pub r#type: qgemm_type,
    /// The one for all, if `each` is NULL. Any number.
    pub one: i32,
}

/// The name of an argument in place of the library's word for any view.
fn renamed(error: Error, name: &'static str) -> Failure {
    Failure::from(match error {
        Error::TooLarge { shape, strides, .. } => Error::TooLarge { argument: name, shape, strides },
        Error::Address { got, align, .. } => Error::Address { argument: name, got, align },
        other => other,
    })
}

fn stride(name: &'static str, stride: isize) -> Result<usize, Failure> {
    usize::try_from(stride).map_err(|_| Failure::new(QGEMM_SHAPE, name, "a stride is negative"))
}

fn wrong_type(name: &'static str, got: qgemm_type, problem: &'static str) -> Failure {
    match got {
        QGEMM_I8..=QGEMM_BF16 => Failure::new(QGEMM_TYPE, name, problem),
        _ => Failure::choice(name, got),
    }
}

/// An 8-bit type.
pub(crate) fn element_type(name: &'static str, got: qgemm_type) -> Result<ElementType, Failure> {
    match got {
        QGEMM_I8 => Ok(ElementType::I8),
        QGEMM_U8 => Ok(ElementType::U8),
        _ => Err(wrong_type(name, got, "has to be QGEMM_I8 or QGEMM_U8")),
    }
}

impl qgemm_matrix {
    /// The matrix, of values that every bit pattern is one of.
    ///
    /// # Safety
    /// The caller of the C function has promised what [`qgemm_matrix`] says, for `'a`, of elements of `T`.
    unsafe fn of<'a, T: Copy>(&self, name: &'static str) -> Result<MatRef<'a, T>, Failure> {
        let (down, right) = (stride(name, self.row_stride)?, stride(name, self.col_stride)?);
        // SAFETY: unless the library refuses the matrix, the caller promises that the memory from the first to the last
        // element is in one piece, filled, and written by nobody for 'a.
        let parts = unsafe { RawParts::new(self.data.cast::<T>(), self.rows, self.cols, down, right) };
        MatRef::from_raw_parts(parts).map_err(|error| renamed(error, name))
    }

    /// A matrix of 8 bits.
    ///
    /// # Safety
    /// The caller of the C function has promised what [`qgemm_matrix`] says, for `'a`.
    pub(crate) unsafe fn operand<'a>(&self, name: &'static str) -> Result<Operand<'a>, Failure> {
        Ok(match element_type(name, self.r#type)? {
            // SAFETY: the elements are of this type, by the same promise.
            ElementType::I8 => unsafe { self.of::<i8>(name) }?.into(),
            // SAFETY: likewise.
            ElementType::U8 => unsafe { self.of::<u8>(name) }?.into(),
        })
    }

    /// A matrix of f32.
    ///
    /// # Safety
    /// The caller of the C function has promised what [`qgemm_matrix`] says, for `'a`.
    pub(crate) unsafe fn f32<'a>(&self, name: &'static str) -> Result<MatRef<'a, f32>, Failure> {
        match self.r#type {
            // SAFETY: the elements are of this type, by the same promise.
            QGEMM_F32 => unsafe { self.of(name) },
            got => Err(wrong_type(name, got, "has to be QGEMM_F32")),
        }
    }

    /// A matrix of i32.
    ///
    /// # Safety
    /// The caller of the C function has promised what [`qgemm_matrix`] says, for `'a`.
    pub(crate) unsafe fn i32<'a>(&self, name: &'static str) -> Result<MatRef<'a, i32>, Failure> {
        match self.r#type {
            // SAFETY: the elements are of this type, by the same promise.
            QGEMM_I32 => unsafe { self.of(name) },
            got => Err(wrong_type(name, got, "has to be QGEMM_I32")),
        }
    }

    /// A matrix of scales.
    ///
    /// # Safety
    /// The caller of the C function has promised what [`qgemm_matrix`] says, for `'a`.
    pub(crate) unsafe fn scales<'a>(&self, name: &'static str) -> Result<GroupScales<'a>, Failure> {
        Ok(match self.r#type {
            // SAFETY: the elements are of this type, by the same promise.
            QGEMM_F32 => unsafe { self.of::<f32>(name) }?.into(),
            // SAFETY: likewise; an f16 is two bytes, which may be any.
            QGEMM_F16 => unsafe { self.of::<f16>(name) }?.into(),
            // SAFETY: likewise for a bf16.
            QGEMM_BF16 => unsafe { self.of::<bf16>(name) }?.into(),
            got => return Err(wrong_type(name, got, "has to be QGEMM_F32, QGEMM_F16 or QGEMM_BF16")),
        })
    }

    /// Whether the caller left it out.
    pub(crate) fn is_absent(&self) -> bool {
        self.r#type == 0
    }

    /// The memory from the first to the last element. The matrix has been found right.
    pub(crate) fn span(&self) -> Span {
        Span::of_matrix(self.data.addr(), (self.rows, self.cols), self.strides(), bytes_of(self.r#type))
    }

    fn strides(&self) -> (usize, usize) {
        (self.row_stride.unsigned_abs(), self.col_stride.unsigned_abs())
    }
}

/// The bytes of an element.
fn bytes_of(element: qgemm_type) -> usize {
    match element {
        QGEMM_I8 | QGEMM_U8 => 1,
        QGEMM_F16 | QGEMM_BF16 => 2,
        _ => 4,
    }
}

impl qgemm_matrix_mut {
    /// The output, of elements of `T`.
    ///
    /// # Safety
    /// The caller of the C function has promised what [`qgemm_matrix_mut`] says, for `'a`, of elements of `T`, which every
    /// bit pattern is one of. No input or other output of the call overlaps it, and this is called once in a call.
    pub(crate) unsafe fn of<'a, T: Copy>(&self, name: &'static str) -> Result<MatMut<'a, T>, Failure> {
        let (down, right) = (stride(name, self.row_stride)?, stride(name, self.col_stride)?);
        // SAFETY: unless the library refuses the matrix, the caller promises that its elements are in one piece of memory,
        // which nobody else uses for 'a. C may have left them unset; they are values nevertheless, as every bit pattern
        // is one and the memory was handed over by code that this compiler does not see, and the library does not read
        // them before it has written them, unless the call asks it to add to them.
        let parts = unsafe { RawPartsMut::new(self.data.cast::<T>(), self.rows, self.cols, down, right) };
        MatMut::from_raw_parts(parts).map_err(|error| renamed(error, name))
    }

    /// The refusal of an output's type.
    pub(crate) fn wrong_type(&self, name: &'static str, problem: &'static str) -> Failure {
        wrong_type(name, self.r#type, problem)
    }

    /// Checks strides, extent and address, and returns where the elements lie.
    pub(crate) fn place(&self, name: &'static str) -> Result<Place, Failure> {
        let (down, right) = (stride(name, self.row_stride)?, stride(name, self.col_stride)?);
        Ok(Place::new(self.data.addr(), (self.rows, self.cols), (down, right), bytes_of(self.r#type)))
    }
}

impl qgemm_zero_points {
    /// # Safety
    /// Unless it is refused, `each` points to `len` values of `type`, which nobody writes for `'a`.
    pub(crate) unsafe fn view<'a>(&self, name: &'static str) -> Result<ZeroPoint<'a>, Failure> {
        if self.each.is_null() {
            return match self.len {
                0 => Ok(ZeroPoint::PerTensor(self.one)),
                _ => Err(Failure::null(name)),
            };
        }
        Ok(match self.r#type {
            // SAFETY: the caller promises values of this type.
            QGEMM_I32 => ZeroPoint::PerAxis(unsafe { memory::array(name, self.each.cast(), self.len) }?),
            // SAFETY: likewise.
            QGEMM_I8 => ZeroPoint::PerAxisI8(unsafe { memory::array(name, self.each.cast(), self.len) }?),
            // SAFETY: likewise.
            QGEMM_U8 => ZeroPoint::PerAxisU8(unsafe { memory::array(name, self.each.cast(), self.len) }?),
            got => return Err(wrong_type(name, got, "has to be QGEMM_I32, QGEMM_I8 or QGEMM_U8")),
        })
    }

    /// The memory of `each`. The zero points have been found right.
    pub(crate) fn span(&self) -> Span {
        if self.each.is_null() {
            return Span::EMPTY;
        }
        Span::of_matrix(self.each.addr(), (1, self.len), (0, 1), bytes_of(self.r#type))
    }
}
