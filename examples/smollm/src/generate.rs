//! The answer to a prompt.

use crate::digest::LogitsDigest;
use crate::gguf::GgufFile;
use crate::model::Model;
use crate::options::Options;
use crate::sampling::Sampler;
use crate::session::{Logits, Session};
use crate::{chat, tokenizer};
use anyhow::{Error, Result, ensure};
use std::io::{Write, stdout};
use std::time::{Duration, Instant};
use tokenizers::Tokenizer;

/// An answer, with the digest of its logits and the time it took.
pub struct Answer {
    /// The tokens of the prompt.
    pub prompt: Vec<u32>,
    /// The tokens that were generated.
    pub generated: Vec<u32>,
    /// The digest of all logits: those of the last token of the prompt (of all its tokens, if they were asked for) and of
    /// each generated token but the last.
    pub digest: LogitsDigest,
    /// The time for the prompt.
    pub prompt_time: Duration,
    /// The time for the generated tokens, of which the first comes with the prompt.
    pub generation_time: Duration,
}

/// The tokenizer and the tokens that end an answer, with the prompt's tokens.
pub struct Prompt {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The tokens of the prompt.
    pub tokens: Vec<u32>,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
}

impl Prompt {
    /// Makes the tokens of the prompt.
    ///
    /// # Errors
    /// If the file describes no tokenizer, or the prompt is empty.
    pub fn read(file: &GgufFile, options: &Options) -> Result<Self> {
        let tokenizer = tokenizer::read(file)?;
        let text = if options.raw { options.prompt.clone() } else { chat::prompt(file, &options.prompt)? };
        let tokens = tokenizer::encode(&tokenizer, &text)?;
        ensure!(!tokens.is_empty(), "the prompt is empty");
        let mut ends = vec![u32::try_from(file.integer("tokenizer.ggml.eos_token_id")?)?];
        ends.extend(tokenizer.token_to_id("<|endoftext|>"));
        Ok(Self { tokenizer, tokens, ends })
    }
}

/// Generates the answer, and prints it as it grows.
///
/// # Errors
/// If a product fails or nothing can be printed.
pub fn generate(model: &Model, prompt: &Prompt, options: &Options) -> Result<Answer> {
    let mut digest = LogitsDigest::default();
    let mut sampler = Sampler::new(options.temperature, options.top_p, options.seed);
    let mut session = Session::new(model, prompt.tokens.len() + options.tokens);
    let mut last = Vec::new();
    let mut take = |logits: &[f32]| {
        digest.add(logits);
        last.clear();
        last.extend_from_slice(logits);
    };
    let start = Instant::now();
    if options.token_by_token {
        for (i, token) in prompt.tokens.iter().enumerate() {
            // The others' logits are computed too, and not used.
            let wanted = options.all_logits || i + 1 == prompt.tokens.len();
            session.forward(&[*token], Logits::Last, |logits| {
                if wanted {
                    take(logits)
                }
            })?;
        }
    } else {
        let logits = if options.all_logits { Logits::All } else { Logits::Last };
        session.forward(&prompt.tokens, logits, &mut take)?;
    }
    let prompt_time = start.elapsed();
    let start = Instant::now();
    let mut generated = Vec::new();
    let mut stream = prompt.tokenizer.decode_stream(true);
    let mut out = stdout().lock();
    while generated.len() < options.tokens {
        let token = sampler.choose(&last)?;
        if prompt.ends.contains(&token) && !options.ignore_end {
            break;
        }
        generated.push(token);
        if !options.ids
            && let Some(text) = stream.step(token).map_err(Error::from_boxed)?
        {
            write!(out, "{text}")?;
            out.flush()?;
        }
        if generated.len() < options.tokens {
            session.forward(&[token], Logits::Last, |logits| {
                digest.add(logits);
                last.clear();
                last.extend_from_slice(logits);
            })?;
        }
    }
    if options.ids {
        write!(out, "{}", serde_json::json!({ "prompt": prompt.tokens, "generated": generated }))?;
    }
    writeln!(out)?;
    let generation_time = start.elapsed();
    Ok(Answer { prompt: prompt.tokens.clone(), generated, digest, prompt_time, generation_time })
}
