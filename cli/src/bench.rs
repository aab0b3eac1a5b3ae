//! `qgemm bench`: times of products of many shapes, next to what the machine could do at most.

use crate::Failed;
use crate::input::{bad, dispatch, pool};
use crate::limits::{self, Limit};
use crate::shapes::{self, Shape};
use crate::text;
use crate::variants::{Operands, VARIANTS, Variant, Work};
use anyhow::Result;
use indicatif::ProgressBar;
use qgemm::{Dispatch, Isa};
use std::io::Write;

/// Measures products, and the peak and the bandwidth that bound them.
#[derive(clap::Args)]
pub struct Args {
    /// "M,K,N;M,K,N;..." or a file with a line "M K N" per shape [default: a list of 26]
    #[arg(long, value_name = "LIST|FILE")]
    shapes: Option<String>,
    /// Threads to use, 1 to 1024
    #[arg(long, value_name = "N", default_value = "1")]
    threads: String,
    /// An instruction set, a kernel's full name, or all [default: the best]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// What to measure, of: u8s8s32 s8s8s32 u8s8u8_zp s8s8s8_zp u8s8s32_dynb s8s8s32_dynb
    /// u8s8s32_bzp s8s8s32_bzp u8s8u8_fixed s8s8s8_fixed u8s8u8_far s8s8s8_far pack f32_dynamic
    /// f32_dynamic_zp [default: the first four]
    #[arg(long, value_name = "V,...")]
    variants: Option<String>,
    /// Print CSV alone
    #[arg(long)]
    csv: bool,
    /// Call each case once: whether results are exact, not how fast
    #[arg(long)]
    quick: bool,
}

pub fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<()> {
    let shapes = shapes::read(args.shapes.as_deref())?;
    let variants = variants(args.variants.as_deref())?;
    let dispatches = match args.kernel.as_deref() {
        None => vec![Dispatch::auto()?.clone()],
        // Operands cover their whole range: kernels that need a proof of small weights would not run.
        Some("all") => {
            let exact = Dispatch::available().into_iter().filter(|kernel| kernel.i16_groups == 0);
            exact.map(|kernel| dispatch(kernel.name)).collect::<Result<_>>()?
        }
        Some(name) => vec![dispatch(name)?],
    };
    let with_floats = variants.iter().any(|variant| variant.work == Work::Floats);
    shapes.iter().try_for_each(|&shape| Operands::check(shape, with_floats))?;
    let pool = pool(Some(&args.threads))?;
    let steps = shapes.len() * variants.len() * dispatches.len();
    let table = Table { out, csv: args.csv, bar: ProgressBar::new(steps as u64), limits: Vec::new() };
    // Everything from here on runs on a thread of the pool: a call that started outside would have to
    // enter it, which takes longer than a small product.
    pool.install(|| measure(&shapes, &variants, &dispatches, args.quick, table))
}

fn variants(list: Option<&str>) -> Result<Vec<&'static Variant>> {
    let Some(list) = list else { return Ok(VARIANTS.iter().filter(|variant| variant.default).collect()) };
    let find = |name: &str| VARIANTS.iter().find(|variant| variant.name == name);
    let found: Option<Vec<_>> = list.split(',').map(|name| find(name.trim())).collect();
    let names: Vec<_> = VARIANTS.iter().map(|variant| variant.name).collect();
    found.ok_or_else(|| bad("--variants", list, format_args!("a list with commas of: {}", names.join(" "))))
}

fn measure(
    shapes: &[Shape],
    variants: &[&Variant],
    dispatches: &[Dispatch],
    quick: bool,
    mut table: Table<'_>,
) -> Result<()> {
    table.head()?;
    let used =
        |isa: &Isa| dispatches.iter().any(|dispatch| dispatch.kernels().any(|kernel| kernel.isa == *isa));
    for isa in Isa::ALL.into_iter().filter(used) {
        if let Some(limit) = limits::peak(isa, quick) {
            table.limit(limit)?;
        }
    }
    for limit in limits::bandwidths(quick)? {
        table.limit(limit)?;
    }
    let with_floats = variants.iter().any(|variant| variant.work == Work::Floats);
    let mut wrong = 0;
    for &shape in shapes {
        let operands = Operands::new(shape, with_floats)?;
        for variant in variants {
            let expected = variant.expected(&operands);
            for dispatch in dispatches {
                let measured = variant.measure(&operands, &expected, dispatch, quick)?;
                wrong += usize::from(measured.error != 0.0);
                // The same kernel by name, for its instruction set's peak.
                let isa = dispatch.kernels().next().map(|kernel| kernel.isa);
                table.row(shape, variant, measured.kernel, isa, measured.seconds, measured.error)?;
            }
        }
    }
    table.bar.finish_and_clear();
    if wrong > 0 {
        return Err(Failed(format!("{wrong} results were not exact")).into());
    }
    Ok(())
}

/// The output, in either form.
struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    csv: bool,
    bar: ProgressBar,
    limits: Vec<Limit>,
}

impl Table<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        let Self { out, bar, .. } = self;
        // The bar, if it is shown, makes room.
        bar.suspend(|| writeln!(out, "{line}"))?;
        Ok(())
    }

    fn head(&mut self) -> Result<()> {
        if self.csv {
            return self.line("peer,version,isa,threads,m,k,n,variant,seconds,gmacs,exact");
        }
        let threads = rayon::current_num_threads();
        self.line(&format!(
            "qgemm {} on {threads} thread(s); GMAC/s = M*K*N / seconds / 1e9",
            env!("CARGO_PKG_VERSION")
        ))
    }

    fn limit(&mut self, limit: Limit) -> Result<()> {
        if self.csv {
            let Limit { variant, what, seconds, rate, .. } = &limit;
            let threads = rayon::current_num_threads();
            let version = env!("CARGO_PKG_VERSION");
            self.line(&format!(
                "limit,{version},{what},{threads},0,0,0,{variant},{seconds:.6e},{rate:.4},n/a"
            ))?;
        } else {
            let (name, unit) = match limit.isa {
                Some(_) => (format!("peak of {}", limit.what), "GMAC/s"),
                None => (format!("reading {}", limit.what), "GB/s"),
            };
            self.line(&format!("  {name:<24} {:>9.1} {unit}", limit.rate))?;
        }
        self.limits.push(limit);
        Ok(())
    }

    fn row(
        &mut self,
        shape: Shape,
        variant: &Variant,
        kernel: &str,
        isa: Option<Isa>,
        seconds: f64,
        error: f64,
    ) -> Result<()> {
        let exact = if error == 0.0 { "exact".to_string() } else { format!("maxerr={error}") };
        let work = if variant.work == Work::Pack { shape.k as f64 * shape.n as f64 } else { shape.macs() };
        let rate = work / seconds / 1e9;
        let Shape { m, k, n } = shape;
        let line = if self.csv {
            let (name, threads, version) =
                (variant.name, rayon::current_num_threads(), env!("CARGO_PKG_VERSION"));
            format!("qgemm,{version},{kernel},{threads},{m},{k},{n},{name},{seconds:.6e},{rate:.4},{exact}")
        } else {
            let peak = self.limits.iter().find(|limit| limit.isa.is_some() && limit.isa == isa);
            let share = match peak {
                Some(peak) if variant.work != Work::Pack => {
                    format!("{:>5.1}% of peak", 100.0 * rate / peak.rate)
                }
                _ => format!("{:14}", ""),
            };
            let unit = if variant.work == Work::Pack { "GB/s  " } else { "GMAC/s" };
            let (shape, time) = (shape.to_string(), text::duration(seconds));
            let name = variant.name;
            format!("{shape:>16}  {name:<12} {kernel:<20} {time:>10} {rate:>9.2} {unit} {share}  {exact}")
        };
        self.bar.inc(1);
        self.line(&line)
    }
}
