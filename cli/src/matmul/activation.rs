//! `--activation`: a table of 256 bytes, made from a named function or read from a file.

use crate::arguments::numbers::pair;
use crate::errors::{invalid, missing};
use crate::files::npy::Array;
use anyhow::Result;
use qgemm::{Activation, Int8Element, QuantParams, Table};
use std::path::{Path, PathBuf};

/// The activations by the names of `--activation`.
const ACTIVATIONS: [(&str, Activation); 6] = [
    ("gelu", Activation::Gelu),
    ("gelu-tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("hard-swish", Activation::HardSwish),
];

/// The options of an activation.
#[derive(clap::Args)]
pub struct ActivationOptions {
    #[arg(long, value_name = "NAME|FILE", help = help(), help_heading = "8-bit output")]
    pub activation: Option<PathBuf>,
    /// Scale and zero point of a named activation's argument
    #[arg(long, value_name = "S,Z", requires = "activation", help_heading = "8-bit output")]
    activation_in: Option<String>,
    /// Scale and zero point of its value
    #[arg(long, value_name = "S,Z", requires = "activation", help_heading = "8-bit output")]
    activation_out: Option<String>,
}

fn help() -> String {
    let names = ACTIVATIONS.map(|(name, _)| name).join(", ");
    format!(
        "Applied after the clamp: {names}, or a file with the 256 values of a function, of the output's type, \
         for the least argument first"
    )
}

impl ActivationOptions {
    /// The table of the activation, if one was asked for.
    pub fn table<T: Int8Element>(&self) -> Result<Option<Table<T>>> {
        let Some(given) = &self.activation else { return Ok(None) };
        let named = ACTIVATIONS.iter().find(|(name, _)| given.as_os_str() == *name);
        let table = match named {
            Some((_, activation)) => self.named(*activation)?,
            None => self.read(given)?,
        };
        Ok(Some(table))
    }

    fn named<T: Int8Element>(&self, activation: Activation) -> Result<Table<T>> {
        let required = |name, text: &Option<String>| match text {
            Some(text) => quantization(name, text),
            None => Err(missing(name, "given where --activation is a name")),
        };
        let input = required("--activation-in", &self.activation_in)?;
        let output = required("--activation-out", &self.activation_out)?;
        Ok(Table::activation(activation, input, output)?)
    }

    fn read<T: Int8Element>(&self, path: &Path) -> Result<Table<T>> {
        for (name, text) in
            [("--activation-in", &self.activation_in), ("--activation-out", &self.activation_out)]
        {
            if let Some(text) = text {
                return Err(invalid(name, text, "left out where --activation is a file"));
            }
        }
        read_table(path)
    }
}

/// Reads a scale and a zero point.
fn quantization(argument: &str, text: &str) -> Result<QuantParams> {
    let must = "SCALE,ZERO: a finite positive number and an integer that fits i32";
    match pair::<f32, i32>(argument, text, must)? {
        (scale, zero_point) if scale > 0.0 && scale.is_finite() => Ok(QuantParams { scale, zero_point }),
        _ => Err(invalid(argument, text, must)),
    }
}

/// Reads the 256 values of a function of T, in the order of its arguments, the least first.
fn read_table<T: Int8Element>(path: &Path) -> Result<Table<T>> {
    let must = "an activation's name or a .npy file of 256 values of the output's type";
    let array = Array::read("--activation", path, must)?;
    let (least, greatest) = T::TYPE.range();
    let values = array.integers().filter(|_| array.kind() == if least < 0 { "i1" } else { "u1" });
    let values = values.ok_or_else(|| array.refuse_type())?;
    if array.shape() != [values.len()] || values.len() != (least..=greatest).count() {
        return Err(array.refuse(format_args!("shape {:?}", array.shape())));
    }
    Ok(Table::from_fn(|x: T| T::from_bits(values[(x.to_i32() - least) as usize] as u8)))
}
