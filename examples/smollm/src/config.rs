//! The sizes of the model.

use crate::error::FileError;
use crate::gguf::GgufFile;

/// The values of a head. Attention keeps sums of so many in registers, which takes a constant.
pub const HEAD: usize = 64;

/// The sizes of a llama, as its file has them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The number of layers.
    pub layers: usize,
    /// The values of a token between layers.
    pub hidden: usize,
    /// The values between the products of a feed-forward block.
    pub feed_forward: usize,
    /// The heads of queries.
    pub heads: usize,
    /// The heads of keys and values: each serves `heads / kv_heads` heads of queries.
    pub kv_heads: usize,
    /// The number of tokens that exist.
    pub vocabulary: usize,
    /// The tokens that the model was trained to see at once.
    pub context: usize,
    /// The number that norms add to mean squares.
    pub epsilon: f32,
    /// The base of the angles of rotary embeddings.
    pub rope_base: f32,
}

impl Config {
    /// Reads the sizes, and checks that they are those of a model that this program runs.
    ///
    /// # Errors
    /// [`FileError::Metadata`], [`FileError::Unsupported`]
    pub fn read(file: &GgufFile) -> Result<Self, FileError> {
        let unsupported = |key: &str, got: String, expected: String| FileError::Unsupported {
            key: key.into(),
            got,
            expected,
        };
        let architecture = file.text("general.architecture")?;
        if architecture != "llama" {
            return Err(unsupported("general.architecture", architecture.into(), "llama".into()));
        }
        let at_least_1 = |key: &str| match file.integer(key)? {
            0 => Err(unsupported(key, "0".into(), "at least 1".into())),
            n => Ok(n),
        };
        let config = Self {
            layers: at_least_1("llama.block_count")?,
            hidden: at_least_1("llama.embedding_length")?,
            feed_forward: at_least_1("llama.feed_forward_length")?,
            heads: at_least_1("llama.attention.head_count")?,
            kv_heads: at_least_1("llama.attention.head_count_kv")?,
            vocabulary: file.texts("tokenizer.ggml.tokens")?.len(),
            context: at_least_1("llama.context_length")?,
            epsilon: file.number("llama.attention.layer_norm_rms_epsilon")?,
            rope_base: file.number("llama.rope.freq_base")?,
        };
        if config.hidden != config.heads * HEAD {
            let expected = format!("{HEAD} times the heads ({})", config.heads);
            return Err(unsupported("llama.embedding_length", config.hidden.to_string(), expected));
        }
        if !config.heads.is_multiple_of(config.kv_heads) {
            let expected = format!("a divisor of the heads ({})", config.heads);
            return Err(unsupported("llama.attention.head_count_kv", config.kv_heads.to_string(), expected));
        }
        let rotated = file.integer("llama.rope.dimension_count")?;
        if rotated != HEAD {
            return Err(unsupported("llama.rope.dimension_count", rotated.to_string(), HEAD.to_string()));
        }
        if !config.rope_base.is_normal() || config.rope_base < 0.0 {
            return Err(unsupported("llama.rope.freq_base", config.rope_base.to_string(), "positive".into()));
        }
        if !(config.epsilon.is_finite() && config.epsilon >= 0.0) {
            let got = config.epsilon.to_string();
            return Err(unsupported("llama.attention.layer_norm_rms_epsilon", got, "0 or more".into()));
        }
        Ok(config)
    }

    /// The values of keys, and of values, of a token.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * HEAD
    }

    /// The heads of queries that share a head of keys and values.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}
