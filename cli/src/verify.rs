//! `qgemm verify`: the library against its own definition, on this CPU.

use crate::Failed;
use crate::cases::{Case, Layout, Multipliers, Output, Residual, Scaling, Source, Zero};
use crate::input::{dispatch, kernel_names, number, pool};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use qgemm::{
    Dequantize, Dispatch, ElementType, Error, Gemm, MatMut, Operand, PackedB, Quantized, Requantize, Table,
    ZeroPoint, reference,
};
use rand::RngExt;
use rayon::ThreadPool;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Tests the kernels on this CPU: random products, compared with a plain triple loop.
#[derive(clap::Args)]
pub struct Args {
    /// An instruction set, a kernel's full name, or all
    #[arg(long, value_name = "NAME", default_value = "all")]
    kernel: String,
    /// How long, in seconds
    #[arg(long, value_name = "S", default_value = "10")]
    seconds: String,
    /// Start of the random numbers [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// Run this case alone
    #[arg(long, value_name = "I")]
    case: Option<String>,
}

/// The longest run, in seconds: a month.
const MAX_SECONDS: f64 = 30.0 * 86400.0;

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let names = kernel_names(&args.kernel)?;
    let seconds = number("--seconds", &args.seconds, 0.0..=MAX_SECONDS)?;
    let seed = args.seed.as_deref().map(|text| number("--seed", text, 0..=u64::MAX)).transpose()?;
    // A short one is easier to type again.
    let seed = seed.unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    let only = args.case.as_deref().map(|text| number("--case", text, 0..=u64::MAX)).transpose()?;
    let pools = ["1", "2", "3"].into_iter().map(|threads| pool(Some(threads))).collect::<Result<Vec<_>>>()?;
    let kernels = names.iter().map(|name| Ok((*name, dispatch(name)?))).collect::<Result<Vec<_>>>()?;

    writeln!(out, "seed {seed}")?;
    let bar = ProgressBar::new((seconds * 1000.0) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {msg}").unwrap_or(ProgressStyle::default_bar()));
    let start = Instant::now();
    let mut index = only.unwrap_or(0);
    let mut cases = 0u64;
    loop {
        let case = Case::new(seed, index);
        if only.is_some() {
            writeln!(out, "case {index}\n{case}")?;
        }
        // The definition is slow: once per case, not once per kernel.
        let expected = attempt(|| case.run(Engine::Reference));
        for (name, dispatch) in &kernels {
            let got = attempt(|| case.run(Engine::Library(dispatch, &pools)));
            if let Some(difference) = difference(&expected, &got, &case) {
                bar.finish_and_clear();
                writeln!(
                    out,
                    "MISMATCH: kernel {name}, case {index} of seed {seed}\n{case}\n  {difference}"
                )?;
                writeln!(out, "run it again: qgemm verify --kernel {name} --seed {seed} --case {index}")?;
                return Err(
                    Failed(format!("kernel {name} differs from the definition in case {index}")).into()
                );
            }
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
    for name in names {
        writeln!(out, "{name:<24} {cases} cases exact")?;
    }
    Ok(())
}

/// What computes a case.
enum Engine<'a> {
    Reference,
    Library(&'a Dispatch, &'a [ThreadPool]),
}

/// The whole slice of the output afterwards: gaps too, which must not change. Floats as their bits.
#[derive(Debug, PartialEq)]
enum Outcome {
    Sums(Vec<i32>),
    Signed(Vec<i8>),
    Unsigned(Vec<u8>),
    Floats(Vec<u32>),
    Refused(Error),
    Panicked,
}

fn attempt(run: impl FnOnce() -> Result<Outcome, Error>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome::Refused(error),
        Err(_) => Outcome::Panicked,
    }
}

/// Where the two outcomes differ, in words; every case is one that must succeed.
fn difference(expected: &Outcome, got: &Outcome, case: &Case) -> Option<String> {
    use Outcome::{Floats, Signed, Sums, Unsigned};
    match (expected, got) {
        (Sums(expected), Sums(got)) => elements(expected, got, case, |x| x.to_string()),
        (Signed(expected), Signed(got)) => elements(expected, got, case, |x| x.to_string()),
        (Unsigned(expected), Unsigned(got)) => elements(expected, got, case, |x| x.to_string()),
        (Floats(expected), Floats(got)) => elements(expected, got, case, |x| f32::from_bits(*x).to_string()),
        _ => Some(format!("the definition: {}, the kernel: {}", expected.brief(), got.brief())),
    }
}

impl Outcome {
    fn brief(&self) -> String {
        match self {
            Outcome::Refused(error) => format!("refused ({error})"),
            Outcome::Panicked => "panicked".into(),
            _ => "computed".into(),
        }
    }
}

fn elements<T: PartialEq>(
    expected: &[T],
    got: &[T],
    case: &Case,
    show: impl Fn(&T) -> String,
) -> Option<String> {
    let differ = |at: &usize| expected[*at] != got[*at];
    let first = (0..expected.len()).find(differ)?;
    let count = (0..expected.len()).filter(differ).count();
    let Layout { row_stride, col_stride, .. } = case.c;
    let mut elements = (0..case.m).flat_map(|i| (0..case.n).map(move |j| (i, j)));
    let place = match elements.find(|(i, j)| i * row_stride + j * col_stride == first) {
        Some((i, j)) => format!("row {i}, column {j}"),
        None => format!("outside of the matrix, at {first} of its slice"),
    };
    let (got, expected) = (show(&got[first]), show(&expected[first]));
    Some(format!("{count} differ, the first at {place}: was {got}, must be {expected}"))
}

impl Source {
    fn operand(&self) -> Result<Operand<'_>, Error> {
        self.data.view(self.shape, (self.layout.row_stride, self.layout.col_stride))
    }
}

impl Zero {
    fn as_argument(&self) -> ZeroPoint<'_> {
        match self {
            Zero::One(zero) => ZeroPoint::PerTensor(*zero),
            Zero::Each(zeros) => ZeroPoint::Each(zeros),
        }
    }
}

impl Case {
    fn run(&self, engine: Engine<'_>) -> Result<Outcome, Error> {
        let (a, b) = (self.a.operand()?, self.b.operand()?);
        let packed;
        let mut product = match (&engine, self.packed_for) {
            (Engine::Library(dispatch, _), Some(activations)) => {
                packed = PackedB::pack_with(dispatch, b, activations)?;
                Gemm::new(a, &packed)
            }
            (Engine::Library(dispatch, _), None) => Gemm::new(a, b).dispatch(dispatch),
            (Engine::Reference, _) => Gemm::new(a, b),
        };
        product = product.a_zero(self.a_zero.as_argument()).b_zero(self.b_zero.as_argument());
        if let Some(bias) = &self.bias {
            product = product.bias(bias);
        }
        match engine {
            Engine::Library(_, pools) => pools[self.threads - 1].install(|| self.store(&product, false)),
            Engine::Reference => self.store(&product, true),
        }
    }

    fn store(&self, product: &Gemm<'_>, by_definition: bool) -> Result<Outcome, Error> {
        let Self { m, n, fill, .. } = *self;
        let Layout { row_stride, col_stride, len } = self.c;
        // Element i of the slice before: any bits, the same for both engines.
        let before = |i: usize| fill.wrapping_mul(2 * i as u64 + 1) >> 32;
        Ok(match &self.output {
            Output::Sums { accumulate } => {
                let mut c: Vec<i32> = (0..len).map(|i| before(i) as i32).collect();
                let view = MatMut::new(&mut c, m, n, row_stride, col_stride)?;
                match (by_definition, accumulate) {
                    (true, true) => reference::accumulate_i32(product, view)?,
                    (true, false) => reference::run_i32(product, view)?,
                    (false, true) => product.accumulate_i32(view)?,
                    (false, false) => product.run_i32(view)?,
                }
                Outcome::Sums(c)
            }
            Output::Bytes { element: ElementType::I8, .. } => {
                let mut c: Vec<i8> = (0..len).map(|i| before(i) as i8).collect();
                self.requantize(product, by_definition, MatMut::new(&mut c, m, n, row_stride, col_stride)?)?;
                Outcome::Signed(c)
            }
            Output::Bytes { element: ElementType::U8, .. } => {
                let mut c: Vec<u8> = (0..len).map(|i| before(i) as u8).collect();
                self.requantize(product, by_definition, MatMut::new(&mut c, m, n, row_stride, col_stride)?)?;
                Outcome::Unsigned(c)
            }
            Output::Floats { scale, bias, clamp } => {
                let mut output = Dequantize::new(scale.as_argument())?;
                if let Some(bias) = bias {
                    output = output.bias(bias);
                }
                if let Some((lo, hi)) = *clamp {
                    output = output.clamp(lo, hi)?;
                }
                let mut c: Vec<f32> = (0..len).map(|i| f32::from_bits(before(i) as u32)).collect();
                let view = MatMut::new(&mut c, m, n, row_stride, col_stride)?;
                match by_definition {
                    true => reference::run_f32(product, view, &output)?,
                    false => product.run_f32(view, &output)?,
                }
                Outcome::Floats(c.into_iter().map(f32::to_bits).collect())
            }
        })
    }

    /// To 8 bits, if that is what the case is for.
    fn requantize<T: Quantized>(
        &self,
        product: &Gemm<'_>,
        by_definition: bool,
        c: MatMut<'_, T>,
    ) -> Result<(), Error> {
        let Output::Bytes { scaling, zero, clamp, table, .. } = &self.output else { return Ok(()) };
        let mut output = match scaling {
            Scaling::Float(scale, _) => Requantize::new(scale.as_argument(), *zero)?,
            Scaling::Fixed(Multipliers::One(one), rounding) => {
                Requantize::fixed_point(*one, *rounding, *zero)?
            }
            Scaling::Fixed(Multipliers::Columns(each), rounding) => {
                Requantize::fixed_point(each, *rounding, *zero)?
            }
            Scaling::Real(factors) => match factors[..] {
                [one] => Requantize::real(one, *zero)?,
                _ => Requantize::real(factors, *zero)?,
            },
        };
        if let Scaling::Float(_, Some(Residual { source, scale, zero })) = scaling {
            output = output.residual(source.operand()?, *scale, *zero)?;
        }
        if let Some((lo, hi)) = *clamp {
            output = output.clamp(lo, hi)?;
        }
        let looked_up;
        if let Some(table) = table {
            looked_up = Table::from_fn(|x: T| T::from_bits(table[usize::from(x.to_bits())]));
            output = output.table(&looked_up);
        }
        match by_definition {
            true => reference::run_requantized(product, c, &output),
            false => product.run_requantized(c, &output),
        }
    }
}
