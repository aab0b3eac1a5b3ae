//! Runs qgemm on cases that come from a pipe or from files.
//!
//! A case is a safetensors blob: the operands, and in its metadata under `case` what to do with them, as JSON
//! (see [`case::Case`]). Without arguments cases are read from standard input and results written to standard
//! output, each blob after its length (u64, little endian). With arguments each is a file with a case and
//! what it should give (tensors named `expected.*`); the exit code is 1 if one differs.
//!
//! `--perturb` flips one bit of every result, so that whoever compares can see that he would notice.

mod case;
mod run;

use std::io::{Read, Write};

use anyhow::{Context, Result};
use case::{Blob, Tensor};

fn main() -> Result<()> {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let perturb = files.first().is_some_and(|f| f == "--perturb");
    if perturb {
        files.remove(0);
    }
    if files.is_empty() {
        return serve(perturb);
    }
    let mut different = 0;
    for file in &files {
        let bytes = std::fs::read(file).with_context(|| file.clone())?;
        different += usize::from(!replay(file, &bytes)?);
    }
    std::process::exit(i32::from(different > 0))
}

fn serve(perturb: bool) -> Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut length = [0; 8];
    loop {
        match input.read_exact(&mut length) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let mut bytes = vec![0; usize::try_from(u64::from_le_bytes(length))?];
        input.read_exact(&mut bytes)?;
        let mut results = Blob::parse(&bytes).and_then(|blob| run::run(&blob)).unwrap_or_else(|e| {
            let text = format!("{e:#}").into_bytes();
            vec![("error".to_owned(), Tensor::new(&[text.len()], &text))]
        });
        if perturb {
            for (_, tensor) in &mut results {
                tensor.flip_one_bit();
            }
        }
        let reply = case::serialize(&results)?;
        output.write_all(&(reply.len() as u64).to_le_bytes())?;
        output.write_all(&reply)?;
        output.flush()?;
    }
}

/// Whether the results are the expected ones; prints the first difference of each.
fn replay(file: &str, bytes: &[u8]) -> Result<bool> {
    let blob = Blob::parse(bytes).with_context(|| file.to_owned())?;
    let mut same = true;
    for (name, got) in run::run(&blob)? {
        let expected = blob.tensor(&format!("expected.{name}"))?;
        match got.first_difference(&expected) {
            None => println!("{file}: {name}: equal"),
            Some(what) => {
                println!("{file}: {name}: {what}");
                same = false;
            }
        }
    }
    Ok(same)
}
