//! The engine's entry: chooses by whether B is packed.

use crate::engine::{packed, unpacked};
use crate::error::Error;
use crate::output::destination::Destination;
use crate::product::Product;
use crate::product::operands::Rhs;

/// Computes a product on at most `max_threads` threads of the current pool. An empty output needs nothing.
///
/// # Errors
/// If B is not packed, [`Error::Memory`] if there is not enough to pack it and [`Error::Kernel`] or
/// [`Error::Variable`] if the environment is wrong.
pub(crate) fn run(
    product: &Product<'_>,
    destination: &mut Destination<'_, '_>,
    max_threads: usize,
) -> Result<(), Error> {
    if product.m == 0 || product.n == 0 {
        return Ok(());
    }
    match product.b {
        Rhs::Packed(b) => packed::run(product, &b.columns, destination, max_threads),
        Rhs::Unpacked(b) => return unpacked::run(product, b, destination, max_threads),
    }
    Ok(())
}
