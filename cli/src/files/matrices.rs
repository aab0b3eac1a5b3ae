//! Matrices that own their elements, as files hold them.

use crate::files::npy::Array;
use anyhow::Result;
use qgemm::half::f16;
use qgemm::{ElementType, GroupScales, MatRef, Operand};
use std::path::Path;

/// Elements of either 8-bit type.
pub enum Elements8 {
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl Elements8 {
    /// Elements of type `element` with these bit patterns.
    pub fn from_bits(element: ElementType, bits: Vec<u8>) -> Self {
        match element {
            ElementType::I8 => Elements8::I8(bits.into_iter().map(|x| x as i8).collect()),
            ElementType::U8 => Elements8::U8(bits),
        }
    }

    pub fn element_type(&self) -> ElementType {
        match self {
            Elements8::I8(_) => ElementType::I8,
            Elements8::U8(_) => ElementType::U8,
        }
    }
}

/// A matrix of i8 or u8.
pub struct Matrix8 {
    pub rows: usize,
    pub cols: usize,
    /// Elements from a row to the next, and from a column to the next.
    pub strides: (usize, usize),
    pub data: Elements8,
}

impl Matrix8 {
    /// Reads the file at `path`, the value of `argument`.
    pub fn read(argument: &'static str, path: &Path) -> Result<Self> {
        let array = Array::read(argument, path, "a .npy file of int8 or uint8 with 2 dimensions")?;
        let ((rows, cols), strides) = shape_and_strides(&array)?;
        let element = match array.kind() {
            "i1" => ElementType::I8,
            "u1" => ElementType::U8,
            _ => return Err(array.refuse_type()),
        };
        Ok(Self { rows, cols, strides, data: Elements8::from_bits(element, array.into_bytes()) })
    }

    pub fn transpose(self) -> Self {
        let Self { rows, cols, strides: (rs, cs), data } = self;
        Self { rows: cols, cols: rows, strides: (cs, rs), data }
    }

    pub fn operand(&self) -> Result<Operand<'_>, qgemm::Error> {
        let Self { rows, cols, strides: (rs, cs), .. } = *self;
        Ok(match &self.data {
            Elements8::I8(data) => MatRef::new(data, rows, cols, rs, cs)?.into(),
            Elements8::U8(data) => MatRef::new(data, rows, cols, rs, cs)?.into(),
        })
    }
}

/// A matrix of f32 or f16 scales.
pub struct ScaleMatrix {
    pub rows: usize,
    pub cols: usize,
    /// Elements from a row to the next, and from a column to the next.
    strides: (usize, usize),
    data: Scales,
}

enum Scales {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl ScaleMatrix {
    /// Reads the file at `path`, the value of `argument`.
    pub fn read(argument: &'static str, path: &Path) -> Result<Self> {
        let must = "a .npy file of finite float32 or float16 with 2 dimensions";
        let array = Array::read(argument, path, must)?;
        let ((rows, cols), strides) = shape_and_strides(&array)?;
        let data = match array.half_values() {
            Some(values) => {
                if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                    return Err(array.refuse(format_args!("value {at} is {:?}", values[at])));
                }
                Scales::F16(values)
            }
            None if array.kind() == "f4" => {
                Scales::F32(array.finite_values()?.into_iter().map(|x| x as f32).collect())
            }
            None => return Err(array.refuse_type()),
        };
        Ok(Self { rows, cols, strides, data })
    }

    pub fn borrow(&self) -> Result<GroupScales<'_>, qgemm::Error> {
        let Self { rows, cols, strides: (rs, cs), .. } = *self;
        Ok(match &self.data {
            Scales::F32(data) => MatRef::new(data, rows, cols, rs, cs)?.into(),
            Scales::F16(data) => MatRef::new(data, rows, cols, rs, cs)?.into(),
        })
    }
}

/// Rows and columns of an array of two dimensions, and the elements from a row and from a column to the next.
fn shape_and_strides(array: &Array) -> Result<((usize, usize), (usize, usize))> {
    let (rows, cols) = array.matrix_shape()?;
    Ok(((rows, cols), if array.is_fortran() { (1, rows) } else { (cols, 1) }))
}

/// A row-major matrix of floats.
pub struct FloatMatrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

impl FloatMatrix {
    /// Reads the file at `path`, the value of `argument`.
    pub fn read(argument: &'static str, path: &Path) -> Result<Self> {
        let array =
            Array::read(argument, path, "a .npy file of finite float32 or float64 with 2 dimensions")?;
        let (rows, cols) = array.matrix_shape()?;
        let stored = array.finite_values()?;
        let data = if array.is_fortran() {
            (0..rows * cols).map(|at| stored[at / cols + at % cols * rows]).collect()
        } else {
            stored
        };
        Ok(Self { rows, cols, data })
    }

    /// The elements rounded to f32.
    pub fn into_f32(self) -> Vec<f32> {
        self.data.into_iter().map(|x| x as f32).collect()
    }
}
