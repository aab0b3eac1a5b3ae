//! `--activations`: the way in which float activations become 8-bit integers.

use crate::errors::invalid;
use anyhow::Result;
use qgemm::Activations;

/// A value of `--activations`.
struct Scheme {
    name: &'static str,
    activations: Activations,
    in_words: &'static str,
}

const SCHEMES: [Scheme; 3] = [
    Scheme {
        name: "group",
        activations: Activations::PerRowAndGroup,
        in_words: "to i8, a scale for each row and group (the most accurate)",
    },
    Scheme {
        name: "row",
        activations: Activations::PerRow,
        in_words: "to i8, a scale for each row (a little faster)",
    },
    Scheme {
        name: "row-asymmetric",
        activations: Activations::PerRowAsymmetric,
        in_words: "to u8, a scale and a zero point for each row",
    },
];

pub const DEFAULT: &str = SCHEMES[0].name;

pub fn help() -> String {
    let each = SCHEMES.each_ref().map(|scheme| format!("{}: {}", scheme.name, scheme.in_words));
    format!("How A is quantized. {}", each.join("; "))
}

/// Reads `--activations`.
pub fn read(text: &str) -> Result<Activations> {
    let found = SCHEMES.iter().find(|scheme| scheme.name == text);
    found.map(|scheme| scheme.activations).ok_or_else(|| {
        let [first, second, third] = SCHEMES.each_ref().map(|scheme| scheme.name);
        invalid("--activations", text, format_args!("{first}, {second} or {third}"))
    })
}
