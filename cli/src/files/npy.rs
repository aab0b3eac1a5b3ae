//! Reading `.npy` files of any content and size.

use crate::errors::invalid_because;
use crate::files::dtype;
use crate::files::npy_header::Header;
use crate::files::safetensors;
use anyhow::{Error, Result};
use qgemm::half::f16;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The array in a file, with its elements still as bytes.
pub struct Array {
    argument: &'static str,
    path: String,
    /// The condition on the argument, for errors.
    must: &'static str,
    header: Header,
    data: Vec<u8>,
}

impl Array {
    /// Reads the file at `path`, the value of `argument`, which must be `must`; or a tensor, `FILE.safetensors:TENSOR`. Allocates
    /// in proportion to the bytes that the file has, whatever its header claims.
    pub fn read(argument: &'static str, path: &Path, must: &'static str) -> Result<Self> {
        let shown = path.display().to_string();
        let refuse = |why: &dyn Display| invalid_because(argument, &shown, why, must);
        if let Some((file, tensor)) = safetensors::tensor_of(path) {
            let (header, data) = safetensors::read(&file, tensor).map_err(|why| refuse(&why))?;
            return Ok(Self { argument, path: shown, must, header, data });
        }
        let mut file = File::open(path).map(BufReader::new).map_err(|e| refuse(&e))?;
        let header = Header::read(&mut file).map_err(|why| refuse(&why))?;
        let Header { descr, shape, .. } = &header;
        let Some(size) = element_size(descr) else {
            return Err(refuse(&dtype::describe(descr)));
        };
        let Some(need) = byte_length(shape, size) else {
            return Err(refuse(&format!("shape {shape:?} needs more bytes than an address has")));
        };
        let mut data = Vec::new();
        // One byte more is asked for, so that a file that is too long shows.
        let limit = (need as u64).saturating_add(1);
        let got = file.take(limit).read_to_end(&mut data).map_err(|e| refuse(&e))?;
        if got != need {
            let got = if got > need { "more".into() } else { got.to_string() };
            return Err(refuse(&format!("shape {shape:?} needs {need} bytes of data, the file has {got}")));
        }
        Ok(Self { argument, path: shown, must, header, data })
    }

    /// The error that refuses this file because of `why`.
    pub fn refuse(&self, why: impl Display) -> Error {
        invalid_because(self.argument, &self.path, why, self.must)
    }

    /// The error that refuses this file because of its element type.
    pub fn refuse_type(&self) -> Error {
        self.refuse(dtype::describe(&self.header.descr))
    }

    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Elements are stored column by column.
    pub fn is_fortran(&self) -> bool {
        self.header.fortran
    }

    /// The element type without its byte order: `i1`, `f4`.
    pub fn kind(&self) -> &str {
        &self.header.descr[1..]
    }

    /// Rows and columns of an array of two dimensions.
    pub fn matrix_shape(&self) -> Result<(usize, usize)> {
        match self.shape()[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => Err(self.refuse(format_args!("it has {} dimensions", self.shape().len()))),
        }
    }

    /// The bytes of all elements, in the file's order.
    pub fn into_bytes(self) -> Vec<u8> {
        self.data
    }

    /// The elements in the file's order. `from_le` makes one from its bytes, least significant first.
    fn decode<const SIZE: usize, T>(&self, from_le: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        let big_endian = self.header.descr.starts_with('>');
        let element = |bytes: &[u8; SIZE]| {
            let mut bytes = *bytes;
            if big_endian {
                bytes.reverse();
            }
            from_le(bytes)
        };
        self.data.as_chunks().0.iter().map(element).collect()
    }

    /// The elements as i32, all of which must be integers that fit.
    pub fn i32_values(&self) -> Result<Vec<i32>> {
        let values = self.integers().ok_or_else(|| self.refuse_type())?;
        let convert = |(at, value): (usize, i128)| {
            i32::try_from(value)
                .map_err(|_| self.refuse(format_args!("value {at} is {value}, which does not fit i32")))
        };
        values.into_iter().enumerate().map(convert).collect()
    }

    /// The elements as f64, all of which must be floats that are finite as f32 as well.
    pub fn finite_values(&self) -> Result<Vec<f64>> {
        let values = self.float_values()?;
        match values.iter().position(|&x| !(x as f32).is_finite()) {
            None => Ok(values),
            Some(at) => {
                let why = if values[at].is_finite() { ", too large for f32" } else { "" };
                Err(self.refuse(format_args!("value {at} is {:?}{why}", values[at])))
            }
        }
    }

    /// The elements as f64, all of which must be floats.
    pub fn float_values(&self) -> Result<Vec<f64>> {
        self.floats().ok_or_else(|| self.refuse_type())
    }

    /// The elements, if they are float16.
    pub fn half_values(&self) -> Option<Vec<f16>> {
        (self.kind() == "f2").then(|| self.decode(f16::from_le_bytes))
    }

    fn floats(&self) -> Option<Vec<f64>> {
        Some(match self.kind() {
            "f4" => self.decode(|bytes| f64::from(f32::from_le_bytes(bytes))),
            "f8" => self.decode(f64::from_le_bytes),
            _ => return None,
        })
    }

    /// The elements, if they are integers.
    pub fn integers(&self) -> Option<Vec<i128>> {
        Some(match self.kind() {
            "i1" => self.decode(|bytes| i8::from_le_bytes(bytes).into()),
            "u1" => self.decode(|bytes| u8::from_le_bytes(bytes).into()),
            "i2" => self.decode(|bytes| i16::from_le_bytes(bytes).into()),
            "u2" => self.decode(|bytes| u16::from_le_bytes(bytes).into()),
            "i4" => self.decode(|bytes| i32::from_le_bytes(bytes).into()),
            "u4" => self.decode(|bytes| u32::from_le_bytes(bytes).into()),
            "i8" => self.decode(|bytes| i64::from_le_bytes(bytes).into()),
            "u8" => self.decode(|bytes| u64::from_le_bytes(bytes).into()),
            _ => return None,
        })
    }
}

/// Bytes per element of a numeric type; `None` for all other types.
fn element_size(descr: &str) -> Option<usize> {
    let size = match descr.get(1..)? {
        "i1" | "u1" | "b1" => 1,
        "i2" | "u2" | "f2" => 2,
        "i4" | "u4" | "f4" => 4,
        "i8" | "u8" | "f8" => 8,
        _ => return None,
    };
    // Elements of several bytes must state their byte order.
    let order = descr.chars().next()?;
    ("<>".contains(order) || (order == '|' && size == 1)).then_some(size)
}

/// Bytes of an array; `None` if there are more than `usize` counts.
fn byte_length(shape: &[usize], element_size: usize) -> Option<usize> {
    // The other dimensions of an empty array may be so large that their product overflows.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(element_size, |bytes, &dim| bytes.checked_mul(dim))
}
