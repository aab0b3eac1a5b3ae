//! The engine's entry: chooses by whether B is packed.

use crate::engine::operation::needs_at_most;
use crate::engine::threads::{Threads, share};
use crate::engine::{buffers, packed, unpacked};
use crate::error::Error;
use crate::output::destination::Destination;
use crate::output::region::Extent;
use crate::product::Product;
use crate::product::operands::Rhs;
use std::ops::Range;

/// Computes a part of a product on some of the given threads. `destination` holds that part only; it begins with a panel.
/// An empty output needs nothing.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for scratch memory or to pack B; if B is not packed, [`Error::Kernel`] or
/// [`Error::Variable`] if the environment is wrong. Nothing was written then.
#[inline(always)]
pub(crate) fn run(
    product: &Product<'_>,
    extent: Extent,
    destination: &mut Destination<'_, '_>,
    threads: Threads<'_>,
) -> Result<(), Error> {
    let Extent { rows, columns } = extent;
    if rows.is_empty() || columns.is_empty() {
        return Ok(());
    }
    let share = &share(rows.len().saturating_mul(columns.len()).saturating_mul(product.k), threads);
    match product.b {
        Rhs::Packed(b) => {
            let panels = b.columns.panels_of(columns);
            packed::run(product, &b.columns, (rows, panels), destination, share)
        }
        Rhs::Unpacked(b) => unpacked::run(product, b, Extent { rows, columns }, destination, share),
    }
}

/// Reserves the memory that this thread needs to compute some rows of a product alone.
///
/// # Errors
/// Those of [`run`].
pub(crate) fn reserve(
    product: &Product<'_>,
    rows: Range<usize>,
    destination: &Destination<'_, '_>,
) -> Result<(), Error> {
    if rows.is_empty() || product.n == 0 {
        return Ok(());
    }
    match product.b {
        Rhs::Packed(b) => buffers::reserve(&needs_at_most(product, &b.columns.kernel(), b.columns.caches())),
        Rhs::Unpacked(b) => unpacked::reserve(product, b, rows, destination),
    }
}
