//! The chat template in the file's metadata.

use crate::gguf::GgufFile;
use anyhow::{Context, Result};
use minijinja::{Environment, context};

/// The text that the model is given for a message of a user.
///
/// # Errors
/// If the file has no template, or one that cannot be rendered.
pub fn prompt(file: &GgufFile, message: &str) -> Result<String> {
    let template = file.text("tokenizer.chat_template")?;
    let messages = [context! { role => "user", content => message }];
    let values = context! { messages => messages, add_generation_prompt => true };
    Environment::new().render_str(template, values).context("the chat template cannot be rendered")
}
