//! `qgemm bench`: times of products of many shapes, beside the limits of the machine.

mod binding;
mod caller;
mod expected;
mod groupwise;
mod limits;
mod measure;
mod operands;
pub mod peers;
mod plan;
mod shapes;
mod table;
pub mod timing;
mod variants;

use crate::arguments::machine::{dispatch, thread_pool};
use crate::bench::caller::Caller;
use crate::bench::operands::Operands;
use crate::bench::peers::{Peer, onednn};
use crate::bench::plan::Plan;
use crate::bench::table::Table;
use crate::bench::variants::{OF_LAYOUTS, VARIANTS, Variant};
use crate::errors::{WrongResult, invalid};
use crate::files::outfile::OutFile;
use crate::machine::{Machine, load};
use crate::results::{Build, FORMAT, OURS, Results, Run};
use anyhow::Result;
use qgemm::Dispatch;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

/// Measures products, and the peak and the bandwidth that bound them.
#[derive(clap::Args)]
pub struct Args {
    /// A set (small, wide, tall, narrow, layouts), "M,K,N;M,K,N;...", or a file with a line "M K N" per shape [default: a
    /// list of 26]
    #[arg(long, value_name = "SET|LIST|FILE")]
    shapes: Option<String>,
    /// Threads to use, 1 to 1024
    #[arg(long, value_name = "N", default_value = "1")]
    threads: String,
    /// An instruction set, a kernel's full name, or all [default: the best]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    #[arg(long, value_name = "V,...", help = variants_help(), long_help = variants_long_help())]
    variants: Option<String>,
    /// The thread that calls: a plain one, or one of a rayon pool
    #[arg(long, value_name = "WHO", default_value = "plain")]
    caller: Caller,
    /// Print CSV alone [default: a table]
    #[arg(long)]
    csv: bool,
    /// Write a JSON file too, with the machine and all times, for `qgemm report` [default: none]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure other libraries too, on threads of a pool: oneDNN, if the system has it [default: qgemm alone]
    #[arg(long)]
    compare: bool,
    /// Call each case once: whether results are exact, not how fast [default: for at least 0.2 s]
    #[arg(long)]
    quick: bool,
}

fn variants_help() -> String {
    let default: Vec<_> =
        VARIANTS.iter().filter(|variant| variant.default).map(|variant| variant.name).collect();
    format!(
        "What to measure, a list with commas; --help explains all [default: {}; for the set layouts those of several \
         layouts]",
        default.join(",")
    )
}

fn variants_long_help() -> String {
    let lines = VARIANTS.iter().map(|variant| format!("\n  {:<17} {}", variant.name, variant.in_words()));
    format!(
        "{}\n\nA name begins with the types of A, B and C; or, for weights with a scale per group, with their bits and the rows of \
         a group.{}",
        variants_help(),
        lines.collect::<String>()
    )
}

/// Measures qgemm and, with `--compare`, libraries that the program brings and oneDNN.
pub fn run(args: &Args, out: &mut (dyn Write + Send), brought: Vec<Peer<'_>>) -> Result<()> {
    let shapes = shapes::read(args.shapes.as_deref())?;
    let of_layouts = (args.shapes.as_deref() == Some(shapes::LAYOUTS)).then_some(OF_LAYOUTS);
    let variants = variants(args.variants.as_deref().or(of_layouts))?;
    let (dispatches, group_dispatches) =
        (dispatches(args.kernel.as_deref())?, group_dispatches(args.kernel.as_deref())?);
    let with_floats = variants.iter().any(|variant| variant.has_float_a());
    shapes.iter().try_for_each(|&shape| Operands::check_memory(shape, with_floats))?;
    let pool = thread_pool(Some(&args.threads))?;
    let json = args.json.as_deref().map(|path| OutFile::new("--json", path)).transpose()?;
    let mut peers = if args.compare { brought } else { Vec::new() };
    if args.compare {
        match onednn() {
            Ok(onednn) => peers.push(onednn),
            Err(error) if peers.is_empty() => return Err(error),
            Err(_) => (),
        }
    }
    let plan = Plan { shapes, variants, dispatches, group_dispatches, with_floats, quick: args.quick, pool };
    let mut run = Run {
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds: 0.0,
        threads: plan.pool.current_num_threads(),
        caller: args.caller.name().into(),
        quick: args.quick,
        load_before: load(),
        load_after: None,
        disturbed: None,
    };
    let start = Instant::now();
    let mut table = Table::new(out, args.csv, plan.measurements(&peers), run.threads, args.caller);
    table.head()?;
    plan.measure_limits(&mut table)?;
    match args.caller {
        Caller::Plain => plan.measure(&mut table, &mut peers)?,
        Caller::Pool => plan.pool.install(|| plan.measure(&mut table, &mut peers))?,
    }
    plan.measure_peaks_again(&mut table)?;
    run.seconds = start.elapsed().as_secs_f64();
    run.load_after = load();
    let (limits, cases);
    (limits, cases, run.disturbed) = table.finish();
    if run.disturbed == Some(true) && !args.csv {
        writeln!(
            out,
            "DISTURBED: a peak changed by more than 3 % while cases were measured: other work ran, or the clock changed"
        )?;
    }
    // What other libraries compute is told, and no fault of this one.
    let wrong = cases.iter().filter(|case| !case.exact && case.library == OURS).count();
    if let Some(file) = json {
        let (format, build, machine) = (FORMAT.into(), Build::this(), Machine::this()?);
        let results = Results { format, build, machine, run, limits, cases };
        let text = serde_json::to_string_pretty(&results)?;
        file.write_with(&|file| Ok(writeln!(file, "{text}")?))?;
    }
    if wrong > 0 {
        return Err(WrongResult(format!("{wrong} results were not exact")).into());
    }
    Ok(())
}

/// The variants that `--variants` lists; without it, those that are measured by default.
fn variants(list: Option<&str>) -> Result<Vec<&'static Variant>> {
    let Some(list) = list else {
        return Ok(VARIANTS.iter().filter(|variant| variant.default).collect());
    };
    let find = |name: &str| VARIANTS.iter().find(|variant| variant.name == name);
    let found: Option<Vec<_>> = list.split(',').map(|name| find(name.trim())).collect();
    found.ok_or_else(|| {
        let must = format!("a list with commas of: {}", VARIANTS.map(|variant| variant.name).join(" "));
        invalid("--variants", list, must)
    })
}

/// The kernels that `--kernel` names, each a dispatch of its own for `all`; without it, the best.
fn dispatches(kernel: Option<&str>) -> Result<Vec<Dispatch>> {
    match kernel {
        None => Ok(vec![Dispatch::auto()?.clone()]),
        Some("all") => {
            let available = Dispatch::available().into_iter();
            // A kernel that sums in 16 bits runs only on weights that are proven small. The operands cover their
            // whole range.
            let usable = available.filter(|kernel| kernel.i16_groups == 0);
            usable.map(|kernel| dispatch(kernel.name)).collect()
        }
        Some(name) => Ok(vec![dispatch(name)?]),
    }
}

/// The kernels that `--kernel` names for group-wise weights.
fn group_dispatches(kernel: Option<&str>) -> Result<Vec<Dispatch>> {
    match kernel {
        Some("all") => Dispatch::available_groupwise().map(dispatch).collect(),
        other => dispatches(other),
    }
}
