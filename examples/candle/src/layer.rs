//! A linear layer as a candle operation.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, DType, Device, Error, Layout, Module, Result, Shape, Tensor, bail};
use qgemm::half::{bf16, f16};
use qgemm::{
    Dequantize, FloatLhs, GgufType, GroupwiseB, GroupwiseGemm, Linear, MatMut, MatRef, OwnedDequantize,
};
use std::sync::Arc;

/// `y = x · wᵀ + bias` with quantized weights, for x of f32, f16 or bf16 with any leading dimensions. y has the type of x. A
/// clone shares the weights.
///
/// x is quantized by the call: for int8 weights with a scale for each row, for weights in groups with a scale for each row and
/// group. y is the same for any number of threads and on every CPU, and each row the same in every batch.
#[derive(Clone)]
pub struct QgemmLinear(Weights);

#[derive(Clone)]
enum Weights {
    Int8(Arc<Linear>),
    Groups { weights: Arc<GroupwiseB>, output: Arc<OwnedDequantize> },
}

/// The values of a tensor, which is copied if it is not contiguous.
fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

impl QgemmLinear {
    /// Quantizes float weights `w`, of shape (out, in), to int8 with a scale for each output.
    ///
    /// # Errors
    /// `w` has another rank or is not finite; `bias` has not one value for each output.
    pub fn int8(w: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (n, k) = w.dims2()?;
        let (w, bias) = (values(w)?, bias.map(values).transpose()?);
        let layer = Linear::out_in(MatRef::row_major(&w, n, k).map_err(Error::wrap)?);
        let layer = bias.as_ref().map_or(layer.clone(), |bias| layer.bias(bias));
        Ok(Self(Weights::Int8(Arc::new(layer.build().map_err(Error::wrap)?))))
    }

    /// Takes the weights of a GGUF file as they are: Q4_0, Q4_1 or Q8_0, of shape (out, in).
    ///
    /// # Errors
    /// `w` has another type or rank; `bias` has not one value for each output.
    pub fn gguf(w: &QTensor, bias: Option<&Tensor>) -> Result<Self> {
        let kind = match w.dtype() {
            GgmlDType::Q4_0 => GgufType::Q4_0,
            GgmlDType::Q4_1 => GgufType::Q4_1,
            GgmlDType::Q8_0 => GgufType::Q8_0,
            other => bail!("w: is of {other:?}, must be of Q4_0, Q4_1 or Q8_0"),
        };
        let (n, k) = w.shape().dims2()?;
        let weights = GroupwiseB::from_gguf(kind, (n, k), &w.data()?).map_err(Error::wrap)?;
        let bias = bias.map(values).transpose()?;
        if let Some(bias) = bias.as_ref().filter(|bias| bias.len() != n) {
            bail!("bias: has {} values, must have {n}", bias.len());
        }
        let output = Dequantize::groupwise();
        let output =
            bias.as_ref().map_or(output, |bias| output.bias(bias)).into_owned().map_err(Error::wrap)?;
        Ok(Self(Weights::Groups { weights: weights.into(), output: output.into() }))
    }

    /// Input and output features.
    pub fn features(&self) -> (usize, usize) {
        match &self.0 {
            Weights::Int8(layer) => (layer.in_features(), layer.out_features()),
            Weights::Groups { weights, .. } => (weights.k(), weights.n()),
        }
    }

    fn run<'x>(&self, x: impl Into<FloatLhs<'x>>) -> std::result::Result<Vec<f32>, qgemm::Error> {
        let (x, n) = (x.into(), self.features().1);
        let mut y = vec![0.0; x.rows() * n];
        let y_view = MatMut::row_major(&mut y, x.rows(), n)?;
        match &self.0 {
            Weights::Int8(layer) => layer.run_dynamic(x, y_view)?,
            Weights::Groups { weights, output } => {
                GroupwiseGemm::new(x, weights).run_f32(y_view, &**output)?
            }
        }
        Ok(y)
    }
}

impl Module for QgemmLinear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Two dimensions are read in place whatever their strides.
        if x.rank() > 2 { x.contiguous()?.apply_op1_no_bwd(self) } else { x.apply_op1_no_bwd(self) }
    }
}

/// The rows of x in place.
fn rows<'x, T>(x: &'x [T], layout: &Layout, k: usize) -> Result<MatRef<'x, T>> {
    let first = &x[layout.start_offset()..];
    let view = match (layout.is_contiguous(), layout.dims(), layout.stride()) {
        (true, dims, _) => MatRef::row_major(first, dims[..dims.len() - 1].iter().product(), k),
        (false, [m, _], [row, column]) => MatRef::new(first, *m, k, *row, *column),
        _ => bail!("x: {layout:?} is not contiguous, must be"),
    };
    view.map_err(Error::wrap)
}

impl CustomOp1 for QgemmLinear {
    fn name(&self) -> &'static str {
        "qgemm-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (k, n) = self.features();
        let mut shape = layout.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == k => *last = n,
            _ => bail!("x: is of shape {:?}, must end with {k}", layout.dims()),
        }
        let y = match x {
            CpuStorage::F32(x) => CpuStorage::F32(self.run(rows(x, layout, k)?).map_err(Error::wrap)?),
            CpuStorage::F16(x) => {
                let y = self.run(rows(x, layout, k)?).map_err(Error::wrap)?;
                CpuStorage::F16(y.into_iter().map(f16::from_f32).collect())
            }
            CpuStorage::BF16(x) => {
                let y = self.run(rows(x, layout, k)?).map_err(Error::wrap)?;
                CpuStorage::BF16(y.into_iter().map(bf16::from_f32).collect())
            }
            _ => bail!("x: must be of f32, f16 or bf16"),
        };
        Ok((y, shape.into()))
    }
}
