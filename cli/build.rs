//! Tells the command which compiler made it, and of which commit, for `qgemm bench --json`.

use std::path::Path;
use std::process::Command;

fn main() {
    let compiler = std::env::var("RUSTC").ok().and_then(|rustc| first_line(Command::new(rustc).arg("-V")));
    tell("QGEMM_COMPILER", compiler);
    tell("QGEMM_TARGET", std::env::var("TARGET").ok());
    // A package is no repository, though it may lie inside one of something else.
    let repository = Path::new("../.git");
    let describe = &["describe", "--always", "--abbrev=12", "--exclude=*"];
    let commit = repository.exists().then(|| first_line(Command::new("git").args(describe))).flatten();
    tell("QGEMM_COMMIT", commit);
    println!("cargo:rerun-if-changed=build.rs");
    // This file grows with every commit.
    if repository.join("logs/HEAD").exists() {
        println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    }
}

/// Sets a variable for `env!`; empty if its value is not known.
fn tell(name: &str, value: Option<String>) {
    println!("cargo:rustc-env={name}={}", value.unwrap_or_default());
}

/// The first line that a command prints; nothing if it fails.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_string)
}
