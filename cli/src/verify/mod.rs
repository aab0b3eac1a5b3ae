//! `qgemm verify`: the library against its own definition, on this CPU.

mod buffer;
mod case;
mod definition;
mod described;
mod description;
mod destination;
mod draw;
mod groups;
mod kernels;
mod operands;
mod outcome;
mod stage;
#[cfg(test)]
mod tests;

use crate::arguments::machine::{NamedKernel, dispatch, named_kernels, thread_pool};
use crate::arguments::numbers::number;
use crate::errors::WrongResult;
use crate::machine::Machine;
use crate::results::Build;
use crate::text::one_line;
use crate::verify::case::Case;
use crate::verify::definition::by_definition;
use crate::verify::kernels::by_kernels;
use crate::verify::outcome::{Outcome, difference};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use qgemm::Dispatch;
use rand::RngExt;
use rayon::ThreadPool;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Instant;

/// Tests the kernels on this CPU: random products of all kinds, compared with plain loops.
///
/// Kernels for weights with a scale per group run those products, all others the rest; a batch of both runs on both.
#[derive(clap::Args)]
pub struct Args {
    /// An instruction set, a kernel's full name, or all
    #[arg(long, value_name = "NAME", default_value = "all")]
    kernel: String,
    /// How long, in seconds
    #[arg(long, value_name = "S", default_value = "10")]
    seconds: String,
    /// Start of the random numbers [default: another one each time, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// Run this case alone [default: all from 0 on, until the time is over]
    #[arg(long, value_name = "I")]
    case: Option<String>,
}

/// The digest is of the outputs of so many cases, the first ones: with the same seed it is the same on every CPU that runs
/// as many.
const DIGEST_CASES: u64 = 64;

/// The environment variables that change what the library does.
const VARIABLES: [&str; 3] = ["QGEMM_ISA", "QGEMM_CACHES", "QGEMM_AMX_OVERHEAD"];

/// The largest value of `--seconds`: 30 days.
const MAX_SECONDS: f64 = 30.0 * 86400.0;

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let names = named_kernels(&args.kernel)?;
    let seconds = number("--seconds", &args.seconds, 0.0..=MAX_SECONDS)?;
    let seed = args.seed.as_deref().map(|text| number("--seed", text, 0..=u64::MAX)).transpose()?;
    // 32 bits give a seed that is short to type.
    let seed = seed.unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    let only = args.case.as_deref().map(|text| number("--case", text, 0..=u64::MAX)).transpose()?;
    let pools = thread_pools()?;
    let ready = |kernel: NamedKernel| Ok(Kernel { kernel, dispatch: dispatch(kernel.name)?, cases: 0 });
    let mut kernels = names.into_iter().map(ready).collect::<Result<Vec<_>>>()?;

    head(out, seed)?;
    let bar = ProgressBar::new((seconds * 1000.0) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {msg}").unwrap_or(ProgressStyle::default_bar()));
    let start = Instant::now();
    let mut index = only.unwrap_or(0);
    let mut cases = 0u64;
    let mut digest = Sha256::new();
    loop {
        let case = draw::case(seed, index);
        if only.is_some() {
            writeln!(out, "case {index}\n{case}")?;
        }
        let outcome = first_mismatch(&case, &mut kernels, &pools);
        if let Err(Mismatch { kernel, difference }) = outcome {
            bar.finish_and_clear();
            writeln!(out, "MISMATCH: kernel {kernel}, case {index} of seed {seed}\n{case}\n  {difference}")?;
            writeln!(out, "run it again: qgemm verify --kernel {kernel} --seed {seed} --case {index}")?;
            let wrong = format!("kernel {kernel} differs from the definition in case {index}");
            return Err(WrongResult(wrong).into());
        }
        if let (Ok(Some(Outcome::Computed(written))), true) = (&outcome, cases < DIGEST_CASES) {
            written.iter().for_each(|written| written.add_to(&mut digest));
        }
        cases += 1;
        index = index.wrapping_add(1);
        let elapsed = start.elapsed().as_secs_f64();
        bar.set_position((elapsed * 1000.0) as u64);
        bar.set_message(format!("{cases} cases on {} kernels", kernels.len()));
        if only.is_some() || elapsed >= seconds {
            break;
        }
    }
    bar.finish_and_clear();
    for Kernel { kernel, cases, .. } in kernels {
        let result = match cases {
            0 => "no case: all were of weights that other kernels multiply".into(),
            _ => format!("{cases} cases exact"),
        };
        writeln!(out, "{:<24} {result}", kernel.name)?;
    }
    let hex: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let of = cases.min(DIGEST_CASES);
    writeln!(out, "digest   {hex} of the outputs of {of} case(s)")?;
    writeln!(out, "time     {cases} cases in {:.1} s", start.elapsed().as_secs_f64())?;
    Ok(())
}

/// The first lines, which a report of a fault needs.
fn head(out: &mut dyn Write, seed: u64) -> Result<()> {
    let Build { version, commit, compiler, target, .. } = Build::this();
    let commit = commit.map_or(String::new(), |commit| format!(" ({commit})"));
    writeln!(out, "qgemm    {version}{commit}, {compiler}, {target}")?;
    let Machine { cpu, cores, .. } = Machine::this()?;
    let stepping = cpu.stepping.map_or(String::new(), |stepping| format!(" stepping {stepping}"));
    writeln!(out, "cpu      {} ({}){}{stepping}, {cores} core(s)", cpu.brand, cpu.vendor, cpu.number())?;
    writeln!(out, "features {}", cpu.features.join(" "))?;
    for name in VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            writeln!(out, "with     {name}={}", one_line(&value.to_string_lossy()))?;
        }
    }
    writeln!(out, "seed     {seed}")?;
    Ok(())
}

/// Pools of one, two and three threads: a case runs on one of them.
fn thread_pools() -> Result<Vec<ThreadPool>> {
    ["1", "2", "3"].into_iter().map(|threads| thread_pool(Some(threads))).collect()
}

/// A kernel to be tested.
struct Kernel {
    kernel: NamedKernel,
    dispatch: Dispatch,
    /// The cases that it ran.
    cases: u64,
}

struct Mismatch {
    kernel: &'static str,
    /// The difference from the definition, in words.
    difference: String,
}

/// Runs a case on each of the kernels that multiply its weights, until one differs from the definition. Returns the outcome
/// by the definition, if any kernel ran.
fn first_mismatch(
    case: &Case,
    kernels: &mut [Kernel],
    pools: &[ThreadPool],
) -> Result<Option<Outcome>, Mismatch> {
    // The reference loops are slow, so they run once per case and not once per kernel.
    let mut expected = None;
    for Kernel { kernel, dispatch, cases } in
        kernels.iter_mut().filter(|kernel| case.runs_on(kernel.kernel.kind))
    {
        let expected = expected.get_or_insert_with(|| Outcome::of(|| by_definition(case)));
        let got = Outcome::of(|| by_kernels(case, dispatch, pools));
        *cases += 1;
        if let Some(difference) = difference(expected, &got, case) {
            return Err(Mismatch { kernel: kernel.name, difference });
        }
    }
    Ok(expected)
}
