//! The engine's entry: chooses by whether B is packed.

use crate::engine::operation::needs_at_most;
use crate::engine::threads::{Share, Threads, share};
use crate::engine::{buffers, packed, told, unpacked};
use crate::error::Error;
use crate::output::destination::Destination;
use crate::output::region::Extent;
use crate::product::Product;
use crate::product::operands::Rhs;
use crate::trace;
use std::ops::Range;

/// Computes a part of a product on some of the given threads. `destination` holds that part only; it begins with a panel.
/// An empty output needs nothing.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for scratch memory or to pack B; [`Error::Variable`] if `QGEMM_VERBOSE` is wrong; if B
/// is not packed, [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong. Nothing was written then.
#[inline(always)]
pub(crate) fn run(
    product: &Product<'_>,
    extent: Extent,
    destination: &mut Destination<'_, '_>,
    threads: Threads<'_>,
) -> Result<(), Error> {
    if extent.rows.is_empty() || extent.columns.is_empty() {
        return Ok(());
    }
    if !trace::is_silent() {
        return run_told(product, extent, destination, threads);
    }
    let share = share(work(product, &extent), threads);
    run_on(product, extent, destination, &share)
}

/// The multiply-adds of a part.
#[inline(always)]
fn work(product: &Product<'_>, Extent { rows, columns }: &Extent) -> usize {
    rows.len().saturating_mul(columns.len()).saturating_mul(product.k)
}

/// [`run`] for an output that is not empty, on threads as `share` says.
#[inline(always)]
fn run_on(
    product: &Product<'_>,
    Extent { rows, columns }: Extent,
    destination: &mut Destination<'_, '_>,
    share: &Share<'_>,
) -> Result<(), Error> {
    match product.b {
        Rhs::Packed(b) => {
            let panels = b.columns.panels_of(columns);
            packed::run(product, &b.columns, (rows, panels), destination, share)
        }
        Rhs::Unpacked(b) => unpacked::run(product, b, Extent { rows, columns }, destination, share),
    }
}

/// [`run`] for an output that is not empty, of which something may be told.
#[cold]
#[inline(never)]
fn run_told(
    product: &Product<'_>,
    extent: Extent,
    destination: &mut Destination<'_, '_>,
    threads: Threads<'_>,
) -> Result<(), Error> {
    let share = share(work(product, &extent), threads);
    if !trace::is_heard()? {
        return run_on(product, extent, destination, &share);
    }
    let sizes = (extent.rows.len(), extent.columns.len());
    let told = told::gemm(product, sizes, destination, share.threads);
    trace::tell(told, || run_on(product, extent, destination, &share))
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
