//! Group-wise weights from the arrays of other libraries' formats.

use crate::arrays::array_of;
use crate::arrays::matrix::Matrix;
use crate::arrays::output::Outs;
use crate::arrays::values::Values;
use crate::elements::DType;
use crate::errors::{raise, value_error};
use crate::parameters::count;
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use qgemm::half::{bf16, f16};
use qgemm::{Awq, CodeBits, GgufType, Gptq, GroupScales, GroupwiseB, MatMulNBits, OnnxZeros};

/// The types of scales.
pub const SCALES: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

/// The bits of a code; 4 if nothing is said.
pub fn code_bits(bits: Option<&Bound<'_, PyAny>>) -> PyResult<CodeBits> {
    match bits.map_or(Ok(4), |bits| count(bits, "bits"))? {
        4 => Ok(CodeBits::Four),
        8 => Ok(CodeBits::Eight),
        bits => Err(value_error("bits", format!("was {bits}, must be 4 or 8"))),
    }
}

/// A matrix of scales.
pub fn scales_of<'a>(matrix: &'a Matrix<'_>) -> PyResult<GroupScales<'a>> {
    Ok(match matrix.dtype() {
        DType::F16 => matrix.view::<f16>()?.into(),
        DType::Bf16 => matrix.view::<bf16>()?.into(),
        _ => matrix.view::<f32>()?.into(),
    })
}

/// An array of integers of 32 bits as its bytes, little-endian, with its shape.
struct Words<'py> {
    values: Values<'py>,
    swapped: Option<Vec<u8>>,
}

impl<'py> Words<'py> {
    fn new(object: &Bound<'py, PyAny>, argument: &str) -> PyResult<Self> {
        let values = Values::new(object, argument, &[DType::I32])?;
        if values.shape().len() != 2 {
            let got = values.shape().len();
            return Err(value_error(argument, format!("has {got} dimensions, must have 2")));
        }
        let swapped = if cfg!(target_endian = "big") {
            Some(values.values::<i32>()?.iter().flat_map(|word| word.to_le_bytes()).collect())
        } else {
            None
        };
        Ok(Self { values, swapped })
    }

    /// Rows and columns.
    fn shape(&self) -> (usize, usize) {
        (self.values.shape()[0], self.values.shape()[1])
    }

    fn bytes(&self) -> PyResult<&[u8]> {
        match &self.swapped {
            Some(swapped) => Ok(swapped),
            None => self.values.bytes(),
        }
    }
}

/// The weights of ONNX Runtime's MatMulNBits.
pub fn from_onnx(
    b: &Bound<'_, PyAny>,
    scales: &Bound<'_, PyAny>,
    zero_points: Option<&Bound<'_, PyAny>>,
    [k, block_size]: [usize; 2],
    bits: Option<&Bound<'_, PyAny>>,
) -> PyResult<GroupwiseB> {
    let (py, bits) = (b.py(), code_bits(bits)?);
    let b = Values::new(b, "b", &[DType::U8])?;
    let &[n, ..] = b.shape() else {
        return Err(value_error("b", "has no dimensions, must have 3"));
    };
    let blocks = k.div_ceil(block_size.max(1));
    let by_blocks = |object: &Bound<'_, PyAny>| -> PyResult<Py<PyAny>> {
        // Older models store one dimension.
        let array = array_of(object, "scales")?;
        Ok(match array.ndim() {
            1 if n.checked_mul(blocks) == Some(array.len()) => {
                array.call_method1("reshape", (n, blocks))?.unbind()
            }
            _ => array.into_any().unbind(),
        })
    };
    let scales = Matrix::new(by_blocks(scales)?.bind(py), "scales", &SCALES, Outs::NONE)?;
    let (mut packed_zeros, mut real_zeros) = (None, None);
    if let Some(zeros) = zero_points {
        let array = array_of(zeros, "zero_points")?;
        if DType::of(&array) == Some(DType::U8) {
            packed_zeros = Some(Values::new(zeros, "zero_points", &[DType::U8])?);
        } else {
            real_zeros = Some(Matrix::new(by_blocks(zeros)?.bind(py), "zero_points", &SCALES, Outs::NONE)?);
        }
    }
    let zero_points = match (&packed_zeros, &real_zeros) {
        (Some(packed), _) => OnnxZeros::Packed(packed.bytes()?),
        (_, Some(real)) => OnnxZeros::Real(scales_of(real)?),
        _ => OnnxZeros::None,
    };
    let (b, scales) = (b.bytes()?, scales_of(&scales)?);
    let weights = MatMulNBits { k, n, bits, block_size, b, scales, zero_points };
    py.detach(|| GroupwiseB::from_onnx(&weights)).map_err(raise)
}

/// A tensor of a GGUF file.
pub fn from_gguf(blocks: &Bound<'_, PyAny>, kind: &str, shape: (usize, usize)) -> PyResult<GroupwiseB> {
    let kind = match kind {
        "Q4_0" => GgufType::Q4_0,
        "Q4_1" => GgufType::Q4_1,
        "Q8_0" => GgufType::Q8_0,
        other => return Err(value_error("kind", format!("was {other}, must be Q4_0, Q4_1 or Q8_0"))),
    };
    let py = blocks.py();
    let blocks = Values::new(blocks, "blocks", &[DType::U8])?;
    let bytes = blocks.bytes()?;
    py.detach(|| GroupwiseB::from_gguf(kind, shape, bytes)).map_err(raise)
}

/// The tensors of a layer that GPTQ quantized.
pub fn from_gptq(
    qweight: &Bound<'_, PyAny>,
    qzeros: &Bound<'_, PyAny>,
    scales: &Bound<'_, PyAny>,
    group: usize,
    bits: Option<&Bound<'_, PyAny>>,
    g_idx: Option<&Bound<'_, PyAny>>,
    zeros_less_one: bool,
) -> PyResult<GroupwiseB> {
    let (py, bits) = (qweight.py(), code_bits(bits)?);
    let (qweight, qzeros) = (Words::new(qweight, "qweight")?, Words::new(qzeros, "qzeros")?);
    let (rows, n) = qweight.shape();
    let scales = Matrix::new(scales, "scales", &SCALES, Outs::NONE)?;
    let g_idx = g_idx.map(|g_idx| Values::new(g_idx, "g_idx", &[DType::I32])).transpose()?;
    let g_idx = g_idx.as_ref().map(Values::values::<i32>).transpose()?;
    let layer = Gptq {
        k: rows * (32 / bits.bits()),
        n,
        bits,
        group,
        qweight: qweight.bytes()?,
        qzeros: qzeros.bytes()?,
        scales: scales_of(&scales)?,
        g_idx,
        zeros_less_one,
    };
    py.detach(|| GroupwiseB::from_gptq(&layer)).map_err(raise)
}

/// The tensors of a layer that AWQ quantized.
pub fn from_awq(
    qweight: &Bound<'_, PyAny>,
    qzeros: &Bound<'_, PyAny>,
    scales: &Bound<'_, PyAny>,
    group: usize,
) -> PyResult<GroupwiseB> {
    let py = qweight.py();
    let (qweight, qzeros) = (Words::new(qweight, "qweight")?, Words::new(qzeros, "qzeros")?);
    let (k, words) = qweight.shape();
    let scales = Matrix::new(scales, "scales", &SCALES, Outs::NONE)?;
    let layer = Awq {
        k,
        n: words * 8,
        group,
        qweight: qweight.bytes()?,
        qzeros: qzeros.bytes()?,
        scales: scales_of(&scales)?,
    };
    py.detach(|| GroupwiseB::from_awq(&layer)).map_err(raise)
}
