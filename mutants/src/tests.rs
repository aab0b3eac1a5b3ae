//! The tests of a build: how long each takes, and which mutants it reaches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::list::Id;

/// Address space of a test program, in KiB: mutants that ask for memory without end fail.
const MEMORY: usize = 12 << 20;

/// The random cases are the same in each run.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PROPTEST_RNG_SEED", "1"), ("RAYON_NUM_THREADS", "2"), ("RUST_BACKTRACE", "0")];

/// How many of the random cases run.
#[derive(Clone, Copy)]
pub enum Scale {
    /// 2 %, on the best kernel of the CPU.
    Few,
    /// 20 %, on all kernels.
    More,
}

impl Scale {
    /// The percentage, and how much longer tests may take than with few cases.
    fn percent_and_time(self) -> (&'static str, f64) {
        match self {
            Self::Few => ("2", 1.0),
            Self::More => ("20", 20.0),
        }
    }
}

/// A test of one program.
#[derive(Clone, Deserialize, Serialize)]
pub struct Test {
    /// Folder in which the program runs.
    pub folder: PathBuf,
    pub program: PathBuf,
    pub name: String,
    /// With few cases.
    pub seconds: f64,
    pub reached: Vec<Id>,
}

/// The end of a run of tests.
pub enum End {
    Passed,
    /// The first test that failed, or how the program ended.
    Failed(String),
    TimedOut,
}

/// Runs each test of the programs alone, without a mutant. Those that fail then are left out.
pub fn record(programs: &[(PathBuf, PathBuf)], work: &Path) -> Result<Vec<Test>> {
    let mut all = Vec::new();
    for (folder, program) in programs {
        let list = Command::new(program).current_dir(folder).args(["--list", "--format=terse"]).output()?;
        for name in String::from_utf8(list.stdout)?.lines().filter_map(|line| line.strip_suffix(": test")) {
            all.push((folder.clone(), program.clone(), name.to_string()));
        }
    }
    let tests = Mutex::new(Vec::new());
    in_parallel(all.len(), |i| {
        let (folder, program, name) = &all[i];
        let path = work.join(format!("reached-{i}"));
        let _ = fs::remove_file(&path);
        let start = Instant::now();
        let reached = [("QGEMM_MUTANTS_REACHED", path.as_os_str())];
        let end = run(folder, program, &[name], (Scale::Few, 300.0), |command| command.envs(reached))?;
        let seconds = start.elapsed().as_secs_f64();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        let reached = text.lines().filter_map(|id| id.parse().ok()).collect();
        match end {
            End::Passed => {
                let test = Test {
                    folder: folder.clone(),
                    program: program.clone(),
                    name: name.clone(),
                    seconds,
                    reached,
                };
                tests.lock().expect("no thread panicked").push(test);
            }
            _ => println!("left out, as it fails without a mutant: {name} of {}", program.display()),
        }
        Ok(())
    })?;
    let mut tests = tests.into_inner().expect("no thread panicked");
    tests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(tests)
}

/// Runs tests of a program with a mutant on.
pub fn run_with(id: Id, tests: &[&Test], scale: Scale) -> Result<End> {
    let names: Vec<&str> = tests.iter().map(|test| &*test.name).collect();
    let seconds: f64 = tests.iter().map(|test| test.seconds).sum();
    let most = 5.0 * seconds * scale.percent_and_time().1 + 3.0;
    run(&tests[0].folder, &tests[0].program, &names, (scale, most), |command| {
        command.env("QGEMM_MUTANT", id.to_string())
    })
}

fn run(
    folder: &Path,
    program: &Path,
    names: &[&str],
    (scale, seconds): (Scale, f64),
    change: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<End> {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", &seconds.to_string(), "sh", "-c"])
        .arg(format!("ulimit -v {MEMORY}; ulimit -c 0; exec \"$0\" \"$@\""))
        .arg(program)
        .args(["--exact", "--test-threads=1", "-Zunstable-options", "--fail-fast"])
        .args(names)
        .current_dir(folder)
        .envs(ENVIRONMENT)
        .env("QGEMM_TEST_SCALE", scale.percent_and_time().0);
    change(&mut command);
    let start = Instant::now();
    let output = command.output().context("timeout")?;
    Ok(if output.status.success() {
        End::Passed
    } else if start.elapsed().as_secs_f64() >= seconds {
        End::TimedOut
    } else {
        End::Failed(failure(program, &output))
    })
}

fn failure(program: &Path, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // Without the hash.
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    format!("{name}: {}", failed.map_or_else(|| output.status.to_string(), str::to_string))
}

/// Calls `f` with all indices, two at a time.
pub fn in_parallel(count: usize, f: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                i if i < count => f(i)?,
                _ => return Ok(()),
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work().and(other.join().expect("no thread panics"))
    })
}
