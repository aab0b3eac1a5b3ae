//! The types of elements that arrays have, by their names in NumPy and in the library.

use crate::errors::{type_error, value_error};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use qgemm::ElementType;
use qgemm::half::{bf16, f16};

/// A type of elements, in the byte order of this CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    I8,
    U8,
    I32,
    F32,
    F64,
    F16,
    /// NumPy has no such type; the package `ml_dtypes` adds it.
    Bf16,
}

impl DType {
    /// The type of an array; `None` if it is none of these, or has the other byte order.
    pub fn of(array: &Bound<'_, PyUntypedArray>) -> Option<Self> {
        Self::of_descr(&array.dtype())
    }

    fn of_descr(descr: &Bound<'_, PyArrayDescr>) -> Option<Self> {
        let found = match (descr.kind(), descr.itemsize()) {
            (b'i', 1) => DType::I8,
            (b'u', 1) => DType::U8,
            (b'i', 4) => DType::I32,
            (b'f', 4) => DType::F32,
            (b'f', 8) => DType::F64,
            (b'f', 2) => DType::F16,
            (_, 2) if is_bfloat16(descr) => DType::Bf16,
            _ => return None,
        };
        (descr.is_native_byteorder() != Some(false)).then_some(found)
    }

    /// The name in NumPy.
    pub fn name(self) -> &'static str {
        match self {
            DType::I8 => "int8",
            DType::U8 => "uint8",
            DType::I32 => "int32",
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::F16 => "float16",
            DType::Bf16 => "bfloat16",
        }
    }

    /// The type that an argument such as `out_dtype` names: `"i8"`, `"int8"`, `np.int8` or a `dtype`; one of `allowed`.
    pub fn named(name: &Bound<'_, PyAny>, argument: &str, allowed: &[DType]) -> PyResult<Self> {
        let short = name.extract::<&str>().ok().and_then(|name| match name {
            "i8" => Some(DType::I8),
            "u8" => Some(DType::U8),
            "i32" => Some(DType::I32),
            "f32" => Some(DType::F32),
            _ => None,
        });
        let found = match short {
            Some(short) => Some(short),
            None => PyArrayDescr::new(name.py(), name).ok().and_then(|descr| Self::of_descr(&descr)),
        };
        found
            .filter(|found| allowed.contains(found))
            .ok_or_else(|| value_error(argument, format!("was {name}, must be {}", Self::list(allowed))))
    }

    /// The types as a message names them.
    pub fn list(allowed: &[DType]) -> String {
        allowed.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(" or ")
    }

    /// The library's name of the 8-bit types.
    pub fn element_type(self) -> Option<ElementType> {
        match self {
            DType::I8 => Some(ElementType::I8),
            DType::U8 => Some(ElementType::U8),
            _ => None,
        }
    }
}

impl From<ElementType> for DType {
    fn from(element: ElementType) -> Self {
        match element {
            ElementType::I8 => DType::I8,
            ElementType::U8 => DType::U8,
        }
    }
}

fn is_bfloat16(descr: &Bound<'_, PyArrayDescr>) -> bool {
    descr.getattr("name").is_ok_and(|name| name.extract::<&str>().is_ok_and(|name| name == "bfloat16"))
}

/// The type of activations that an argument names: `"i8"` or `"u8"`, or a type of NumPy.
pub fn activations(name: &Bound<'_, PyAny>) -> PyResult<ElementType> {
    let named = DType::named(name, "activations", &[DType::I8, DType::U8])?;
    named.element_type().ok_or_else(|| type_error("activations", "must be of 8 bits"))
}

/// A type of elements as Rust has it. Every pattern of bits is a value of it.
pub trait Element: Copy + Send + Sync + 'static {
    const DTYPE: DType;
}

impl Element for i8 {
    const DTYPE: DType = DType::I8;
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}
impl Element for i32 {
    const DTYPE: DType = DType::I32;
}
impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for f16 {
    const DTYPE: DType = DType::F16;
}
impl Element for bf16 {
    const DTYPE: DType = DType::Bf16;
}
