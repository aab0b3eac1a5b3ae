//! Arrays as safetensors.

use anyhow::{Result, bail, ensure};
use qgemm::{Int8Element, MatRef, Operand};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// An array: its elements as little-endian bytes in row-major order, and their type.
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The element types of tensors.
pub trait Element: bytemuck::Pod {
    const DTYPE: Dtype;
}
impl Element for i8 {
    const DTYPE: Dtype = Dtype::I8;
}
impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}
impl Element for i32 {
    const DTYPE: Dtype = Dtype::I32;
}
impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
}

impl Tensor {
    pub fn new<T: Element>(shape: &[usize], values: &[T]) -> Self {
        Self { dtype: T::DTYPE, shape: shape.to_vec(), bytes: bytemuck::cast_slice(values).to_vec() }
    }

    pub fn from_view(view: &TensorView<'_>) -> Self {
        Self { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() }
    }

    /// Rows and columns of a matrix.
    pub fn shape(&self) -> Result<(usize, usize)> {
        match self.shape[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => bail!("shape {:?} is not that of a matrix", self.shape),
        }
    }

    /// The elements, which must be of type T.
    pub fn values<T: Element>(&self) -> Result<Vec<T>> {
        ensure!(self.dtype == T::DTYPE, "is {:?}, must be {:?}", self.dtype, T::DTYPE);
        Ok(self.bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }

    /// A matrix of 8 bits as an operand; with `transposed`, its transpose.
    pub fn operand(&self, transposed: bool) -> Result<Operand<'_>> {
        let shape = self.shape()?;
        match self.dtype {
            Dtype::I8 => operand::<i8>(bytemuck::cast_slice(&self.bytes), shape, transposed),
            Dtype::U8 => operand::<u8>(&self.bytes, shape, transposed),
            other => bail!("operand: is {other:?}, must have 8 bits"),
        }
    }

    /// Flips a bit of the middle element; an empty tensor stays.
    pub fn flip_one_bit(&mut self) {
        let middle = self.bytes.len() / 2;
        let start = middle - middle % self.element_size();
        if let Some(byte) = self.bytes.get_mut(start) {
            *byte ^= 1;
        }
    }

    /// The first difference from `expected`, in words; `None` if type, shape and all bytes are equal.
    pub fn first_difference(&self, expected: &Tensor) -> Option<String> {
        if (self.dtype, &self.shape) != (expected.dtype, &expected.shape) {
            return Some(format!(
                "is {:?} {:?}, expected {:?} {:?}",
                self.dtype, self.shape, expected.dtype, expected.shape
            ));
        }
        let mut elements = self.elements().zip(expected.elements()).enumerate();
        let (at, (got, expected)) = elements.find(|(_, (got, expected))| got != expected)?;
        Some(format!("element {at} of {:?} is {got:02x?}, expected {expected:02x?}", self.shape))
    }

    fn elements(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.element_size())
    }

    fn element_size(&self) -> usize {
        self.dtype.bitsize() / 8
    }
}

fn operand<T: Int8Element>(
    values: &[T],
    (rows, cols): (usize, usize),
    transposed: bool,
) -> Result<Operand<'_>> {
    let view = MatRef::row_major(values, rows, cols)?;
    Ok(if transposed { view.transpose() } else { view }.into())
}

/// A safetensors blob with these tensors.
pub fn serialize(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, t)| Ok((name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
        .collect::<Result<_>>()?;
    Ok(safetensors::serialize(views, None)?)
}
