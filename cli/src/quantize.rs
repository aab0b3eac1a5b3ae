//! `qgemm quantize`: float weights to 4 or 8 bits with a scale per group.

use crate::arguments::groups::{bits, group};
use crate::errors::{invalid, missing, with_option_names};
use crate::files::matrices::FloatMatrix;
use crate::files::outfile::{OutFile, Prepared};
use anyhow::Result;
use qgemm::{GroupScheme, MatRef, quantize_groups};
use std::path::PathBuf;

/// Quantizes float weights to 4 or 8 bits with a scale per column and group of rows, by rounding to nearest.
///
/// The files are what `qgemm groupwise` reads. The symmetric way uses -7 to 7 steps of a scale (-127 to 127 for 8 bits)
/// about the middle, 8 (128). The asymmetric way uses the whole range, with a zero point for each group and column: its
/// error is smaller where the values of a group are not centred about 0.
#[derive(clap::Args)]
pub struct Args {
    /// K x N (inputs x outputs: of a weight of PyTorch, the transpose): a .npy file of finite float32 or float64, which is
    /// rounded to float32
    #[arg(long, value_name = "FILE")]
    w: PathBuf,
    /// Bits of an integer: 4 or 8
    #[arg(long, value_name = "BITS")]
    bits: String,
    /// Rows of a group, such as 32, 64 or 128: a multiple of 8, or at least K for one group of all rows
    #[arg(long, value_name = "G")]
    group: String,
    /// Find a zero point for each group and column; needs --out-zeros [default: the middle for all]
    #[arg(long)]
    asymmetric: bool,
    /// Where to write the integers: a .npy file of uint8, K x N, 0 to 15 for 4 bits
    #[arg(long, value_name = "FILE")]
    out_values: PathBuf,
    /// Where to write the scales: a .npy file of float32, groups x N; there are K/G groups, rounded up
    #[arg(long, value_name = "FILE")]
    out_scales: PathBuf,
    /// Where to write the zero points: a .npy file of uint8, groups x N. Needed with --asymmetric
    #[arg(long, value_name = "FILE")]
    out_zeros: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let scheme = args.scheme()?;
    let bits = bits(&args.bits)?;
    let w = FloatMatrix::read("--w", &args.w)?;
    let (k, n) = (w.rows, w.cols);
    let group = group(&args.group, k)?;
    let values = OutFile::new("--out-values", &args.out_values)?;
    let scales = OutFile::new("--out-scales", &args.out_scales)?;
    let zeros = args.out_zeros.as_deref().map(|path| OutFile::new("--out-zeros", path)).transpose()?;
    let files: Vec<_> = [&values, &scales].into_iter().chain(&zeros).collect();
    OutFile::check_distinct(&files)?;

    let w = w.into_f32();
    let quantized = MatRef::row_major(&w, k, n).and_then(|w| quantize_groups(w, bits, group, scheme));
    let names = [("w", "--w"), ("range", "--w"), ("packed b", "--w"), ("group", "--group")];
    let quantized = quantized.map_err(|e| with_option_names(e, &names))?;
    let groups = (k.div_ceil(group), n);
    let mut written =
        vec![values.prepare((k, n), &quantized.codes)?, scales.prepare(groups, &quantized.scales)?];
    if let (Some(file), Some(zeros)) = (&zeros, &quantized.zeros) {
        written.push(file.prepare(groups, zeros)?);
    }
    Prepared::finish_all(written)
}

impl Args {
    /// The way to quantize, which must agree with the outputs that are asked for.
    fn scheme(&self) -> Result<GroupScheme> {
        match (self.asymmetric, &self.out_zeros) {
            (true, Some(_)) => Ok(GroupScheme::Asymmetric),
            (false, None) => Ok(GroupScheme::Symmetric),
            (true, None) => Err(missing("--out-zeros", "given with --asymmetric")),
            (false, Some(path)) => {
                Err(invalid("--out-zeros", path.display(), "left out without --asymmetric"))
            }
        }
    }
}
