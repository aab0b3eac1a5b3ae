//! The output of `qgemm bench`, as CSV or as text.

use crate::bench::binding::{Bound, binding};
use crate::bench::caller::Caller;
use crate::bench::limits::{Limit, LimitKind};
use crate::bench::measure::Measured;
use crate::bench::timing::Times;
use crate::bench::variants::{Variant, Work};
use crate::shape::Shape;
use crate::text;
use anyhow::Result;
use indicatif::ProgressBar;
use qgemm::{Caches, Isa};
use std::io::Write;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    csv: bool,
    bar: ProgressBar,
    threads: usize,
    caller: Caller,
    /// The limits that were measured so far.
    limits: Vec<Limit>,
}

/// A measurement of a variant.
pub struct Row<'a> {
    pub shape: Shape,
    pub variant: &'a Variant,
    /// The instruction set of the kernels, whose peak is a limit.
    pub isa: Option<Isa>,
    pub measured: Measured,
}

impl<'a> Table<'a> {
    /// A table with `rows` rows, after each of which the progress bar advances.
    pub fn new(
        out: &'a mut (dyn Write + Send),
        csv: bool,
        rows: usize,
        threads: usize,
        caller: Caller,
    ) -> Self {
        Self { out, csv, bar: ProgressBar::new(rows as u64), threads, caller, limits: Vec::new() }
    }

    pub fn head(&mut self) -> Result<()> {
        if self.csv {
            return self.line(
                "peer,version,isa,threads,m,k,n,variant,seconds,gmacs,exact,median,caller,limit,share",
            );
        }
        let (threads, caller) = (self.threads, self.caller.description());
        self.line(&format!(
            "qgemm {VERSION} on {threads} thread(s), called from {caller}; GMAC/s = M*K*N / seconds / 1e9; least time, \
             and median in parentheses"
        ))
    }

    pub fn limit(&mut self, limit: Limit) -> Result<()> {
        let line = if self.csv { limit_csv(&limit, self.threads) } else { limit_text(&limit) };
        self.line(&line)?;
        self.limits.push(limit);
        Ok(())
    }

    pub fn row(&mut self, row: &Row<'_>) -> Result<()> {
        let case = (row.variant, row.shape);
        let bound = binding(&self.limits, Caches::detect(), self.threads, row.isa, case);
        let line = if self.csv { row.csv(self.threads, self.caller, bound) } else { row.text(bound) };
        self.bar.inc(1);
        self.line(&line)
    }

    /// Removes the progress bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Self { out, bar, .. } = self;
        // The bar is hidden meanwhile and drawn again below the line.
        bar.suspend(|| writeln!(out, "{line}"))?;
        Ok(())
    }
}

fn limit_csv(limit: &Limit, threads: usize) -> String {
    let Limit { kind, name, seconds, rate } = limit;
    let variant = match kind {
        LimitKind::Peak(_) => "peak",
        LimitKind::ReadBandwidth => "read_bw",
    };
    format!("limit,{VERSION},{name},{threads},0,0,0,{variant},{seconds:.6e},{rate:.4},n/a,n/a,n/a,n/a,n/a")
}

fn limit_text(limit: &Limit) -> String {
    let (name, unit) = match limit.kind {
        LimitKind::Peak(_) => (format!("peak of {}", limit.name), "GMAC/s"),
        LimitKind::ReadBandwidth => (format!("reading {}", limit.name), "GB/s"),
    };
    format!("  {name:<24} {:>9.1} {unit}", limit.rate)
}

impl Row<'_> {
    fn csv(&self, threads: usize, caller: Caller, bound: Option<Bound>) -> String {
        let Shape { m, k, n } = self.shape;
        let Measured { kernel, times: Times { least, median }, .. } = self.measured;
        let (name, caller) = (self.variant.name, caller.name());
        let (rate, exact) = (self.rate(), self.exact());
        let share = bound.map_or_else(
            || "n/a,n/a".to_string(),
            |Bound { name, seconds }| format!("{name},{:.6}", seconds / least),
        );
        format!(
            "qgemm,{VERSION},{kernel},{threads},{m},{k},{n},{name},{least:.6e},{rate:.4},{exact},{median:.6e},{caller},\
             {share}"
        )
    }

    fn text(&self, bound: Option<Bound>) -> String {
        let Measured { kernel, times, .. } = self.measured;
        let share = bound.map_or_else(String::new, |Bound { name, seconds }| {
            format!("{:>5.1}% of {name}", 100.0 * seconds / times.least)
        });
        let unit = if self.variant.work == Work::Pack { "GB/s  " } else { "GMAC/s" };
        let (shape, name) = (self.shape.to_string(), self.variant.name);
        let (time, median) = (text::duration(times.least), format!("({})", text::duration(times.median)));
        let (rate, exact) = (self.rate(), self.exact());
        format!(
            "{shape:>16}  {name:<12} {kernel:<20} {time:>10} {median:>12} {rate:>9.2} {unit} {share:<14}  {exact}"
        )
    }

    /// GMAC/s, or GB/s of packing.
    fn rate(&self) -> f64 {
        let Shape { k, n, .. } = self.shape;
        let work = if self.variant.work == Work::Pack { k as f64 * n as f64 } else { self.shape.macs() };
        work / self.measured.times.least / 1e9
    }

    fn exact(&self) -> String {
        let error = self.measured.error;
        if error == 0.0 { "exact".into() } else { format!("maxerr={error}") }
    }
}
