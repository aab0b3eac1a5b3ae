//! The `qgemm` command.
//!
//! Exit codes: 0 if all is well, 1 if a result was wrong, 2 if the input was.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod digits;
mod errors;
mod files;
mod forward;
mod groupwise;
mod info;
mod matmul;
mod memory;
mod pack;
mod quantize;
mod shape;
mod text;
mod verify;

// The example `digits`, whose parts find each other at the root of whatever crate they are compiled into.
#[path = "../../examples/digits/four_bit.rs"]
mod four_bit;
#[path = "../../examples/digits/network.rs"]
mod network;
#[path = "../../examples/digits/report.rs"]
mod report;

use crate::errors::WrongResult;
use anyhow::{Error, Result};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Exact multiplication of quantized matrices.
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
    Groupwise(Box<groupwise::Args>),
    Quantize(quantize::Args),
    Pack(pack::Args),
    Info(info::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Digits(digits::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(with_negative_values(std::env::args_os()));
    // Standard output is buffered by lines, so each row appears when it is measured.
    let mut out = io::stdout();
    let done = run(cli.command, &mut out).and_then(|()| Ok(out.flush()?));
    let Err(error) = done else { return ExitCode::SUCCESS };
    // The reader closed the pipe, as in `qgemm bench | head -1`. That is no failure.
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    let place = if error.is::<io::Error>() { "stdout: " } else { "" };
    // An error in writing to standard error cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "error: {place}{error:#}");
    if error.is::<WrongResult>() { ExitCode::from(1) } else { ExitCode::from(2) }
}

/// Joins values such as `-3` or `-20,-10` to the options before them, as in `--clamp=-20,-10`. By itself, clap takes
/// such a value for an option; if it is told to allow values with a hyphen, it takes the next option for a value
/// that was forgotten.
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

/// True for a long option without a value, such as `--clamp`.
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
        Some(Command::Groupwise(args)) => groupwise::run(&args),
        Some(Command::Quantize(args)) => quantize::run(&args),
        Some(Command::Pack(args)) => pack::run(&args),
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
