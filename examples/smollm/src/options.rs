//! The arguments of the command.

use clap::Parser;
use std::path::{Path, PathBuf};

/// Runs SmolLM2-135M-Instruct on qgemm: the same logits on every CPU, for any number of threads, token by token or all at
/// once.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Options {
    /// The text to answer
    #[arg(default_value = "What is the capital of France?")]
    pub prompt: String,

    /// The model's file [default: the one that fetch.sh fetches]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,

    /// The most tokens to generate
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub tokens: usize,

    /// The threads to use [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Computes the prompt one token after the other, instead of many together
    #[arg(long)]
    pub token_by_token: bool,

    /// Continues the prompt as it is, without the chat template
    #[arg(long)]
    pub raw: bool,

    /// Computes the logits of all tokens of the prompt, and includes them in the sha256
    #[arg(long)]
    pub all_logits: bool,

    /// Does not stop at the token that ends an answer
    #[arg(long)]
    pub ignore_end: bool,

    /// The temperature to draw tokens with; 0 takes the likeliest
    #[arg(long, default_value_t = 0.0, value_name = "T", value_parser = at_least_0)]
    pub temperature: f32,

    /// Draws from the likeliest tokens that have this probability together
    #[arg(long, default_value_t = 1.0, value_name = "P", value_parser = probability)]
    pub top_p: f32,

    /// The seed of random numbers
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,

    /// Prints the ids of tokens as JSON, instead of text
    #[arg(long)]
    pub ids: bool,

    /// Measures a prompt of 512 tokens and the generation of 64, and shows where the time goes
    #[arg(long)]
    pub bench: bool,
}

fn at_least_0(text: &str) -> Result<f32, String> {
    number(text, |x| (0.0..f32::INFINITY).contains(&x), "0 or more")
}

fn probability(text: &str) -> Result<f32, String> {
    number(text, |x| x > 0.0 && x <= 1.0, "above 0 and at most 1")
}

fn number(text: &str, fits: impl Fn(f32) -> bool, expected: &str) -> Result<f32, String> {
    text.parse().ok().filter(|x| fits(*x)).ok_or_else(|| format!("must be a number, {expected}"))
}

impl Options {
    /// The model's file.
    pub fn model_path(&self) -> PathBuf {
        self.model.clone().unwrap_or_else(default_model)
    }
}

/// The file that `fetch.sh` fetches.
pub fn default_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model/SmolLM2-135M-Instruct.Q4_1.gguf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_are_consistent_and_checked() {
        Options::command().debug_assert();
        assert_eq!(Options::parse_from(["smollm", "hello", "--threads", "2"]).threads, Some(2));
        for wrong in ["--threads=0", "--top-p=0", "--temperature=-1", "--temperature=nan", "--tokens=x"] {
            assert!(Options::try_parse_from(["smollm", wrong]).is_err(), "{wrong}");
        }
    }
}
