//! The tokenizer, from the tokens and merges in the file's metadata.

use crate::error::FileError;
use crate::gguf::GgufFile;
use anyhow::{Context, Error, Result};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer};

/// Makes the tokenizer: byte pairs, with digits one by one, and words as GPT-2 splits them.
///
/// # Errors
/// If the metadata describe another one.
pub fn read(file: &GgufFile) -> Result<Tokenizer> {
    for (key, expected) in [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm")] {
        let got = file.text(key)?;
        if got != expected {
            return Err(FileError::Unsupported {
                key: key.into(),
                got: got.into(),
                expected: expected.into(),
            }
            .into());
        }
    }
    let tokens = file.texts("tokenizer.ggml.tokens")?;
    let kinds = file.integers("tokenizer.ggml.token_type")?;
    let merges = file.texts("tokenizer.ggml.merges")?;
    let merges = merges.iter().map(|pair| {
        let (left, right) = pair.split_once(' ').with_context(|| format!("merge '{pair}' is no pair"))?;
        Ok((left.to_owned(), right.to_owned()))
    });
    let vocabulary = tokens.iter().zip(0u32..).map(|(token, id)| ((*token).to_owned(), id)).collect();
    let model = BPE::builder()
        .vocab_and_merges::<tokenizers::models::bpe::Vocab>(vocabulary, merges.collect::<Result<_>>()?);
    let model =
        model.build().map_err(Error::from_boxed).context("tokens and merges do not fit each other")?;
    let mut tokenizer = Tokenizer::new(model);
    let bytes = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![Digits::new(true).into(), bytes.into()])));
    tokenizer.with_decoder(Some(bytes));
    // Tokens of type 3 control the model, and are found in a text before it is split.
    let special = tokens.iter().zip(kinds).filter(|(_, kind)| *kind == 3);
    let special: Vec<_> = special.map(|(token, _)| AddedToken::from(*token, true)).collect();
    tokenizer.add_special_tokens(special).map_err(Error::from_boxed).context("special tokens")?;
    Ok(tokenizer)
}

/// The ids of a text's tokens.
///
/// # Errors
/// If the tokenizer refuses it.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let encoding =
        tokenizer.encode(text, false).map_err(Error::from_boxed).context("the prompt has no tokens")?;
    Ok(encoding.get_ids().to_vec())
}
