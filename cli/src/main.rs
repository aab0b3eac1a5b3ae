//! The process of the `qgemm` command: its words, its streams and its exit code.
#![forbid(unsafe_code)]

use qgemm_cli::Failure;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Standard output is buffered by lines, so each row appears when it is measured.
    match qgemm_cli::run(std::env::args_os(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => error.exit(),
        Err(Failure::Error { text, code }) => {
            // An error in writing to standard error cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(code)
        }
    }
}
