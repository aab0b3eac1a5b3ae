//! Products with a B that is not packed: it is packed part by part into memory that a thread keeps, and multiplied while
//! it is in cache; or, if A has few rows, not packed at all.

use crate::dispatch::select::Dispatch;
use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::few_rows::Sweep;
use crate::engine::operation::needs_at_most;
use crate::engine::packed;
use crate::engine::plan::columns_at_once;
use crate::engine::scratch::{self, Kept};
use crate::engine::threads::Share;
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::output::destination::{Axis, Destination};
use crate::output::region::Extent;
use crate::product::Product;
use crate::product::accumulator;
use crate::product::zero_point::ZeroPoint;
use crate::weights::pack::{PackSource, StatsNeeded};
use crate::weights::packed_columns::PackedColumns;
use std::cell::Cell;
use std::ops::Range;

thread_local! {
    static PACKED: Cell<Kept<PackedColumns>> = const { Cell::new(Vec::new()) };
}

/// Frees the memory that this thread packs into.
pub(crate) fn release() {
    scratch::release(&PACKED);
}

/// Calls `f` with this thread's packed columns.
///
/// # Errors
/// [`Error::Memory`] if there is not enough for an empty one; `f` is not called then.
fn with_packed<R>(source: &PackSource<'_>, f: impl FnOnce(&mut PackedColumns) -> R) -> Result<R, Error> {
    scratch::borrow(&PACKED, || PackedColumns::empty(source), f)
}

/// The B of a product, to be packed for its A.
fn source<'a>(product: &Product<'a>, b: Operand<'a>) -> Result<PackSource<'a>, Error> {
    let dispatch = match product.dispatch {
        Some(dispatch) => dispatch,
        None => Dispatch::auto()?,
    };
    Ok(PackSource { b, activations: product.a.element_type(), dispatch })
}

/// The kernel of a product that was computed.
pub(crate) fn kernel_name(product: &Product<'_>, b: Operand<'_>) -> &'static str {
    source(product, b).map_or("", |source| source.dispatch.choose(product.k, product.n).name)
}

/// Reserves the memory that this thread needs to compute some rows of a product alone, which are not none.
///
/// # Errors
/// Those of [`run`].
pub(crate) fn reserve(
    product: &Product<'_>,
    b: Operand<'_>,
    rows: Range<usize>,
    destination: &Destination<'_, '_>,
) -> Result<(), Error> {
    let all = UnpackedProduct::new(product, b, rows, destination)?;
    all.reserve(product.n.min(all.step))
}

/// Computes a part of a product, which begins with a panel, on threads as `share` says.
///
/// # Errors
/// [`Error::Memory`] if there is not enough to pack B, [`Error::Kernel`] or [`Error::Variable`] if the environment is
/// wrong. Nothing was written then.
pub(crate) fn run(
    product: &Product<'_>,
    b: Operand<'_>,
    extent: Extent,
    destination: &mut Destination<'_, '_>,
    share: &Share<'_>,
) -> Result<(), Error> {
    let Extent { rows, columns } = extent;
    let all = &UnpackedProduct::new(product, b, rows, destination)?;
    let n = columns.len();
    let panels = n.div_ceil(all.nr);
    let even = |parts: &usize| panels.is_multiple_of(*parts) || panels >= 4 * parts;
    let parts = (share.threads..=share.parts).rev().step_by(share.threads).find(even);
    // If threads would get unequal numbers of panels, all of B is packed here, and they share rows: one fork and join
    // instead of one for each part. Without the memory for all of B they share columns nevertheless.
    if all.sweep.is_none() && parts.is_none() && all.reserve(n).is_ok() {
        return all.run_columns(columns, destination, n, share).map_err(|stopped| stopped.error);
    }
    let parts = parts.unwrap_or(share.parts);
    // Reserved on this thread first: it can then run the parts of a thread that has no memory, and all of its own.
    if n > all.step || parts > 1 {
        all.reserve(n.min(all.step))?;
    }
    let columns = UnpackedColumns { all, columns, destination: destination.reborrow() };
    divide(columns, &Share { parts, ..*share }, |(), ()| ())
}

/// A product whose B is packed by the call, if at all.
struct UnpackedProduct<'a> {
    product: &'a Product<'a>,
    source: PackSource<'a>,
    /// The rows that are computed.
    rows: Range<usize>,
    /// Columns of a panel.
    nr: usize,
    /// Columns that a thread packs at a time.
    step: usize,
    needed: StatsNeeded,
    /// The product without packing, if a kernel computes it so.
    sweep: Option<Sweep<'a>>,
}

/// The end of a computation for want of memory. No column from `at` on was written.
struct Stopped {
    at: usize,
    error: Error,
}

impl<'a> UnpackedProduct<'a> {
    /// # Errors
    /// [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
    fn new(
        product: &'a Product<'a>,
        b: Operand<'a>,
        rows: Range<usize>,
        destination: &Destination<'_, '_>,
    ) -> Result<Self, Error> {
        let source = source(product, b)?;
        let kernel = source.dispatch.choose(product.k, product.n);
        let i32_output = matches!(destination, Destination::I32 { .. });
        let i32_sums = i32_output || accumulator::fits_i32_for_any_b(product, b.element);
        let needed = if i32_sums {
            let a_zero = if let ZeroPoint::PerTensor(zero) = product.a_zero { Some(zero) } else { None };
            StatsNeeded::Sums { a_zero }
        } else {
            StatsNeeded::All
        };
        let sweep =
            if i32_sums && rows.len() == product.m { Sweep::new(product, b, source.dispatch) } else { None };
        let step = columns_at_once(&kernel, source.panel_bytes(), source.dispatch.caches());
        Ok(Self { product, source, rows, nr: kernel.nr, step, needed, sweep })
    }

    /// Reserves the memory that this thread needs to pack and multiply `columns` columns at a time.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    fn reserve(&self, columns: usize) -> Result<(), Error> {
        let Self { product, source, sweep, .. } = self;
        if let Some(sweep) = sweep {
            return buffers::reserve(&sweep.needs(product.n));
        }
        let kernel = source.dispatch.choose(product.k, product.n);
        buffers::reserve(&needs_at_most(product, &kernel, source.dispatch.caches()))?;
        with_packed(source, |packed| packed.reserve(source, columns))?
    }

    /// Computes some columns, to a destination that holds these only. This thread packs `step` of them at a time; `share`
    /// says who multiplies them.
    fn run_columns(
        &self,
        columns: Range<usize>,
        destination: &mut Destination<'_, '_>,
        step: usize,
        share: &Share<'_>,
    ) -> Result<(), Stopped> {
        let stopped = |at: usize| move |error: Error| Stopped { at, error };
        if let Some(sweep) = self.sweep {
            return sweep.run(columns.clone(), destination).map_err(stopped(columns.start));
        }
        let run = |packed: &mut PackedColumns| {
            if columns.len() <= step {
                return self
                    .run_some(columns.clone(), packed, destination, share)
                    .map_err(stopped(columns.start));
            }
            for start in columns.clone().step_by(step) {
                let some = start..columns.end.min(start + step);
                let destination = &mut destination.columns(start - columns.start..some.end - columns.start);
                self.run_some(some, packed, destination, share).map_err(stopped(start))?;
            }
            Ok(())
        };
        with_packed(&self.source, run).unwrap_or_else(|error| Err(Stopped { at: columns.start, error }))
    }

    /// Packs some columns, and multiplies them as `share` says.
    fn run_some(
        &self,
        columns: Range<usize>,
        packed: &mut PackedColumns,
        destination: &mut Destination<'_, '_>,
        share: &Share<'_>,
    ) -> Result<(), Error> {
        packed.pack(&self.source, columns, self.needed)?;
        let panels = 0..packed.panels().len();
        packed::run(self.product, packed, (self.rows.clone(), panels), destination, share)
    }
}

/// Some columns of an unpacked B, with their part of the output.
struct UnpackedColumns<'a, 'c, 'o> {
    all: &'a UnpackedProduct<'a>,
    columns: Range<usize>,
    destination: Destination<'c, 'o>,
}

impl Work for UnpackedColumns<'_, '_, '_> {
    type Output = ();

    /// Cuts between panels.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let panels = self.columns.len().div_ceil(self.all.nr);
        if panels <= 1 {
            return Err(self);
        }
        let Self { all, columns, destination } = self;
        let here = parts / 2;
        let at = (panels * here / parts).max(1) * all.nr;
        let middle = columns.start + at;
        let (left, right) = destination.split(Axis::Columns, at);
        let first = Self { all, columns: columns.start..middle, destination: left };
        let second = Self { all, columns: middle..columns.end, destination: right };
        Ok(Halves { first: (first, here), second: (second, parts - here) })
    }

    fn run(mut self, _: usize) -> Result<(), Undone<Self>> {
        let (all, columns) = (self.all, self.columns.clone());
        let run = all.run_columns(columns, &mut self.destination, all.step, &Share::ALONE);
        run.map_err(|Stopped { at, error }| {
            (_, self.destination) = self.destination.split(Axis::Columns, at - self.columns.start);
            self.columns.start = at;
            Undone { rest: self, error }
        })
    }
}
