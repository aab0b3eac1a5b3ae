//! A product as Rust takes it, and what the reference makes of it.

use crate::c_abi::calls::Weights;
use crate::c_abi::memory::{Matrix, Memory};
use crate::c_abi::packing::{bytes, operand, pack_bytes, pack_groups};
use crate::input::Input;
use qgemm::{
    Activations, Dequantize, DynamicGemm, Error, FloatLhs, Gather, GatherF32, Gemm, GroupwiseB,
    GroupwiseGemm, Int8Element, Lhs, MatMut, MatRef, OwnedDequantize, OwnedRequantize, Rhs, ZeroPoint,
    reference,
};
use qgemm_c::matrix::*;
use qgemm_c::product::{QGEMM_PER_TENSOR, qgemm_residual};
use std::rc::Rc;

/// B, as C and as Rust take it. Several products may have the same.
#[derive(Clone)]
pub struct B {
    pub(super) matrix: Matrix,
    pub(super) values: Vec<u8>,
    pub(super) packed: Option<Rc<Weights<'static>>>,
    pub(super) groups: Option<Rc<GroupwiseB>>,
    pub(super) shape: (usize, usize),
}

impl B {
    /// Any B of about K×N; `None` if it was refused.
    pub fn read(input: &mut Input<'_>, memory: &Memory, (k, n): (usize, usize)) -> Option<Self> {
        let kind = input.byte() % 4;
        let matrix = bytes(input, memory, (k, n));
        let mut b = Self { matrix, values: matrix.values(memory), packed: None, groups: None, shape: (k, n) };
        match kind {
            0 | 1 => (),
            2 => b.packed = Some(Rc::new(pack_bytes(input, memory, matrix)?)),
            _ => {
                let (weights, groups) = pack_groups(input, memory, (k, n))?;
                b.shape = (groups.k(), groups.n());
                (b.packed, b.groups) = (Some(Rc::new(weights)), Some(Rc::new(groups)));
            }
        }
        Some(b)
    }
}

/// The stage of Rust.
pub enum Output {
    /// None: sums are the output.
    Sums,
    /// To 8 bits.
    Bytes(OwnedRequantize),
    /// To f32.
    Floats(OwnedDequantize),
    /// No stage: sums of group-wise weights are f32 already.
    None,
}

/// Rows that are picked.
pub struct Picks {
    pub(super) indices: Vec<u32>,
    pub(super) taps: usize,
    pub(super) padding: Option<i32>,
}

/// A product as Rust takes it, with values of its own.
pub struct Mirror {
    pub(super) a: Matrix,
    pub(super) a_bytes: Vec<u8>,
    pub(super) a_floats: Vec<f32>,
    pub(super) picks: Option<Picks>,
    pub(super) b: B,
    pub(super) zeros: [(Vec<i32>, i32); 2],
    pub(super) bias: Option<Vec<i32>>,
    pub(super) output: Output,
    pub(super) residual: Option<(Vec<u8>, Vec<f32>, qgemm_residual)>,
    pub(super) accumulate: bool,
    pub(super) activations: u32,
    pub(super) shape: (usize, usize),
}

impl Mirror {
    fn lhs(&self) -> Result<Lhs<'_>, Error> {
        let a = operand(&self.a_bytes, self.a.shape, self.a.element);
        let Some(Picks { indices, taps, padding }) = &self.picks else { return Ok(a.into()) };
        let rows = Gather::new(a, indices, *taps)?;
        Ok(padding.map_or(Ok(rows), |value| rows.padding(value))?.into())
    }

    fn float_lhs(&self) -> Result<FloatLhs<'_>, Error> {
        let a = MatRef::row_major(&self.a_floats, self.a.shape.0, self.a.shape.1).expect("it fits");
        let Some(Picks { indices, taps, .. }) = &self.picks else { return Ok(a.into()) };
        Ok(GatherF32::new(a, indices, *taps)?.into())
    }

    fn zero(&self, at: usize) -> ZeroPoint<'_> {
        let (each, one) = &self.zeros[at];
        if each.is_empty() { ZeroPoint::PerTensor(*one) } else { ZeroPoint::PerAxis(each) }
    }

    fn rhs(&self) -> Rhs<'_> {
        operand(&self.b.values, self.b.shape, self.b.matrix.element).into()
    }

    fn gemm(&self) -> Result<Gemm<'_>, Error> {
        let gemm = Gemm::new(self.lhs()?, self.rhs()).a_zero(self.zero(0)).b_zero(self.zero(1));
        Ok(self.bias.as_ref().map_or(gemm, |bias| gemm.bias(bias)))
    }

    fn dynamic(&self) -> Result<DynamicGemm<'_>, Error> {
        let gemm = DynamicGemm::new(self.float_lhs()?, self.rhs()).b_zero(self.zero(1));
        let gemm = if self.activations >= QGEMM_PER_TENSOR { gemm.per_tensor() } else { gemm };
        Ok(if self.activations > 0 && self.activations.is_multiple_of(2) { gemm.asymmetric() } else { gemm })
    }

    fn sums(&self, c: &mut [i32]) -> Result<(), Error> {
        let (m, n) = self.shape;
        let (gemm, c) = (self.gemm()?, MatMut::row_major(c, m, n)?);
        if self.accumulate { reference::accumulate_i32(&gemm, c) } else { reference::run_i32(&gemm, c) }
    }

    fn bytes<T: Int8Element>(&self, c: &mut [T]) -> Result<(), Error> {
        let ((m, n), Output::Bytes(stage)) = (self.shape, &self.output) else {
            unreachable!("it is drawn so")
        };
        let (mut stage, c) = (stage.view(), MatMut::row_major(c, m, n)?);
        if let Some((bits, _, raw)) = &self.residual {
            stage = stage.residual(operand(bits, (m, n), raw.matrix.r#type), raw.scale, raw.zero_point);
        }
        if self.a.element == QGEMM_F32 {
            return reference::run_dynamic_requantized(&self.dynamic()?, c, stage);
        }
        reference::run_requantized(&self.gemm()?, c, stage)
    }

    fn floats(&self, c: &mut [f32]) -> Result<(), Error> {
        let (m, n) = self.shape;
        let (mut stage, c) = match &self.output {
            Output::Floats(stage) => (stage.view(), MatMut::row_major(c, m, n)?),
            _ => (Dequantize::groupwise(), MatMut::row_major(c, m, n)?),
        };
        if let Some((_, floats, _)) = &self.residual {
            stage = stage.residual(MatRef::row_major(floats, m, n)?);
        }
        match (&self.b.groups, self.a.element) {
            (None, QGEMM_F32) => reference::run_dynamic_f32(&self.dynamic()?, c, stage),
            (None, _) => reference::run_f32(&self.gemm()?, c, stage),
            (Some(b), QGEMM_F32) => {
                let activations =
                    [Activations::PerRowAndGroup, Activations::PerRow, Activations::PerRowAsymmetric];
                let gemm = GroupwiseGemm::new(self.float_lhs()?, b);
                let gemm = gemm.activations(activations[self.activations as usize]);
                reference::run_groupwise_f32(&gemm, c, stage)
            }
            (Some(b), _) => reference::run_groupwise_f32(
                &GroupwiseGemm::quantized(self.lhs()?, b).a_zero(self.zero(0)),
                c,
                stage,
            ),
        }
    }
}

/// The values that an output must have, if the product is not refused.
pub enum Values {
    /// Of QGEMM_I32.
    Sums(Vec<i32>),
    /// Of QGEMM_I8.
    I8(Vec<i8>),
    /// Of QGEMM_U8.
    U8(Vec<u8>),
    /// Of QGEMM_F32.
    Floats(Vec<f32>),
}

impl Mirror {
    /// The values that C has to hold.
    pub fn values(&self, memory: &Memory, c: &Matrix) -> Result<Values, Error> {
        Ok(match c.element {
            QGEMM_I32 => {
                let mut values = c.values(memory);
                self.sums(&mut values)?;
                Values::Sums(values)
            }
            QGEMM_I8 => {
                let mut values = c.values(memory);
                self.bytes::<i8>(&mut values)?;
                Values::I8(values)
            }
            QGEMM_U8 => {
                let mut values = c.values(memory);
                self.bytes::<u8>(&mut values)?;
                Values::U8(values)
            }
            _ => {
                let mut values = c.values(memory);
                self.floats(&mut values)?;
                Values::Floats(values)
            }
        })
    }
}
