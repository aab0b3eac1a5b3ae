//! Changes of a source text that may lie within each other, and the marks that tell in the changed text which mutant a
//! compiler's error belongs to.

use std::collections::HashSet;
use std::ops::Range;

use crate::list::Id;

/// A part of the text that takes the place of an original one.
pub enum Piece {
    /// A new text.
    New(String),
    /// Bytes of the original, with the edits in them.
    Old(Range<usize>),
}

/// A new text for `range`, on behalf of some mutants.
pub struct Edit {
    pub range: Range<usize>,
    pub pieces: Vec<Piece>,
}

/// The text with all edits. Of two edits, one lies in the other or they are apart.
pub fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    // The outer one of two that begin at the same byte comes first; an insertion comes before what follows it.
    edits.sort_by_key(|edit| (edit.range.start, !edit.range.is_empty(), usize::MAX - edit.range.end));
    let mut out = String::new();
    render(text, 0..text.len(), &edits, &mut out);
    out
}

fn render(text: &str, range: Range<usize>, edits: &[Edit], out: &mut String) {
    let mut at = range.start;
    let mut i = edits.partition_point(|edit| edit.range.start < range.start);
    while let Some(edit) = edits.get(i) {
        if edit.range.start >= range.end {
            break;
        }
        let inside = edit.range.start >= at && edit.range.end <= range.end;
        if inside {
            out.push_str(&text[at..edit.range.start]);
            for piece in &edit.pieces {
                match piece {
                    Piece::New(new) => out.push_str(new),
                    Piece::Old(old) => render(text, old.clone(), &edits[i + 1..], out),
                }
            }
            at = edit.range.end;
        }
        i += 1;
    }
    out.push_str(&text[at..range.end]);
}

const OPEN: &str = "/*<";
const CLOSE: &str = "/*>*/";

/// Begins what belongs to these mutants.
pub fn open(ids: &[Id]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{OPEN}{}*/", ids.join(","))
}

/// Ends it.
pub fn close() -> String {
    CLOSE.to_string()
}

/// The mutants that an error at some bytes of a changed text belongs to: those of the innermost marks around them, else all
/// that are marked in the same lines.
pub fn blamed(text: &str, bytes: Range<usize>) -> HashSet<Id> {
    let first = text[..bytes.start].rfind('\n').map_or(0, |end| end + 1);
    let last = text[bytes.end..].find('\n').map_or(text.len(), |end| bytes.end + end);
    let (mut around, mut in_lines) = (None, HashSet::new());
    let mut opened: Vec<(usize, HashSet<Id>)> = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find("/*") {
        at += next;
        if let Some(rest) = text[at..].strip_prefix(OPEN) {
            let ids = rest.split("*/").next().unwrap_or_default();
            opened.push((at, ids.split(',').filter_map(|id| id.parse().ok()).collect()));
        } else if text[at..].starts_with(CLOSE) {
            let (start, ids) = opened.pop().expect("marks come in pairs");
            if start < last && at > first {
                in_lines.extend(&ids);
            }
            // Inner marks close before outer ones.
            if around.is_none() && start <= bytes.start && at >= bytes.end {
                around = Some(ids);
            }
        }
        at += 2;
    }
    around.unwrap_or(in_lines)
}
