//! The forward pass: tokens in, logits out.

use crate::attention::Attention;
use crate::cache::Cache;
use crate::config::HEAD;
use crate::exp::silu_times_up;
use crate::model::Model;
use crate::norm::rms_norm;
use crate::profile::{Part, Profile};
use crate::rope::Rope;
use anyhow::{Result, ensure};
use qgemm::{Dequantize, GroupwiseB, GroupwiseGemm, MatMut, MatRef};
use rayon::prelude::*;

/// The tokens that are computed together: so few that their values stay in the second-level cache. It changes no result.
const TOGETHER: usize = 64;

/// Rows that a thread computes at least, outside of products.
const ROWS_EACH: usize = 8;

/// The tokens whose logits are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// The last one.
    Last,
    /// All of them.
    All,
}

/// A text in the making: the tokens so far, as keys and values, and memory for the next ones.
pub struct Session<'m> {
    model: &'m Model,
    cache: Cache,
    rope: Rope,
    /// The number of tokens in the cache.
    len: usize,
    memory: Memory,
    /// The time that parts take.
    pub profile: Profile,
}

/// Values of the tokens that are computed together, a row for each.
#[derive(Default)]
struct Memory {
    hidden: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attention: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    logits: Vec<f32>,
}

/// `c = a · b`, or `c + a · b`, for rows of `a`.
fn multiply(a: &[f32], b: &GroupwiseB, c: &mut [f32], add: bool) -> Result<()> {
    let rows = a.len() / b.k();
    let stage = Dequantize::groupwise();
    let stage = if add { stage.residual_in_place() } else { stage };
    let (a, c) = (MatRef::row_major(a, rows, b.k())?, MatMut::row_major(c, rows, b.n())?);
    Ok(GroupwiseGemm::new(a, b).run_f32(c, stage)?)
}

/// Calls `f` with each row of `from` and that of `to`, on all threads.
fn each_row(from: (&[f32], usize), to: (&mut [f32], usize), f: impl Fn(&[f32], &mut [f32]) + Sync) {
    let rows = from.0.par_chunks_exact(from.1).zip(to.0.par_chunks_exact_mut(to.1));
    rows.with_min_len(ROWS_EACH).for_each(|(from, to)| f(from, to));
}

impl<'m> Session<'m> {
    /// A session with room for so many tokens.
    pub fn new(model: &'m Model, tokens: usize) -> Self {
        let config = &model.config;
        Self {
            model,
            cache: Cache::new(config, tokens),
            rope: Rope::new(config.rope_base, HEAD, tokens),
            len: 0,
            memory: Memory::default(),
            profile: Profile::default(),
        }
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds tokens, and calls `take` with the logits of each token that they are asked for, in the order of tokens.
    ///
    /// # Errors
    /// If a token does not exist, there is no room for it, or a value is not finite.
    pub fn forward(&mut self, tokens: &[u32], logits: Logits, mut take: impl FnMut(&[f32])) -> Result<()> {
        let room = self.cache.positions() - self.len;
        ensure!(tokens.len() <= room, "there is room for {room} more tokens, not for {}", tokens.len());
        let mut chunks = tokens.chunks(TOGETHER).peekable();
        while let Some(chunk) = chunks.next() {
            self.layers(chunk)?;
            let asked = match logits {
                Logits::All => chunk.len(),
                Logits::Last if chunks.peek().is_none() => 1,
                Logits::Last => 0,
            };
            self.logits(asked)?;
            self.memory.logits.chunks_exact(self.model.config.vocabulary).for_each(&mut take);
        }
        Ok(())
    }

    /// Computes the layers for tokens, and leaves their last values in `memory.hidden`.
    fn layers(&mut self, tokens: &[u32]) -> Result<()> {
        let Self { model, cache, rope, memory, profile, .. } = self;
        let config = &model.config;
        let (rows, first, hidden, inner) = (tokens.len(), self.len, config.hidden, config.feed_forward);
        let (heads, kv) = (config.heads * HEAD, config.kv_width());
        let width = heads + 2 * kv;
        memory.resize(rows, hidden, width, inner);
        let Memory { hidden: x, normed, qkv, attention, gate_up, inner: activated, .. } = memory;
        profile.time(Part::Embedding, || {
            tokens.iter().zip(x.chunks_exact_mut(hidden)).try_for_each(|(token, to)| model.embed(*token, to))
        })?;
        let norm = |x: &[f32], weight: &[f32], out: &mut [f32]| {
            each_row((x, hidden), (out, hidden), |x, out| rms_norm(x, weight, config.epsilon, out));
        };
        for (l, layer) in model.layers.iter().enumerate() {
            profile.time(Part::Norm, || norm(x, &layer.attention_norm, normed));
            profile.time(Part::Products, || multiply(normed, &layer.qkv, qkv, false))?;
            profile.time(Part::Rope, || {
                let rows = qkv.par_chunks_exact_mut(width).enumerate().with_min_len(ROWS_EACH);
                rows.for_each(|(i, row)| rope.rotate(first + i, &mut row[..heads + kv]));
                for (i, row) in qkv.chunks_exact(width).enumerate() {
                    cache.write(l, first + i, &row[heads..][..kv], &row[heads + kv..]);
                }
            });
            profile.time(Part::Attention, || {
                let (heads, group) = (cache.layer(l), config.group());
                Attention { rows: qkv, width, first, heads, group }.run(attention);
            });
            profile.time(Part::Products, || multiply(attention, &layer.attention_output, x, true))?;
            profile.time(Part::Norm, || norm(x, &layer.feed_forward_norm, normed));
            profile.time(Part::Products, || multiply(normed, &layer.gate_up, gate_up, false))?;
            profile.time(Part::Silu, || {
                each_row((gate_up, 2 * inner), (activated, inner), silu_times_up);
            });
            profile.time(Part::Products, || multiply(activated, &layer.down, x, true))?;
        }
        self.len += rows;
        Ok(())
    }

    /// Computes the logits of the last rows of `memory.hidden`.
    fn logits(&mut self, rows: usize) -> Result<()> {
        let Self { model, memory, profile, .. } = self;
        let config = &model.config;
        let Memory { hidden, normed, logits, .. } = memory;
        logits.resize(rows * config.vocabulary, 0.0);
        if rows == 0 {
            return Ok(());
        }
        profile.time(Part::Output, || {
            let x = &hidden[hidden.len() - rows * config.hidden..];
            let normed = &mut normed[..rows * config.hidden];
            each_row((x, config.hidden), (normed, config.hidden), |x, out| {
                rms_norm(x, &model.output_norm, config.epsilon, out);
            });
            multiply(normed, model.output(), logits, false)
        })
    }
}

impl Memory {
    fn resize(&mut self, rows: usize, hidden: usize, width: usize, inner: usize) {
        for (values, len) in [
            (&mut self.hidden, hidden),
            (&mut self.normed, hidden),
            (&mut self.qkv, width),
            (&mut self.attention, hidden),
            (&mut self.gate_up, 2 * inner),
            (&mut self.inner, inner),
        ] {
            values.resize(rows * len, 0.0);
        }
    }
}
