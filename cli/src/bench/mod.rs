//! `qgemm bench`: times of products of many shapes, beside the limits of the machine.

mod binding;
mod caller;
mod expected;
mod groupwise;
mod limits;
mod measure;
mod operands;
mod shapes;
mod table;
pub mod timing;
mod variants;

use crate::arguments::machine::{dispatch, thread_pool};
use crate::bench::caller::Caller;
use crate::bench::expected::Expected;
use crate::bench::groupwise::GroupCase;
use crate::bench::limits::{bandwidths, peak};
use crate::bench::measure::{Job, Measured};
use crate::bench::operands::Operands;
use crate::bench::table::{Row, Table};
use crate::bench::variants::{OF_LAYOUTS, VARIANTS, Variant, Work};
use crate::errors::{WrongResult, invalid};
use crate::shape::Shape;
use anyhow::Result;
use qgemm::{CodeBits, Dispatch, Isa, Threads};
use qgemm_kernels::GROUP_TABLE;
use std::io::Write;

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

pub fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<()> {
    let shapes = shapes::read(args.shapes.as_deref())?;
    let of_layouts = (args.shapes.as_deref() == Some(shapes::LAYOUTS)).then_some(OF_LAYOUTS);
    let variants = variants(args.variants.as_deref().or(of_layouts))?;
    let (dispatches, group_dispatches) =
        (dispatches(args.kernel.as_deref())?, group_dispatches(args.kernel.as_deref())?);
    let with_floats = variants.iter().any(|variant| variant.has_float_a());
    shapes.iter().try_for_each(|&shape| Operands::check_memory(shape, with_floats))?;
    let pool = thread_pool(Some(&args.threads))?;
    let plan = Plan { shapes, variants, dispatches, group_dispatches, with_floats, quick: args.quick };
    let mut table = Table::new(out, args.csv, plan.measurements(), pool.current_num_threads(), args.caller);
    table.head()?;
    // On all threads of the pool, whoever calls.
    pool.install(|| plan.measure_limits(&mut table))?;
    let threads = Threads::at_most(pool.current_num_threads());
    match args.caller {
        Caller::Plain => plan.measure(table, threads),
        Caller::Pool => pool.install(|| plan.measure(table, threads)),
    }
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

/// The instruction set of a group-wise kernel, if the peak of that bounds products of weights of so many bits.
fn isa_of_peak(kernel: &str, bits: CodeBits) -> Option<Isa> {
    let isa = GROUP_TABLE.iter().find(|one| one.name == kernel)?.isa;
    // These multiply 4 bits by `vpmaddubsw`, twice as fast as by the instruction of their peak.
    let is_faster = bits == CodeBits::Four && matches!(isa, Isa::Avx2 | Isa::Avx512Bw);
    (!is_faster).then_some(isa)
}

/// The measurements to make: each variant of each shape on each dispatch.
struct Plan {
    shapes: Vec<Shape>,
    variants: Vec<&'static Variant>,
    dispatches: Vec<Dispatch>,
    /// Those for group-wise weights.
    group_dispatches: Vec<Dispatch>,
    /// A variant needs A as floats.
    with_floats: bool,
    /// Each call is made once.
    quick: bool,
}

impl Plan {
    fn measurements(&self) -> usize {
        let by_groups = self.variants.iter().filter(|variant| variant.is_groupwise()).count();
        let others = self.variants.len() - by_groups;
        self.shapes.len() * (others * self.dispatches.len() + by_groups * self.group_dispatches.len())
    }

    fn measure(&self, mut table: Table<'_>, threads: Threads<'_>) -> Result<()> {
        let mut wrong = 0;
        for &shape in &self.shapes {
            let operands = Operands::new(shape, self.with_floats)?;
            for &variant in &self.variants {
                let mut row = |isa, measured: Measured| {
                    wrong += usize::from(measured.error != 0.0);
                    table.row(&Row { shape, variant, isa, measured })
                };
                if let Work::Groupwise(of) = variant.work {
                    let case = GroupCase::new(of, &operands)?;
                    for dispatch in &self.group_dispatches {
                        let measured = case.measure(dispatch, threads, self.quick)?;
                        row(isa_of_peak(measured.kernel, of.bits), measured)?;
                    }
                    continue;
                }
                let expected = Expected::new(variant, &operands);
                for dispatch in &self.dispatches {
                    let job = Job { variant, operands: &operands, expected: &expected, dispatch, threads };
                    let measured = job.measure(self.quick)?;
                    let isa = dispatch.kernels().find(|kernel| kernel.name == measured.kernel);
                    row(isa.map(|kernel| kernel.isa), measured)?;
                }
            }
        }
        table.finish();
        if wrong > 0 {
            return Err(WrongResult(format!("{wrong} results were not exact")).into());
        }
        Ok(())
    }

    fn measure_limits(&self, table: &mut Table<'_>) -> Result<()> {
        for isa in Isa::ALL.into_iter().filter(|isa| self.uses(*isa)) {
            if let Some(limit) = peak(isa, self.quick) {
                table.limit(limit)?;
            }
        }
        for limit in bandwidths(self.quick)? {
            table.limit(limit)?;
        }
        Ok(())
    }

    /// Whether a measurement runs on kernels of an instruction set.
    fn uses(&self, isa: Isa) -> bool {
        let of_columns = |dispatch: &Dispatch| dispatch.kernels().any(|kernel| kernel.isa == isa);
        let of_groups = |dispatch: &Dispatch| {
            GROUP_TABLE.iter().any(|kernel| kernel.isa == isa && kernel.name == dispatch.groupwise_kernel())
        };
        let by_groups = |variant: &&Variant| variant.is_groupwise();
        self.dispatches.iter().any(of_columns)
            || self.variants.iter().any(by_groups) && self.group_dispatches.iter().any(of_groups)
    }
}
