//! The outcome of a case: its output buffers, an error or a panic; and the comparison of two outcomes.

use crate::verify::buffer::{Buffer, Written};
use crate::verify::case::Case;
use crate::verify::destination::{Destination, Layout};
use qgemm::{Error, QuantParams};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub enum Outcome {
    /// The memory that each product wrote.
    Computed(Vec<Written>),
    Refused(Error),
    Panicked,
}

impl Outcome {
    pub fn of(run: impl FnOnce() -> Result<Vec<Written>, Error>) -> Self {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(written)) => Outcome::Computed(written),
            Ok(Err(error)) => Outcome::Refused(error),
            Err(_) => Outcome::Panicked,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Outcome::Computed(_) => "computed".into(),
            Outcome::Refused(error) => format!("refused ({error})"),
            Outcome::Panicked => "panicked".into(),
        }
    }
}

/// The first difference between the outcome by the definition and that of a kernel, in words; `None` if they
/// are equal. A case that either of them refuses counts as a difference: all cases must succeed.
pub fn difference(expected: &Outcome, got: &Outcome, case: &Case) -> Option<String> {
    let (Outcome::Computed(expected), Outcome::Computed(got)) = (expected, got) else {
        return Some(format!("the definition: {}, the kernel: {}", expected.in_words(), got.in_words()));
    };
    let products = case.products();
    if [expected.len(), got.len()] != [products.len(); 2] {
        let (expected, got) = (expected.len(), got.len());
        return Some(format!("outputs of {}: the definition {expected}, the kernel {got}", products.len()));
    }
    let mut outputs = expected.iter().zip(got).zip(products).enumerate();
    outputs.find_map(|(i, ((expected, got), product))| {
        let in_c = buffer_difference(&expected.c, &got.c, &product.c);
        let difference = in_c.or_else(|| params_difference(&expected.params, &got.params))?;
        Some(format!("product {i}: {difference}"))
    })
}

/// Compares the parameters that are handed back, scales by their bits.
fn params_difference(expected: &[QuantParams], got: &[QuantParams]) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("{} parameters, must be {}", got.len(), expected.len()));
    }
    let key = |params: &QuantParams| (params.scale.to_bits(), params.zero_point);
    let first = (0..expected.len()).find(|&at| key(&expected[at]) != key(&got[at]))?;
    let in_words = |QuantParams { scale, zero_point }| format!("{scale:e} and {zero_point}");
    let (got, expected) = (in_words(got[first]), in_words(expected[first]));
    Some(format!("scale and zero point {first} handed back: was {got}, must be {expected}"))
}

fn buffer_difference(expected: &Buffer, got: &Buffer, destination: &Destination) -> Option<String> {
    use Buffer::{F32, I8, I32, U8};
    match (expected, got) {
        (I32(expected), I32(got)) => element_difference(expected, got, destination, |x| *x),
        (I8(expected), I8(got)) => element_difference(expected, got, destination, |x| *x),
        (U8(expected), U8(got)) => element_difference(expected, got, destination, |x| *x),
        // By their bits 0 and -0 differ, and a NaN equals itself.
        (F32(expected), F32(got)) => element_difference(expected, got, destination, |x| x.to_bits()),
        _ => Some("the outputs are of different types".into()),
    }
}

/// Compares the keys of all elements.
fn element_difference<T: Display, K: PartialEq>(
    expected: &[T],
    got: &[T],
    destination: &Destination,
    key: impl Fn(&T) -> K,
) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("the buffer has {} elements, must have {}", got.len(), expected.len()));
    }
    let differs = |at: &usize| key(&expected[*at]) != key(&got[*at]);
    let first = (0..expected.len()).find(differs)?;
    let count = (0..expected.len()).filter(differs).count();
    let Layout { row_stride, col_stride, .. } = destination.layout;
    let mut elements = (0..destination.rows).flat_map(|i| (0..destination.cols).map(move |j| (i, j)));
    let place = match elements.find(|(i, j)| i * row_stride + j * col_stride == first) {
        Some((i, j)) => format!("row {i}, column {j}"),
        None => format!("outside of the matrix, at {first} of its slice"),
    };
    let (got, expected) = (&got[first], &expected[first]);
    Some(format!("{count} differ, the first at {place}: was {got}, must be {expected}"))
}
