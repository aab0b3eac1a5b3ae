//! `qgemm digits`: the trained network of the example `digits`.

use crate::errors::WrongResult;
use crate::files::outfile::OutFile;
use crate::report::{SHAPE, report};
use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// Reads handwritten digits with a small network, in int8 and in 4 bits: accuracy, speed, digests per kernel.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Where to write the int8 logits of the held-out images (899 x 10, int8) [default: nowhere]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let file = args.out.as_deref().map(|path| OutFile::new("--out", path)).transpose()?;
    let (logits, error) = report(out)?;
    if let Some(error) = error {
        return Err(WrongResult(error.into()).into());
    }
    match file {
        Some(file) => file.write(SHAPE, &logits),
        None => Ok(()),
    }
}
