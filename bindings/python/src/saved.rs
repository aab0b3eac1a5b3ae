//! Weights as bytes: in files, mapped, in pickles.

use crate::arrays::file;
use crate::arrays::values::Values;
use crate::elements::DType;
use crate::errors::{file_error, raise, type_error};
use memmap2::Mmap;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use qgemm::{GroupwiseB, OtherLayout, PackedB, SavedInfo, SavedKind, ScaleBits};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::Builder;

/// Weights that can be written.
pub trait Save: Sync {
    fn save(&self, to: &mut dyn Write) -> io::Result<()>;
}

impl Save for PackedB {
    fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        PackedB::save(self, to)
    }
}

impl Save for GroupwiseB {
    fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        GroupwiseB::save(self, to)
    }
}

/// A file of Python's, open for writing bytes.
struct Stream<'a, 'py>(&'a Bound<'py, PyAny>);

impl Write for Stream<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// Each piece is copied.
        const MOST: usize = 1 << 20;
        let piece = &bytes[..bytes.len().min(MOST)];
        // A raw file says how much it took, others take all and may say nothing.
        let taken = self.0.call_method1("write", (PyBytes::new(self.0.py(), piece),))?;
        let taken: Option<usize> = taken.extract()?;
        Ok(taken.unwrap_or(piece.len()).min(piece.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes weights to a file that is open, or to a path: beside it first, so that the file there is whole.
pub fn save(weights: &impl Save, to: &Bound<'_, PyAny>) -> PyResult<()> {
    if to.hasattr("write")? {
        return Ok(weights.save(&mut Stream(to))?);
    }
    let path = path_of(to).ok_or_else(|| {
        type_error("path_or_file", format!("is of {}, must be a path or a file", to.get_type()))
    })?;
    let write = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
        weights.save(&mut file)?;
        file.persist(&path)?;
        Ok(())
    };
    to.py().detach(write).map_err(|error| file_error("path_or_file", error))
}

/// Weights as bytes of Python's.
pub fn bytes_of<'py>(py: Python<'py>, weights: &impl Save) -> PyResult<Bound<'py, PyBytes>> {
    let mut bytes = Vec::new();
    py.detach(|| weights.save(&mut bytes))?;
    Ok(PyBytes::new(py, &bytes))
}

fn path_of(object: &Bound<'_, PyAny>) -> Option<PathBuf> {
    object.extract().ok()
}

/// Saved bytes: of a path, of a file that is open, or bytes.
pub enum Source<'py> {
    Mapped(Mmap),
    Values(Values<'py>),
}

impl<'py> Source<'py> {
    pub fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Some(path) = path_of(object) {
            return Ok(Source::Mapped(file::map(&path)?));
        }
        let read = if object.hasattr("read")? { Some(object.call_method0("read")?) } else { None };
        let values = Values::new(read.as_ref().unwrap_or(object), "source", &[DType::U8])?;
        Ok(Source::Values(values))
    }

    pub fn bytes(&self) -> PyResult<&[u8]> {
        match self {
            Source::Mapped(map) => Ok(map),
            Source::Values(values) => values.bytes(),
        }
    }
}

/// The file at a path, mapped.
pub fn mapped(path: &Bound<'_, PyAny>) -> PyResult<Mmap> {
    let problem = || type_error("path", format!("is of {}, must be a path", path.get_type()));
    file::map(&path_of(path).ok_or_else(problem)?)
}

/// What becomes of weights that are packed for another kernel.
pub fn other_layout(repack: bool) -> OtherLayout {
    if repack { OtherLayout::Repack } else { OtherLayout::Refuse }
}

/// What saved weights are: of a path, a file that is open, or bytes. A dict, with "kind" "PackedB" or "GroupwiseB", "shape"
/// (K, N), "dtype" and what the kind has: "activations" and "kernel", or "bits", "group", "scales", "minimums", "zeros".
///
/// Bytes that are no saved weights, cut off or changed, are a ValueError.
///
/// >>> import io, numpy as np, qgemm
/// >>> file = io.BytesIO()
/// >>> qgemm.GroupwiseB.quantize(np.eye(64, 3, dtype=np.float32)).save(file)
/// >>> info = qgemm.saved_info(file.getvalue())
/// >>> info["kind"], info["shape"], info["bits"], info["group"], info["scales"]
/// ('GroupwiseB', (64, 3), 4, 32, 'float32')
#[pyfunction]
pub fn saved_info<'py>(source: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let py = source.py();
    let source = Source::new(source)?;
    let bytes = source.bytes()?;
    let SavedInfo { k, n, element, kind, .. } = py.detach(|| qgemm::saved_info(bytes)).map_err(raise)?;
    let info = PyDict::new(py);
    info.set_item("kind", if let SavedKind::Columns { .. } = kind { "PackedB" } else { "GroupwiseB" })?;
    info.set_item("shape", (k, n))?;
    info.set_item("dtype", DType::from(element).name())?;
    match kind {
        SavedKind::Columns { activations, kernel } => {
            info.set_item("activations", DType::from(activations).name())?;
            info.set_item("kernel", kernel)?;
        }
        SavedKind::Groupwise { bits, group, scales, minimums, zeros } => {
            info.set_item("bits", bits.bits())?;
            info.set_item("group", group)?;
            info.set_item("scales", scale_type(scales))?;
            info.set_item("minimums", minimums.map(scale_type))?;
            info.set_item("zeros", zeros)?;
        }
        _ => (),
    }
    Ok(info)
}

fn scale_type(scales: ScaleBits) -> &'static str {
    match scales {
        ScaleBits::F32 => DType::F32.name(),
        ScaleBits::F16 => DType::F16.name(),
        ScaleBits::Bf16 => DType::Bf16.name(),
    }
}
