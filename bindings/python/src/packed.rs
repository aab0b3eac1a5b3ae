//! `PackedB`: weights that were packed once.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::Outs;
use crate::arrays::values::NewArray;
use crate::elements::{DType, Element, activations};
use crate::errors::{raise, type_error};
use crate::groupwise::GroupwiseB;
use crate::saved::{self, Source, other_layout};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use qgemm::{Dispatch, ElementType, Int8Element, Rhs};

/// The types of operands.
pub const EIGHT_BITS: [DType; 2] = [DType::I8, DType::U8];

/// Weights of 8 bits, packed once for any number of products and threads.
///
/// `w` is K x N, of int8 or uint8, with any strides; the weight of a PyTorch `Linear`, stored as N x K, is given as
/// `weight.T`. `activations` is the type of the A that it will be multiplied by: "i8", or "u8". The other type gives the
/// same results, a little slower on some CPUs. The array is read once and not kept.
///
/// >>> import numpy as np, qgemm
/// >>> w = np.array([[1, -2], [3, 4], [5, -6]], np.int8)
/// >>> b = qgemm.PackedB(w, activations="u8")
/// >>> b.shape, b.dtype, b.activations
/// ((3, 2), 'int8', 'uint8')
/// >>> qgemm.matmul(np.array([[10, 20, 30]], np.uint8), b, a_zero=10)
/// array([[130, -80]], dtype=int32)
#[pyclass(frozen, module = "qgemm")]
pub struct PackedB {
    pub packed: qgemm::PackedB,
}

#[pymethods]
impl PackedB {
    #[new]
    #[pyo3(signature = (w, activations=None), text_signature = "(w, activations='i8')")]
    fn new(w: &Bound<'_, PyAny>, activations: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let activations = activations.map_or(Ok(ElementType::I8), self::activations)?;
        let matrix = Matrix::new(w, "w", &EIGHT_BITS, Outs::NONE)?;
        let w_view = matrix.operand()?;
        let packed = w.py().detach(|| qgemm::PackedB::pack_for(w_view, activations)).map_err(raise)?;
        Ok(Self { packed })
    }

    /// K, the number of rows.
    #[getter]
    fn k(&self) -> usize {
        self.packed.k()
    }

    /// N, the number of columns.
    #[getter]
    fn n(&self) -> usize {
        self.packed.n()
    }

    /// (K, N).
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.packed.k(), self.packed.n())
    }

    /// The type of the weights: "int8" or "uint8".
    #[getter]
    fn dtype(&self) -> &'static str {
        DType::from(self.packed.element_type()).name()
    }

    /// The type of activations that it was packed for: "int8" or "uint8".
    #[getter]
    fn activations(&self) -> &'static str {
        DType::from(self.packed.packed_for()).name()
    }

    /// The name of the kernel whose layout it has.
    #[getter]
    fn kernel(&self) -> &'static str {
        self.packed.kernel().name
    }

    /// The memory that it takes, in bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.packed.bytes()
    }

    /// The weights, as they were before they were packed.
    ///
    /// >>> import numpy as np, qgemm
    /// >>> qgemm.PackedB(np.array([[1, -2], [3, 4]], np.int8)).unpack()
    /// array([[ 1, -2],
    ///        [ 3,  4]], dtype=int8)
    fn unpack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.packed.element_type() {
            ElementType::I8 => self.unpack_as::<i8>(py),
            ElementType::U8 => self.unpack_as::<u8>(py),
        }
    }

    /// Writes the weights to a path, where a file is replaced as a whole, or to a file that is open for bytes. Any CPU reads
    /// them, by `load` or `map`; so do the command `qgemm`, the C and the Rust library.
    ///
    /// >>> import io, numpy as np, qgemm
    /// >>> file = io.BytesIO()
    /// >>> qgemm.PackedB(np.eye(2, dtype=np.int8)).save(file)
    /// >>> qgemm.PackedB.load(file.getvalue())
    /// <qgemm.PackedB 2x2 of int8 for int8>
    fn save(&self, path_or_file: &Bound<'_, PyAny>) -> PyResult<()> {
        saved::save(&self.packed, path_or_file)
    }

    /// Reads weights that were saved: from a path, a file that is open, or bytes. They are copied.
    ///
    /// Weights that were saved for another kernel than the one that this CPU chooses are packed again, or, without `repack`,
    /// a ValueError, as are bytes that are no such weights, cut off or changed.
    #[classmethod]
    #[pyo3(signature = (source, repack=true), text_signature = "($cls, source, repack=True)")]
    fn load(cls: &Bound<'_, PyType>, source: &Bound<'_, PyAny>, repack: bool) -> PyResult<Self> {
        let dispatch = Dispatch::auto().map_err(raise)?;
        let source = Source::new(source)?;
        let (bytes, other) = (source.bytes()?, other_layout(repack));
        let packed = cls.py().detach(|| qgemm::PackedB::load(bytes, dispatch, other)).map_err(raise)?;
        Ok(Self { packed })
    }

    /// `load` of a path without a copy: the weights stay in the file, whose memory all processes share that map it. If they
    /// were saved for another kernel they are packed again, in memory of their own, or, without `repack`, refused.
    ///
    /// Nobody may change or truncate the file as long as the weights live. It may be replaced (`save`) or removed.
    ///
    /// >>> import pathlib, tempfile, numpy as np, qgemm
    /// >>> folder = tempfile.TemporaryDirectory()
    /// >>> path = pathlib.Path(folder.name, "weights.qgemm")
    /// >>> qgemm.PackedB(np.eye(2, dtype=np.int8)).save(path)
    /// >>> qgemm.PackedB.map(path)
    /// <qgemm.PackedB 2x2 of int8 for int8>
    #[classmethod]
    #[pyo3(signature = (path, repack=true), text_signature = "($cls, path, repack=True)")]
    fn map(cls: &Bound<'_, PyType>, path: &Bound<'_, PyAny>, repack: bool) -> PyResult<Self> {
        let dispatch = Dispatch::auto().map_err(raise)?;
        let (map, other) = (saved::mapped(path)?, other_layout(repack));
        let packed = cls.py().detach(|| qgemm::PackedB::map(map, dispatch, other)).map_err(raise)?;
        Ok(Self { packed })
    }

    /// Pickled weights are saved, and loaded where they arrive.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((slf.get_type().getattr("load")?, (saved::bytes_of(slf.py(), &slf.get().packed)?,)))
    }

    fn __repr__(&self) -> String {
        let (k, n) = self.shape();
        format!("<qgemm.PackedB {k}x{n} of {} for {}>", self.dtype(), self.activations())
    }
}

impl PackedB {
    fn unpack_as<'py, T: Element + Int8Element>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (k, n) = self.shape();
        let mut array = NewArray::new(py, T::DTYPE, &[k, n])?;
        let values = array.values_mut::<T>();
        py.detach(|| {
            for (i, value) in values.iter_mut().enumerate() {
                *value = T::from_bits(self.packed.get(i / n, i % n).unwrap_or(0) as u8);
            }
        });
        Ok(array.finish())
    }
}

/// The right-hand matrix of a product: packed, or an array.
pub enum Weights<'py> {
    Packed(Bound<'py, PackedB>),
    Matrix(Matrix<'py>),
}

impl<'py> Weights<'py> {
    pub fn new(object: &Bound<'py, PyAny>, outs: Outs<'_, 'py>) -> PyResult<Self> {
        if let Ok(packed) = object.cast::<PackedB>() {
            return Ok(Weights::Packed(packed.clone()));
        }
        if object.cast::<GroupwiseB>().is_ok() {
            return Err(type_error(
                "b",
                "is a GroupwiseB, must be a PackedB or an array (call its method matmul)",
            ));
        }
        Ok(Weights::Matrix(Matrix::new(object, "b", &EIGHT_BITS, outs)?))
    }

    /// N.
    pub fn columns(&self) -> usize {
        match self {
            Weights::Packed(packed) => packed.get().packed.n(),
            Weights::Matrix(matrix) => matrix.shape().1,
        }
    }

    pub fn view(&self) -> PyResult<Rhs<'_>> {
        Ok(match self {
            Weights::Packed(packed) => (&packed.get().packed).into(),
            Weights::Matrix(matrix) => matrix.operand()?.into(),
        })
    }
}
