//! Errors as the command reports them: the argument, its value, and the condition on it.

use anyhow::Error;
use std::fmt;

/// A computed result that is not what it must be. The command then exits with 1.
#[derive(Debug)]
pub struct WrongResult(pub String);

impl fmt::Display for WrongResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongResult {}

/// An argument, or the file that it names, that cannot be used. The command then exits with 2.
#[derive(Debug)]
struct InvalidArgument {
    argument: String,
    was: String,
    must: String,
}

impl fmt::Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: was {}, must be {}", self.argument, self.was, self.must)
    }
}

impl std::error::Error for InvalidArgument {}

/// The error of an `argument` with the value `was`, which must be `must`.
pub fn invalid(argument: &str, was: impl fmt::Display, must: impl fmt::Display) -> Error {
    InvalidArgument { argument: argument.into(), was: format!("'{was}'"), must: must.to_string() }.into()
}

/// The error of an `argument` with the value `was`, which cannot be used because of `why`.
pub fn invalid_because(
    argument: &str,
    was: impl fmt::Display,
    why: impl fmt::Display,
    must: impl fmt::Display,
) -> Error {
    InvalidArgument { argument: argument.into(), was: format!("'{was}' ({why})"), must: must.to_string() }
        .into()
}

/// The error of an `argument` that was left out.
pub fn missing(argument: &str, must: impl fmt::Display) -> Error {
    InvalidArgument { argument: argument.into(), was: "left out".into(), must: must.to_string() }.into()
}

/// An error of the library, with the argument's name (`a_zero`) replaced by that of the command's option
/// (`--a-zero`). `names` has pairs of both; a name that is not listed stays.
pub fn with_option_names(error: qgemm::Error, names: &[(&str, &str)]) -> Error {
    let (argument, text) = (error.argument(), error.to_string());
    match names.iter().find(|(from, _)| *from == argument) {
        // The text begins with the argument.
        Some((_, to)) => Error::msg(format!("{to}{}", &text[argument.len()..])),
        None => Error::msg(text),
    }
}
