//! Reading `.npy` files that may hold anything.
//!
//! The header is parsed here, not by a crate: it comes from outside, and what it claims (nesting,
//! dimensions, lengths) must not be believed before it was compared with what the file holds.

use crate::input::bad_because;
use anyhow::Result;
use qgemm::{ElementType, MatRef, Operand};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The array in a file: elements as bytes, not interpreted yet.
pub struct Array {
    pub argument: &'static str,
    pub path: String,
    /// What the argument must be, for errors.
    pub must: &'static str,
    pub shape: Vec<usize>,
    pub fortran: bool,
    /// As numpy writes it: byte order, kind, bytes per element.
    pub descr: String,
    data: Vec<u8>,
}

/// Reads the file that `argument` names. What is allocated grows with what was read, never with what
/// the header claims.
pub fn read(argument: &'static str, path: &Path, must: &'static str) -> Result<Array> {
    let shown = path.display().to_string();
    let refuse = |why: &dyn std::fmt::Display| bad_because(argument, &shown, why, must);
    let mut file = File::open(path).map(BufReader::new).map_err(|e| refuse(&e))?;
    let header = header_text(&mut file).map_err(|why| refuse(&why))?;
    let Header { descr, fortran, shape } =
        Header::parse(&header).map_err(|why| refuse(&format!("npy header: {why}")))?;
    let Some(size) = element_size(&descr) else {
        return Err(refuse(&format!("elements of type {descr}")));
    };
    let all = shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
    let need = if shape.contains(&0) { Some(0) } else { all };
    let Some(need) = need else {
        return Err(refuse(&format!("shape {shape:?} needs more bytes than an address has")));
    };
    let mut data = Vec::new();
    // A byte more than there should be, to see that there is none.
    let limit = (need as u64).saturating_add(1);
    let got = file.take(limit).read_to_end(&mut data).map_err(|e| refuse(&e))?;
    if got != need {
        let got = if got > need { "more".into() } else { got.to_string() };
        return Err(refuse(&format!("shape {shape:?} needs {need} bytes of data, the file has {got}")));
    }
    Ok(Array { argument, path: shown, must, shape, fortran, descr, data })
}

/// The text of the header; what follows in `file` are the data.
fn header_text(file: &mut impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut next = |count: u64| {
        bytes.clear();
        let got = file.take(count).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok::<_, String>((got as u64 == count).then(|| bytes.clone()))
    };
    match next(6)?.as_deref() {
        Some(b"\x93NUMPY") => {}
        _ => return Err("not an npy file".into()),
    }
    const TRUNCATED: &str = "truncated npy header";
    let version = next(2)?.ok_or(TRUNCATED)?;
    let width = match version[..] {
        [1, 0] => 2,
        [2 | 3, 0] => 4,
        _ => return Err("not an npy file of version 1, 2 or 3".into()),
    };
    let length = next(width)?.ok_or(TRUNCATED)?;
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    let text = next(length)?.ok_or(TRUNCATED)?;
    String::from_utf8(text).map_err(|_| "npy header: not text".into())
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, the keys in any order.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let body =
            text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("no dictionary")?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        let mut rest = body.trim_start();
        while !rest.is_empty() {
            let (key, after) = quoted(rest).ok_or("no key")?;
            let value = after.trim_start().strip_prefix(':').ok_or("no value")?.trim_start();
            rest = match key {
                "descr" => {
                    let (text, after) = quoted(value).ok_or("elements are not plain numbers")?;
                    set(&mut descr, text.to_string())?;
                    after
                }
                "fortran_order" => {
                    let end = value.find([',', '}']).unwrap_or(value.len());
                    let flag = match value[..end].trim_end() {
                        "True" => true,
                        "False" => false,
                        _ => return Err("fortran_order is neither True nor False"),
                    };
                    set(&mut fortran, flag)?;
                    &value[end..]
                }
                "shape" => {
                    let list = value.strip_prefix('(').ok_or("shape is not a tuple")?;
                    let (list, after) = list.split_once(')').ok_or("shape is not a tuple")?;
                    set(&mut shape, dimensions(list).ok_or("shape is not a tuple of sizes")?)?;
                    after
                }
                _ => return Err("unknown key"),
            };
            rest = rest.trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or("no comma after a value")?.trim_start();
            }
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Self { descr, fortran, shape }),
            _ => Err("descr, fortran_order or shape is missing"),
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    if slot.replace(value).is_some() { Err("a key appears twice") } else { Ok(()) }
}

/// The string that `text` starts with, in either kind of quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| "'\"".contains(*c))?;
    text[1..].split_once(quote)
}

/// `2, 3`, `2,` or nothing. numpy 1 on Python 2 wrote `2L`.
fn dimensions(list: &str) -> Option<Vec<usize>> {
    let list = list.trim();
    if list.is_empty() {
        return Some(Vec::new());
    }
    let list = list.strip_suffix(',').unwrap_or(list);
    let digits = |part: &str| part.trim().trim_end_matches('L').to_string();
    list.split(',')
        .map(digits)
        .map(|part| part.bytes().all(|c| c.is_ascii_digit()).then_some(part)?.parse().ok())
        .collect()
}

/// Bytes of an element whose type is a number.
fn element_size(descr: &str) -> Option<usize> {
    let size = match descr.get(1..)? {
        "i1" | "u1" | "b1" => 1,
        "i2" | "u2" | "f2" => 2,
        "i4" | "u4" | "f4" => 4,
        "i8" | "u8" | "f8" => 8,
        _ => return None,
    };
    // A byte order must be given where there is one.
    let order = descr.chars().next()?;
    ("<>".contains(order) || (order == '|' && size == 1)).then_some(size)
}

impl Array {
    /// The refusal of this file.
    pub fn refuse(&self, why: impl std::fmt::Display) -> anyhow::Error {
        bad_because(self.argument, &self.path, why, self.must)
    }

    /// The type without the byte order: `i1`, `f4`.
    pub fn kind(&self) -> &str {
        &self.descr[1..]
    }

    /// Rows and columns.
    pub fn matrix_shape(&self) -> Result<(usize, usize)> {
        match self.shape[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => Err(self.refuse(format_args!("it has {} dimensions", self.shape.len()))),
        }
    }

    /// The elements in the file's order, each from its bytes, the most significant last.
    fn decode<const SIZE: usize, T>(&self, from: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        let big = self.descr.starts_with('>');
        let one = |bytes: &[u8; SIZE]| {
            let mut bytes = *bytes;
            if big {
                bytes.reverse();
            }
            from(bytes)
        };
        self.data.as_chunks().0.iter().map(one).collect()
    }

    /// The elements, if they are floats.
    pub fn floats(&self) -> Option<Vec<f64>> {
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

/// Elements of either 8-bit type.
pub enum Bytes {
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl Bytes {
    /// By their bit patterns.
    pub fn from_bits(element: ElementType, bits: Vec<u8>) -> Self {
        match element {
            ElementType::I8 => Bytes::I8(bits.into_iter().map(|x| x as i8).collect()),
            ElementType::U8 => Bytes::U8(bits),
        }
    }
}

/// An operand.
pub struct Matrix8 {
    pub rows: usize,
    pub cols: usize,
    /// From row to row and from column to column.
    pub strides: (usize, usize),
    pub data: Bytes,
}

impl Matrix8 {
    pub fn read(argument: &'static str, path: &Path) -> Result<Self> {
        let array = read(argument, path, "a .npy file of i8 or u8 with 2 dimensions")?;
        let (rows, cols) = array.matrix_shape()?;
        let strides = if array.fortran { (1, rows) } else { (cols, 1) };
        let data = match array.kind() {
            "u1" => Bytes::U8(array.data),
            "i1" => Bytes::I8(array.decode(i8::from_le_bytes)),
            _ => return Err(array.refuse(format_args!("elements of type {}", array.descr))),
        };
        Ok(Self { rows, cols, strides, data })
    }

    pub fn operand(&self) -> Result<Operand<'_>, qgemm::Error> {
        let Self { rows, cols, strides: (rs, cs), .. } = *self;
        Ok(match &self.data {
            Bytes::I8(data) => MatRef::new(data, rows, cols, rs, cs)?.into(),
            Bytes::U8(data) => MatRef::new(data, rows, cols, rs, cs)?.into(),
        })
    }
}

/// A matrix of floats in C order.
pub struct Floats {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

impl Floats {
    pub fn read(argument: &'static str, path: &Path) -> Result<Self> {
        let array = read(argument, path, "a .npy file of finite f32 or f64 with 2 dimensions")?;
        let (rows, cols) = array.matrix_shape()?;
        let stored = finite(&array)?;
        let data = if array.fortran {
            (0..rows * cols).map(|at| stored[at / cols + at % cols * rows]).collect()
        } else {
            stored
        };
        Ok(Self { rows, cols, data })
    }
}

/// The elements of an array of floats, all of which must be finite, as f32 too.
pub fn finite(array: &Array) -> Result<Vec<f64>> {
    let data =
        array.floats().ok_or_else(|| array.refuse(format_args!("elements of type {}", array.descr)))?;
    match data.iter().position(|&x| !(x as f32).is_finite()) {
        None => Ok(data),
        Some(at) => Err(array.refuse(format_args!("value {at} is {}", data[at]))),
    }
}
