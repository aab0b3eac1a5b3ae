//! Mutation tests: every mutant that cargo-mutants lists, all of them in one build, each behind a switch.
//!
//! `build LIST...` makes the build and finds which tests reach which mutants; `run [--again] [PREFIX...]` runs the tests with
//! one mutant on after the other; `report` writes the results as Markdown. `run.sh` does it all.

mod build;
mod edit;
mod list;
mod report;
mod switches;
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::list::Mutant;
use crate::tests::{End, Scale, Test};

/// The build, on disk.
#[derive(Deserialize, Serialize)]
struct Plan {
    /// Names of all mutants.
    mutants: Vec<String>,
    /// Whether each has a switch.
    switched: Vec<bool>,
    tests: Vec<Test>,
}

/// How the tests of a mutant ended: a line of the results.
#[derive(Clone, Deserialize, Serialize)]
struct Outcome {
    name: String,
    /// `caught`, `timeout`, `survived`, or `unreached` if no test runs it.
    outcome: String,
    /// The test that failed.
    by: String,
    seconds: f64,
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a folder of the repository")?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("mutants/target"), PathBuf::from);
    let work = target.join("mutants");
    fs::create_dir_all(&work)?;
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match &*command {
        "build" => build(root, &work, &list::read(&rest)?),
        "run" => run(root, &work, &rest),
        "report" => report::write(root, &read_plan(&work)?, &read_outcomes(&work)?),
        _ => bail!("usage: build LIST... | run [--again] [PREFIX...] | report"),
    }
}

fn build(root: &Path, work: &Path, mutants: &[Mutant]) -> Result<()> {
    let built = build::build(root, work, mutants)?;
    let tests = tests::record(&built.programs, work)?;
    println!("{} tests, {:.0} s together", tests.len(), tests.iter().map(|test| test.seconds).sum::<f64>());
    let plan = Plan {
        mutants: mutants.iter().map(|mutant| mutant.name.clone()).collect(),
        switched: (1..=mutants.len()).map(|id| built.switched.contains(&id)).collect(),
        tests,
    };
    Ok(serde_json::to_writer(File::create(work.join("plan.json"))?, &plan)?)
}

fn read_plan(work: &Path) -> Result<Plan> {
    Ok(serde_json::from_slice(&fs::read(work.join("plan.json")).context("no build")?)?)
}

/// The last outcome of each mutant.
fn read_outcomes(work: &Path) -> Result<HashMap<String, Outcome>> {
    let text = fs::read_to_string(work.join("results.jsonl")).unwrap_or_default();
    let outcomes = text.lines().map(serde_json::from_str::<Outcome>);
    outcomes
        .map(|outcome| outcome.map(|outcome| (outcome.name.clone(), outcome)).map_err(Into::into))
        .collect()
}

/// The tests that survivors are run with once more: what takes longer with few cases takes minutes with more.
const MOST_SECONDS: f64 = 5.0;

/// Runs the mutants that have no outcome yet, in the order of the prefixes of their names; all without a prefix. With
/// `--again` those that no test caught and that are not equivalent, once more, with more cases.
fn run(root: &Path, work: &Path, arguments: &[String]) -> Result<()> {
    let mut plan = read_plan(work)?;
    let again = arguments.iter().any(|argument| argument == "--again");
    let equivalent = report::equivalent(root);
    let done: HashSet<String> = read_outcomes(work)?
        .into_values()
        .filter(|outcome| !again || matches!(&*outcome.outcome, "caught" | "timeout"))
        .map(|outcome| outcome.name)
        .chain(equivalent.into_keys().filter(|_| again))
        .collect();
    let scale = if again { Scale::More } else { Scale::Few };
    plan.tests.retain(|test| !again || test.seconds <= MOST_SECONDS);
    let prefixes: Vec<&str> =
        arguments.iter().map(|argument| &**argument).filter(|argument| *argument != "--again").collect();
    let place = |name: &str| prefixes.iter().position(|prefix| name.starts_with(prefix));
    let mut queue: Vec<usize> = (0..plan.mutants.len())
        .filter(|i| plan.switched[*i] && !done.contains(&plan.mutants[*i]))
        .filter(|i| prefixes.is_empty() || place(&plan.mutants[*i]).is_some())
        .collect();
    queue.sort_by_key(|i| place(&plan.mutants[*i]));
    let results = OpenOptions::new().create(true).append(true).open(work.join("results.jsonl"))?;
    let results = Mutex::new((results, 0));
    tests::in_parallel(queue.len(), |at| {
        let id = queue[at] + 1;
        let start = Instant::now();
        let (outcome, by) = outcome(&plan, id, scale)?;
        let name = plan.mutants[queue[at]].clone();
        let outcome =
            Outcome { name, outcome: outcome.to_string(), by, seconds: start.elapsed().as_secs_f64() };
        let (file, count) = &mut *results.lock().expect("no thread panicked");
        *count += 1;
        println!(
            "{count}/{} {:.1} s {} {} {}",
            queue.len(),
            outcome.seconds,
            outcome.outcome,
            outcome.name,
            outcome.by
        );
        Ok(writeln!(file, "{}", serde_json::to_string(&outcome)?)?)
    })
}

/// Runs the tests that reach a mutant, the fastest first, until one fails.
fn outcome(plan: &Plan, id: list::Id, scale: Scale) -> Result<(&'static str, String)> {
    let reaching: Vec<&Test> =
        plan.tests.iter().filter(|test| test.reached.binary_search(&id).is_ok()).collect();
    if reaching.is_empty() {
        return Ok(("unreached", String::new()));
    }
    let (mut first, mut most) = (0, 0.1);
    while first < reaching.len() {
        let mut seconds = 0.0;
        let count = reaching[first..].iter().take_while(|test| {
            let fits = seconds == 0.0 || seconds + test.seconds <= most;
            seconds += test.seconds;
            fits
        });
        let mut batch = reaching[first..first + count.count()].to_vec();
        first += batch.len();
        most *= 3.0;
        batch.sort_by_key(|test| &test.program);
        for tests in batch.chunk_by(|a, b| a.program == b.program) {
            match tests::run_with(id, tests, scale)? {
                End::Passed => {}
                End::Failed(by) => return Ok(("caught", by)),
                End::TimedOut => return Ok(("timeout", tests[0].name.clone())),
            }
        }
    }
    Ok(("survived", String::new()))
}
