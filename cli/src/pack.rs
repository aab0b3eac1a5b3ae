//! `qgemm pack`: weights in files, packed once for many products.

use crate::arguments::machine::dispatch;
use crate::errors::{invalid, missing, with_option_names};
use crate::files::matrices::Matrix8;
use crate::files::outfile::OutFile;
use crate::groupwise::weights::WeightOptions;
use anyhow::Result;
use qgemm::{Dispatch, ElementType, PackedB};
use std::io::Write;
use std::path::PathBuf;

/// Packs weights and writes them to a file that `qgemm matmul`, `qgemm groupwise` and the library read or map.
///
/// With --scales the weights have a scale per group, and their file is the same for all CPUs. Without it they are packed for the
/// kernel that this CPU, or --kernel, multiplies them with; another CPU packs them again when it reads them.
#[derive(clap::Args)]
pub struct Args {
    /// K x N: a .npy file of int8 or uint8, or FILE.safetensors:TENSOR
    #[arg(long, value_name = "FILE")]
    b: PathBuf,
    /// The file holds N x K, as the weight of a PyTorch Linear [default: K x N]
    #[arg(long, conflicts_with = "scales")]
    transpose: bool,
    /// The type of the activations to come, u8 or i8; others are multiplied all the same, a little slower on some CPUs
    #[arg(long, value_name = "TYPE", conflicts_with = "scales", default_value = "u8")]
    activations: String,
    /// Pack for an instruction set or a kernel by its full name (see `qgemm info`) [default: the best]
    #[arg(long, value_name = "NAME", conflicts_with = "scales")]
    kernel: Option<String>,
    /// Bits of an integer of B, 4 or 8. Needed with --scales
    #[arg(long, value_name = "BITS", requires = "scales")]
    bits: Option<String>,
    /// Rows of a group, as for `qgemm groupwise`. Needed with --scales
    #[arg(long, value_name = "G", requires = "scales")]
    group: Option<String>,
    /// groups x N: a .npy file of float32 or float16, or FILE.safetensors:TENSOR [default: weights per column, without scales]
    #[arg(long, value_name = "FILE")]
    scales: Option<PathBuf>,
    /// groups x N, the integers that stand for 0, only with --scales [default: as for `qgemm groupwise`]
    #[arg(long, value_name = "FILE", requires = "scales")]
    zeros: Option<PathBuf>,
    /// Where to write the packed weights
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let file = OutFile::new("--out", &args.out)?;
    if let Some(scales) = &args.scales {
        let needed =
            |value: &Option<String>, name| value.clone().ok_or_else(|| missing(name, "given with --scales"));
        let options = WeightOptions {
            b: args.b.clone(),
            bits: Some(needed(&args.bits, "--bits")?),
            group: Some(needed(&args.group, "--group")?),
            scales: Some(scales.clone()),
            zeros: args.zeros.clone(),
        };
        let packed = options.read(None)?.pack()?;
        return file.write_with(&|out: &mut dyn Write| Ok(packed.save(out)?));
    }
    let activations = match args.activations.as_str() {
        "u8" => ElementType::U8,
        "i8" => ElementType::I8,
        other => return Err(invalid("--activations", other, "u8 or i8")),
    };
    let dispatch = match &args.kernel {
        Some(name) => dispatch(name)?,
        None => Dispatch::auto()?.clone(),
    };
    let b = Matrix8::read("--b", &args.b)?;
    let b = if args.transpose { b.transpose() } else { b };
    let packed = b.operand().and_then(|b| PackedB::pack_with(&dispatch, b, activations));
    let packed = packed.map_err(|e| with_option_names(e, &[("packed b", "--b")]))?;
    file.write_with(&|out: &mut dyn Write| Ok(packed.save(out)?))
}
