//! The output stage of `qgemm matmul`: its options, and what they make.

use crate::input::{bad, bad_because, library, missing, pair};
use crate::npy::{self, Matrix8};
use crate::stage::{Factor, FloatStage, Residual, Scaling, Stage};
use crate::values::{self, Per, Values};
use anyhow::Result;
use qgemm::{Activation, Int8Element, Multiplier, QuantParams, Rounding, Table};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// How sums become what is written.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Options {
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
    /// float (in f32, half to even), real (in f64, half away from zero), or in integers: gemmlowp, ruy,
    /// single or reference, by a multiplier made from --scale, or by --multiplier [default: float]
    #[arg(long, value_name = "NAME", help_heading = "8-bit output")]
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
    /// Applied after the clamp: gelu, gelu-tanh, silu, sigmoid, tanh, hard-swish, or a file with the 256
    /// values of a function, of the output's type, for the least argument first
    #[arg(long, value_name = "NAME|FILE", help_heading = "8-bit output")]
    activation: Option<PathBuf>,
    /// Scale and zero point of a named activation's argument
    #[arg(long, value_name = "S,Z", requires = "activation", help_heading = "8-bit output")]
    activation_in: Option<String>,
    /// Scale and zero point of its value
    #[arg(long, value_name = "S,Z", requires = "activation", help_heading = "8-bit output")]
    activation_out: Option<String>,
}

/// The output that was asked for.
pub enum Output {
    I32,
    F32(FloatStage),
    I8(Stage<i8>),
    U8(Stage<u8>),
}

const ACTIVATIONS: [(&str, Activation); 6] = [
    ("gelu", Activation::Gelu),
    ("gelu-tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("hard-swish", Activation::HardSwish),
];

const ROUNDINGS: [(&str, Rounding); 4] = [
    ("gemmlowp", Rounding::Gemmlowp),
    ("ruy", Rounding::Ruy),
    ("single", Rounding::Single),
    ("reference", Rounding::Reference),
];

fn named<T: Copy>(list: &[(&str, T)], name: &OsStr) -> Option<T> {
    list.iter().find(|(known, _)| name == *known).map(|(_, value)| *value)
}

impl Output {
    /// That of an M x N product.
    pub fn new(options: &Options, shape: (usize, usize)) -> Result<Self> {
        Ok(match options.out_type.as_str() {
            "i32" => {
                options.check_given(&[], "--out-type is i32")?;
                Output::I32
            }
            "f32" => {
                options.check_given(&["--scale", "--row-scale", "--clamp"], "--out-type is f32")?;
                let (scale, clamp) = (options.factor(shape)?, options.clamp("two numbers")?);
                Output::F32(FloatStage { scale, bias: None, clamp })
            }
            "i8" => Output::I8(options.stage(shape)?),
            "u8" => Output::U8(options.stage(shape)?),
            other => return Err(bad("--out-type", other, "i32, f32, i8 or u8")),
        })
    }
}

/// An error of the library with the command's names.
pub fn rename(error: qgemm::Error) -> anyhow::Error {
    library(error, &NAMES)
}

/// The library's names of its arguments, and ours.
const NAMES: [(&str, &str); 15] = [
    ("a", "--a"),
    ("b", "--b"),
    ("packed b", "--b"),
    ("a_zero", "--a-zero"),
    ("b_zero", "--b-zero"),
    ("bias", "--bias"),
    ("scale", "--row-scale and --scale"), // of products: values are checked when they are read
    ("output zero point", "--out-zero"),
    ("clamp", "--clamp"),
    ("multiplier", "--multiplier"),
    ("shift", "--shift"),
    ("residual", "--residual"),
    ("residual scale", "--residual-scale"),
    ("residual zero point", "--residual-zero"),
    ("output", "--out"),
];

impl Options {
    /// Refuses options that have no meaning at this `place`: all that are given but the allowed ones.
    fn check_given(&self, allowed: &[&str], place: &str) -> Result<()> {
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
            ("--activation", path(&self.activation)),
        ];
        for (name, value) in given {
            if let (Some(value), false) = (value, allowed.contains(&name)) {
                return Err(bad(name, value, format_args!("left out where {place}")));
            }
        }
        Ok(())
    }

    fn stage<T: Int8Element>(&self, shape: (usize, usize)) -> Result<Stage<T>> {
        let scaling = self.scaling(shape)?;
        let zero = self.out_zero.as_deref().map_or(Ok(0), |text| values::integer("--out-zero", text))?;
        let clamp = self.clamp("two integers that fit i32")?;
        Ok(Stage { scaling, zero, clamp, table: self.table()?.map(Box::new) })
    }

    fn scaling(&self, shape: (usize, usize)) -> Result<Scaling> {
        const ALWAYS: [&str; 4] = ["--clamp", "--out-zero", "--rounding", "--activation"];
        let check = |more: &[&str], place: &str| self.check_given(&[&ALWAYS, more].concat(), place);
        let columns = Per::ColumnOfB(shape.1);
        let name = self.rounding.as_deref().unwrap_or("float");
        match (name, named(&ROUNDINGS, name.as_ref())) {
            ("float", _) => {
                check(&["--scale", "--row-scale", "--residual"], "--rounding is float")?;
                Ok(Scaling::Float(self.factor(shape)?, self.residual(shape)?))
            }
            ("real", _) => {
                check(&["--scale"], "--rounding is real")?;
                let factors = values::scales("--scale", self.needed_scale()?, columns, |x| x)?;
                Ok(Scaling::Real(factors))
            }
            (_, Some(rounding)) => {
                let multipliers = match (&self.multiplier, &self.shift) {
                    (Some(m), Some(shift)) => {
                        check(&["--multiplier", "--shift"], "--multiplier is given")?;
                        let m = values::integers("--multiplier", m, columns)?;
                        m.zip(values::integers("--shift", shift, columns)?, Multiplier::new)
                    }
                    _ => {
                        check(&["--scale"], &format!("--rounding is {name}"))?;
                        let real = values::scales("--scale", self.needed_scale()?, columns, |x| x)?;
                        real.map(Multiplier::from_real)
                    }
                };
                Ok(Scaling::Fixed(multipliers.map_err(rename)?, rounding))
            }
            _ => Err(bad("--rounding", name, "float, real, gemmlowp, ruy, single or reference")),
        }
    }

    fn needed_scale(&self) -> Result<&OsStr> {
        let must = format_args!("given where --out-type is {}", self.out_type);
        self.scale.as_deref().ok_or_else(|| missing("--scale", must))
    }

    /// The factor in f32.
    fn factor(&self, (m, n): (usize, usize)) -> Result<Factor> {
        let columns = |scale| values::scales("--scale", scale, Per::ColumnOfB(n), |x| x as f32);
        let Some(rows) = &self.row_scale else {
            return Ok(match columns(self.needed_scale()?)? {
                Values::One(scale) => Factor::One(scale),
                Values::Each(scales) => Factor::Columns(scales),
            });
        };
        let rows = values::scales("--row-scale", rows, Per::RowOfA(m), |x| x as f32)?.expand(m);
        Ok(match &self.scale {
            Some(scale) => Factor::Both(rows, columns(scale)?.expand(n)),
            None => Factor::Rows(rows),
        })
    }

    fn residual(&self, (m, n): (usize, usize)) -> Result<Option<Residual>> {
        let (Some(path), Some(scale)) = (&self.residual, &self.residual_scale) else { return Ok(None) };
        let matrix = Matrix8::read("--residual", path)?;
        if (matrix.rows, matrix.cols) != (m, n) {
            let why = format_args!("{}x{}", matrix.rows, matrix.cols);
            return Err(bad_because("--residual", path.display(), why, format_args!("{m}x{n}")));
        }
        let must = "a number from 0 to 2^64";
        let scale = scale.trim().parse().map_err(|_| bad("--residual-scale", scale, must))?;
        let zero = self.residual_zero.as_deref().map(|text| values::integer("--residual-zero", text));
        Ok(Some(Residual { matrix, scale, zero: zero.transpose()?.unwrap_or(0) }))
    }

    fn clamp<T: std::str::FromStr + PartialOrd>(&self, what: &str) -> Result<Option<(T, T)>> {
        let Some(text) = &self.clamp else { return Ok(None) };
        let must = format!("LO,HI: {what}, LO not above HI");
        match pair("--clamp", text, &must)? {
            (lo, hi) if lo <= hi => Ok(Some((lo, hi))),
            _ => Err(bad("--clamp", text, must)),
        }
    }

    fn table<T: Int8Element>(&self) -> Result<Option<Table<T>>> {
        let Some(given) = &self.activation else { return Ok(None) };
        let activation = named(&ACTIVATIONS, given.as_os_str());
        let place = match activation {
            Some(_) => "--activation is a name",
            None => "--activation is a file",
        };
        let params = |name, text: &Option<String>| match (text, activation.is_some()) {
            (Some(text), true) => parameters(name, text).map(Some),
            (None, false) => Ok(None),
            (Some(text), false) => Err(bad(name, text, format_args!("left out where {place}"))),
            (None, true) => Err(missing(name, format_args!("given where {place}"))),
        };
        let input = params("--activation-in", &self.activation_in)?;
        let output = params("--activation-out", &self.activation_out)?;
        Ok(Some(match (activation, input, output) {
            (Some(activation), Some(input), Some(output)) => Table::activation(activation, input, output)?,
            _ => read_table(given)?,
        }))
    }
}

fn parameters(argument: &str, text: &str) -> Result<QuantParams> {
    let must = "SCALE,ZERO: a finite positive number and an integer that fits i32";
    match pair::<f32, i32>(argument, text, must)? {
        (scale, zero_point) if scale > 0.0 && scale.is_finite() => Ok(QuantParams { scale, zero_point }),
        _ => Err(bad(argument, text, must)),
    }
}

/// A function as its values, from that of the least argument on.
fn read_table<T: Int8Element>(path: &Path) -> Result<Table<T>> {
    let must = "an activation's name or a .npy file of 256 values of the output's type";
    let array = npy::read("--activation", path, must)?;
    let (least, greatest) = T::TYPE.range();
    let values = array.integers().filter(|_| array.kind() == if least < 0 { "i1" } else { "u1" });
    let values = values.ok_or_else(|| array.refuse(format_args!("elements of type {}", array.descr)))?;
    if array.shape != [values.len()] || values.len() != (least..=greatest).count() {
        return Err(array.refuse(format_args!("shape {:?}", array.shape)));
    }
    Ok(Table::from_fn(|x: T| T::from_bits(values[(x.to_i32() - least) as usize] as u8)))
}
