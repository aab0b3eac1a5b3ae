//! The list of mutants that `cargo mutants --list --json` prints.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A change of the sources, by one text at one place.
#[derive(Clone, Deserialize)]
pub struct Mutant {
    /// File, line, column and change: unique.
    pub name: String,
    /// The file, from the root of the repository.
    pub file: String,
    /// Kind of change: `FnValue`, `BinaryOperator` and others.
    pub genre: String,
    /// The text in place of the one in `span`.
    pub replacement: String,
    /// The text that is replaced.
    pub span: Span,
}

/// A part of a source text.
#[derive(Clone, Copy, Deserialize)]
pub struct Span {
    /// Its first character.
    pub start: Place,
}

/// A character of a source text; lines and columns count from 1.
#[derive(Clone, Copy, Deserialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Number of a mutant in a build, from 1.
pub type Id = usize;

/// Line and column where a mutant begins, both from 1.
pub type Start = (usize, usize);

/// The mutants of a file by kind and start, with their numbers.
pub type ByPlace<'a> = HashMap<(&'a str, Start), Vec<(Id, &'a Mutant)>>;

/// Reads lists that follow each other.
pub fn read(paths: &[String]) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for path in paths {
        let text = fs::read(Path::new(path)).with_context(|| path.clone())?;
        mutants.extend(serde_json::from_slice::<Vec<Mutant>>(&text).with_context(|| path.clone())?);
    }
    Ok(mutants)
}

/// Those of one file. A mutant's number is its index in the list, plus 1.
pub fn of_file<'a>(mutants: &'a [Mutant], file: &str) -> ByPlace<'a> {
    let mut places = ByPlace::new();
    for (i, mutant) in mutants.iter().enumerate().filter(|(_, mutant)| mutant.file == file) {
        let start = mutant.span.start;
        places.entry((&mutant.genre, (start.line, start.column))).or_default().push((i + 1, mutant));
    }
    places
}
