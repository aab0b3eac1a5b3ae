//! How the command's modules that are shared say that input is wrong.

use anyhow::{Error, anyhow};
use std::fmt::Display;

pub fn bad_because(argument: &str, was: impl Display, why: impl Display, must: impl Display) -> Error {
    anyhow!("{argument}: was '{was}' ({why}), must be {must}")
}
