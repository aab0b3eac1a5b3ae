//! What the header has a caller promise, checked before each call: memory that is not refused is there.

use crate::c_abi::memory::{Matrix, Memory, bytes_of};
use qgemm_c::formats::{qgemm_awq_options, qgemm_gptq_options, qgemm_onnx_options};
use qgemm_c::groupwise::qgemm_groupwise_options;
use qgemm_c::matrix::{qgemm_matrix, qgemm_matrix_mut, qgemm_zero_points};
use qgemm_c::product::{qgemm_gather, qgemm_product, qgemm_residual};
use qgemm_c::stage::{qgemm_dequantize_options, qgemm_requantize_options, qgemm_scales};

/// An array as C passes it.
#[derive(Clone, Copy, Debug)]
pub struct Array<T> {
    /// The address of its first value.
    pub first: *mut T,
    /// How many there are said to be.
    pub len: usize,
}

impl<T> Array<T> {
    /// No array.
    pub const NONE: Self = Self { first: std::ptr::null_mut(), len: 0 };
}

impl<T: bytemuck::Pod> Array<T> {
    /// An array in memory of its own.
    pub fn of(memory: &Memory, values: &[T]) -> Self {
        Self { first: memory.put(values), len: values.len() }
    }
}

/// What a call is promised to find in memory.
pub trait Promised {
    /// Panics unless all memory that the call may touch is there.
    fn check(&self, memory: &Memory);
}

fn array<T>(memory: &Memory, first: *const T, len: usize) {
    let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    let is_refused = first.is_null() || !first.is_aligned() || bytes.is_none();
    let bytes = bytes.unwrap_or(0);
    assert!(
        is_refused || bytes == 0 || memory.holds(first.addr(), bytes),
        "an array of the case is not there"
    );
}

impl<T> Promised for Array<T> {
    fn check(&self, memory: &Memory) {
        array(memory, self.first, self.len);
    }
}

impl Promised for Matrix {
    fn check(&self, memory: &Memory) {
        // Unknown types and negative strides are refused, as an extent that overflows.
        let (Some(size), Some(bytes)) = (bytes_of(self.element), self.extent()) else { return };
        let address = self.data.addr();
        let is_refused = address == 0 || !address.is_multiple_of(size);
        assert!(
            is_refused || bytes == 0 || memory.holds(address, bytes),
            "a matrix of the case is not there"
        );
    }
}

impl Promised for qgemm_matrix {
    fn check(&self, memory: &Memory) {
        Matrix::of(self).check(memory);
    }
}

impl Promised for qgemm_matrix_mut {
    fn check(&self, memory: &Memory) {
        let Self { data, rows, cols, row_stride, col_stride, r#type } = *self;
        Matrix { data: data.cast(), shape: (rows, cols), strides: (row_stride, col_stride), element: r#type }
            .check(memory);
    }
}

impl Promised for qgemm_zero_points {
    fn check(&self, memory: &Memory) {
        match bytes_of(self.r#type) {
            Some(1) => array(memory, self.each.cast::<u8>(), self.len),
            Some(4) => array(memory, self.each.cast::<i32>(), self.len),
            // No other type is one of zero points.
            _ => (),
        }
    }
}

impl Promised for qgemm_scales {
    fn check(&self, memory: &Memory) {
        array(memory, self.rows, self.rows_len);
        array(memory, self.columns, self.columns_len);
    }
}

impl Promised for qgemm_gather {
    fn check(&self, memory: &Memory) {
        array(memory, self.indices, self.len);
    }
}

impl Promised for qgemm_residual {
    fn check(&self, memory: &Memory) {
        self.matrix.check(memory);
    }
}

/// But for handles, and structs of their own.
impl Promised for qgemm_product {
    fn check(&self, memory: &Memory) {
        self.a.check(memory);
        self.b.check(memory);
        self.c.check(memory);
        self.a_zero.check(memory);
        self.b_zero.check(memory);
        array(memory, self.bias, self.bias_len);
        array(memory, self.params, self.params_len);
    }
}

impl Promised for qgemm_requantize_options {
    fn check(&self, memory: &Memory) {
        self.scale.check(memory);
        array(memory, self.multipliers, self.multipliers_len);
        array(memory, self.factors, self.factors_len);
        array(memory, self.table, 256);
    }
}

impl Promised for qgemm_dequantize_options {
    fn check(&self, memory: &Memory) {
        self.scale.check(memory);
        array(memory, self.bias, self.bias_len);
    }
}

/// But for the name of a kernel.
impl Promised for qgemm_groupwise_options {
    fn check(&self, memory: &Memory) {
        [self.codes, self.scales, self.zeros, self.minimums].iter().for_each(|matrix| matrix.check(memory));
    }
}

impl Promised for qgemm_onnx_options {
    fn check(&self, memory: &Memory) {
        array(memory, self.b, self.b_len);
        array(memory, self.zero_points, self.zero_points_len);
        self.scales.check(memory);
        self.real_zero_points.check(memory);
    }
}

impl Promised for qgemm_gptq_options {
    fn check(&self, memory: &Memory) {
        array(memory, self.qweight, self.qweight_len);
        array(memory, self.qzeros, self.qzeros_len);
        array(memory, self.g_idx, self.g_idx_len);
        self.scales.check(memory);
    }
}

impl Promised for qgemm_awq_options {
    fn check(&self, memory: &Memory) {
        array(memory, self.qweight, self.qweight_len);
        array(memory, self.qzeros, self.qzeros_len);
        self.scales.check(memory);
    }
}
