//! The results as Markdown.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{Outcome, Plan};

#[derive(Clone, Copy, Default)]
struct Counts {
    mutants: usize,
    caught: usize,
    timeout: usize,
    equivalent: usize,
    survived: usize,
    unreached: usize,
    not_switched: usize,
    not_run: usize,
}

impl Counts {
    fn row(&self, name: &str) -> String {
        let Self { mutants, caught, timeout, equivalent, survived, unreached, not_switched, not_run } = *self;
        format!(
            "| {name} | {mutants} | {caught} | {timeout} | {equivalent} | {survived} | {unreached} | {not_switched} | {not_run} |\n"
        )
    }
}

/// The mutants that change nothing that is promised, with the reasons: `mutants/equivalent.txt`.
pub fn equivalent(root: &Path) -> HashMap<String, String> {
    let text = fs::read_to_string(root.join("mutants/equivalent.txt")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.rsplit_once(" | "));
    lines.map(|(name, reason)| (name.to_string(), reason.to_string())).collect()
}

/// Writes `mutants/REPORT.md`: what `mutants/report_head.md` says, a table of the files, and the survivors with the
/// reasons of `mutants/equivalent.txt`.
pub fn write(root: &Path, plan: &Plan, outcomes: &HashMap<String, Outcome>) -> Result<()> {
    let folder = root.join("mutants");
    let reasons = equivalent(root);
    let mut files = BTreeMap::<&str, Counts>::new();
    let (mut total, mut equivalent, mut survivors, mut unreached) =
        (Counts::default(), vec![], vec![], vec![]);
    for (name, switched) in plan.mutants.iter().zip(&plan.switched) {
        let file = name.split(':').next().context("a name begins with a file")?;
        for counts in [files.entry(file).or_default(), &mut total] {
            counts.mutants += 1;
            let outcome = outcomes.get(name).filter(|_| *switched).map(|outcome| &*outcome.outcome);
            *match outcome {
                _ if !switched => &mut counts.not_switched,
                Some("caught") => &mut counts.caught,
                Some("timeout") => &mut counts.timeout,
                Some(_) if reasons.contains_key(name) => &mut counts.equivalent,
                Some("survived") => &mut counts.survived,
                Some(_) => &mut counts.unreached,
                None => &mut counts.not_run,
            } += 1;
        }
        match (outcomes.get(name).filter(|_| *switched), reasons.get(name)) {
            (Some(outcome), _) if matches!(&*outcome.outcome, "caught" | "timeout") => {}
            (Some(_), Some(reason)) => equivalent.push(format!("- `{name}`: {reason}")),
            (Some(outcome), None) if outcome.outcome == "survived" => survivors.push(format!("- `{name}`")),
            (Some(_), None) => unreached.push(format!("- `{name}`")),
            (None, _) => {}
        }
    }
    let mut text = fs::read_to_string(folder.join("report_head.md"))?;
    text += "| file | mutants | caught | timed out | equivalent | survived | not reached | not switched | not run |\n";
    text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for (file, counts) in &files {
        text += &counts.row(&format!("`{file}`"));
    }
    text += &total.row("total");
    let lists = [
        (
            "Equivalent",
            "A test cannot tell these from the original, or only one that is left out here, for the reason given (`equivalent.txt`).",
            equivalent,
        ),
        ("Survivors", "The tests ran these and passed.", survivors),
        ("Not reached", "No test runs these.", unreached),
    ];
    for (title, what, lines) in lists {
        write!(text, "\n## {title}: {}\n\n{what}\n\n{}\n", lines.len(), lines.join("\n"))?;
    }
    fs::write(folder.join("REPORT.md"), text)?;
    Ok(())
}
