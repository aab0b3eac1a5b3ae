//! The error that the modules of `qgemm bench`, which are compiled here too, report of an argument.

use anyhow::{Error, anyhow};
use std::fmt::Display;

pub fn invalid_because(argument: &str, was: impl Display, why: impl Display, must: impl Display) -> Error {
    anyhow!("{argument}: was '{was}' ({why}), must be {must}")
}
