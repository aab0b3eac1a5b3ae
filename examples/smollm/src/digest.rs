//! The digest of logits.

use sha2::{Digest, Sha256};

/// A sha256 over the bits of logits, in little-endian order.
#[derive(Clone, Default)]
pub struct LogitsDigest {
    sha256: Sha256,
    vectors: usize,
}

impl LogitsDigest {
    /// Adds the logits of a token.
    pub fn add(&mut self, logits: &[f32]) {
        for values in logits.chunks(1024) {
            let mut bytes = [0; 4096];
            for (to, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *to = value.to_le_bytes();
            }
            self.sha256.update(&bytes[..4 * values.len()]);
        }
        self.vectors += 1;
    }

    /// The number of tokens whose logits were added.
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// The digest, in hexadecimal.
    pub fn hex(&self) -> String {
        self.sha256.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
