//! Instructions that a call takes, counted by callgrind: the same on a busy machine as on a quiet one.
//!
//! ```sh
//! cargo bench --bench instructions                # counts, next to those committed
//! cargo bench --bench instructions -- --check     # fails where more than committed
//! cargo bench --bench instructions -- --save      # commits to the new counts
//! cargo bench --bench instructions -- --test      # whether results are right, without valgrind
//! ```
//!
//! For each call: the instructions of all, those of the micro-kernel, and what is left, which is the
//! overhead. Warm: the call was made before. Profiles stay in `target/callgrind`, for `callgrind_annotate`.
//!
//! Counts depend on the compiler (which is pinned) and, through `memset` and `malloc`, on the C library; not
//! on the CPU, since valgrind presents one and the same AVX2 CPU to the program, and the kernels are
//! forced to AVX2. They tell nothing of cycles: for those there is `suite`.

mod cases;
mod profile;

use anyhow::{Context, Result, bail, ensure};
use cases::{CASES, Case};
use profile::Counts;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The counts that were committed, a line per case.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt");

/// What another C library, or a change that is worth it, may add.
const TOLERANCE: f64 = 0.1;

/// Set for the run under valgrind, to the index of its case.
const CASE: &str = "QGEMM_COUNTED_CASE";

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
    if let Ok(case) = std::env::var(CASE) {
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

/// What callgrind counts: its own function, so that it can be told to begin and to end with it.
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
        // What lies on the stack moves buffers, which costs or saves `memcpy` a few instructions.
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .env(CASE, index.to_string())
        .output()
        .context("valgrind: is it installed?")?;
    if !output.status.success() {
        bail!("{}: {}", CASES[index], String::from_utf8_lossy(&output.stderr));
    }
    Counts::read(&profile)
}

/// Prints the counts, and returns how many are worse than the baseline.
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
