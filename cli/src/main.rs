//! The `qgemm` command.
//!
//! Exit codes: 0 if all is well, 1 if a result was wrong, 2 if the input was.
#![forbid(unsafe_code)]

mod bench;
mod cases;
mod describe;
mod digits;
mod forward;
mod info;
mod input;
mod limits;
mod matmul;
#[path = "../../examples/digits/network.rs"]
mod network;
mod npy;
mod outfile;
mod output;
#[path = "../../examples/digits/report.rs"]
mod report;
mod shapes;
mod stage;
mod text;
mod timing;
mod values;
mod variants;
mod verify;

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Exact int8 matrix multiplication.
///
/// Without a command: the worked example of quantized inference, then a small network that reads
/// handwritten digits.
#[derive(Parser)]
#[command(name = "qgemm", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Forward(forward::Args),
    Matmul(Box<matmul::Args>),
    Info(info::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Digits(digits::Args),
}

/// A result that is not what it has to be. The command then exits with 1.
#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

fn main() -> ExitCode {
    let cli = Cli::parse_from(with_negative_values(std::env::args_os()));
    // Line-buffered, so that rows appear as they are measured.
    let mut out = io::stdout();
    let done = run(cli.command, &mut out).and_then(|()| Ok(out.flush()?));
    let Err(error) = done else { return ExitCode::SUCCESS };
    // `qgemm bench | head -1`: whoever reads has seen enough.
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    let place = if error.is::<io::Error>() { "stdout: " } else { "" };
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {place}{error:#}");
    if error.is::<Failed>() { ExitCode::from(1) } else { ExitCode::from(2) }
}

/// Joins a value such as `-3` or `-20,-10` to its option, as in `--clamp=-20,-10`: clap takes one that stands
/// alone for an option of its own, or else takes options for values where a value is forgotten.
fn with_negative_values(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for word in words {
        let negative = matches!(word.as_encoded_bytes(), [b'-', b'0'..=b'9' | b'.' | b'i', ..]);
        match joined.last_mut() {
            Some(option) if negative && is_option(option) => {
                option.push("=");
                option.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

/// Whether a word names an option without its value.
fn is_option(word: &OsString) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.len() > 2 && bytes.starts_with(b"--") && !bytes.contains(&b'=')
}

fn run(command: Option<Command>, out: &mut (dyn Write + Send)) -> Result<()> {
    match command {
        None => {
            forward::run(&forward::Args::default(), out)?;
            writeln!(out)?;
            digits::run(&digits::Args::default(), out)
        }
        Some(Command::Forward(args)) => forward::run(&args, out),
        Some(Command::Matmul(args)) => matmul::run(&args),
        Some(Command::Info(args)) => info::run(&args, out),
        Some(Command::Verify(args)) => verify::run(&args, out),
        Some(Command::Bench(args)) => bench::run(&args, out),
        Some(Command::Digits(args)) => digits::run(&args, out),
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    let broken = |e: &io::Error| e.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}
