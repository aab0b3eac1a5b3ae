//! `--clamp`, alone or together with the limits that an activation has.

use crate::arguments::numbers::{pair, refusal, too_large};
use crate::errors::invalid;
use anyhow::Result;
use std::fmt::Display;

/// Reads the limits of an 8-bit output.
pub fn integer_clamp(text: &str) -> Result<(i32, i32)> {
    ascending(text, pair("--clamp", text, INTEGERS)?, INTEGERS)
}

/// Reads the limits of an f32 output, which may be infinite.
pub fn float_clamp(text: &str) -> Result<(f32, f32)> {
    let (lo, hi) = pair::<f32, f32>("--clamp", text, FLOATS)?;
    let (lo_text, hi_text) = text.split_once(',').unwrap_or_default();
    if let Some(why) = too_large(lo_text, lo).or(too_large(hi_text, hi)) {
        return Err(refusal("--clamp", text, Some(why), FLOATS));
    }
    ascending(text, (lo, hi), FLOATS)
}

const INTEGERS: &str = "LO,HI: two integers that fit i32, LO not above HI";
const FLOATS: &str = "LO,HI: two numbers, LO not above HI";

fn ascending<T: PartialOrd>(text: &str, (lo, hi): (T, T), must: &str) -> Result<(T, T)> {
    if lo <= hi { Ok((lo, hi)) } else { Err(invalid("--clamp", text, must)) }
}

/// The values within the clamp as well as within the limits of an activation.
pub fn both<T>(clamp: Option<(T, T)>, activation: Option<(T, T)>) -> Result<Option<(T, T)>>
where
    T: PartialOrd + Copy + Display,
{
    let (Some((lo, hi)), Some((least, greatest))) = (clamp, activation) else {
        return Ok(clamp.or(activation));
    };
    let within = (if lo < least { least } else { lo }, if hi > greatest { greatest } else { hi });
    if within.0 <= within.1 {
        return Ok(Some(within));
    }
    let must = format!("limits that leave some of those of --activation, {least},{greatest}");
    Err(invalid("--clamp", format_args!("{lo},{hi}"), must))
}
