//! Circles among files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where and by which path a file first imports another.
pub struct Import {
    pub line: usize,
    pub path: String,
}

/// Who imports whom.
#[derive(Default)]
pub struct Graph {
    imports: BTreeMap<PathBuf, BTreeMap<PathBuf, Import>>,
}

impl Graph {
    /// Notes an import; of several between two files the first line counts.
    pub fn add(&mut self, from: &Path, to: &Path, line: usize, path: String) {
        let known = self.imports.entry(from.to_path_buf()).or_default().entry(to.to_path_buf());
        let first = known.or_insert_with(|| Import { line, path: path.clone() });
        if line < first.line {
            *first = Import { line, path };
        }
    }

    /// One message for each set of files that reach each other.
    pub fn circles(&self) -> Vec<String> {
        let reached: BTreeMap<&Path, BTreeSet<&Path>> =
            self.imports.keys().map(|file| (file.as_path(), self.reached_from(file))).collect();
        let mut reported = BTreeSet::new();
        let mut messages = Vec::new();
        for (&file, beyond) in &reached {
            let returns = |other: &&Path| reached.get(other).is_some_and(|back| back.contains(file));
            let circle: BTreeSet<&Path> = beyond.iter().copied().filter(returns).collect();
            if !circle.is_empty() && reported.insert(circle.first().copied()) {
                messages.push(self.message(&circle));
            }
        }
        messages
    }

    fn reached_from<'a>(&'a self, start: &'a Path) -> BTreeSet<&'a Path> {
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            for next in self.imports.get(file).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next.as_path()) {
                    open.push(next);
                }
            }
        }
        reached
    }

    fn message(&self, circle: &BTreeSet<&Path>) -> String {
        let mut text =
            format!("{} files import each other in a circle: move what they share below them", circle.len());
        for file in circle {
            for (other, import) in
                self.imports[*file].iter().filter(|(other, _)| circle.contains(other.as_path()))
            {
                let (from, to) = (file.display(), other.display());
                text.push_str(&format!("\n    {from}:{}: imports {} from {to}", import.line, import.path));
            }
        }
        text
    }
}
