//! Files for the command: arrays as `.npy` and `.safetensors` files, and packed weights, some of them damaged.

use crate::engines::dispatch;
use crate::group_formats;
use crate::input::Input;
use crate::operands::{Matrix8, element_type};
use crate::saved;
use crate::values::{Integers, Reals};
use qgemm::PackedB;
use qgemm::half::f16;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// All element types that the command knows, and some that it does not.
const TYPES: [&str; 20] = [
    "|i1", "|u1", "|b1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", "<u8", ">u8", "<f2", ">f2", "<f4",
    ">f4", "<f8", ">f8", "<c8", "|S5",
];

/// Sizes that a header may claim.
const SIZES: [u64; 13] =
    [0, 1, 2, 255, 1 << 20, 1 << 26, 1 << 31, 1 << 32, 1 << 40, 1 << 60, 1 << 61, 1 << 63, u64::MAX];

/// Headers that are no such dictionary as they should be, or nearly none.
const HEADERS: [&str; 14] = [
    "",
    "{}",
    "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)}",
    "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '|u1'}",
    "{'descr': '|i1', 'fortran_order': False, 'shape': (), }",
    "{'descr': '|i1', 'fortran_order': True, 'shape': (0,), }",
    "{'descr': [('x', '<i4')], 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '|i1', 'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '<f4\n', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': 'ü1', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '|i1', 'fortran_order': Maybe, 'shape': (2, 3), }",
    "{'descr': '|i1', 'fortran_order': False, 'shape': (-2, +3), }",
    "{\"descr\": \"|u1\", \"fortran_order\": False, \"shape\": (1, 1, 1, 1), \"more\": 1}",
];

/// The most bytes of an array's elements. Larger ones are claimed, and their elements missing.
const MOST: usize = 1 << 16;

/// What values an array has.
#[derive(Clone, Copy)]
pub enum Fill {
    /// Any of its type.
    Any,
    /// Codes of 4 bits.
    Codes,
    /// Floats that are not negative, and of usual size.
    Factors,
}

/// An array as a file holds it.
pub struct Array {
    /// The element type, by its code.
    pub descr: &'static str,
    /// Elements are stored column by column.
    pub fortran: bool,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, in the file's order.
    pub data: Vec<u8>,
}

impl Array {
    fn read(input: &mut Input<'_>, types: &[&'static str], shape: &[usize], fill: Fill) -> Self {
        let descr = input.one_of(types);
        let fortran = shape.len() == 2 && input.one_in(3);
        let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let len = len.filter(|len| *len <= MOST / size_of_type(descr)).unwrap_or(0);
        Self { descr, fortran, shape: shape.to_vec(), data: elements(input, descr, len, fill) }
    }

    /// An element of a matrix of 8 bits.
    pub fn get(&self, row: usize, col: usize) -> i32 {
        let at = if self.fortran { row + col * self.shape[0] } else { row * self.shape[1] + col };
        if self.descr == "|i1" { (self.data[at] as i8).into() } else { self.data[at].into() }
    }

    /// A `.npy` file.
    fn npy(&self, input: &mut Input<'_>, header: Option<&str>) -> Vec<u8> {
        let order = if self.fortran { "True" } else { "False" };
        let shape: String = self.shape.iter().map(|size| format!("{size}, ")).collect();
        let made = format!("{{'descr': '{}', 'fortran_order': {order}, 'shape': ({shape}), }}\n", self.descr);
        let text = header.unwrap_or(&made);
        let version = 1 + input.byte() % 3;
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        let len = text.len() as u32;
        file.extend(&len.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
        file.extend(text.as_bytes());
        file.extend(&self.data);
        file
    }

    /// A `.safetensors` file with one tensor, of this name.
    fn safetensors(&self, dtype: &str, name: &str) -> Vec<u8> {
        let text = format!(
            "{{\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{:?},\"data_offsets\":[0,{}]}}}}",
            self.shape,
            self.data.len()
        );
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend(text.as_bytes());
        file.extend(&self.data);
        file
    }
}

/// Bytes of an element.
fn size_of_type(descr: &str) -> usize {
    descr[2..].parse().expect("each type has a size")
}

fn elements(input: &mut Input<'_>, descr: &str, len: usize, fill: Fill) -> Vec<u8> {
    let size = size_of_type(descr);
    let mut integers = Integers::read(input);
    let mut reals = if matches!(fill, Fill::Factors) || !input.one_in(6) {
        Reals::usual(input.byte())
    } else {
        Reals::read(input)
    };
    let mut element = || {
        let real = reals.real();
        let real = if matches!(fill, Fill::Factors) { real.abs() } else { real };
        let mut bytes = match (&descr[1..2], size, fill) {
            ("f", 2, _) => f16::from_f32(real).to_le_bytes().to_vec(),
            ("f", 4, _) => real.to_le_bytes().to_vec(),
            ("f", 8, _) => f64::from(real).to_le_bytes().to_vec(),
            ("i", 1, Fill::Codes) => vec![((integers.byte() << 4) as i8 >> 4) as u8],
            (_, 1, Fill::Codes) => vec![integers.byte() & 15],
            (_, 1, _) => vec![integers.byte()],
            _ => i128::from(integers.integer()).to_le_bytes()[..size].to_vec(),
        };
        if descr.starts_with('>') {
            bytes.reverse();
        }
        bytes
    };
    (0..len).flat_map(|_| element()).collect()
}

/// The folder of a case, in which all its files are.
pub struct Folder {
    folder: TempDir,
    /// No file that was made is damaged.
    pub is_whole: bool,
}

impl Folder {
    /// An empty folder.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        Self { folder, is_whole: true }
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as a word of a command line.
    pub fn word(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().expect("folders of temporary files are named in UTF-8")
    }

    /// Every file with its bytes; a folder has none.
    pub fn content(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder can be read");
        entries
            .map(|entry| {
                let path = entry.expect("an entry can be read").path();
                let bytes = path.is_file().then(|| fs::read(&path).expect("a file can be read"));
                (path, bytes)
            })
            .collect()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("there is room for a small file");
    }

    /// Makes a file that is called `name`, of one of `types`; returns the word that names it, and what is in it.
    pub fn array(
        &mut self,
        input: &mut Input<'_>,
        name: &str,
        types: &[&'static str],
        shape: &[usize],
        fill: Fill,
    ) -> (String, Array) {
        let mut shape = shape.to_vec();
        let damage = input.rarely(10, |input| input.byte() % 12);
        self.is_whole &= damage.is_none();
        let types = if damage == Some(0) { &TYPES } else { types };
        if let Some(1..=3) = damage {
            reshape(input, &mut shape);
        }
        let array = Array::read(input, types, &shape, fill);
        let as_tensor = !array.fortran && input.one_in(4);
        let (file, word, mut bytes) = match (as_tensor, damage) {
            (true, _) => {
                let file = format!("{name}.safetensors");
                let (word, bytes) = (format!("{file}:t"), tensor(input, &array, damage == Some(4)));
                (file, word, bytes)
            }
            (false, Some(4)) => {
                let header = input.one_of(&HEADERS);
                (format!("{name}.npy"), format!("{name}.npy"), array.npy(input, Some(header)))
            }
            (false, _) => (format!("{name}.npy"), format!("{name}.npy"), array.npy(input, None)),
        };
        match damage {
            Some(5..) => self.write_damaged(input, &file, &mut bytes),
            _ => self.write(&file, &bytes),
        }
        (self.word(&word), array)
    }

    /// Makes a file of a matrix of 8 bits, packed; returns the word that names it.
    pub fn packed(&mut self, input: &mut Input<'_>, k: usize, n: usize) -> String {
        let dispatch = dispatch(input);
        let (matrix, activations) = (Matrix8::read(input, (k, n)), element_type(input));
        let packed = matrix.operand().and_then(|b| PackedB::pack_with(&dispatch, b, activations));
        let mut bytes = Vec::new();
        // Matrices are as long as they have to be only mostly.
        match packed {
            Ok(packed) => packed.save(&mut bytes).expect("a vector takes it"),
            Err(_) => self.is_whole = false,
        }
        self.saved(input, bytes)
    }

    /// Makes a file of group-wise weights; returns the word that names it, and their rows and columns.
    pub fn groupwise(&mut self, input: &mut Input<'_>, k: usize, n: usize) -> (String, (usize, usize)) {
        let weights = group_formats::weights(input, k, n);
        let mut bytes = Vec::new();
        match &weights {
            Some(weights) => weights.save(&mut bytes).expect("a vector takes it"),
            None => self.is_whole = false,
        }
        (self.saved(input, bytes), weights.map_or((k, n), |weights| (weights.k(), weights.n())))
    }

    /// Makes a file of saved weights, some of which are damaged, most of these with a checksum that is right.
    fn saved(&mut self, input: &mut Input<'_>, mut bytes: Vec<u8>) -> String {
        const NAME: &str = "packed.qgemm";
        match input.byte() % 16 {
            0..=11 => self.write(NAME, &bytes),
            12..=14 => {
                self.is_whole &= !saved::change(input, &mut bytes);
                saved::seal(&mut bytes);
                self.write(NAME, &bytes);
            }
            _ => {
                self.is_whole = false;
                self.write_damaged(input, NAME, &mut bytes);
            }
        }
        self.word(NAME)
    }

    /// Writes bytes that are not what they were, or none.
    fn write_damaged(&self, input: &mut Input<'_>, name: &str, bytes: &mut Vec<u8>) {
        match input.byte() % 8 {
            0 => return,
            1 => return fs::create_dir_all(self.path(name)).expect("there is room for a folder"),
            2 => bytes.clear(),
            3 => bytes.truncate(input.number(0..=bytes.len())),
            4 => bytes.extend((0..input.number(1..=80)).map(|_| input.byte())),
            5 => *bytes = (0..input.number(1..=80)).map(|_| input.byte()).collect(),
            _ => {
                for _ in 0..input.number(1..=4) {
                    let (at, value) = (input.number(0..=bytes.len().min(160)), input.byte());
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
                }
            }
        }
        self.write(name, bytes);
    }
}

/// Changes a shape, mostly so that another size is claimed.
fn reshape(input: &mut Input<'_>, shape: &mut Vec<usize>) {
    for _ in 0..input.number(1..=2) {
        let at = input.number(0..=shape.len());
        let size = match input.byte() % 4 {
            0 => shape.get(at).map_or(1, |size| size.wrapping_add(1)),
            1 => input.number(0..=9),
            _ => input.one_of(&SIZES) as usize,
        };
        match input.byte() % 8 {
            0 => shape.insert(at, size),
            1 if at < shape.len() => drop(shape.remove(at)),
            _ => shape.iter_mut().skip(at).take(1).for_each(|dim| *dim = size),
        }
    }
}

/// A `.safetensors` file with a tensor `t`, or with one that has an odd name or type.
fn tensor(input: &mut Input<'_>, array: &Array, is_odd: bool) -> Vec<u8> {
    let dtype = match &array.descr[1..] {
        "i1" => "I8",
        "u1" => "U8",
        "b1" => "BOOL",
        "i2" => "I16",
        "u2" => "U16",
        "i4" => "I32",
        "u4" => "U32",
        "i8" => "I64",
        "u8" => "U64",
        "f2" => "F16",
        "f4" => "F32",
        "f8" => "F64",
        _ => "C64",
    };
    if !is_odd {
        return array.safetensors(dtype, "t");
    }
    let odd = [
        "\\n",
        "\\u0000",
        "t\\r\\nerror: t",
        "t\\u2028",
        "",
        "__metadata__",
        "\u{202e}t",
        "\\ud800",
        "BF16",
        "F4",
    ];
    let odd = input.one_of(&odd);
    if input.flag() { array.safetensors(dtype, odd) } else { array.safetensors(odd, "t") }
}

/// The array in a `.npy` file that the command wrote: element type, dimensions.
///
/// # Panics
/// If it is no file of version 1, or does not hold just the elements that its header tells of.
pub fn read_npy(path: &Path) -> (String, Vec<usize>, Vec<u8>) {
    let bytes = fs::read(path).expect("the file can be read");
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00", "{path:?}");
    let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + len]).expect("a header is text");
    let between = |from: &str, to: &str| {
        let (_, after) = header.split_once(from).unwrap_or_else(|| panic!("{header} has no {from}"));
        after.split_once(to).unwrap_or_else(|| panic!("{header} has no {to}")).0
    };
    assert_eq!(between("'fortran_order': ", ","), "False");
    let descr = between("'descr': '", "'");
    let sizes = between("'shape': (", ")").split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().expect("sizes are numbers")).collect();
    let data = &bytes[10 + len..];
    assert_eq!(data.len(), shape.iter().product::<usize>() * size_of_type(descr), "{header}");
    (descr.to_string(), shape, data.to_vec())
}
