//! The memory that a product writes.

use crate::verify::case::{Activations, Dynamic, Output, Per, Product};
use qgemm::QuantParams;
use sha2::{Digest, Sha256};

/// All that a product writes.
pub struct Written {
    pub c: Buffer,
    /// The parameters that a dynamic product hands back: of each row, or one; none if it does not.
    pub params: Vec<QuantParams>,
}

/// The whole buffer of an output: its elements, and what lies between and after them, which must not change.
pub enum Buffer {
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    F32(Vec<f32>),
}

/// Parameters before the call. No call finds such ones.
const NO_PARAMS: QuantParams = QuantParams { scale: -1.0, zero_point: i32::MIN };

impl Written {
    /// Adds the bits of all that was written to a digest.
    pub fn add_to(&self, digest: &mut Sha256) {
        match &self.c {
            Buffer::I32(c) => c.iter().for_each(|x| digest.update(x.to_le_bytes())),
            Buffer::I8(c) => c.iter().for_each(|x| digest.update(x.to_le_bytes())),
            Buffer::U8(c) => digest.update(c),
            Buffer::F32(c) => c.iter().for_each(|x| digest.update(x.to_le_bytes())),
        }
        for QuantParams { scale, zero_point } in &self.params {
            digest.update(scale.to_le_bytes());
            digest.update(zero_point.to_le_bytes());
        }
    }

    /// The memory of a product before the call.
    pub fn before(product: &Product) -> Self {
        let count = match &product.a {
            Activations::Dynamic(Dynamic { with_params: true, per: Per::Tensor, .. }) => 1,
            Activations::Dynamic(Dynamic { with_params: true, .. }) => product.c.rows,
            _ => 0,
        };
        Self { c: Buffer::before(product), params: vec![NO_PARAMS; count] }
    }
}

impl Buffer {
    fn before(Product { c, output, .. }: &Product) -> Self {
        match output {
            Output::I32 { .. } => Buffer::I32(c.before(|bits| bits as i32)),
            Output::I8(_) => Buffer::I8(c.before(|bits| bits as i8)),
            Output::U8(_) => Buffer::U8(c.before(|bits| bits as u8)),
            Output::F32(stage) if stage.reads_output() => Buffer::F32(c.finite_before()),
            Output::F32(_) => Buffer::F32(c.before(f32::from_bits)),
        }
    }
}
