//! `--activation`: limits of the output, a function of it, or a table of 256 bytes.

use crate::arguments::numbers::{parse_factor, refusal};
use crate::errors::{invalid, missing};
use crate::files::npy::Array;
use crate::matmul::names::given_path;
use anyhow::Result;
use qgemm::{Activation, ElementType, Int8Element, QuantParams, Table};
use std::path::{Path, PathBuf};

/// A function that `--activation` can name.
#[derive(Clone, Copy)]
enum Named {
    /// Limits the output to 0 and more.
    Relu,
    /// Limits the output to 0 to 6.
    Relu6,
    Function(Activation),
}

const NAMES: [(&str, Named); 8] = [
    ("relu", Named::Relu),
    ("relu6", Named::Relu6),
    ("gelu", Named::Function(Activation::Gelu)),
    ("gelu-tanh", Named::Function(Activation::GeluTanh)),
    ("silu", Named::Function(Activation::Silu)),
    ("sigmoid", Named::Function(Activation::Sigmoid)),
    ("tanh", Named::Function(Activation::Tanh)),
    ("hard-swish", Named::Function(Activation::HardSwish)),
];

/// The options of an activation.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct ActivationOptions {
    #[arg(long, value_name = "NAME|FILE", help = help())]
    activation: Option<PathBuf>,
    /// Scale and zero point of the argument of a named function. Needed with gelu to hard-swish
    #[arg(long, value_name = "S,Z", requires = "activation", help_heading = "8-bit output")]
    activation_in: Option<String>,
    /// Scale and zero point of its value. Needed with gelu to hard-swish, and with relu6 (Z is then that of --out-zero)
    #[arg(long, value_name = "S,Z", requires = "activation", help_heading = "8-bit output")]
    activation_out: Option<String>,
}

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

fn help() -> String {
    format!(
        "Applied after the clamp: {}; for an 8-bit output also a file with the 256 values of a function, of the \
         output's type, for the least argument first. With relu and relu6 the limits of --clamp hold too [default: \
         none]",
        names()
    )
}

/// The activation of an f32 output.
pub enum FloatActivation {
    Limits(f32, f32),
    Function(Activation),
}

/// The activation of an 8-bit output.
pub enum QuantizedActivation<T> {
    Limits(i32, i32),
    Table(Box<Table<T>>),
}

impl ActivationOptions {
    /// The options that were given, with their values.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let options = [
            ("--activation", given_path(&self.activation)),
            ("--activation-in", self.activation_in.clone()),
            ("--activation-out", self.activation_out.clone()),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The activation of an f32 output.
    pub fn float(&self) -> Result<Option<FloatActivation>> {
        let Some(given) = &self.activation else { return Ok(None) };
        match self.named() {
            Some((_, Named::Relu)) => Ok(Some(FloatActivation::Limits(0.0, f32::INFINITY))),
            Some((_, Named::Relu6)) => Ok(Some(FloatActivation::Limits(0.0, 6.0))),
            Some((_, Named::Function(activation))) => Ok(Some(FloatActivation::Function(activation))),
            None => {
                let must = format!("where --out-type is f32 one of: {}", names());
                Err(invalid("--activation", given.display(), must))
            }
        }
    }

    /// The activation of an 8-bit output with this zero point.
    pub fn quantized<T: Int8Element>(&self, out_zero: i32) -> Result<Option<QuantizedActivation<T>>> {
        let Some(given) = &self.activation else { return Ok(None) };
        let (unused, condition): (&[_], _) = match self.named() {
            Some((name @ "relu", _)) => (&["--activation-in", "--activation-out"], name),
            Some((name @ "relu6", _)) => (&["--activation-in"], name),
            Some((name, _)) => (&[], name),
            None => (&["--activation-in", "--activation-out"], "a file"),
        };
        if let Some((name, value)) = self.given().into_iter().find(|(name, _)| unused.contains(name)) {
            return Err(invalid(name, value, format_args!("left out where --activation is {condition}")));
        }
        Ok(Some(match self.named() {
            Some((name, Named::Relu)) => limits::<T>(name, out_zero, i32::MAX)?,
            Some((name, Named::Relu6)) => {
                let six = (6.0 / self.scale_for_relu6(out_zero)?).round_ties_even() as i32;
                limits::<T>(name, out_zero, six)?
            }
            Some((_, Named::Function(activation))) => {
                let (input, output) = (self.input()?, self.output()?);
                QuantizedActivation::Table(Box::new(Table::activation(activation, input, output)?))
            }
            None => QuantizedActivation::Table(Box::new(read_table(given)?)),
        }))
    }

    /// The function that is named, with its name; `None` for a file.
    fn named(&self) -> Option<(&'static str, Named)> {
        let given = self.activation.as_deref()?;
        NAMES.into_iter().find(|(name, _)| given.as_os_str() == *name)
    }

    fn scale_for_relu6(&self, out_zero: i32) -> Result<f32> {
        let QuantParams { scale, zero_point } = self.output()?;
        if zero_point == out_zero {
            return Ok(scale);
        }
        let must =
            format!("SCALE,ZERO with the zero point of --out-zero, {out_zero}, where --activation is relu6");
        Err(invalid("--activation-out", format_args!("{scale},{zero_point}"), must))
    }

    fn input(&self) -> Result<QuantParams> {
        self.required("--activation-in", &self.activation_in)
    }

    fn output(&self) -> Result<QuantParams> {
        self.required("--activation-out", &self.activation_out)
    }

    /// The quantization in an option that the named function needs.
    fn required(&self, name: &str, text: &Option<String>) -> Result<QuantParams> {
        let function = self.named().map_or("a name", |(function, _)| function);
        match text {
            Some(text) => quantization(name, text),
            None => Err(missing(name, format_args!("given where --activation is {function}"))),
        }
    }
}

/// The limits of an output that is 0 to `six` steps in real numbers, and whose zero point is `out_zero`.
fn limits<T: Int8Element>(name: &str, out_zero: i32, six: i32) -> Result<QuantizedActivation<T>> {
    let (least, greatest) = T::TYPE.range();
    let (lowest, highest) = (least.saturating_sub(six), greatest);
    if !(lowest..=highest).contains(&out_zero) {
        let range =
            if lowest > i32::MIN { format!("in {lowest}..={highest}") } else { format!("at most {highest}") };
        let must = format!("{range} where --activation is {name}, which leaves no value of {} else", T::TYPE);
        return Err(invalid("--out-zero", out_zero, must));
    }
    Ok(QuantizedActivation::Limits(out_zero, out_zero.saturating_add(six)))
}

/// Reads a scale and a zero point.
fn quantization(argument: &str, text: &str) -> Result<QuantParams> {
    let must = "SCALE,ZERO: a finite positive number and an integer that fits i32";
    let (scale, zero_point) = text.split_once(',').ok_or_else(|| invalid(argument, text, must))?;
    let scale = parse_factor(scale).map_err(|why| refusal(argument, text, why, must))?;
    match zero_point.trim().parse() {
        Ok(zero_point) if scale > 0.0 => Ok(QuantParams { scale, zero_point }),
        _ => Err(invalid(argument, text, must)),
    }
}

/// Reads the 256 values of a function of T, in the order of its arguments, the least first.
fn read_table<T: Int8Element>(path: &Path) -> Result<Table<T>> {
    let (kind, must) = match T::TYPE {
        ElementType::I8 => ("i1", "an activation's name or a .npy file of 256 values of int8"),
        ElementType::U8 => ("u1", "an activation's name or a .npy file of 256 values of uint8"),
    };
    let array = Array::read("--activation", path, must)?;
    let (least, greatest) = T::TYPE.range();
    let values = array.integers().filter(|_| array.kind() == kind).ok_or_else(|| array.refuse_type())?;
    if array.shape() != [values.len()] || values.len() != (least..=greatest).count() {
        return Err(array.refuse(format_args!("shape {:?}", array.shape())));
    }
    Ok(Table::from_fn(|x: T| T::from_bits(values[(x.to_i32() - least) as usize] as u8)))
}
