//! The `qgemm` command, apart from its process: the binary and the fuzz target `command` call [`run`].
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
mod machine;
mod matmul;
mod memory;
mod pack;
mod page;
mod quantize;
mod results;
mod shape;
mod text;
mod tune;
mod verify;

// The example `digits`, whose parts find each other at the root of whatever crate they are compiled into.
#[path = "../../examples/digits/four_bit.rs"]
mod four_bit;
#[path = "../../examples/digits/network.rs"]
mod network;
#[path = "../../examples/digits/report.rs"]
mod report;

pub use crate::bench::peers::{Peer, PeerProduct, PeerTimes};
pub use crate::bench::timing::{Times, times};

use crate::errors::WrongResult;
use anyhow::Error;
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
    Report(page::Args),
    Tune(tune::Args),
    Digits(digits::Args),
}

/// Why a run of the command ended before its work was done.
#[derive(Debug)]
pub enum Failure {
    /// Options that clap refuses, or its text for `--help` and `--version`: it knows where to print it, and the exit code.
    Usage(clap::Error),
    /// Any other error, as a line for standard error.
    Error {
        /// The line, without its end.
        text: String,
        /// The exit code: 1 if a result was wrong, 2 if the input was.
        code: u8,
    },
}

impl Failure {
    /// Prints it where it belongs, and returns the exit code of the process.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Usage(error) => error.exit(),
            Failure::Error { text, code } => {
                // An error in writing to standard error cannot be reported anywhere.
                let _ = writeln!(io::stderr(), "{text}");
                ExitCode::from(code)
            }
        }
    }
}

/// Runs the command line `words`, the first of which is the name of the program, and prints to `out`.
///
/// # Errors
/// See [`Failure`]. A reader that closed the pipe, as in `qgemm bench | head -1`, is none.
pub fn run(words: impl Iterator<Item = OsString>, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    run_with(words, out, Vec::new())
}

/// [`run`] with libraries that `bench --compare` measures beside qgemm.
///
/// # Errors
/// See [`Failure`].
pub fn run_with(
    words: impl Iterator<Item = OsString>,
    out: &mut (dyn Write + Send),
    peers: Vec<Peer<'_>>,
) -> Result<(), Failure> {
    let cli = Cli::try_parse_from(with_negative_values(words)).map_err(Failure::Usage)?;
    let done = run_command(cli.command, out, peers).and_then(|()| Ok(out.flush()?));
    match done {
        Err(error) if !is_broken_pipe(&error) => {
            let place = if error.is::<io::Error>() { "stdout: " } else { "" };
            let code = if error.is::<WrongResult>() { 1 } else { 2 };
            Err(Failure::Error { text: format!("error: {place}{error:#}"), code })
        }
        _ => Ok(()),
    }
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

fn run_command(
    command: Option<Command>,
    out: &mut (dyn Write + Send),
    peers: Vec<Peer<'_>>,
) -> anyhow::Result<()> {
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
        Some(Command::Bench(args)) => bench::run(&args, out, peers),
        Some(Command::Report(args)) => page::run(&args, out),
        Some(Command::Tune(args)) => tune::run(&args, out),
        Some(Command::Digits(args)) => digits::run(&args, out),
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    let broken = |e: &io::Error| e.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}
