//! The weights of the model.

use crate::config::Config;
use crate::gguf::GgufFile;
use anyhow::{Context, Result, ensure};
use qgemm::{Dispatch, GgufType, GroupwiseB};

/// The weights, each in memory once, in the bits that the file has.
pub struct Model {
    /// The sizes.
    pub config: Config,
    /// A column for each token. It is the output layer too, where the file has no other.
    pub embedding: GroupwiseB,
    /// The output layer, if it is not the embedding.
    pub output: Option<GroupwiseB>,
    /// The layers.
    pub layers: Vec<Layer>,
    /// The factors of the norm before the output layer.
    pub output_norm: Vec<f32>,
}

/// The weights of a layer.
pub struct Layer {
    /// The factors of the norm before attention.
    pub attention_norm: Vec<f32>,
    /// The columns of queries, then those of keys, then those of values.
    pub qkv: GroupwiseB,
    /// The projection of attention's outputs.
    pub attention_output: GroupwiseB,
    /// The factors of the norm before the feed-forward block.
    pub feed_forward_norm: Vec<f32>,
    /// The columns of gates, then as many columns of up.
    pub gate_up: GroupwiseB,
    /// The product that ends the feed-forward block.
    pub down: GroupwiseB,
}

/// Packs matrices of `k` inputs each as one, side by side. The file's rows are the columns of B, so their blocks follow each
/// other. `blocks` is memory that is used again.
fn pack(file: &mut GgufFile, parts: &[(&str, usize)], k: usize, blocks: &mut Vec<u8>) -> Result<GroupwiseB> {
    blocks.clear();
    let mut first: Option<GgufType> = None;
    let mut columns = 0;
    for (name, n) in parts {
        let kind = file.blocks(name, (*n, k), blocks)?;
        let first = *first.get_or_insert(kind);
        ensure!(kind == first, "tensor '{name}' has type {kind:?}, those beside it have {first:?}");
        columns += n;
    }
    let name = parts.first().map_or("", |(name, _)| name);
    let kind = first.with_context(|| format!("'{name}': there is nothing to pack"))?;
    GroupwiseB::from_gguf(kind, (columns, k), blocks).with_context(|| format!("tensor '{name}'"))
}

impl Model {
    /// Reads and packs the tensors, one after the other.
    ///
    /// # Errors
    /// If the file is not such a model, or cannot be read.
    pub fn read(file: &mut GgufFile) -> Result<Self> {
        let config = Config::read(file)?;
        let (hidden, inner) = (config.hidden, config.feed_forward);
        let mut blocks = Vec::new();
        let layers = (0..config.layers).map(|layer| {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let (q, k, v) = (name("attn_q"), name("attn_k"), name("attn_v"));
            let qkv = [(q.as_str(), hidden), (&k, config.kv_width()), (&v, config.kv_width())];
            Ok(Layer {
                attention_norm: file.floats(&name("attn_norm"), hidden)?,
                qkv: pack(file, &qkv, hidden, &mut blocks)?,
                attention_output: pack(file, &[(&name("attn_output"), hidden)], hidden, &mut blocks)?,
                feed_forward_norm: file.floats(&name("ffn_norm"), hidden)?,
                gate_up: pack(
                    file,
                    &[(&name("ffn_gate"), inner), (&name("ffn_up"), inner)],
                    hidden,
                    &mut blocks,
                )?,
                down: pack(file, &[(&name("ffn_down"), hidden)], inner, &mut blocks)?,
            })
        });
        let layers = layers.collect::<Result<_>>()?;
        let output = match file.has("output.weight") {
            true => Some(pack(file, &[("output.weight", config.vocabulary)], hidden, &mut blocks)?),
            false => None,
        };
        let embedding = pack(file, &[("token_embd.weight", config.vocabulary)], hidden, &mut blocks)?;
        let output_norm = file.floats("output_norm.weight", hidden)?;
        Ok(Self { config, embedding, output, layers, output_norm })
    }

    /// The output layer.
    pub fn output(&self) -> &GroupwiseB {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Writes the embedding of a token: a column of the packed matrix, as the file's format defines it.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn embed(&self, token: u32, out: &mut [f32]) -> Result<()> {
        let (b, j) = (&self.embedding, token as usize);
        ensure!(j < b.n(), "token {token} does not exist: there are {}", b.n());
        for (g, out) in out.chunks_mut(b.group()).enumerate() {
            let (scale, zero) = (b.scale(g, j).unwrap_or(0.0), b.zero(g, j).unwrap_or(0));
            let minimum = b.minimum(g, j);
            for (i, out) in out.iter_mut().enumerate() {
                let code = b.code(g * b.group() + i, j).unwrap_or(zero);
                let value = scale * (code - zero) as f32;
                *out = minimum.map_or(value, |minimum| value + minimum);
            }
        }
        Ok(())
    }

    /// Takes the kernels of `dispatch` for all products. Nothing is packed again, and no result changes.
    #[must_use]
    pub fn with_dispatch(self, dispatch: &Dispatch) -> Self {
        let with = |b: GroupwiseB| b.with_dispatch(dispatch);
        let layer = |layer: Layer| Layer {
            qkv: with(layer.qkv),
            attention_output: with(layer.attention_output),
            gate_up: with(layer.gate_up),
            down: with(layer.down),
            ..layer
        };
        Self {
            embedding: with(self.embedding),
            output: self.output.map(with),
            layers: self.layers.into_iter().map(layer).collect(),
            ..self
        }
    }

    /// The memory that the packed matrices take, in bytes.
    pub fn bytes(&self) -> usize {
        let layer = |layer: &Layer| {
            let Layer { qkv, attention_output, gate_up, down, .. } = layer;
            [qkv, attention_output, gate_up, down].map(GroupwiseB::bytes).iter().sum::<usize>()
        };
        let output = self.output.as_ref().map_or(0, GroupwiseB::bytes);
        self.embedding.bytes() + output + self.layers.iter().map(layer).sum::<usize>()
    }
}
