//! The metadata and tensors of a GGUF file, read one at a time.

use crate::error::FileError;
use anyhow::{Context, Result};
use gguf_rs::{GGUFModel, get_gguf_container_array_size};
use qgemm::GgufType;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// An open file, of which metadata and the list of tensors were read.
pub struct GgufFile {
    header: GGUFModel,
    file: File,
    len: u64,
}

impl GgufFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read or is no GGUF file.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            let name = path.to_str().context("the path is not UTF-8")?;
            let header = get_gguf_container_array_size(name, u64::MAX)?.decode()?;
            Ok(Self { header, file, len })
        };
        open().with_context(|| format!("{}: cannot be read as a GGUF file", path.display()))
    }

    fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        get: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, FileError> {
        let value = self.header.metadata().get(key).and_then(get);
        value.ok_or_else(|| FileError::Metadata { key: key.into(), expected })
    }

    /// An integer of the metadata.
    ///
    /// # Errors
    /// [`FileError::Metadata`]
    pub fn integer(&self, key: &str) -> Result<usize, FileError> {
        self.get(key, "32-bit integer", |value| u32::try_from(value.as_u64()?).ok().map(|n| n as usize))
    }

    /// A number of the metadata.
    ///
    /// # Errors
    /// [`FileError::Metadata`]
    pub fn number(&self, key: &str) -> Result<f32, FileError> {
        self.get(key, "number", |value| value.as_f64().map(|x| x as f32))
    }

    /// A text of the metadata.
    ///
    /// # Errors
    /// [`FileError::Metadata`]
    pub fn text(&self, key: &str) -> Result<&str, FileError> {
        self.get(key, "text", Value::as_str)
    }

    /// A list of texts of the metadata.
    ///
    /// # Errors
    /// [`FileError::Metadata`]
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, FileError> {
        self.get(key, "list of texts", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A list of integers of the metadata.
    ///
    /// # Errors
    /// [`FileError::Metadata`]
    pub fn integers(&self, key: &str) -> Result<Vec<u64>, FileError> {
        self.get(key, "list of integers", |value| value.as_array()?.iter().map(Value::as_u64).collect())
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.header.tensors().iter().any(|tensor| tensor.name == name)
    }

    /// Appends the bytes of a tensor to `bytes`, and returns its type. `shape` is what it must be, the dimension of
    /// contiguous values first; `size` gives the bytes of so many values of a type that is supported.
    fn read<T>(
        &mut self,
        name: &str,
        shape: &[usize],
        expected: &'static str,
        kind_and_size: impl FnOnce(u32, usize) -> Option<(T, usize)>,
        bytes: &mut Vec<u8>,
    ) -> Result<T> {
        let tensor = self.header.tensors().iter().find(|tensor| tensor.name == name);
        let tensor = tensor.ok_or_else(|| FileError::MissingTensor(name.into()))?;
        // The crate fills up to four dimensions with ones.
        let used = tensor.shape.iter().rposition(|len| *len != 1).map_or(1, |last| last + 1);
        let got = tensor.shape.get(..used).unwrap_or_default();
        let wanted: Vec<u64> = shape.iter().map(|len| *len as u64).collect();
        if got != wanted {
            return Err(FileError::Shape { name: name.into(), got: got.to_vec(), expected: wanted }.into());
        }
        let values = shape.iter().try_fold(1usize, |all, len| all.checked_mul(*len));
        let (kind, size) = values
            .and_then(|values| kind_and_size(tensor.kind, values))
            .ok_or_else(|| FileError::Type { name: name.into(), got: tensor.kind, expected })?;
        let start = self.header.data_offset().checked_add(tensor.offset);
        let end = start.and_then(|start| start.checked_add(size as u64));
        let (Some(start), Some(true)) = (start, end.map(|end| end <= self.len)) else {
            return Err(FileError::Truncated(name.into()).into());
        };
        let from = bytes.len();
        bytes.resize(from + size, 0);
        let mut read =
            || self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut bytes[from..]));
        read().with_context(|| format!("tensor '{name}' cannot be read"))?;
        Ok(kind)
    }

    /// Reads a tensor of f32.
    ///
    /// # Errors
    /// [`FileError`], or if reading fails.
    pub fn floats(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let mut bytes = Vec::new();
        let size = |kind, values: usize| (kind == 0).then(|| Some(((), values.checked_mul(4)?))).flatten();
        self.read(name, &[len], "0 (F32)", size, &mut bytes)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Reads a quantized matrix of `n` rows of `k` values behind the blocks in `blocks`, and returns its type.
    ///
    /// # Errors
    /// [`FileError`], or if reading fails.
    pub fn blocks(&mut self, name: &str, (n, k): (usize, usize), blocks: &mut Vec<u8>) -> Result<GgufType> {
        let size = |kind, values: usize| {
            let kind = match kind {
                2 => GgufType::Q4_0,
                3 => GgufType::Q4_1,
                8 => GgufType::Q8_0,
                _ => return None,
            };
            Some((kind, (values / 32).checked_mul(kind.block_bytes())?))
        };
        self.read(name, &[k, n], "2 (Q4_0), 3 (Q4_1) or 8 (Q8_0)", size, blocks)
    }
}
