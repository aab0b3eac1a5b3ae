//! Copies the repository, puts the switches in, and builds the tests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::list::{self, Id, Mutant};
use crate::{edit, switches};

/// Code of other CPUs; tiles, which the compiler repeats for dozens of kernels, each with all switches; code that is a test
/// itself or a benchmark.
const LEFT_OUT: [&str; 4] =
    ["kernels/src/aarch64/", "kernels/src/x86/tile/", "kernels/src/selftest/", "kernels/src/peak.rs"];

/// Tests of texts rather than of the library.
const NOT_RUN: [&str; 4] = ["examples", "layers", "proofs", "unsafe_code"];

/// What the compiler and the tests get.
const COMMON: [&str; 6] =
    ["-p", "qgemm-kernels", "-p", "qgemm", "--features=qgemm/ndarray,qgemm/serde", "--message-format=json"];

/// The first of these has the switch. They have no mutants.
const ROOTS: [&str; 2] = ["kernels/src/lib.rs", "src/lib.rs"];
/// A mutant may do what lints forbid.
const ATTRIBUTES: &str = "#![allow(warnings, internal_features, arithmetic_overflow, unconditional_panic)]\n";

/// The switches that a build has, and its test programs: folder in which it runs, and path.
pub struct Build {
    pub switched: HashSet<Id>,
    pub programs: Vec<(PathBuf, PathBuf)>,
}

/// Builds all mutants of the list that compile.
pub fn build(root: &Path, work: &Path, mutants: &[Mutant]) -> Result<Build> {
    let tree = work.join("tree");
    let dropped_path = work.join("dropped.txt");
    let known = fs::read_to_string(&dropped_path).unwrap_or_default();
    let known: HashSet<&str> = known.lines().collect();
    let left_out = |mutant: &Mutant| LEFT_OUT.iter().any(|start| mutant.file.starts_with(start));
    let mut dropped: HashSet<Id> = (1..=mutants.len())
        .filter(|id| left_out(&mutants[id - 1]) || known.contains(&*mutants[id - 1].name))
        .collect();
    let mut command = vec!["check"];
    loop {
        let (texts, switched) = copy(root, &tree, mutants, &dropped)?;
        let (errors, programs) = cargo(&tree, work, &command)?;
        println!("{}: {} switches, {} errors", command.join(" "), switched.len(), errors.len());
        if errors.is_empty() && command[0] == "test" {
            return Ok(Build { switched, programs });
        } else if errors.is_empty() {
            command = vec!["test", "--no-run", "--lib", "--tests"];
        }
        for error in errors {
            let blamed = error.places.iter().find_map(|(file, bytes)| {
                Some(edit::blamed(texts.get(file)?, bytes.clone())).filter(|ids| !ids.is_empty())
            });
            dropped.extend(blamed.with_context(|| error.text)?);
        }
        let names: Vec<&str> = dropped
            .iter()
            .map(|id| &mutants[id - 1])
            .filter(|mutant| !left_out(mutant))
            .map(|m| &*m.name)
            .collect();
        fs::write(&dropped_path, names.join("\n"))?;
    }
}

type Texts = HashMap<String, String>;

/// Brings the copy up to date. Gives the changed texts, and all mutants that have a switch.
fn copy(root: &Path, tree: &Path, mutants: &[Mutant], dropped: &HashSet<Id>) -> Result<(Texts, HashSet<Id>)> {
    let listed = Command::new("git").current_dir(root).arg("ls-files").output().context("git")?;
    let listed = String::from_utf8(listed.stdout)?;
    remove_others(tree, &listed.lines().map(|file| tree.join(file)).collect())?;
    let (mut texts, mut switched) = (Texts::new(), HashSet::new());
    for file in listed.lines() {
        let mut bytes = fs::read(root.join(file)).with_context(|| file.to_string())?;
        let places = list::of_file(mutants, file);
        if !places.is_empty() {
            let function =
                if file.starts_with("kernels/") { "crate::mutant" } else { "::qgemm_kernels::mutant" };
            let (text, ids) = switches::install(&String::from_utf8(bytes)?, &places, function, dropped)
                .with_context(|| file.to_string())?;
            bytes = text.clone().into_bytes();
            texts.insert(file.to_string(), text);
            switched.extend(ids);
        }
        if ROOTS.contains(&file) {
            let mut text = format!("{ATTRIBUTES}{}", String::from_utf8(bytes)?);
            if file == ROOTS[0] {
                let switch = include_str!("switch.in").replace("COUNT", &(mutants.len() + 1).to_string());
                text = format!("#![feature(core_intrinsics, const_eval_select)]\n{text}{switch}");
            }
            bytes = text.into_bytes();
        }
        let to = tree.join(file);
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
            fs::write(to, bytes)?;
        }
    }
    Ok((texts, switched))
}

/// Removes files that are no longer in the repository: Cargo finds tests by their names.
fn remove_others(folder: &Path, files: &HashSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

struct CompileError {
    text: String,
    /// Where it may come from: file and bytes.
    places: Vec<(String, Range<usize>)>,
}

/// Errors of the compiler, and test programs, each with the folder that it runs in.
type Compiled = (Vec<CompileError>, Vec<(PathBuf, PathBuf)>);

/// Runs cargo in the copy: errors of the compiler, and test programs.
fn cargo(tree: &Path, work: &Path, command: &[&str]) -> Result<Compiled> {
    let output = Command::new("cargo")
        .arg("+nightly")
        .args(command)
        .args(COMMON)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", work.join("build"))
        .envs([("CARGO_PROFILE_TEST_OPT_LEVEL", "1"), ("CARGO_PROFILE_TEST_DEBUG", "0")])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo +nightly")?;
    let (mut errors, mut programs) = (Vec::new(), BTreeMap::new());
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let line: Value = serde_json::from_slice(line)?;
        let message = &line["message"];
        if message["level"] == "error" {
            let mut places = Vec::new();
            all_places(message, &mut places);
            let text = message["rendered"].as_str().unwrap_or_default().to_string();
            if !text.starts_with("error: aborting") {
                errors.push(CompileError { text, places });
            }
        }
        let name = line["target"]["name"].as_str().unwrap_or_default().to_string();
        if let Some(program) = line["executable"].as_str().filter(|_| !NOT_RUN.contains(&&*name)) {
            let manifest = Path::new(line["manifest_path"].as_str().context("a program has a manifest")?);
            let folder = manifest.parent().context("a manifest is in a folder")?.to_path_buf();
            programs.insert((folder, name, line["target"]["kind"][0].to_string()), PathBuf::from(program));
        }
    }
    ensure!(output.status.success() || !errors.is_empty(), "cargo {} failed", command.join(" "));
    if output.status.success() && !errors.is_empty() {
        bail!("errors of a build that succeeded");
    }
    Ok((errors, programs.into_iter().map(|((folder, ..), program)| (folder, program)).collect()))
}

/// Primary places of a message and of the macros around them, then all others.
fn all_places(message: &Value, places: &mut Vec<(String, Range<usize>)>) {
    let spans = || message["spans"].as_array().into_iter().flatten();
    for primary in [true, false] {
        for span in spans().filter(|span| span["is_primary"] == primary) {
            let mut span = span;
            while let (Some(file), Some(start), Some(end)) =
                (span["file_name"].as_str(), span["byte_start"].as_u64(), span["byte_end"].as_u64())
            {
                places.push((file.to_string(), start as usize..end as usize));
                span = &span["expansion"]["span"];
            }
        }
    }
    for child in message["children"].as_array().into_iter().flatten() {
        all_places(child, places);
    }
}
