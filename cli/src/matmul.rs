//! `qgemm matmul`: the product of two 8-bit matrices in files.

use crate::input::{bad, bad_because, dispatch, library, missing, pair, pool, zeros};
use crate::npy::Matrix8;
use crate::outfile::OutFile;
use crate::values::{self, Bias, Per, Values};
use anyhow::Result;
use qgemm::{Dequantize, Dispatch, Gemm, MatMut, Requantize, Scale, ZeroPoint};
use std::ffi::OsString;
use std::path::PathBuf;

/// Multiplies two 8-bit matrices: Y = (A - a_zero) · (B - b_zero) + bias, exactly.
#[derive(clap::Args)]
pub struct Args {
    /// M x K: a .npy file of i8 or u8
    #[arg(long, value_name = "FILE")]
    a: PathBuf,
    /// K x N: a .npy file of i8 or u8
    #[arg(long, value_name = "FILE")]
    b: PathBuf,
    /// Zero point of A: an integer, or a file with one or one per row
    #[arg(long, value_name = "Z|FILE", default_value = "0", allow_hyphen_values = true)]
    a_zero: OsString,
    /// Zero point of B: an integer, or a file with one or one per column
    #[arg(long, value_name = "Z|FILE", default_value = "0", allow_hyphen_values = true)]
    b_zero: OsString,
    /// One value per column: integers are added to the sums, floats to a scaled f32 output
    #[arg(long, value_name = "FILE")]
    bias: Option<PathBuf>,
    /// Factor from the sums to the output: a number, or a file with one or one per column
    #[arg(long, value_name = "S|FILE", allow_hyphen_values = true)]
    scale: Option<OsString>,
    /// Zero point of an 8-bit output
    #[arg(long, value_name = "Z", allow_hyphen_values = true)]
    out_zero: Option<String>,
    /// Type of the output: i32, i8, u8 or f32
    #[arg(long, value_name = "TYPE", default_value = "i32")]
    out_type: String,
    /// Limits of an 8-bit output, in its own units
    #[arg(long, value_name = "LO,HI", allow_hyphen_values = true)]
    clamp: Option<String>,
    /// An instruction set or a kernel's full name (see `qgemm info`) [default: the best]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Threads to use, 1 to 1024 [default: as many as there are cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    threads: Option<String>,
    /// Where to write Y
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The output that was asked for, with what belongs to it.
enum Output {
    I32,
    F32 { scale: Values<f32> },
    I8(Stage),
    U8(Stage),
}

/// What an 8-bit output needs.
struct Stage {
    scale: Values<f32>,
    zero: i32,
    clamp: Option<(i32, i32)>,
}

pub fn run(args: &Args) -> Result<()> {
    let pool = pool(args.threads.as_deref())?;
    let dispatch = args.kernel.as_deref().map(dispatch).transpose()?;
    let (a, b) = (Matrix8::read("--a", &args.a)?, Matrix8::read("--b", &args.b)?);
    if a.cols != b.rows {
        let must = format!("a matrix with as many rows as --a has columns ({})", a.cols);
        return Err(bad_because("--b", args.b.display(), format_args!("{} rows", b.rows), must));
    }
    let (m, n) = (a.rows, b.cols);
    let a_zero = values::zero_points("--a-zero", &args.a_zero, Per::RowOfA(m))?;
    let b_zero = values::zero_points("--b-zero", &args.b_zero, Per::ColumnOfB(n))?;
    let bias =
        args.bias.as_deref().map(|path| values::bias("--bias", path, Per::ColumnOfB(n))).transpose()?;
    let output = args.output(n)?;
    if let (Some(Bias::Floats(_)), Some(path)) = (&bias, &args.bias)
        && !matches!(output, Output::F32 { .. })
    {
        let must = format!("a .npy file of integers where --out-type is {}", args.out_type);
        return Err(bad_because("--bias", path.display(), "it holds floats", must));
    }
    let file = OutFile::new("--out", &args.out)?;

    let mut product =
        Gemm::new(a.operand()?, b.operand()?).a_zero(zero_point(&a_zero)).b_zero(zero_point(&b_zero));
    if let Some(Bias::Integers(bias)) = &bias {
        product = product.bias(bias);
    }
    if let Some(dispatch) = &dispatch {
        product = product.dispatch(dispatch);
    } else {
        // QGEMM_ISA may be wrong: say so now.
        Dispatch::auto()?;
    }
    let store = Store { pool, file, shape: (m, n) };
    match &output {
        Output::I32 => store.run(|y| product.run_i32(y)),
        Output::F32 { scale } => {
            let mut stage = Dequantize::new(factor(scale)).map_err(rename)?;
            if let Some(Bias::Floats(bias)) = &bias {
                stage = stage.bias(bias);
            }
            store.run(|y| product.run_f32(y, &stage))
        }
        Output::I8(stage) => {
            let stage = stage.requantize()?;
            store.run::<i8>(|y| product.run_requantized(y, &stage))
        }
        Output::U8(stage) => {
            let stage = stage.requantize()?;
            store.run::<u8>(|y| product.run_requantized(y, &stage))
        }
    }
}

/// Where and how the product is computed.
struct Store {
    pool: rayon::ThreadPool,
    file: OutFile,
    shape: (usize, usize),
}

impl Store {
    fn run<T>(&self, product: impl FnOnce(MatMut<'_, T>) -> Result<(), qgemm::Error> + Send) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy + Default + Send,
    {
        let (m, n) = self.shape;
        let mut y: Vec<T> = zeros("--a and --b", format_args!("a {m}x{n} output"), m.saturating_mul(n))?;
        self.pool.install(|| product(MatMut::row_major(&mut y, m, n)?)).map_err(rename)?;
        self.file.write(self.shape, &y)
    }
}

impl Stage {
    fn requantize(&self) -> Result<Requantize<'_>> {
        let output = Requantize::new(factor(&self.scale), self.zero).map_err(rename)?;
        match self.clamp {
            Some((lo, hi)) => output.clamp(lo, hi).map_err(rename),
            None => Ok(output),
        }
    }
}

fn rename(error: qgemm::Error) -> anyhow::Error {
    library(error, &NAMES)
}

/// The library's names of its arguments, and ours.
const NAMES: [(&str, &str); 9] = [
    ("a", "--a"),
    ("b", "--b"),
    ("packed b", "--b"),
    ("a_zero", "--a-zero"),
    ("b_zero", "--b-zero"),
    ("bias", "--bias"),
    ("scale", "--scale"),
    ("output zero point", "--out-zero"),
    ("clamp", "--clamp"),
];

fn zero_point(values: &Values<i32>) -> ZeroPoint<'_> {
    match values {
        Values::One(zero) => ZeroPoint::PerTensor(*zero),
        Values::Each(zeros) => ZeroPoint::Each(zeros),
    }
}

fn factor(values: &Values<f32>) -> Scale<'_> {
    match values {
        Values::One(scale) => Scale::PerTensor(*scale),
        Values::Each(scales) => Scale::PerColumn(scales),
    }
}

impl Args {
    /// The output stage, and that no option was given that has no meaning for it.
    fn output(&self, n: usize) -> Result<Output> {
        let kind = self.out_type.as_str();
        if !["i32", "i8", "u8", "f32"].contains(&kind) {
            return Err(bad("--out-type", kind, "i32, i8, u8 or f32"));
        }
        if kind == "i32" || kind == "f32" {
            let absent = format!("left out where --out-type is {kind}");
            for (name, value) in [("--out-zero", &self.out_zero), ("--clamp", &self.clamp)] {
                if let Some(value) = value {
                    return Err(bad(name, value, absent));
                }
            }
        }
        if kind == "i32" {
            return match &self.scale {
                Some(scale) => Err(bad("--scale", scale.display(), "left out where --out-type is i32")),
                None => Ok(Output::I32),
            };
        }
        let Some(scale) = &self.scale else {
            return Err(missing("--scale", format_args!("given where --out-type is {kind}")));
        };
        let scale = values::scales("--scale", scale, Per::ColumnOfB(n))?;
        if kind == "f32" {
            return Ok(Output::F32 { scale });
        }
        let zero = self.out_zero.as_deref().map_or(Ok(0), |text| values::integer("--out-zero", text))?;
        let must = "LO,HI: two integers that fit i32, LO not above HI";
        let clamp = self.clamp.as_deref().map(|text| match pair::<i32>("--clamp", text, must)? {
            (lo, hi) if lo > hi => Err(bad("--clamp", text, must)),
            clamp => Ok(clamp),
        });
        let clamp = clamp.transpose()?;
        if let (Some((lo, hi)), Some(text)) = (clamp, &self.clamp)
            && lo > hi
        {
            return Err(bad("--clamp", text, must));
        }
        let stage = Stage { scale, zero, clamp };
        Ok(if kind == "i8" { Output::I8(stage) } else { Output::U8(stage) })
    }
}
