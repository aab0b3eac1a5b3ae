//! Other libraries, which `qgemm bench --compare` measures beside qgemm.

use crate::bench::expected::{Expected, requantized};
use crate::bench::operands::Operands;
use crate::bench::timing::{Times, times};
use crate::bench::variants::{Variant, Work};
use crate::errors::invalid_because;
use crate::shape::Shape;
use anyhow::{Context, Result};
use qgemm_onednn::{Elements, OneDnn, Output, Problem, Product};

/// Another library.
pub struct Peer<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// The variants of `qgemm bench` whose work it does.
    pub variants: &'static [&'static str],
    /// Measures a product with weights that are packed ahead, where the library offers that. It is called on a thread of a
    /// rayon pool with as many threads as the product is to use.
    pub measure: Box<Measure<'a>>,
}

/// A function that measures a product.
pub type Measure<'a> = dyn FnMut(&PeerProduct<'_>) -> Result<PeerTimes> + Send + 'a;

/// The product C (m x n) = A (m x k) · B (k x n) that a [`Peer`] is to measure.
#[derive(Clone, Copy)]
pub struct PeerProduct<'a> {
    /// Rows of A.
    pub m: usize,
    /// Columns of A.
    pub k: usize,
    /// Columns of B.
    pub n: usize,
    /// A, row by row, for variants that begin with `u8`.
    pub a_u8: &'a [u8],
    /// A, row by row, for variants that begin with `s8`.
    pub a_i8: &'a [i8],
    /// B, row by row.
    pub b: &'a [i8],
    /// The name of the variant.
    pub variant: &'static str,
    /// Scales per column, zero points of A and of C; `None` for i32 sums.
    pub output: Option<(&'a [f32], i32, i32)>,
    /// Threads to use.
    pub threads: usize,
    /// Make each call once.
    pub quick: bool,
}

/// The measurement of a [`Peer`].
pub struct PeerTimes {
    /// The library's name for its code, or the setting.
    pub kernel: String,
    /// The times of a call.
    pub times: Times,
    /// C, row by row, for the comparison with exact sums.
    pub c: Vec<f64>,
}

impl Peer<'_> {
    pub(super) fn takes(&self, variant: &Variant) -> bool {
        self.variants.contains(&variant.name)
    }

    /// The times of a variant that it takes, and the largest difference of an output from the exact value.
    pub(super) fn measured(
        &mut self,
        variant: &Variant,
        operands: &Operands,
        expected: &Expected,
        (threads, quick): (usize, bool),
    ) -> Result<(PeerTimes, f64)> {
        let Shape { m, k, n } = operands.shape;
        let with_output = variant.work == Work::Requantize;
        let output = (&operands.scales[..], variant.a_zero(), variant.output_zero());
        let product = PeerProduct {
            m,
            k,
            n,
            a_u8: &operands.a_u8,
            a_i8: &operands.a_i8,
            b: &operands.b,
            variant: variant.name,
            output: with_output.then_some(output),
            threads,
            quick,
        };
        let measured = (self.measure)(&product)
            .with_context(|| format!("--compare: {} of {} by {}", variant.name, operands.shape, self.name))?;
        let error = expected.error(&measured.c, n, |_, j, sum| {
            if with_output { requantized(sum, operands.scales[j], variant) } else { sum as f64 }
        });
        Ok((measured, error))
    }
}

/// oneDNN as the system has it.
pub(super) fn onednn() -> Result<Peer<'static>> {
    let must = "given where oneDNN is installed, or to a program that brings other libraries";
    let mut library = OneDnn::load().map_err(|why| invalid_because("--compare", "given", why, must))?;
    let version = library.version().to_string();
    let measure = move |product: &PeerProduct<'_>| {
        let PeerProduct { m, k, n, b, .. } = *product;
        let sets_threads = library.set_threads(product.threads);
        let unsigned = product.variant.starts_with('u');
        let a = if unsigned { Elements::U8(product.a_u8) } else { Elements::I8(product.a_i8) };
        let output = product.output.map(|(scales, a_zero, c_zero)| Output { scales, a_zero, c_zero });
        let mut ready = Product::new(&library, &Problem { m, k, n, a, b, output })?;
        let times = times(product.quick, || ready.run())?;
        let value = |byte: u8| if unsigned { f64::from(byte) } else { f64::from(byte as i8) };
        let c = match output {
            None => ready.sums().iter().map(|sum| f64::from(*sum)).collect(),
            Some(_) => ready.bytes().into_iter().map(value).collect(),
        };
        let threads = if sets_threads { "" } else { " (threads of its own)" };
        Ok(PeerTimes { kernel: format!("{}{threads}", ready.implementation()), times, c })
    };
    let variants = &["u8s8s32", "s8s8s32", "u8s8u8_zp", "s8s8s8_zp"];
    Ok(Peer { name: "oneDNN", version, variants, measure: Box::new(measure) })
}
