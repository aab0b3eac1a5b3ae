//! `qgemm forward`: a float layer Y = X·W + b in int8 arithmetic, beside the same layer in float.

mod example;
mod layer;
mod report;
mod typical;

use crate::arguments::numbers::real_range;
use crate::errors::invalid_because;
use crate::files::matrices::FloatMatrix;
use crate::files::npy::Array;
use crate::files::outfile::OutFile;
use crate::forward::example::worked_example;
use crate::forward::layer::{Layer, Ranges};
use crate::forward::report::{print, print_typical};
use crate::forward::typical::Typical;
use anyhow::Result;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Computes Y = X·W + b in int8, and how far that is from float. Without files: two worked examples, one whose
/// ranges do not hold 0, and a layer as networks have it.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Inputs, M x K: a .npy file of float32 or float64 [default: those of the examples]
    #[arg(long, value_name = "FILE", requires = "w")]
    x: Option<PathBuf>,
    /// Weights, K x N: a file as --x. Needed with --x
    #[arg(long, value_name = "FILE", requires = "x")]
    w: Option<PathBuf>,
    /// Bias, one value per column of W [default: none]
    #[arg(long, value_name = "FILE", requires_all = ["x", "w"])]
    bias: Option<PathBuf>,
    /// Range of X that is quantized [default: that of the data]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    x_range: Option<String>,
    /// Range of W [default: that of the data]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    w_range: Option<String>,
    /// Range of the bias [default: that of the data]
    #[arg(long, value_name = "LO,HI", requires = "bias")]
    bias_range: Option<String>,
    /// Range of Y [default: that of the float layer]
    #[arg(long, value_name = "LO,HI", requires = "x")]
    y_range: Option<String>,
    /// Where to write the dequantized Y, as float32; without files that of the first example [default: nowhere]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let range = |name, text: &Option<String>| text.as_deref().map(|text| real_range(name, text)).transpose();
    let ranges = Ranges {
        x: range("--x-range", &args.x_range)?,
        w: range("--w-range", &args.w_range)?,
        bias: range("--bias-range", &args.bias_range)?,
        y: range("--y-range", &args.y_range)?,
    };
    let layer = match (&args.x, &args.w) {
        (Some(x), Some(w)) => read(x, w, args.bias.as_deref(), ranges)?,
        _ => worked_example(),
    };
    let file = args.out.as_deref().map(|path| OutFile::new("--out", path)).transpose()?;
    let outcome = layer.compute()?;
    // Times of the tiny examples would say nothing.
    let of_files = args.x.is_some();
    print(&layer, &outcome, of_files, out)?;
    if !of_files {
        writeln!(out)?;
        print_typical(&Typical::compute()?, out)?;
    }
    match file {
        Some(file) => file.write(layer.output_shape(), &outcome.y),
        None => Ok(()),
    }
}

fn read(x_path: &Path, w_path: &Path, bias_path: Option<&Path>, ranges: Ranges) -> Result<Layer> {
    let x = FloatMatrix::read("--x", x_path)?;
    let w = FloatMatrix::read("--w", w_path)?;
    if w.rows != x.cols {
        let why = format!("{} rows", w.rows);
        let must = format!("a matrix with as many rows as --x has columns ({})", x.cols);
        return Err(invalid_because("--w", w_path.display(), why, must));
    }
    let bias = bias_path.map(|path| read_bias(path, w.cols)).transpose()?;
    Ok(Layer { x, w, bias, ranges })
}

/// Reads a bias for `n` columns.
fn read_bias(path: &Path, n: usize) -> Result<Vec<f32>> {
    let must = "a .npy file of finite float32 or float64, one value per column of --w";
    let array = Array::read("--bias", path, must)?;
    let bias: Vec<f32> = array.finite_values()?.into_iter().map(|x| x as f32).collect();
    match array.shape()[..] {
        [len] | [1, len] if len == n => Ok(bias),
        _ => Err(array.refuse(format_args!("shape {:?}, --w has {n} columns", array.shape()))),
    }
}
