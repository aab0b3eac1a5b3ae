//! `qgemm verify`: the library against its own definition, on this CPU.

use crate::Failed;
use crate::cases::{Case, Integers, Kind, Layout, Output, Product, Reals, Rows, Target};
use crate::input::{dispatch, kernel_names, number, pool};
use crate::npy::{Bytes, Matrix8};
use crate::stage::Stage;
use crate::values::Values;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use qgemm::{
    Dispatch, DynamicGemm, Error, Gather, Gemm, Int8Element, Lhs, MatMut, MatRef, PackedB, Rhs, Task,
    reference, run_batch,
};
use rand::RngExt;
use rayon::ThreadPool;
use std::fmt::Display;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Tests the kernels on this CPU: random products of all kinds, compared with a plain triple loop.
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
        let expected = attempt(|| case.by_definition());
        for (name, dispatch) in &kernels {
            let got = attempt(|| case.run(dispatch, &pools));
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

/// What came of a case.
enum Outcome {
    Computed(Vec<Slice>),
    Refused(Error),
    Panicked,
}

/// The whole slice of an output afterwards: gaps too, which must not change.
enum Slice {
    Sums(Vec<i32>),
    Signed(Vec<i8>),
    Unsigned(Vec<u8>),
    Floats(Vec<f32>),
}

fn attempt(run: impl FnOnce() -> Result<Vec<Slice>, Error>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(slices)) => Outcome::Computed(slices),
        Ok(Err(error)) => Outcome::Refused(error),
        Err(_) => Outcome::Panicked,
    }
}

/// Where the two outcomes differ, in words; every case is one that must succeed.
fn difference(expected: &Outcome, got: &Outcome, case: &Case) -> Option<String> {
    let (Outcome::Computed(expected), Outcome::Computed(got)) = (expected, got) else {
        return Some(format!("the definition: {}, the kernel: {}", expected.brief(), got.brief()));
    };
    let mut outputs = expected.iter().zip(got).zip(case.targets()).enumerate();
    outputs.find_map(|(i, ((expected, got), target))| {
        expected.difference(got, target).map(|difference| format!("product {i}: {difference}"))
    })
}

impl Outcome {
    fn brief(&self) -> String {
        match self {
            Outcome::Computed(_) => "computed".into(),
            Outcome::Refused(error) => format!("refused ({error})"),
            Outcome::Panicked => "panicked".into(),
        }
    }
}

impl Slice {
    fn difference(&self, got: &Self, target: &Target) -> Option<String> {
        use Slice::{Floats, Signed, Sums, Unsigned};
        match (self, got) {
            (Sums(expected), Sums(got)) => elements(expected, got, target, |x| *x),
            (Signed(expected), Signed(got)) => elements(expected, got, target, |x| *x),
            (Unsigned(expected), Unsigned(got)) => elements(expected, got, target, |x| *x),
            // Zeros have signs, and a NaN equals itself.
            (Floats(expected), Floats(got)) => elements(expected, got, target, |x| x.to_bits()),
            _ => Some("the outputs are of different types".into()),
        }
    }
}

fn elements<T: Display, K: PartialEq>(
    expected: &[T],
    got: &[T],
    target: &Target,
    key: impl Fn(&T) -> K,
) -> Option<String> {
    let differ = |at: &usize| key(&expected[*at]) != key(&got[*at]);
    let first = (0..expected.len()).find(differ)?;
    let count = (0..expected.len()).filter(differ).count();
    let Layout { row_stride, col_stride, .. } = target.layout;
    let mut elements = (0..target.rows).flat_map(|i| (0..target.cols).map(move |j| (i, j)));
    let place = match elements.find(|(i, j)| i * row_stride + j * col_stride == first) {
        Some((i, j)) => format!("row {i}, column {j}"),
        None => format!("outside of the matrix, at {first} of its slice"),
    };
    let (got, expected) = (&got[first], &expected[first]);
    Some(format!("{count} differ, the first at {place}: was {got}, must be {expected}"))
}

impl Case {
    fn by_definition(&self) -> Result<Vec<Slice>, Error> {
        match &self.kind {
            Kind::Single(product) => Ok(vec![product.by_definition()?]),
            Kind::Dynamic(product) => Ok(vec![product.by_definition()?]),
            Kind::Batch(products) => products.iter().map(Product::<Integers>::by_definition).collect(),
        }
    }

    fn run(&self, dispatch: &Dispatch, pools: &[ThreadPool]) -> Result<Vec<Slice>, Error> {
        pools[self.threads - 1].install(|| match &self.kind {
            Kind::Single(product) => Ok(vec![product.run(dispatch)?]),
            Kind::Dynamic(product) => Ok(vec![product.run(dispatch)?]),
            Kind::Batch(products) => run_products(products, dispatch),
        })
    }
}

/// As a batch.
fn run_products(products: &[Product<Integers>], dispatch: &Dispatch) -> Result<Vec<Slice>, Error> {
    let packed = products.iter().map(|product| product.pack(dispatch)).collect::<Result<Vec<_>, _>>()?;
    let mut slices: Vec<_> = products.iter().map(|product| product.a.output.before(&product.c)).collect();
    let parts = products.iter().zip(&packed).zip(&mut slices);
    let tasks = parts.map(|((product, packed), slice)| product.task(dispatch, packed.as_ref(), slice));
    run_batch(&mut tasks.collect::<Result<Vec<_>, _>>()?)?;
    Ok(slices)
}

impl Target {
    /// The slice before: any bits, the same for whoever computes.
    fn before<T>(&self, from: impl Fn(u64) -> T) -> Vec<T> {
        (0..self.layout.len as u64).map(|i| from(self.fill.wrapping_mul(2 * i + 1) >> 32)).collect()
    }

    fn view<'c, T>(&self, c: &'c mut [T]) -> Result<MatMut<'c, T>, Error> {
        let Layout { row_stride, col_stride, .. } = self.layout;
        MatMut::new(c, self.rows, self.cols, row_stride, col_stride)
    }
}

impl Output {
    fn before(&self, target: &Target) -> Slice {
        match self {
            Output::Sums { .. } => Slice::Sums(target.before(|bits| bits as i32)),
            Output::Signed(_) => Slice::Signed(target.before(|bits| bits as i8)),
            Output::Unsigned(_) => Slice::Unsigned(target.before(|bits| bits as u8)),
            Output::Floats(_) => Slice::Floats(target.before(|bits| f32::from_bits(bits as u32))),
        }
    }
}

impl<A> Product<A> {
    fn pack(&self, dispatch: &Dispatch) -> Result<Option<PackedB>, Error> {
        let pack = |activations| PackedB::pack_with(dispatch, self.b.operand()?, activations);
        self.packed_for.map(pack).transpose()
    }

    fn right<'a>(&'a self, packed: Option<&'a PackedB>) -> Result<Rhs<'a>, Error> {
        Ok(match packed {
            Some(packed) => packed.into(),
            None => self.b.operand()?.into(),
        })
    }
}

impl Product<Integers> {
    fn by_definition(&self) -> Result<Slice, Error> {
        // Rows are put together here, not by the library.
        let a = self.a.rows.written_out(&self.a.zero)?;
        let a = a.as_ref().map_or_else(|| self.a.rows.as_argument(), |a| Ok(a.operand()?.into()));
        self.store(&self.gemm(a?, self.b.operand()?.into()), true)
    }

    fn run(&self, dispatch: &Dispatch) -> Result<Slice, Error> {
        let packed = self.pack(dispatch)?;
        let gemm = self.gemm(self.a.rows.as_argument()?, self.right(packed.as_ref())?);
        self.store(&gemm.dispatch(dispatch), false)
    }

    fn gemm<'a>(&'a self, a: Lhs<'a>, b: Rhs<'a>) -> Gemm<'a> {
        let gemm = Gemm::new(a, b).a_zero(self.a.zero.as_argument()).b_zero(self.b_zero.as_argument());
        match &self.a.bias {
            Some(bias) => gemm.bias(bias),
            None => gemm,
        }
    }

    fn store(&self, gemm: &Gemm<'_>, by_definition: bool) -> Result<Slice, Error> {
        let mut slice = self.a.output.before(&self.c);
        match (&self.a.output, &mut slice) {
            (Output::Sums { accumulate }, Slice::Sums(c)) => {
                let view = self.c.view(c)?;
                match (by_definition, accumulate) {
                    (true, true) => reference::accumulate_i32(gemm, view)?,
                    (true, false) => reference::run_i32(gemm, view)?,
                    (false, true) => gemm.accumulate_i32(view)?,
                    (false, false) => gemm.run_i32(view)?,
                }
            }
            (Output::Signed(stage), Slice::Signed(c)) => {
                requantize(gemm, self.c.view(c)?, stage, by_definition)?;
            }
            (Output::Unsigned(stage), Slice::Unsigned(c)) => {
                requantize(gemm, self.c.view(c)?, stage, by_definition)?;
            }
            (Output::Floats(stage), Slice::Floats(c)) => {
                let (view, output) = (self.c.view(c)?, stage.dequantize()?);
                match by_definition {
                    true => reference::run_f32(gemm, view, &output)?,
                    false => gemm.run_f32(view, &output)?,
                }
            }
            _ => unreachable!("a slice is of its output's type"),
        }
        Ok(slice)
    }

    fn task<'a, 'c>(
        &'a self,
        dispatch: &'a Dispatch,
        packed: Option<&'a PackedB>,
        slice: &'c mut Slice,
    ) -> Result<Task<'a, 'c>, Error> {
        let gemm = self.gemm(self.a.rows.as_argument()?, self.right(packed)?).dispatch(dispatch);
        match (&self.a.output, slice) {
            (Output::Sums { accumulate: true }, Slice::Sums(c)) => {
                Task::accumulate_i32(gemm, self.c.view(c)?)
            }
            (Output::Sums { accumulate: false }, Slice::Sums(c)) => Task::i32(gemm, self.c.view(c)?),
            (Output::Signed(stage), Slice::Signed(c)) => {
                Task::requantized(gemm, self.c.view(c)?, &stage.requantize()?)
            }
            (Output::Unsigned(stage), Slice::Unsigned(c)) => {
                Task::requantized(gemm, self.c.view(c)?, &stage.requantize()?)
            }
            (Output::Floats(stage), Slice::Floats(c)) => {
                Task::f32(gemm, self.c.view(c)?, &stage.dequantize()?)
            }
            _ => unreachable!("a slice is of its output's type"),
        }
    }
}

fn requantize<T: Int8Element>(
    gemm: &Gemm<'_>,
    c: MatMut<'_, T>,
    stage: &Stage<T>,
    by_definition: bool,
) -> Result<(), Error> {
    let output = stage.requantize()?;
    match by_definition {
        true => reference::run_requantized(gemm, c, &output),
        false => gemm.run_requantized(c, &output),
    }
}

impl Product<Reals> {
    fn by_definition(&self) -> Result<Slice, Error> {
        let mut c = self.c.before(|bits| f32::from_bits(bits as u32));
        let gemm = self.gemm(self.b.operand()?.into())?;
        reference::run_dynamic_f32(&gemm, self.c.view(&mut c)?, &self.a.output.dequantize()?)?;
        Ok(Slice::Floats(c))
    }

    fn run(&self, dispatch: &Dispatch) -> Result<Slice, Error> {
        let mut c = self.c.before(|bits| f32::from_bits(bits as u32));
        let packed = self.pack(dispatch)?;
        let gemm = self.gemm(self.right(packed.as_ref())?)?.dispatch(dispatch);
        gemm.run_f32(self.c.view(&mut c)?, &self.a.output.dequantize()?)?;
        Ok(Slice::Floats(c))
    }

    fn gemm<'a>(&'a self, b: Rhs<'a>) -> Result<DynamicGemm<'a>, Error> {
        let Layout { row_stride, col_stride, .. } = self.a.layout;
        let a = MatRef::new(&self.a.data, self.c.rows, self.k, row_stride, col_stride)?;
        let gemm = DynamicGemm::new(a, b).b_zero(self.b_zero.as_argument());
        let gemm = if self.a.asymmetric { gemm.asymmetric() } else { gemm };
        Ok(if self.a.per_tensor { gemm.per_tensor() } else { gemm })
    }
}

impl Rows {
    fn as_argument(&self) -> Result<Lhs<'_>, Error> {
        match self {
            Rows::Plain(a) => Ok(a.operand()?.into()),
            Rows::Gathered { source, indices, taps, padding } => {
                let gather = Gather::new(source.operand()?, indices, *taps)?;
                Ok(padding.map_or(Ok(gather), |value| gather.padding(value))?.into())
            }
        }
    }

    /// Gathered rows as the matrix that they stand for.
    fn written_out(&self, zero: &Values<i32>) -> Result<Option<Matrix8>, Error> {
        let Rows::Gathered { source, indices, taps, padding } = self else { return Ok(None) };
        let operand = source.operand()?;
        let mut bits = Vec::new();
        for (i, &index) in indices.iter().enumerate() {
            let zero = match zero {
                Values::One(zero) => *zero,
                Values::Each(zeros) => zeros[i / taps],
            };
            let pad = padding.unwrap_or(zero);
            bits.extend((0..source.cols).map(|j| operand.get(index as usize, j).unwrap_or(pad) as u8));
        }
        let (rows, cols) = (indices.len() / taps, taps * source.cols);
        let data = Bytes::from_bits(operand.element_type(), bits);
        Ok(Some(Matrix8 { rows, cols, strides: (cols, 1), data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: u64 = 300;

    fn kernels() -> (Dispatch, Vec<ThreadPool>) {
        (dispatch("portable").unwrap(), ["1", "2", "3"].map(|threads| pool(Some(threads)).unwrap()).into())
    }

    impl Slice {
        /// Inverts a bit of element `at`.
        fn spoil(&mut self, at: usize) {
            match self {
                Slice::Sums(c) => c[at] ^= 1 << 31,
                Slice::Signed(c) => c[at] ^= 1,
                Slice::Unsigned(c) => c[at] ^= 1,
                Slice::Floats(c) => c[at] = f32::from_bits(c[at].to_bits() ^ 1),
            }
        }
    }

    /// Whatever is wrong with one element, or with what lies between elements, is found and named.
    #[test]
    fn one_wrong_bit_is_noticed() {
        let (dispatch, pools) = kernels();
        for index in 0..CASES {
            let case = Case::new(1, index);
            let expected = attempt(|| case.by_definition());
            let mut got = attempt(|| case.run(&dispatch, &pools));
            assert_eq!(difference(&expected, &got, &case), None, "case {index}\n{case}");
            for (i, target) in case.targets().into_iter().enumerate() {
                let Target { rows, cols, layout: Layout { row_stride, col_stride, len }, .. } = *target;
                let mut spoil = |at| {
                    let Outcome::Computed(slices) = &mut got else { panic!("case {index} was computed") };
                    slices[i].spoil(at);
                    let difference = difference(&expected, &got, &case).unwrap_or_default();
                    let Outcome::Computed(slices) = &mut got else { panic!("case {index} was computed") };
                    slices[i].spoil(at);
                    difference
                };
                if rows > 0 && cols > 0 {
                    let (row, col) = (index as usize % rows, index as usize % cols);
                    let message = spoil(row * row_stride + col * col_stride);
                    let place = format!("product {i}: 1 differ, the first at row {row}, column {col}: was ");
                    assert!(message.starts_with(&place), "case {index}: {message}");
                }
                let last = if rows > 0 && cols > 0 {
                    (rows - 1) * row_stride + (cols - 1) * col_stride + 1
                } else {
                    0
                };
                if last < len {
                    assert!(spoil(last).contains("outside of the matrix"), "case {index}");
                }
            }
        }
    }

    /// A kernel that multiplies by something else, in a product of each kind.
    #[test]
    fn wrong_products_are_noticed() {
        let (dispatch, pools) = kernels();
        let (mut noticed, mut seen) = ([0; 4], [0; 4]);
        for index in 0..CASES {
            let case = Case::new(2, index);
            let expected = attempt(|| case.by_definition());
            let mut wrong = case;
            let (kind, matrices) = match &mut wrong.kind {
                Kind::Single(Product { a: Integers { rows: Rows::Plain(_), .. }, b, .. }) => (0, vec![b]),
                Kind::Single(Product { b, .. }) => (1, vec![b]),
                Kind::Dynamic(Product { b, .. }) => (2, vec![b]),
                Kind::Batch(products) => (3, products.iter_mut().map(|product| &mut product.b).collect()),
            };
            for b in matrices {
                match &mut b.data {
                    Bytes::I8(data) => data.iter_mut().for_each(|x| *x ^= 0x40),
                    Bytes::U8(data) => data.iter_mut().for_each(|x| *x ^= 0x40),
                }
            }
            let got = attempt(|| wrong.run(&dispatch, &pools));
            seen[kind] += 1;
            noticed[kind] += usize::from(difference(&expected, &got, &wrong).is_some());
        }
        // Not all: some outputs are saturated, some products are empty.
        for (noticed, seen) in noticed.into_iter().zip(seen) {
            assert!(seen >= 20 && noticed * 2 > seen, "{noticed} of {seen}");
        }
    }
}
