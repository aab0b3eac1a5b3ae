//! `--b`, `--bits`, `--group`, `--scales`, `--zeros`: weights with a scale per group.

use crate::arguments::groups::{bits, group};
use crate::errors::{invalid, invalid_because, missing, with_option_names};
use crate::files::matrices::{Matrix8, ScaleMatrix};
use crate::files::saved::saved_bytes;
use crate::groupwise::names::with_groupwise_names;
use anyhow::Result;
use qgemm::{CodeBits, GroupwiseB};
use std::path::{Path, PathBuf};

/// The options of weights.
#[derive(clap::Args)]
pub struct WeightOptions {
    /// K x N, the integers of the weights: a .npy file of uint8 or int8; of 4 bits each in a byte of its own, 0 to 15 in
    /// uint8 or -8 to 7 in int8. Or a file of `qgemm pack`, which the next four options are left out with
    #[arg(long, value_name = "FILE")]
    pub b: PathBuf,
    /// Bits of an integer of B: 4 or 8. Needed unless B is packed
    #[arg(long, value_name = "BITS")]
    pub bits: Option<String>,
    /// Rows of a group, such as 32, 64 or 128: a multiple of 8, or at least K for one group of all rows. The last group may
    /// have less. Needed unless B is packed
    #[arg(long, value_name = "G")]
    pub group: Option<String>,
    /// groups x N, the distance of two neighbouring values of a weight: a .npy file of float32 or float16. There are K/G
    /// groups, rounded up. Needed unless B is packed
    #[arg(long, value_name = "FILE")]
    pub scales: Option<PathBuf>,
    /// groups x N, the integers that stand for 0: a .npy file of the type and range of B [default: of uint8 the middle, 8
    /// for 4 bits and 128 for 8; of int8 0]
    #[arg(long, value_name = "FILE")]
    pub zeros: Option<PathBuf>,
}

/// Weights as they are read.
pub enum Weights {
    Plain(Plain),
    Packed(GroupwiseB),
}

/// Weights that are not packed.
pub struct Plain {
    bits: CodeBits,
    group: usize,
    codes: Matrix8,
    scales: ScaleMatrix,
    zeros: Option<Matrix8>,
}

impl WeightOptions {
    /// Reads the weights, which must have `k` rows, if that is known.
    pub fn read(&self, k: Option<usize>) -> Result<Weights> {
        let check_rows = |rows: usize| match k {
            Some(k) if rows != k => {
                let must = format!("a matrix with as many rows as --a has columns ({k})");
                Err(invalid_because("--b", self.b.display(), format_args!("{rows} rows"), must))
            }
            _ => Ok(()),
        };
        if let Some(bytes) = saved_bytes("--b", &self.b)? {
            self.check_left_out()?;
            let packed = GroupwiseB::load(&bytes).map_err(|e| {
                with_option_names(e, &[("saved", "--b"), ("packed b", "--b"), ("scales", "--b")])
            })?;
            check_rows(packed.k())?;
            return Ok(Weights::Packed(packed));
        }
        let needed = "given, unless --b is a file of `qgemm pack`";
        let bits = bits(self.bits.as_ref().ok_or_else(|| missing("--bits", needed))?)?;
        let group_text = self.group.as_ref().ok_or_else(|| missing("--group", needed))?;
        let scales_path = self.scales.as_ref().ok_or_else(|| missing("--scales", needed))?;
        let codes = Matrix8::read("--b", &self.b)?;
        check_rows(codes.rows)?;
        let k = codes.rows;
        let group = group(group_text, k)?;
        let need = (k.div_ceil(group), codes.cols);
        let scales = ScaleMatrix::read("--scales", scales_path)?;
        check_shape("--scales", scales_path, (scales.rows, scales.cols), need)?;
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
        Ok(Weights::Plain(Plain { bits, group, codes, scales, zeros: zeros.transpose()? }))
    }

    /// Refuses what a file of packed weights says itself.
    fn check_left_out(&self) -> Result<()> {
        let path = |path: &PathBuf| path.display().to_string();
        let given = [
            ("--bits", self.bits.clone()),
            ("--group", self.group.clone()),
            ("--scales", self.scales.as_ref().map(path)),
            ("--zeros", self.zeros.as_ref().map(path)),
        ];
        match given.into_iter().find_map(|(name, value)| Some((name, value?))) {
            Some((name, value)) => Err(invalid(name, value, "left out where --b is a file of `qgemm pack`")),
            None => Ok(()),
        }
    }
}

impl Weights {
    pub fn columns(&self) -> usize {
        match self {
            Weights::Plain(plain) => plain.codes.cols,
            Weights::Packed(packed) => packed.n(),
        }
    }

    pub fn pack(self) -> Result<GroupwiseB> {
        match self {
            Weights::Plain(plain) => plain.pack().map_err(with_groupwise_names),
            Weights::Packed(packed) => Ok(packed),
        }
    }
}

impl Plain {
    fn pack(&self) -> Result<GroupwiseB, qgemm::Error> {
        let builder = GroupwiseB::builder(self.bits, self.group);
        let builder = match &self.zeros {
            Some(zeros) => builder.zeros(zeros.operand()?),
            None => builder,
        };
        builder.pack(self.codes.operand()?, self.scales.borrow()?)
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
