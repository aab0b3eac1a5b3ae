//! The options of `qgemm matmul` for its output: type, scale, rounding, clamp, residual, activation.

use crate::arguments::numbers::{integer, pair};
use crate::arguments::values::{self, Axis, Values};
use crate::errors::{invalid, invalid_because, missing, with_option_names};
use crate::files::matrices::Matrix8;
use crate::matmul::activation::ActivationOptions;
use crate::owned_output::{OwnedDequantize, OwnedRequantize, OwnedScale, ROUNDINGS, Residual, Scaling};
use anyhow::Result;
use qgemm::{Int8Element, Multiplier, Rounding};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

/// The options of the output.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Type of the output: i32 (the sums), f32, i8 or u8
    #[arg(long, value_name = "TYPE", default_value = "i32")]
    pub out_type: String,
    /// Factor from the sums to the output: a number, or a file with one or one per column
    #[arg(long, value_name = "S|FILE")]
    scale: Option<OsString>,
    /// Factors of the rows, alone or times those of --scale: a file with one per row
    #[arg(long, value_name = "FILE")]
    row_scale: Option<OsString>,
    /// Limits of an f32 or 8-bit output, in its own units
    #[arg(long, value_name = "LO,HI")]
    clamp: Option<String>,
    /// Zero point of an 8-bit output
    #[arg(long, value_name = "Z", help_heading = "8-bit output")]
    out_zero: Option<String>,
    #[arg(long, value_name = "NAME", help = rounding_help(), help_heading = "8-bit output")]
    rounding: Option<String>,
    /// The factor as integers, M * 2^(S - 31), M being 0 or in 2^30..2^31: one, or a file with one or one
    /// per column
    #[arg(long, value_name = "M|FILE", requires = "shift", help_heading = "8-bit output")]
    multiplier: Option<OsString>,
    /// S in -31..=30, as --multiplier
    #[arg(long, value_name = "S|FILE", requires = "multiplier", help_heading = "8-bit output")]
    shift: Option<OsString>,
    /// M x N, added before rounding: a .npy file of i8 or u8
    #[arg(long, value_name = "FILE", requires = "residual_scale", help_heading = "8-bit output")]
    residual: Option<PathBuf>,
    /// Factor from the residual to the output
    #[arg(long, value_name = "S", requires = "residual", help_heading = "8-bit output")]
    residual_scale: Option<String>,
    /// Zero point of the residual [default: 0]
    #[arg(long, value_name = "Z", requires = "residual", help_heading = "8-bit output")]
    residual_zero: Option<String>,
    #[command(flatten)]
    activation: ActivationOptions,
}

fn rounding_help() -> String {
    format!(
        "float (in f32, half to even), real (in f64, half away from zero), or in integers: {}, by a \
         multiplier made from --scale, or by --multiplier [default: float]",
        fixed_point_names()
    )
}

/// `gemmlowp, ruy, single or reference`
fn fixed_point_names() -> String {
    let [first @ .., last] = ROUNDINGS.map(|(name, _)| name);
    format!("{} or {last}", first.join(", "))
}

/// The output that the options ask for.
pub enum Output {
    I32,
    F32(OwnedDequantize),
    I8(OwnedRequantize<i8>),
    U8(OwnedRequantize<u8>),
}

impl Output {
    /// The output of an M×N product, `shape` being M and N.
    pub fn new(options: &OutputOptions, shape: (usize, usize)) -> Result<Self> {
        Ok(match options.out_type.as_str() {
            "i32" => {
                options.refuse_all_but(&[], "--out-type is i32")?;
                Output::I32
            }
            "f32" => {
                options.refuse_all_but(&["--scale", "--row-scale", "--clamp"], "--out-type is f32")?;
                let (scale, clamp) = (options.scale(shape)?, options.clamp("two numbers")?);
                Output::F32(OwnedDequantize { scale, bias: None, clamp })
            }
            "i8" => Output::I8(options.requantize(shape)?),
            "u8" => Output::U8(options.requantize(shape)?),
            other => return Err(invalid("--out-type", other, "i32, f32, i8 or u8")),
        })
    }
}

/// The library's names of arguments, and the options that they come from.
const OPTION_NAMES: [(&str, &str); 15] = [
    ("a", "--a"),
    ("b", "--b"),
    ("packed b", "--b"),
    ("a_zero", "--a-zero"),
    ("b_zero", "--b-zero"),
    ("bias", "--bias"),
    // Each scale was checked when it was read, so that only the product of two can be refused by the library.
    ("scale", "--row-scale and --scale"),
    ("output zero point", "--out-zero"),
    ("clamp", "--clamp"),
    ("multiplier", "--multiplier"),
    ("shift", "--shift"),
    ("residual", "--residual"),
    ("residual scale", "--residual-scale"),
    ("residual zero point", "--residual-zero"),
    ("output", "--out"),
];

/// An error of the library that names the options of `qgemm matmul`.
pub fn with_matmul_names(error: qgemm::Error) -> anyhow::Error {
    with_option_names(error, &OPTION_NAMES)
}

impl OutputOptions {
    /// Refuses all options that were given but are not among `allowed`; they have no meaning where `condition`
    /// holds.
    fn refuse_all_but(&self, allowed: &[&str], condition: &str) -> Result<()> {
        let text = |value: &Option<String>| value.clone();
        let os = |value: &Option<OsString>| value.as_ref().map(|value| value.display().to_string());
        let path = |value: &Option<PathBuf>| value.as_ref().map(|value| value.display().to_string());
        let given = [
            ("--scale", os(&self.scale)),
            ("--row-scale", os(&self.row_scale)),
            ("--clamp", text(&self.clamp)),
            ("--out-zero", text(&self.out_zero)),
            ("--rounding", text(&self.rounding)),
            ("--multiplier", os(&self.multiplier)),
            ("--shift", os(&self.shift)),
            ("--residual", path(&self.residual)),
            ("--activation", path(&self.activation.activation)),
        ];
        for (name, value) in given {
            if let (Some(value), false) = (value, allowed.contains(&name)) {
                return Err(invalid(name, value, format_args!("left out where {condition}")));
            }
        }
        Ok(())
    }

    fn requantize<T: Int8Element>(&self, shape: (usize, usize)) -> Result<OwnedRequantize<T>> {
        let scaling = self.scaling(shape)?;
        let zero_point = self.out_zero.as_deref().map_or(Ok(0), |text| integer("--out-zero", text))?;
        let clamp = self.clamp("two integers that fit i32")?;
        let table = self.activation.table()?.map(Box::new);
        Ok(OwnedRequantize { scaling, zero_point, clamp, table })
    }

    fn scaling(&self, shape: (usize, usize)) -> Result<Scaling> {
        let (_, n) = shape;
        match self.rounding.as_deref().unwrap_or("float") {
            "float" => {
                self.refuse_scaling_but(&["--scale", "--row-scale", "--residual"], "--rounding is float")?;
                Ok(Scaling::F32 { scale: self.scale(shape)?, residual: self.residual(shape)? })
            }
            "real" => {
                self.refuse_scaling_but(&["--scale"], "--rounding is real")?;
                Ok(Scaling::F64(self.f64_scale(n)?))
            }
            name => match ROUNDINGS.iter().find(|(known, _)| name == *known) {
                Some((_, rounding)) => self.fixed_point(name, *rounding, n),
                None => {
                    let must = format_args!("float, real, {}", fixed_point_names());
                    Err(invalid("--rounding", name, must))
                }
            },
        }
    }

    /// Refuses the options of scaling that are not among `allowed`.
    fn refuse_scaling_but(&self, allowed: &[&str], condition: &str) -> Result<()> {
        const ALWAYS: [&str; 4] = ["--clamp", "--out-zero", "--rounding", "--activation"];
        self.refuse_all_but(&[&ALWAYS, allowed].concat(), condition)
    }

    fn fixed_point(&self, name: &str, rounding: Rounding, n: usize) -> Result<Scaling> {
        let multipliers = match (&self.multiplier, &self.shift) {
            (Some(multiplier), Some(shift)) => {
                self.refuse_scaling_but(&["--multiplier", "--shift"], "--multiplier is given")?;
                let columns = Axis::ColumnsOfB(n);
                let multipliers = values::integers("--multiplier", multiplier, columns)?;
                let shifts = values::integers("--shift", shift, columns)?;
                multipliers.try_zip(shifts, Multiplier::new)
            }
            _ => {
                self.refuse_scaling_but(&["--scale"], &format!("--rounding is {name}"))?;
                self.f64_scale(n)?.try_map(Multiplier::from_real)
            }
        };
        Ok(Scaling::FixedPoint(multipliers.map_err(with_matmul_names)?, rounding))
    }

    fn required_scale(&self) -> Result<&OsStr> {
        let must = format_args!("given where --out-type is {}", self.out_type);
        self.scale.as_deref().ok_or_else(|| missing("--scale", must))
    }

    /// `--scale` in f64.
    fn f64_scale(&self, n: usize) -> Result<Values<f64>> {
        values::scales("--scale", self.required_scale()?, Axis::ColumnsOfB(n), |x| x)
    }

    /// `--scale` and `--row-scale` in f32.
    fn scale(&self, (m, n): (usize, usize)) -> Result<OwnedScale> {
        let columns = |scale| values::scales("--scale", scale, Axis::ColumnsOfB(n), |x| x as f32);
        let Some(rows) = &self.row_scale else {
            return Ok(match columns(self.required_scale()?)? {
                Values::PerTensor(scale) => OwnedScale::PerTensor(scale),
                Values::PerAxis(scales) => OwnedScale::PerColumn(scales),
            });
        };
        let rows = values::scales("--row-scale", rows, Axis::RowsOfA(m), |x| x as f32)?.expand(m);
        Ok(match &self.scale {
            Some(scale) => OwnedScale::RowsByColumns { rows, columns: columns(scale)?.expand(n) },
            None => OwnedScale::PerRow(rows),
        })
    }

    fn residual(&self, (m, n): (usize, usize)) -> Result<Option<Residual>> {
        let (Some(path), Some(scale)) = (&self.residual, &self.residual_scale) else { return Ok(None) };
        let matrix = Matrix8::read("--residual", path)?;
        if (matrix.rows, matrix.cols) != (m, n) {
            let why = format_args!("{}x{}", matrix.rows, matrix.cols);
            return Err(invalid_because("--residual", path.display(), why, format_args!("{m}x{n}")));
        }
        let must = "a number from 0 to 2^64";
        let scale = scale.trim().parse().map_err(|_| invalid("--residual-scale", scale, must))?;
        let zero_point =
            self.residual_zero.as_deref().map_or(Ok(0), |text| integer("--residual-zero", text))?;
        Ok(Some(Residual { matrix, scale, zero_point }))
    }

    /// The limits, which `kind` describes.
    fn clamp<T: FromStr + PartialOrd>(&self, kind: &str) -> Result<Option<(T, T)>> {
        let Some(text) = &self.clamp else { return Ok(None) };
        let must = format!("LO,HI: {kind}, LO not above HI");
        match pair("--clamp", text, &must)? {
            (lo, hi) if lo <= hi => Ok(Some((lo, hi))),
            _ => Err(invalid("--clamp", text, must)),
        }
    }
}
