//! `--b`, `--bits`, `--group`, `--scales`, `--zeros`: weights with a scale per group.

use crate::arguments::groups::{bits, group};
use crate::errors::invalid_because;
use crate::files::matrices::{Matrix8, ScaleMatrix};
use crate::groupwise::names::with_groupwise_names;
use anyhow::Result;
use qgemm::{CodeBits, GroupwiseB};
use std::path::{Path, PathBuf};

/// The options of weights.
#[derive(clap::Args)]
pub struct WeightOptions {
    /// K x N, the integers of the weights: a .npy file of uint8 or int8; of 4 bits each in a byte of its own, 0 to 15 in
    /// uint8 or -8 to 7 in int8
    #[arg(long, value_name = "FILE")]
    b: PathBuf,
    /// Bits of an integer of B: 4 or 8
    #[arg(long, value_name = "BITS")]
    bits: String,
    /// Rows of a group, such as 32, 64 or 128: a multiple of 8, or at least K for one group of all rows. The last group may
    /// have less
    #[arg(long, value_name = "G")]
    group: String,
    /// groups x N, the distance of two neighbouring values of a weight: a .npy file of float32 or float16. There are K/G
    /// groups, rounded up
    #[arg(long, value_name = "FILE")]
    scales: PathBuf,
    /// groups x N, the integers that stand for 0: a .npy file of the type and range of B [default: of uint8 the middle, 8
    /// for 4 bits and 128 for 8; of int8 0]
    #[arg(long, value_name = "FILE")]
    zeros: Option<PathBuf>,
}

/// Weights as they are read.
pub struct Weights {
    bits: CodeBits,
    group: usize,
    codes: Matrix8,
    scales: ScaleMatrix,
    zeros: Option<Matrix8>,
}

impl WeightOptions {
    /// Reads the weights, which must have `k` rows.
    pub fn read(&self, k: usize) -> Result<Weights> {
        let bits = bits(&self.bits)?;
        let codes = Matrix8::read("--b", &self.b)?;
        if codes.rows != k {
            let must = format!("a matrix with as many rows as --a has columns ({k})");
            return Err(invalid_because("--b", self.b.display(), format_args!("{} rows", codes.rows), must));
        }
        let group = group(&self.group, k)?;
        let need = (k.div_ceil(group), codes.cols);
        let scales = ScaleMatrix::read("--scales", &self.scales)?;
        check_shape("--scales", &self.scales, (scales.rows, scales.cols), need)?;
        let zeros = self.zeros.as_deref().map(|path| {
            let zeros = Matrix8::read("--zeros", path)?;
            check_shape("--zeros", path, (zeros.rows, zeros.cols), need)?;
            let (got, need) = (zeros.data.element_type(), codes.data.element_type());
            if got != need {
                let must = format_args!("of the type of --b ({need})");
                return Err(invalid_because("--zeros", path.display(), format_args!("of {got}"), must));
            }
            Ok::<_, anyhow::Error>(zeros)
        });
        Ok(Weights { bits, group, codes, scales, zeros: zeros.transpose()? })
    }
}

impl Weights {
    pub fn columns(&self) -> usize {
        self.codes.cols
    }

    pub fn pack(&self) -> Result<GroupwiseB> {
        let pack = || {
            let builder = GroupwiseB::builder(self.bits, self.group);
            let builder = match &self.zeros {
                Some(zeros) => builder.zeros(zeros.operand()?),
                None => builder,
            };
            builder.pack(self.codes.operand()?, self.scales.borrow()?)
        };
        pack().map_err(with_groupwise_names)
    }
}

/// Refuses a matrix that does not have a value for each group and column.
fn check_shape(argument: &str, path: &Path, got: (usize, usize), need: (usize, usize)) -> Result<()> {
    if got == need {
        return Ok(());
    }
    let must = format_args!(
        "{}x{}, a row for each group of --group rows and a column for each of --b",
        need.0, need.1
    );
    Err(invalid_because(argument, path.display(), format_args!("{}x{}", got.0, got.1), must))
}
