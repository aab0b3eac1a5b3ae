//! The time that parts of the computation take.

use std::time::{Duration, Instant};

/// A part of the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Embeddings of tokens.
    Embedding,
    /// Norms.
    Norm,
    /// Products of layers, with the quantization of their activations.
    Products,
    /// Rotary embeddings, and storing keys and values.
    Rope,
    /// Scores, softmax and sums of values.
    Attention,
    /// SiLU and its product.
    Silu,
    /// The last norm and the product that makes logits.
    Output,
}

/// All parts, with their names.
pub const PARTS: [(Part, &str); 7] = [
    (Part::Products, "products"),
    (Part::Output, "output layer"),
    (Part::Attention, "attention"),
    (Part::Rope, "rope and cache"),
    (Part::Norm, "norms"),
    (Part::Silu, "silu"),
    (Part::Embedding, "embedding"),
];

/// The time of each part.
#[derive(Clone, Default)]
pub struct Profile {
    times: [Duration; PARTS.len()],
}

impl Profile {
    /// Calls `f` and adds its time to a part.
    pub fn time<R>(&mut self, part: Part, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        self.times[part as usize] += start.elapsed();
        result
    }

    /// The time of a part.
    pub fn of(&self, part: Part) -> Duration {
        self.times[part as usize]
    }

    /// The time of all parts.
    pub fn total(&self) -> Duration {
        self.times.iter().sum()
    }
}
