//! The header of a `.npy` file: element type, order and shape.
//!
//! Parsed here and not by a crate: a header comes from outside, and its claims (nesting, dimensions, lengths)
//! must not lead to deep recursion or large allocations.

use std::io::Read;

pub struct Header {
    /// The element type as numpy writes it: byte order, kind, bytes per element (`<f4`).
    pub descr: String,
    /// Elements are stored column by column.
    pub fortran: bool,
    pub shape: Vec<usize>,
}

impl Header {
    /// Reads the header at the start of `file`, which then stands at the first element.
    pub fn read(file: &mut impl Read) -> Result<Self, String> {
        let text = header_text(file)?;
        Self::parse(&text).map_err(|why| format!("npy header: {why}"))
    }

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
                    set_once(&mut descr, text.to_string())?;
                    after
                }
                "fortran_order" => {
                    let end = value.find([',', '}']).unwrap_or(value.len());
                    let flag = match value[..end].trim_end() {
                        "True" => true,
                        "False" => false,
                        _ => return Err("fortran_order is neither True nor False"),
                    };
                    set_once(&mut fortran, flag)?;
                    &value[end..]
                }
                "shape" => {
                    let list = value.strip_prefix('(').ok_or("shape is not a tuple")?;
                    let (list, after) = list.split_once(')').ok_or("shape is not a tuple")?;
                    set_once(&mut shape, dimensions(list).ok_or("shape is not a tuple of sizes")?)?;
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

/// Reads the magic number, version, length and text of a header, and returns the text.
fn header_text(file: &mut impl Read) -> Result<String, String> {
    const TRUNCATED: &str = "truncated npy header";
    match read_exactly(file, 6)?.as_deref() {
        Some(b"\x93NUMPY") => {}
        _ => return Err("not an npy file".into()),
    }
    let version = read_exactly(file, 2)?.ok_or(TRUNCATED)?;
    let length_bytes = match version[..] {
        [1, 0] => 2,
        [2 | 3, 0] => 4,
        _ => return Err("not an npy file of version 1, 2 or 3".into()),
    };
    let length = read_exactly(file, length_bytes)?.ok_or(TRUNCATED)?;
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    let text = read_exactly(file, length)?.ok_or(TRUNCATED)?;
    String::from_utf8(text).map_err(|_| "npy header: not text".into())
}

/// The next `count` bytes; `None` if the file ends before. Allocates no more than the file has.
fn read_exactly(file: &mut impl Read, count: u64) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    let got = file.take(count).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok((got as u64 == count).then_some(bytes))
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    if slot.replace(value).is_some() { Err("a key appears twice") } else { Ok(()) }
}

/// Splits `text` into the quoted string at its start, without the single or double quotes, and the rest.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| "'\"".contains(*c))?;
    text[1..].split_once(quote)
}

/// Parses `2, 3`, `2,` or an empty list. Python 2 wrote `2L`.
fn dimensions(list: &str) -> Option<Vec<usize>> {
    let list = list.trim();
    if list.is_empty() {
        return Some(Vec::new());
    }
    let list = list.strip_suffix(',').unwrap_or(list);
    list.split(',').map(dimension).collect()
}

fn dimension(text: &str) -> Option<usize> {
    let digits = text.trim().trim_end_matches('L');
    // `parse` alone would accept `+2`.
    if digits.bytes().all(|c| c.is_ascii_digit()) { digits.parse().ok() } else { None }
}
