//! The entry: prepares rows, then multiplies.

use crate::engine::buffers;
use crate::engine::divide::divide;
use crate::engine::groupwise::multiply::{Block, Operation, needs};
use crate::engine::groupwise::rows;
use crate::engine::threads::{Threads, share};
use crate::engine::told;
use crate::error::Error;
use crate::output::dequantize::Dequantize;
use crate::output::region::Extent;
use crate::product::groupwise::GroupProduct;
use crate::trace;
use qgemm_kernels::{BlockMut, PANEL};

/// Computes a part of a product. `c` holds that part only and begins with a panel; `dequant` is for the whole output.
///
/// # Errors
/// [`Error::Memory`] if there is not enough, and those that depend on the values of A. Nothing was written then.
pub(crate) fn run(
    product: &GroupProduct<'_>,
    extent: Extent,
    c: BlockMut<'_, f32>,
    dequant: &Dequantize<'_>,
    threads: Threads<'_>,
) -> Result<(), Error> {
    if extent.rows.is_empty() || extent.columns.is_empty() {
        return Ok(());
    }
    if trace::is_silent() || !trace::is_heard()? {
        return run_shared(product, extent, c, dequant, threads);
    }
    let sizes = (extent.rows.len(), extent.columns.len());
    let told = told::groupwise(product, sizes, dequant, share(work(product, &extent), threads).threads);
    trace::tell(told, || run_shared(product, extent, c, dequant, threads))
}

/// The multiply-adds of a part.
fn work(product: &GroupProduct<'_>, Extent { rows, columns }: &Extent) -> usize {
    rows.len().saturating_mul(columns.len()).saturating_mul(product.b.k())
}

/// [`run`] for an output that is not empty.
fn run_shared(
    product: &GroupProduct<'_>,
    extent: Extent,
    c: BlockMut<'_, f32>,
    dequant: &Dequantize<'_>,
    threads: Threads<'_>,
) -> Result<(), Error> {
    let m = extent.rows.len();
    rows::with(|prepared| {
        prepared.fill(product, extent.rows.clone(), dequant.scale.of_rows(extent.rows.clone()), threads)?;
        let operation =
            &Operation { product, rows: prepared, first_row: extent.rows.start, dequant: *dequant };
        let panels = extent.columns.start / PANEL..extent.columns.end.div_ceil(PANEL);
        let block = Block { operation, rows: 0..m, panels, c };
        // Reserved on this thread first: it can then run the parts of a thread that has no memory.
        buffers::reserve(&needs(product, m))?;
        let share = share(work(product, &extent), threads);
        divide(block, &share, |(), ()| ())
    })?
}

/// Reserves the memory that this thread needs to compute `m` rows of the output alone.
///
/// # Errors
/// [`Error::Memory`] if there is not enough.
pub(crate) fn reserve(product: &GroupProduct<'_>, m: usize) -> Result<(), Error> {
    if m == 0 || product.b.n() == 0 {
        return Ok(());
    }
    rows::with(|prepared| prepared.reserve(product, m))??;
    buffers::reserve(&needs(product, m))
}
