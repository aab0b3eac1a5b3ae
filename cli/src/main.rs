//! The process of the `qgemm` command: its words, its streams and its exit code.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Standard output is buffered by lines, so each row appears when it is measured.
    match qgemm_cli::run(std::env::args_os(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
