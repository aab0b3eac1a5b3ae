//! `qgemm matmul`: the product of two 8-bit matrices in files.

mod activation;
mod limits;
mod names;
mod out_type;
mod output;
mod residual;
mod scaling;

use crate::arguments::machine::{dispatch, thread_pool};
use crate::arguments::values::{self, Axis, Bias};
use crate::errors::invalid_because;
use crate::files::matrices::Matrix8;
use crate::files::outfile::OutFile;
use crate::files::saved::saved_bytes;
use crate::matmul::names::with_matmul_names;
use crate::matmul::out_type::OutType;
use crate::matmul::output::{Output, OutputOptions};
use crate::memory::zeros;
use anyhow::Result;
use qgemm::{Dispatch, Gemm, MatMut, OtherLayout, PackedB};
use std::ffi::OsString;
use std::path::PathBuf;

/// Multiplies two 8-bit matrices: Y = (A - a_zero) · (B - b_zero) + bias, exactly.
#[derive(clap::Args)]
pub struct Args {
    /// M x K: a .npy file of int8 or uint8
    #[arg(long, value_name = "FILE")]
    a: PathBuf,
    /// K x N: a .npy file of int8 or uint8, or a file of `qgemm pack`
    #[arg(long, value_name = "FILE")]
    b: PathBuf,
    /// Zero point of A: an integer, or a file with one or one per row
    #[arg(long, value_name = "Z|FILE", default_value = "0")]
    a_zero: OsString,
    /// Zero point of B: an integer, or a file with one or one per column
    #[arg(long, value_name = "Z|FILE", default_value = "0")]
    b_zero: OsString,
    /// One value per column: integers are added to the sums, floats to a scaled f32 output [default: none]
    #[arg(long, value_name = "FILE")]
    bias: Option<PathBuf>,
    /// Where to write Y: a .npy file of --out-type
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// An instruction set or a kernel's full name (see `qgemm info`) [default: the best]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Threads to use, 1 to 1024 [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    #[command(flatten)]
    output: OutputOptions,
}

pub fn run(args: &Args) -> Result<()> {
    let pool = thread_pool(args.threads.as_deref())?;
    let dispatch = args.kernel.as_deref().map(dispatch).transpose()?;
    let a = Matrix8::read("--a", &args.a)?;
    let b = args.b(dispatch.as_ref())?;
    let (k, n) = b.shape();
    if a.cols != k {
        let must = format!("a matrix with as many rows as --a has columns ({})", a.cols);
        return Err(invalid_because("--b", args.b.display(), format_args!("{k} rows"), must));
    }
    let m = a.rows;
    let a_zero = values::integers("--a-zero", &args.a_zero, Axis::RowsOfA(m))?;
    let b_zero = values::integers("--b-zero", &args.b_zero, Axis::ColumnsOfB(n))?;
    let bias = args.bias(n)?;
    let output = args.output.output(bias.as_ref().and_then(Bias::floats), (m, n))?;
    let file = OutFile::new("--out", &args.out)?;

    let product = match &b {
        Weights::Plain(b) => Gemm::new(a.operand()?, b.operand()?),
        Weights::Packed(b) => Gemm::new(a.operand()?, b),
    };
    let mut product = product.a_zero(a_zero.borrow()).b_zero(b_zero.borrow());
    if let Some(Bias::Integers(bias)) = &bias {
        product = product.bias(bias);
    }
    if let (Some(dispatch), Weights::Plain(_)) = (&dispatch, &b) {
        product = product.dispatch(dispatch);
    } else {
        // A wrong QGEMM_ISA is reported here, before any work is done.
        Dispatch::auto()?;
    }
    let job = Job { pool, file, shape: (m, n) };
    match &output {
        Output::I32 => job.run(|y| product.run_i32(y)),
        Output::F32(stage) => {
            let stage = stage.view().map_err(with_matmul_names)?;
            job.run(|y| product.run_f32(y, stage))
        }
        Output::I8(stage) => {
            let stage = stage.view().map_err(with_matmul_names)?;
            job.run::<i8>(|y| product.run_requantized(y, stage))
        }
        Output::U8(stage) => {
            let stage = stage.view().map_err(with_matmul_names)?;
            job.run::<u8>(|y| product.run_requantized(y, stage))
        }
    }
}

/// B as it is read.
enum Weights {
    Plain(Matrix8),
    Packed(PackedB),
}

impl Weights {
    fn shape(&self) -> (usize, usize) {
        match self {
            Weights::Plain(b) => (b.rows, b.cols),
            Weights::Packed(b) => (b.k(), b.n()),
        }
    }
}

impl Args {
    /// Reads `--b`. Packed weights are packed again where another kernel multiplies them.
    fn b(&self, dispatch: Option<&Dispatch>) -> Result<Weights> {
        let Some(bytes) = saved_bytes("--b", &self.b)? else {
            return Matrix8::read("--b", &self.b).map(Weights::Plain);
        };
        let dispatch = match dispatch {
            Some(dispatch) => dispatch,
            None => Dispatch::auto()?,
        };
        let packed = PackedB::load(&bytes, dispatch, OtherLayout::Repack);
        Ok(Weights::Packed(packed.map_err(with_matmul_names)?))
    }

    /// Reads `--bias`, of integers or of floats. Floats are refused unless the output is f32.
    fn bias(&self, n: usize) -> Result<Option<Bias>> {
        let out_type = self.output.out_type()?;
        let Some(path) = &self.bias else { return Ok(None) };
        match values::bias("--bias", path, Axis::ColumnsOfB(n))? {
            bias @ Bias::Integers(_) => Ok(Some(bias)),
            bias @ Bias::Floats(_) if out_type == OutType::F32 => Ok(Some(bias)),
            Bias::Floats(_) => {
                let must = format!("a .npy file of integers where --out-type is {out_type}");
                Err(invalid_because("--bias", path.display(), "it holds floats", must))
            }
        }
    }
}

/// The threads that compute a product, and the file and shape of its output.
struct Job {
    pool: rayon::ThreadPool,
    file: OutFile,
    shape: (usize, usize),
}

impl Job {
    fn run<T>(&self, product: impl FnOnce(MatMut<'_, T>) -> Result<(), qgemm::Error> + Send) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy + Default + Send,
    {
        let (m, n) = self.shape;
        let mut y: Vec<T> = zeros("--a and --b", format_args!("a {m}x{n} output"), m.saturating_mul(n))?;
        self.pool.install(|| product(MatMut::row_major(&mut y, m, n)?)).map_err(with_matmul_names)?;
        self.file.write(self.shape, &y)
    }
}
