//! The command: answers a prompt, or measures the speed.

use anyhow::{Context, Error, Result, ensure};
use clap::Parser;
use qgemm_smollm::generate::{Prompt, generate};
use qgemm_smollm::gguf::GgufFile;
use qgemm_smollm::model::Model;
use qgemm_smollm::options::Options;
use qgemm_smollm::{bench, config};
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output wants no more of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn start() -> Result<()> {
    let options = Options::parse();
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = options.threads {
        pool = pool.num_threads(threads.into());
    }
    // Products inside the pool use its threads.
    pool.build().context("the threads cannot be started")?.install(|| run(&options))
}

fn per_second(tokens: usize, time: Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}

fn run(options: &Options) -> Result<()> {
    let path = options.model_path();
    ensure!(path.exists(), "{}: no such file; examples/smollm/fetch.sh fetches the model", path.display());
    let start = Instant::now();
    let mut file = GgufFile::open(&path)?;
    let prompt = Prompt::read(&file, options)?;
    let context = config::Config::read(&file)?.context;
    let needed = prompt.tokens.len().saturating_add(options.tokens);
    ensure!(needed <= context, "prompt and answer have up to {needed} tokens, the model takes {context}");
    let model = Model::read(&mut file)?;
    drop(file);
    let loaded = start.elapsed();
    if options.bench {
        bench::run(&model)?;
    } else {
        let answer = generate(&model, &prompt, options)?;
        let (read, made) = (answer.prompt.len(), answer.generated.len());
        eprintln!();
        eprintln!("prompt      {read} tokens, {:.1} tokens/s", per_second(read, answer.prompt_time));
        eprintln!("generation  {made} tokens, {:.1} tokens/s", per_second(made, answer.generation_time));
        eprintln!("logits      sha256 {} of {} vectors", answer.digest.hex(), answer.digest.vectors());
    }
    eprintln!("kernel      {}, {} threads", model.embedding.kernel_name(), rayon::current_num_threads());
    eprintln!(
        "weights     {:.1} MB packed, loaded in {:.2} s",
        model.bytes() as f64 / 1e6,
        loaded.as_secs_f64()
    );
    if let Some(memory) = memory_stats::memory_stats() {
        eprintln!("memory      {:.1} MB resident", memory.physical_mem as f64 / 1e6);
    }
    Ok(())
}
