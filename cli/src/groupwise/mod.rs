//! `qgemm groupwise`: float activations times weights with a scale per group, all in files.

mod activations;
mod names;
pub mod weights;

use crate::arguments::machine::{dispatch, thread_pool};
use crate::arguments::values::{self, Axis, Bias};
use crate::errors::invalid_because;
use crate::files::matrices::FloatMatrix;
use crate::files::outfile::OutFile;
use crate::groupwise::names::with_groupwise_names;
use crate::groupwise::weights::WeightOptions;
use crate::memory::zeros;
use anyhow::Result;
use qgemm::{Dequantize, Dispatch, GroupwiseGemm, MatMut, MatRef};
use std::path::PathBuf;

/// Multiplies float activations by weights of 4 or 8 bits that have a scale per group: Y = A · W + bias, in f32.
///
/// W[k,n] = scale[g,n] · (B[k,n] - zero[g,n]), where g = k / G: G rows of W in a row are a group, and each column has a
/// scale for each group. A is quantized to 8 bits by the command. The result is the same on every CPU.
#[derive(clap::Args)]
pub struct Args {
    /// M x K, the activations: a .npy file of float32 or float64, which is rounded to float32
    #[arg(long, value_name = "FILE")]
    a: PathBuf,
    #[command(flatten)]
    weights: WeightOptions,
    #[arg(long, value_name = "HOW", default_value = activations::DEFAULT, help = activations::help())]
    activations: String,
    /// One value per column, added to Y: a .npy file of float32 or float64 [default: none]
    #[arg(long, value_name = "FILE")]
    bias: Option<PathBuf>,
    /// Where to write Y: a .npy file of float32, M x N
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// An instruction set or a kernel's full name (see `qgemm info`) [default: the best]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Threads to use, 1 to 1024 [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let pool = thread_pool(args.threads.as_deref())?;
    let dispatch = match &args.kernel {
        Some(name) => dispatch(name)?,
        // A wrong QGEMM_ISA is reported here, before any work is done.
        None => Dispatch::auto()?.clone(),
    };
    let activations = activations::read(&args.activations)?;
    let a = FloatMatrix::read("--a", &args.a)?;
    let weights = args.weights.read(Some(a.cols))?;
    let (m, k, n) = (a.rows, a.cols, weights.columns());
    let bias = args.bias(n)?;
    let file = OutFile::new("--out", &args.out)?;

    let a = a.into_f32();
    let mut y: Vec<f32> = zeros("--a and --b", format_args!("a {m}x{n} output"), m.saturating_mul(n))?;
    let b = weights.pack()?.with_dispatch(&dispatch);
    let output = Dequantize::groupwise();
    let output = bias.as_deref().map_or(output, |bias| output.bias(bias));
    let product = || {
        let gemm = GroupwiseGemm::new(MatRef::row_major(&a, m, k)?, &b).activations(activations);
        gemm.run_f32(MatMut::row_major(&mut y, m, n)?, output)
    };
    pool.install(product).map_err(with_groupwise_names)?;
    file.write((m, n), &y)
}

impl Args {
    /// Reads `--bias`, which must be of floats.
    fn bias(&self, n: usize) -> Result<Option<Vec<f32>>> {
        let Some(path) = &self.bias else { return Ok(None) };
        match values::bias("--bias", path, Axis::ColumnsOfB(n))? {
            Bias::Floats(bias) => Ok(Some(bias)),
            Bias::Integers(_) => {
                let must = "a .npy file of finite float32 or float64";
                Err(invalid_because("--bias", path.display(), "it holds integers", must))
            }
        }
    }
}
