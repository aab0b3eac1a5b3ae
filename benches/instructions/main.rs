//! Instructions per call, counted by callgrind: the counts are equal on a busy and on a quiet machine.
//!
//! ```sh
//! cargo bench --bench instructions                # counts, beside those in baseline.txt
//! cargo bench --bench instructions -- --check     # fails if a count is more than 10 % above baseline.txt
//! cargo bench --bench instructions -- --save      # writes the counts to baseline.txt
//! cargo bench --bench instructions -- --test      # checks results, without valgrind
//! ```
//!
//! For each call it prints the instructions of the whole call, those of the micro-kernel, and the rest, which is the
//! overhead. The call was made once before, so that scratch memory exists. Profiles stay in `target/callgrind`, for
//! `callgrind_annotate`.
//!
//! Counts depend on the compiler (which is pinned) and, through `memset` and `malloc`, on the C library. They do not
//! depend on the CPU: valgrind presents the same AVX2 CPU everywhere, and the kernels are forced to AVX2. Instructions
//! are not cycles: `suite` measures time.

mod cases;
mod profile;

use anyhow::{Context, Result, bail, ensure};
use cases::{CASES, Case};
use profile::Counts;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The file of committed counts, a line per case.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt");

/// The share by which a count may exceed the committed one: another C library, or a change that is worth its
/// instructions.
const TOLERANCE: f64 = 0.1;

/// The environment variable that holds the index of a case in the run under valgrind.
const CASE_VARIABLE: &str = "QGEMM_COUNTED_CASE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if let Ok(case) = std::env::var(CASE_VARIABLE) {
        let case = case.parse().ok().and_then(|case: usize| CASES.get(case)).context("no such case")?;
        return Ok(case.run(counted)?);
    }
    let has = |option: &str| std::env::args().any(|arg| arg == option);
    if has("--test") {
        return CASES.iter().try_for_each(|case| Ok(case.run(counted)?));
    }
    let counts: Vec<Counts> = (0..CASES.len()).map(count).collect::<Result<_>>()?;
    if has("--save") {
        let lines = CASES.iter().zip(&counts).map(|(case, counts)| format!("{case} {}\n", counts.all));
        std::fs::write(BASELINE, lines.collect::<String>()).context(BASELINE)?;
    }
    let worse = table(&counts, &std::fs::read_to_string(BASELINE).unwrap_or_default());
    ensure!(
        !has("--check") || worse == 0,
        "{worse} more than {:.0} % above what was committed",
        TOLERANCE * 100.0
    );
    Ok(())
}

/// Makes a call that callgrind counts: `--toggle-collect` starts and stops at a function by its name.
#[inline(never)]
fn counted(call: &mut dyn FnMut()) {
    call();
}

/// Runs a case under valgrind.
fn count(index: usize) -> Result<Counts> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("callgrind");
    std::fs::create_dir_all(&folder)?;
    let profile = folder.join(CASES[index].to_string().replace('/', "-"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*::counted*"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe()?)
        // The environment lies on the stack. Its size moves buffers, which changes the instructions of `memcpy`.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .env(CASE_VARIABLE, index.to_string())
        .output()
        .context("valgrind: is it installed?")?;
    if !output.status.success() {
        bail!("{}: {}", CASES[index], String::from_utf8_lossy(&output.stderr));
    }
    Counts::read(&profile)
}

/// Prints the counts beside those of the baseline, and returns how many exceed it by more than the tolerance.
fn table(counts: &[Counts], baseline: &str) -> usize {
    let committed = |case: &Case| {
        let line = baseline.lines().find_map(|line| line.strip_prefix(&format!("{case} ")));
        line.and_then(|count| count.parse::<u64>().ok())
    };
    println!("{:<26}{:>12}{:>12}{:>12}{:>12}", "instructions", "all", "kernel", "overhead", "committed");
    let mut worse = 0;
    for (case, &Counts { all, kernel }) in CASES.iter().zip(counts) {
        let before = committed(case);
        let change = before.map(|before| all as f64 / before as f64 - 1.0);
        let (before, change) = match (before, change) {
            (Some(before), Some(change)) => (before.to_string(), format!("{:+8.2} %", change * 100.0)),
            _ => ("-".into(), String::new()),
        };
        worse +=
            usize::from(committed(case).is_none_or(|before| all as f64 > before as f64 * (1.0 + TOLERANCE)));
        let case = case.to_string();
        println!("{case:<26}{all:>12}{kernel:>12}{:>12}{before:>12}{change}", all - kernel);
    }
    worse
}
