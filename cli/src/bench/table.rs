//! The output of `qgemm bench`, as CSV or as text, and what it keeps of it for `--json`.

use crate::bench::binding::{binding, operand_bytes};
use crate::bench::caller::Caller;
use crate::bench::limits::{Limit, LimitKind};
use crate::bench::measure::Measured;
use crate::bench::peers::{Peer, PeerTimes};
use crate::bench::timing::Times;
use crate::bench::variants::{Variant, Work};
use crate::results::{Case, MeasuredLimit, OURS};
use crate::shape::Shape;
use crate::text;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use qgemm::{Caches, Isa};
use std::io::Write;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A peak that changed by more than this while cases were measured tells that something else ran.
const DISTURBANCE: f64 = 0.03;

pub struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    csv: bool,
    bar: ProgressBar,
    threads: usize,
    caller: Caller,
    limits: Vec<Limit>,
    /// The rates of peaks after all cases, by instruction set.
    after: Vec<(Isa, f64)>,
    cases: Vec<Case>,
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
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {eta} left");
        let bar =
            ProgressBar::new(rows as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { out, csv, bar, threads, caller, limits: Vec::new(), after: Vec::new(), cases: Vec::new() }
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
        let variant = match limit.kind {
            LimitKind::Peak(_) => "peak",
            LimitKind::ReadBandwidth => "read_bw",
            LimitKind::Call(_) => "call",
        };
        self.limit_line(&limit, variant, "")?;
        self.limits.push(limit);
        Ok(())
    }

    /// A peak that was measured after all cases.
    pub fn peak_after(&mut self, limit: &Limit) -> Result<()> {
        self.after.extend(limit.kind.isa().map(|isa| (isa, limit.rate)));
        self.limit_line(limit, "peak_after", ", afterwards")
    }

    fn limit_line(&mut self, limit: &Limit, variant: &str, when: &str) -> Result<()> {
        let Limit { kind, name, seconds, rate } = *limit;
        if self.csv {
            let threads = self.threads;
            return self.line(&format!(
                "limit,{VERSION},{name},{threads},0,0,0,{variant},{seconds:.6e},{rate:.4},n/a,n/a,n/a,n/a,n/a"
            ));
        }
        let of = match kind {
            LimitKind::Peak(_) => format!("peak of {name}{when}"),
            LimitKind::ReadBandwidth => format!("reading {name}"),
            LimitKind::Call(isa) => format!("1x1x1 by {}", isa.name()),
        };
        let unit = kind.unit();
        self.line(&format!("  {of:<36} {rate:>9.1} {unit}"))
    }

    pub fn row(&mut self, row: &Row<'_>) -> Result<()> {
        let Row { shape, variant, isa, ref measured } = *row;
        let bound = binding(&self.limits, Caches::detect(), self.threads, isa, (variant, shape));
        let share = bound.as_ref().map(|bound| bound.seconds / measured.times.least);
        let limit = bound.map(|bound| bound.name.to_string());
        let case = case((OURS, VERSION, measured.kernel), (variant, shape), measured.times, measured.error);
        self.case(Case { limit, share, ..case })
    }

    /// A measurement of another library, with the largest difference from the exact value.
    pub fn peer(
        &mut self,
        peer: &Peer<'_>,
        of: (&Variant, Shape),
        measured: PeerTimes,
        error: f64,
    ) -> Result<()> {
        self.case(case((peer.name, &peer.version, &measured.kernel), of, measured.times, error))
    }

    fn case(&mut self, case: Case) -> Result<()> {
        let line = if self.csv { csv(&case, self.threads, self.caller) } else { in_words(&case) };
        self.cases.push(case);
        self.bar.inc(1);
        self.line(&line)
    }

    /// Removes the progress bar. The limits, the cases, and whether a peak changed while they were measured.
    pub fn finish(self) -> (Vec<MeasuredLimit>, Vec<Case>, Option<bool>) {
        self.bar.finish_and_clear();
        let rate_after = |kind: LimitKind| {
            let isa = matches!(kind, LimitKind::Peak(_)).then(|| kind.isa()).flatten();
            self.after.iter().find(|(of, _)| Some(*of) == isa).map(|(_, rate)| *rate)
        };
        let limit = |limit: &Limit| MeasuredLimit {
            kind: limit.kind.name().into(),
            name: limit.name.into(),
            isa: limit.kind.isa().map(|isa| isa.name().into()),
            rate: limit.rate,
            rate_after: rate_after(limit.kind),
        };
        let limits: Vec<_> = self.limits.iter().map(limit).collect();
        let changed =
            |limit: &MeasuredLimit| Some((limit.rate_after? / limit.rate - 1.0).abs() > DISTURBANCE);
        let disturbed = limits.iter().filter_map(changed).reduce(|one, other| one || other);
        (limits, self.cases, disturbed)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Self { out, bar, .. } = self;
        // The bar is hidden meanwhile and drawn again below the line.
        bar.suspend(|| writeln!(out, "{line}"))?;
        Ok(())
    }
}

/// A case of a library, its version and its kernel, with no limit.
fn case(
    (library, version, kernel): (&str, &str, &str),
    (variant, shape): (&Variant, Shape),
    Times { least, median, ninth, batches, calls }: Times,
    error: f64,
) -> Case {
    let Shape { m, k, n } = shape;
    let work = if variant.work == Work::Pack { k as f64 * n as f64 } else { shape.macs() };
    Case {
        library: library.into(),
        version: version.into(),
        kernel: kernel.into(),
        variant: variant.name.into(),
        m,
        k,
        n,
        least,
        median,
        ninth,
        batches,
        calls,
        rate: work / least / 1e9,
        bytes: operand_bytes(variant, shape),
        exact: error == 0.0,
        error: Some(error).filter(|error| error.is_finite()),
        limit: None,
        share: None,
    }
}

fn csv(case: &Case, threads: usize, caller: Caller) -> String {
    let Case { library, version, kernel, variant, m, k, n, least, median, rate, .. } = case;
    let (exact, caller) = (exact(case), caller.name());
    let share = match (&case.limit, case.share) {
        (Some(limit), Some(share)) => format!("{limit},{share:.6}"),
        _ => "n/a,n/a".to_string(),
    };
    format!(
        "{library},{version},{kernel},{threads},{m},{k},{n},{variant},{least:.6e},{rate:.4},{exact},{median:.6e},{caller},\
         {share}"
    )
}

fn in_words(case: &Case) -> String {
    let Case { library, version, variant, m, k, n, least, median, rate, .. } = case;
    // Another library's code is of less interest than its name.
    let kernel = if library == OURS { case.kernel.clone() } else { format!("{library} {version}") };
    let shape = Shape { m: *m, k: *k, n: *n }.to_string();
    let share = match (&case.limit, case.share) {
        (Some(limit), Some(share)) => format!("{:>5.1}% of {limit}", 100.0 * share),
        _ => String::new(),
    };
    let unit = if variant == "pack" { "GB/s  " } else { "GMAC/s" };
    let (least, median) = (text::duration(*least), format!("({})", text::duration(*median)));
    let exact = exact(case);
    format!(
        "{shape:>16}  {variant:<12} {kernel:<20} {least:>10} {median:>12} {rate:>9.2} {unit} {share:<14}  {exact}"
    )
}

fn exact(case: &Case) -> String {
    match case.error {
        _ if case.exact => "exact".into(),
        Some(error) => format!("maxerr={error}"),
        None => "maxerr=inf".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_that_changes_is_a_disturbance() {
        let peak = |isa, rate| Limit { kind: LimitKind::Peak(isa), name: "peak", seconds: 1.0, rate };
        let disturbed = |after: &[f64]| {
            let mut out = Vec::new();
            let mut table = Table::new(&mut out, true, 0, 1, Caller::Plain);
            for (isa, rate) in [(Isa::Avx2, 100.0), (Isa::Avx512Vnni, 200.0)] {
                table.limit(peak(isa, rate)).unwrap();
            }
            for (isa, rate) in [Isa::Avx2, Isa::Avx512Vnni].into_iter().zip(after) {
                table.peak_after(&peak(isa, *rate)).unwrap();
            }
            let (limits, _, disturbed) = table.finish();
            assert_eq!(limits.iter().filter_map(|limit| limit.rate_after).collect::<Vec<_>>(), after);
            disturbed
        };
        assert_eq!(disturbed(&[]), None);
        assert_eq!(disturbed(&[98.0, 205.0]), Some(false));
        assert_eq!(disturbed(&[96.0, 200.0]), Some(true));
        assert_eq!(disturbed(&[100.0, 207.0]), Some(true));
    }
}
