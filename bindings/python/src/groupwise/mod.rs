//! `GroupwiseB`: weights of 4 or 8 bits with a scale per column and group of rows.

use crate::arrays::matrix::Matrix;
use crate::arrays::output::{Output, Outs};
use crate::arrays::values::NewArray;
use crate::dynamic::raise_x;
use crate::elements::{DType, Element};
use crate::errors::{raise, value_error};
use crate::matmul::output_type;
use crate::packed::EIGHT_BITS;
use crate::parameters::{Bias, count, integer, is_number, zero_points};
use crate::saved::{self, Source};
use crate::stages::{FloatStage, StageArguments};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use qgemm::{Activations, ElementType, GroupScheme, GroupwiseGemm, Int8Element, MatMut};

mod formats;

/// Weights of 4 or 8 bits with a scale for each column and group of rows, packed once for any number of products.
///
/// ```text
/// B[k,n] = scales[g,n] * (codes[k,n] - zeros[g,n]) (+ minimums[g,n])        where g = k // group
/// ```
///
/// `codes` is K x N, of uint8 (0..15 for 4 bits) or int8 (-8..7), `scales` and `minimums` groups x N of float32, float16 or
/// ml_dtypes' bfloat16. `zeros` is an integer or an array of groups x N of the codes' type; if nothing is said it is the middle,
/// 8 or 128, for uint8 and 0 for int8 (with `minimums`, say `zeros=0` if codes have no zero point besides). `group` is a
/// multiple of 8, or at least K. Weights that are stored as N x K are given as transposes. The arrays are read once and not kept.
///
/// Other constructors: `quantize` from float32 weights, `from_onnx`, `from_gguf`, `from_gptq`, `from_awq`.
///
/// >>> import numpy as np, qgemm
/// >>> codes = (np.arange(32, dtype=np.uint8) % 16).reshape(32, 1)
/// >>> b = qgemm.GroupwiseB(codes, np.array([[0.5], [2.0]], np.float32), group=16)
/// >>> b.shape, b.bits, b.group
/// ((32, 1), 4, 16)
/// >>> float(b.dequantize()[17, 0])
/// -14.0
#[pyclass(frozen, module = "qgemm")]
pub struct GroupwiseB {
    packed: qgemm::GroupwiseB,
}

#[pymethods]
impl GroupwiseB {
    #[new]
    #[pyo3(
        signature = (codes, scales, group, bits=None, zeros=None, minimums=None),
        text_signature = "(codes, scales, group, bits=4, zeros=None, minimums=None)"
    )]
    fn new(
        codes: &Bound<'_, PyAny>,
        scales: &Bound<'_, PyAny>,
        group: &Bound<'_, PyAny>,
        bits: Option<&Bound<'_, PyAny>>,
        zeros: Option<&Bound<'_, PyAny>>,
        minimums: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = codes.py();
        let codes = Matrix::new(codes, "codes", &EIGHT_BITS, Outs::NONE)?;
        let scales = Matrix::new(scales, "scales", &formats::SCALES, Outs::NONE)?;
        let minimums =
            minimums.map(|given| Matrix::new(given, "minimums", &formats::SCALES, Outs::NONE)).transpose()?;
        let mut builder = qgemm::GroupwiseB::builder(formats::code_bits(bits)?, count(group, "group")?);
        let mut each = None;
        match zeros {
            None => (),
            Some(one) if is_number(one) => builder = builder.zero(integer(one, "zeros")?),
            Some(zeros) => each = Some(Matrix::new(zeros, "zeros", &EIGHT_BITS, Outs::NONE)?),
        }
        if let Some(each) = &each {
            builder = builder.zeros(each.operand()?);
        }
        if let Some(minimums) = &minimums {
            builder = builder.minimums(formats::scales_of(minimums)?);
        }
        let (codes, scales) = (codes.operand()?, formats::scales_of(&scales)?);
        let packed = py.detach(|| builder.pack(codes, scales)).map_err(raise)?;
        Ok(Self { packed })
    }

    /// Quantizes float32 weights (K x N) by rounding to nearest, in groups of `group` rows: "symmetric" about the middle
    /// code, or "asymmetric", with a zero point for each group and column.
    ///
    /// >>> import numpy as np, qgemm
    /// >>> w = np.array([[0.7], [-0.1], [0.34], [0.0]], np.float32)
    /// >>> qgemm.GroupwiseB.quantize(w, bits=4, group=32).codes().ravel()
    /// array([15,  7, 11,  8], dtype=uint8)
    #[staticmethod]
    #[pyo3(
        signature = (w, bits=None, group=None, scheme="symmetric"),
        text_signature = "(w, bits=4, group=32, scheme='symmetric')"
    )]
    fn quantize(
        w: &Bound<'_, PyAny>,
        bits: Option<&Bound<'_, PyAny>>,
        group: Option<&Bound<'_, PyAny>>,
        scheme: &str,
    ) -> PyResult<Self> {
        let group = group.map_or(Ok(32), |group| count(group, "group"))?;
        let scheme = match scheme {
            "symmetric" => GroupScheme::Symmetric,
            "asymmetric" => GroupScheme::Asymmetric,
            other => {
                return Err(value_error("scheme", format!("was {other}, must be symmetric or asymmetric")));
            }
        };
        let (py, bits) = (w.py(), formats::code_bits(bits)?);
        let matrix = Matrix::new(w, "w", &[DType::F32], Outs::NONE)?;
        let w = matrix.view::<f32>()?;
        let packed = py.detach(|| qgemm::quantize_groups(w, bits, group, scheme)?.pack()).map_err(raise)?;
        Ok(Self { packed })
    }

    /// The weights of ONNX Runtime's operator MatMulNBits: `b` of uint8, [N, blocks, block_size * bits / 8]; `scales`, N x blocks
    /// or N * blocks values; `zero_points`, packed in uint8 or numbers in the type of the scales. `k` is the attribute K.
    #[staticmethod]
    #[pyo3(
        signature = (b, scales, zero_points=None, *, k, block_size, bits=None),
        text_signature = "(b, scales, zero_points=None, *, k, block_size, bits=4)"
    )]
    fn from_onnx(
        b: &Bound<'_, PyAny>,
        scales: &Bound<'_, PyAny>,
        zero_points: Option<&Bound<'_, PyAny>>,
        k: &Bound<'_, PyAny>,
        block_size: &Bound<'_, PyAny>,
        bits: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let packed = formats::from_onnx(
            b,
            scales,
            zero_points,
            [count(k, "k")?, count(block_size, "block_size")?],
            bits,
        )?;
        Ok(Self { packed })
    }

    /// A tensor of a GGUF file: the bytes of its blocks, its type ("Q4_0", "Q4_1" or "Q8_0") and its shape (N, K), as
    /// NumPy and PyTorch count (a GGUF file lists K first).
    #[staticmethod]
    fn from_gguf(
        blocks: &Bound<'_, PyAny>,
        kind: &str,
        shape: (Bound<'_, PyAny>, Bound<'_, PyAny>),
    ) -> PyResult<Self> {
        let packed =
            formats::from_gguf(blocks, kind, (count(&shape.0, "shape")?, count(&shape.1, "shape")?))?;
        Ok(Self { packed })
    }

    /// The tensors of a layer that GPTQ quantized: `qweight` of int32, [K * bits / 32, N]; `qzeros` of int32,
    /// [groups, N * bits / 32]; `scales`, groups x N; `g_idx`, the group of each row, which must be in order.
    /// `zeros_less_one` says that zero points are stored less one: checkpoint format "gptq", not "gptq_v2".
    #[staticmethod]
    #[pyo3(
        signature = (qweight, qzeros, scales, *, group, bits=None, g_idx=None, zeros_less_one=true),
        text_signature = "(qweight, qzeros, scales, *, group, bits=4, g_idx=None, zeros_less_one=True)"
    )]
    fn from_gptq(
        qweight: &Bound<'_, PyAny>,
        qzeros: &Bound<'_, PyAny>,
        scales: &Bound<'_, PyAny>,
        group: &Bound<'_, PyAny>,
        bits: Option<&Bound<'_, PyAny>>,
        g_idx: Option<&Bound<'_, PyAny>>,
        zeros_less_one: bool,
    ) -> PyResult<Self> {
        let packed =
            formats::from_gptq(qweight, qzeros, scales, count(group, "group")?, bits, g_idx, zeros_less_one)?;
        Ok(Self { packed })
    }

    /// The tensors of a layer that AWQ quantized to 4 bits (version "gemm"): `qweight` of int32, [K, N / 8]; `qzeros` of int32,
    /// [groups, N / 8]; `scales`, groups x N.
    #[staticmethod]
    #[pyo3(signature = (qweight, qzeros, scales, *, group))]
    fn from_awq(
        qweight: &Bound<'_, PyAny>,
        qzeros: &Bound<'_, PyAny>,
        scales: &Bound<'_, PyAny>,
        group: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let packed = formats::from_awq(qweight, qzeros, scales, count(group, "group")?)?;
        Ok(Self { packed })
    }

    /// The product of `x` (M x K) and these weights, to float32.
    ///
    /// `x` is of float32, quantized by the call to 8 bits as `activations` says: "per_row_and_group" (the most accurate),
    /// "per_row", or "per_row_asymmetric". Or it is of int8 or uint8, quantized already, with zero points `a_zero` (one, or one
    /// per row) and `scale`, that of x, which must then be given: one, or one per row as an array of M x 1. `scale` is
    /// otherwise a further factor. `bias`, `clamp`, `residual`, `activation`, `out` and `threads` are those of `matmul` for
    /// an output of float32.
    ///
    /// >>> import numpy as np, qgemm
    /// >>> b = qgemm.GroupwiseB.quantize(np.eye(32, 2, dtype=np.float32), bits=8)
    /// >>> b.matmul(np.full((1, 32), 127, np.float32), bias=[0, -200], activation="relu")
    /// array([[127.,   0.]], dtype=float32)
    #[pyo3(
        signature = (x, bias=None, activations=None, a_zero=None, scale=None, clamp=None, residual=None, activation=None,
            out=None, threads=None),
        text_signature = "($self, x, bias=None, activations='per_row_and_group', a_zero=0, scale=None, clamp=None, \
            residual=None, activation=None, out=None, threads=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn matmul<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        bias: Option<&Bound<'py, PyAny>>,
        activations: Option<&str>,
        a_zero: Option<&Bound<'py, PyAny>>,
        scale: Option<&Bound<'py, PyAny>>,
        clamp: Option<&Bound<'py, PyAny>>,
        residual: Option<&Bound<'py, PyAny>>,
        activation: Option<&str>,
        out: Option<&Bound<'py, PyAny>>,
        threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let (out, _) = output_type(out, None, &[DType::F32], DType::F32)?;
        let x = Matrix::new(x, "x", &[DType::F32, DType::I8, DType::U8], Outs::of(&out))?;
        let is_float = x.dtype() == DType::F32;
        let bias = bias.map(Bias::reals).transpose()?;
        let given = StageArguments { scale, clamp, residual, activation, ..StageArguments::default() };
        let stage = FloatStage::new(&given, Outs::of(&out), bias, is_float.then_some(1.0))?;
        let stage = stage.stage(is_float)?;
        let zeros = zero_points(a_zero, "a_zero")?;
        let gemm = if is_float {
            if a_zero.is_some_and(|zero| !zero.eq(0).unwrap_or(false)) {
                return Err(value_error("a_zero", "was given, must not be for x of float32"));
            }
            GroupwiseGemm::new(x.view::<f32>()?, &self.packed).activations(match activations {
                None | Some("per_row_and_group") => Activations::PerRowAndGroup,
                Some("per_row") => Activations::PerRow,
                Some("per_row_asymmetric") => Activations::PerRowAsymmetric,
                Some(other) => {
                    let must = "must be per_row_and_group, per_row or per_row_asymmetric";
                    return Err(value_error("activations", format!("was {other}, {must}")));
                }
            })
        } else {
            if activations.is_some() {
                return Err(value_error("activations", "was given, must not be for x of 8 bits"));
            }
            GroupwiseGemm::quantized(x.operand()?, &self.packed).a_zero(zeros.view())
        };
        let gemm = gemm.threads(crate::matmul::threads(threads)?);
        let mut output = Output::new(py, out, DType::F32, (x.shape().0, self.packed.n()))?;
        let c = output.view::<f32>()?;
        py.detach(|| gemm.run_f32(c, stage)).map_err(raise_x)?;
        output.finish()
    }

    /// The values of the weights: K x N, of float32.
    fn dequantize<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (k, n) = self.shape();
        let mut array = NewArray::new(py, DType::F32, &[k, n])?;
        let values = MatMut::row_major(array.values_mut::<f32>(), k, n).map_err(raise)?;
        py.detach(|| self.packed.dequantize(values)).map_err(raise)?;
        Ok(array.finish())
    }

    /// The codes: K x N, of `dtype`.
    fn codes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.packed.element_type() {
            ElementType::I8 => self.codes_as::<i8>(py),
            ElementType::U8 => self.codes_as::<u8>(py),
        }
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

    /// The bits of a code: 4 or 8.
    #[getter]
    fn bits(&self) -> usize {
        self.packed.bits().bits()
    }

    /// The rows of a group; the last one may have less.
    #[getter]
    fn group(&self) -> usize {
        self.packed.group()
    }

    /// The type of the codes: "int8" or "uint8".
    #[getter]
    fn dtype(&self) -> &'static str {
        DType::from(self.packed.element_type()).name()
    }

    /// The name of the kernel that multiplies it.
    #[getter]
    fn kernel(&self) -> &'static str {
        self.packed.kernel_name()
    }

    /// The memory that it takes, in bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.packed.bytes()
    }

    /// Writes the weights to a path, where a file is replaced as a whole, or to a file that is open for bytes. Any CPU reads
    /// them, by `load` or `map`; so do the command `qgemm`, the C and the Rust library.
    ///
    /// >>> import io, numpy as np, qgemm
    /// >>> file = io.BytesIO()
    /// >>> qgemm.GroupwiseB.quantize(np.eye(32, 2, dtype=np.float32)).save(file)
    /// >>> qgemm.GroupwiseB.load(file.getvalue())
    /// <qgemm.GroupwiseB 32x2 of 4 bits in groups of 32>
    fn save(&self, path_or_file: &Bound<'_, PyAny>) -> PyResult<()> {
        saved::save(&self.packed, path_or_file)
    }

    /// Reads weights that were saved: from a path, a file that is open, or bytes. They are copied. Bytes that are no such
    /// weights, cut off or changed are a ValueError.
    #[classmethod]
    #[pyo3(text_signature = "($cls, source)")]
    fn load(cls: &Bound<'_, PyType>, source: &Bound<'_, PyAny>) -> PyResult<Self> {
        let source = Source::new(source)?;
        let bytes = source.bytes()?;
        let packed = cls.py().detach(|| qgemm::GroupwiseB::load(bytes)).map_err(raise)?;
        Ok(Self { packed })
    }

    /// `load` of a path without a copy: the weights stay in the file, whose memory all processes share that map it.
    ///
    /// Nobody may change or truncate the file as long as the weights live. It may be replaced (`save`) or removed.
    ///
    /// >>> import pathlib, tempfile, numpy as np, qgemm
    /// >>> folder = tempfile.TemporaryDirectory()
    /// >>> path = pathlib.Path(folder.name, "weights.qgemm")
    /// >>> qgemm.GroupwiseB.quantize(np.eye(32, 2, dtype=np.float32)).save(path)
    /// >>> qgemm.GroupwiseB.map(path)
    /// <qgemm.GroupwiseB 32x2 of 4 bits in groups of 32>
    #[classmethod]
    #[pyo3(text_signature = "($cls, path)")]
    fn map(cls: &Bound<'_, PyType>, path: &Bound<'_, PyAny>) -> PyResult<Self> {
        let map = saved::mapped(path)?;
        let packed = cls.py().detach(|| qgemm::GroupwiseB::map(map)).map_err(raise)?;
        Ok(Self { packed })
    }

    /// Pickled weights are saved, and loaded where they arrive.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((slf.get_type().getattr("load")?, (saved::bytes_of(slf.py(), &slf.get().packed)?,)))
    }

    fn __repr__(&self) -> String {
        let (k, n) = self.shape();
        format!("<qgemm.GroupwiseB {k}x{n} of {} bits in groups of {}>", self.bits(), self.group())
    }
}

impl GroupwiseB {
    fn codes_as<'py, T: Element + Int8Element>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (k, n) = self.shape();
        let mut array = NewArray::new(py, T::DTYPE, &[k, n])?;
        let values = MatMut::row_major(array.values_mut::<T>(), k, n).map_err(raise)?;
        py.detach(|| self.packed.unpack(values)).map_err(raise)?;
        Ok(array.finish())
    }
}
