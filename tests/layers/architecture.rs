//! ARCHITECTURE.md against the sources. The head of `layers.rs` describes the form.

use super::analysis::Crate;
use super::modules::each_function;
use super::sources::Sources;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The file that describes the layers and the walk.
pub const DOCUMENT: &str = "ARCHITECTURE.md";

/// A line and its number, from 1.
type Line<'d> = (usize, &'d str);

/// The lines between two marker lines.
fn section<'d>(document: &'d str, open: &str, close: &str) -> Result<Vec<Line<'d>>, String> {
    let mut lines = document.lines().enumerate().map(|(index, line)| (index + 1, line));
    if !lines.any(|(_, line)| line.trim() == open) {
        return Err(format!("{DOCUMENT}: has no line {open}"));
    }
    let mut inside = Vec::new();
    for (number, line) in lines {
        if line.trim() == close {
            return Ok(inside);
        }
        inside.push((number, line));
    }
    Err(format!("{DOCUMENT}: has no line {close} after {open}"))
}

/// Compares the crate's list in the document with its layers.
pub fn layer_problems(document: &str, layout: &Crate, sources: &Sources) -> Vec<String> {
    let name = layout.folder.split('/').next().unwrap_or(layout.folder);
    let lines = match section(document, &format!("<!-- layers: {name} -->"), "<!-- /layers -->") {
        Ok(lines) => lines,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    let mut expected = layout.layers.iter();
    for (number, entry) in fenced_words(&lines) {
        let at = format!("{DOCUMENT}:{number}");
        let Some(layer) = expected.next() else {
            problems.push(format!("{at}: lists {entry} after the last layer of {}", layout.folder));
            break;
        };
        if entry.trim_end_matches('/').trim_end_matches(".rs") != *layer {
            problems.push(format!("{at}: lists {entry} where {layer} comes in the list of the test"));
            break;
        }
        let form = entry_form(layout, layer, sources);
        if entry != form {
            problems.push(format!("{at}: lists {entry}: write {form}"));
        }
    }
    if let (true, Some(layer)) = (problems.is_empty(), expected.next()) {
        problems.push(format!("{DOCUMENT}: the layers of {} end before {layer}", layout.folder));
    }
    problems
}

/// The first words of unindented lines inside the code fence.
fn fenced_words<'d>(lines: &[Line<'d>]) -> Vec<Line<'d>> {
    let mut words = Vec::new();
    let mut fenced = false;
    for &(number, line) in lines {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced && !line.starts_with(char::is_whitespace) {
            words.extend(line.split_whitespace().next().map(|word| (number, word)));
        }
    }
    words
}

/// The layer's entry: `name/`, if there is such a folder, else `name.rs`.
fn entry_form(layout: &Crate, layer: &str, sources: &Sources) -> String {
    let folder = Path::new(layout.folder).join(layer);
    let is_folder = sources.keys().any(|file| file.starts_with(&folder));
    if is_folder { format!("{layer}/") } else { format!("{layer}.rs") }
}

/// Looks up the files and functions that the walk names.
pub fn walk_problems(document: &str, sources: &Sources) -> Vec<String> {
    let lines = match section(document, "<!-- walk -->", "<!-- /walk -->") {
        Ok(lines) => lines,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    let mut file: Option<(&str, BTreeSet<String>)> = None;
    let mut functions = 0;
    for (number, line) in lines {
        let at = format!("{DOCUMENT}:{number}");
        for span in line.split('`').skip(1).step_by(2) {
            if span.ends_with(".rs") {
                let known = sources.get(&PathBuf::from(span));
                if known.is_none() {
                    problems.push(format!("{at}: names {span}, which does not exist"));
                }
                file = known.map(|text| (span, function_names(text)));
            } else {
                functions += 1;
                match &file {
                    Some((_, names)) if names.contains(span) => {}
                    Some((path, _)) => {
                        problems.push(format!("{at}: names {span}, a function that {path} does not define"));
                    }
                    None => problems.push(format!("{at}: names {span} without a file that exists before it")),
                }
            }
        }
    }
    if functions == 0 {
        problems.push(format!("{DOCUMENT}: the walk names no function"));
    }
    problems
}

/// The functions of a file. One that does not parse has none; the layers test says so.
fn function_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(syntax) = syn::parse_file(text) {
        each_function(&syntax.items, &mut |name| {
            names.insert(name);
        });
    }
    names
}
