//! Runs qgemm on cases that come from a pipe or from files.
//!
//! A case is a safetensors blob: the operands, and in its metadata under `case` the call to make, as JSON
//! (see [`case::Call`]). Without arguments, cases are read from standard input and outputs are written to standard
//! output, each blob after its length (u64, little endian). With arguments, each argument is a file with a case and
//! its expected outputs (tensors named `expected.*`); the exit code is 1 if an output differs.
//!
//! With `--perturb`, one bit of every output is flipped: the program that compares them must notice.

mod case;
mod groupwise;
mod run;
mod tensor;

use anyhow::{Context, Result};
use case::Case;
use std::io::{ErrorKind, Read, Write};
use tensor::{Tensor, serialize};

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
        different += usize::from(!agrees(file)?);
    }
    std::process::exit(i32::from(different > 0))
}

/// Answers the cases on standard input until it ends.
fn serve(perturb: bool) -> Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut length = [0; 8];
    loop {
        match input.read_exact(&mut length) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let mut blob = vec![0; usize::try_from(u64::from_le_bytes(length))?];
        input.read_exact(&mut blob)?;
        let outputs = Case::parse(&blob).and_then(|case| run::run(&case));
        let mut outputs = outputs.unwrap_or_else(|e| {
            let text = format!("{e:#}").into_bytes();
            vec![("error".to_owned(), Tensor::new(&[text.len()], &text))]
        });
        if perturb {
            outputs.iter_mut().for_each(|(_, tensor)| tensor.flip_one_bit());
        }
        let reply = serialize(&outputs)?;
        output.write_all(&(reply.len() as u64).to_le_bytes())?;
        output.write_all(&reply)?;
        output.flush()?;
    }
}

/// Compares the outputs of the case in a file with the expected ones, and prints the first difference of each.
fn agrees(file: &str) -> Result<bool> {
    let blob = std::fs::read(file).with_context(|| file.to_owned())?;
    let case = Case::parse(&blob).with_context(|| file.to_owned())?;
    let mut all_equal = true;
    for (name, got) in run::run(&case)? {
        let expected = case.tensor(&format!("expected.{name}"))?;
        match got.first_difference(&expected) {
            None => println!("{file}: {name}: equal"),
            Some(difference) => {
                println!("{file}: {name}: {difference}");
                all_equal = false;
            }
        }
    }
    Ok(all_equal)
}
