//! Scales: a number, or a file with one or one per row or column.

use crate::arguments::numbers::{Real, factor, rounded_to_zero};
use crate::arguments::values::{Axis, Values, as_number};
use crate::files::npy::Array;
use anyhow::Result;
use qgemm::Scale;
use std::ffi::OsStr;
use std::path::Path;

/// A [`Scale`] that owns its values.
#[derive(Debug)]
pub enum OwnedScale {
    PerTensor(f32),
    PerColumn(Vec<f32>),
    PerRow(Vec<f32>),
    RowsByColumns { rows: Vec<f32>, columns: Vec<f32> },
}

impl OwnedScale {
    pub fn borrow(&self) -> Scale<'_> {
        match self {
            OwnedScale::PerTensor(scale) => Scale::PerTensor(*scale),
            OwnedScale::PerColumn(scales) => Scale::PerColumn(scales),
            OwnedScale::PerRow(scales) => Scale::PerRow(scales),
            OwnedScale::RowsByColumns { rows, columns } => Scale::RowsByColumns { rows, columns },
        }
    }
}

const MUST: &str = "finite and not negative, a number or a .npy file of float32 or float64";

/// Reads an argument of scales and rounds each once, to a `T`. Refused are those that [`factor`] refuses.
pub fn scales<T: Real>(argument: &'static str, given: &OsStr, axis: Axis) -> Result<Values<T>> {
    if let Some(number) = as_number(given) {
        return factor(argument, number, MUST).map(Values::PerTensor);
    }
    let array = Array::read(argument, Path::new(given), MUST)?;
    let in_file = array.float_values()?;
    let mut values = Vec::with_capacity(in_file.len());
    for (at, exact) in in_file.into_iter().enumerate() {
        let value = factor_in_file(exact);
        values.push(value.map_err(|why| array.refuse(format_args!("value {at} is {exact:?}{why}")))?);
    }
    axis.check_one_or_each(&array)?;
    Ok(Values::from_file(values))
}

/// A factor as a `T`, or the rest of the sentence that refuses it.
fn factor_in_file<T: Real>(exact: f64) -> Result<T, String> {
    let value = T::nearest(exact);
    match value.into() {
        _ if !(exact >= 0.0 && exact.is_finite()) => Err(String::new()),
        0.0 if exact > 0.0 => Err(format!(", {}", rounded_to_zero::<T>())),
        f64::INFINITY => Err(format!(", too large for {}", T::NAME)),
        _ => Ok(value),
    }
}
