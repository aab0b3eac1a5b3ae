//! Products with a B that is not packed: it is packed part by part into memory that a thread keeps, and multiplied while
//! it is in cache; or, if A has few rows, not packed at all.

use crate::dispatch::select::Dispatch;
use crate::engine::few_rows::Sweep;
use crate::engine::packed;
use crate::engine::plan::columns_at_once;
use crate::engine::scratch;
use crate::engine::threads::{Divide, Halves, divide, threads_for};
use crate::error::Error;
use crate::matrix::operand::Operand;
use crate::output::destination::{Axis, Destination};
use crate::product::accumulator;
use crate::product::{Product, ZeroPoint};
use crate::weights::pack::{PackSource, StatsNeeded};
use crate::weights::packed_columns::PackedColumns;
use std::cell::Cell;
use std::ops::Range;

thread_local! {
    static PACKED: Cell<Option<Box<PackedColumns>>> = const { Cell::new(None) };
}

/// Frees the memory that this thread packs into.
pub(crate) fn release() {
    scratch::release(&PACKED);
}

/// Calls `f` with this thread's packed columns.
fn with_packed<R>(source: &PackSource<'_>, f: impl FnOnce(&mut PackedColumns) -> R) -> R {
    scratch::borrow(&PACKED, |slot| f(slot.get_or_insert_with(|| Box::new(PackedColumns::empty(source)))))
}

/// The B of a product, to be packed for its A.
fn source<'a>(product: &Product<'a>, b: Operand<'a>) -> Result<PackSource<'a>, Error> {
    let dispatch = match product.dispatch {
        Some(dispatch) => dispatch,
        None => Dispatch::auto()?,
    };
    Ok(PackSource { b, activations: product.a.element_type(), dispatch })
}

/// Reserves the memory that this thread needs to compute a product alone. The product is not empty.
///
/// # Errors
/// [`Error::Memory`] if there is not enough, [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
pub(crate) fn reserve(
    product: &Product<'_>,
    b: Operand<'_>,
    destination: &Destination<'_, '_>,
) -> Result<(), Error> {
    let all = UnpackedProduct::new(product, b, destination)?;
    if all.sweep.is_some() { Ok(()) } else { all.reserve(all.columns_at_once()) }
}

/// Computes a product on at most `max_threads` threads. The product is not empty.
///
/// # Errors
/// [`Error::Memory`] if there is not enough to pack B, [`Error::Kernel`] or [`Error::Variable`] if the environment is
/// wrong.
pub(crate) fn run(
    product: &Product<'_>,
    b: Operand<'_>,
    destination: &mut Destination<'_, '_>,
    max_threads: usize,
) -> Result<(), Error> {
    let all = UnpackedProduct::new(product, b, destination)?;
    let Product { m, n, k, .. } = *product;
    let threads = threads_for(m.saturating_mul(n).saturating_mul(k), max_threads);
    if all.sweep.is_some() {
        return all.run(threads, destination);
    }
    let panels = n.div_ceil(all.nr);
    let even = panels.is_multiple_of(threads) || panels >= 4 * threads;
    // If threads would get unequal numbers of panels, all of B is packed here, and they share rows: one fork and join
    // instead of one for each part. Without the memory for all of B they share columns nevertheless.
    if threads > 1 && !even && all.reserve(n).is_ok() {
        return all.run_columns(0..n, destination, n, threads).map_err(|stopped| stopped.error);
    }
    // Reserved on this thread first: it can then compute the part of another thread that has no memory.
    if n > all.step || threads > 1 {
        all.reserve(all.columns_at_once())?;
    }
    all.run(threads, destination)
}

/// A product whose B is packed by the call, if at all.
struct UnpackedProduct<'a> {
    product: &'a Product<'a>,
    source: PackSource<'a>,
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
        destination: &Destination<'_, '_>,
    ) -> Result<Self, Error> {
        let source = source(product, b)?;
        let kernel = source.dispatch.choose(product.n);
        let i32_output = matches!(destination, Destination::I32 { .. });
        let i32_sums = i32_output || accumulator::fits_i32_for_any_b(product, b.element);
        let needed = if i32_sums {
            let a_zero = if let ZeroPoint::PerTensor(zero) = product.a_zero { Some(zero) } else { None };
            StatsNeeded::Sums { a_zero }
        } else {
            StatsNeeded::All
        };
        let sweep = if i32_sums { Sweep::new(product, b, source.dispatch) } else { None };
        let step = columns_at_once(&kernel, source.panel_bytes(), source.dispatch.caches());
        Ok(Self { product, source, nr: kernel.nr, step, needed, sweep })
    }

    /// The columns that a thread packs at a time if it computes the product alone, and not as a sweep.
    fn columns_at_once(&self) -> usize {
        self.product.n.min(self.step)
    }

    /// Reserves the memory that this thread needs to pack so many columns.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    fn reserve(&self, columns: usize) -> Result<(), Error> {
        with_packed(&self.source, |packed| packed.reserve(&self.source, columns))
    }

    /// Computes the product on so many threads, each of which packs its own columns.
    fn run(&self, threads: usize, destination: &mut Destination<'_, '_>) -> Result<(), Error> {
        let columns = 0..self.product.n;
        if threads == 1 {
            return self.run_columns(columns, destination, self.step, 1).map_err(|stopped| stopped.error);
        }
        let destination = destination.reborrow();
        let columns = UnpackedColumns { all: self, columns, destination, reserve_first: false };
        let unfinished = divide(columns, threads, &UnpackedColumns::run_part, &|one, other| {
            // Columns that another thread had no memory for are computed on this one.
            let one = one.and_then(Unfinished::run_again);
            if one.is_some() { one } else { other.and_then(Unfinished::run_again) }
        });
        unfinished.map_or(Ok(()), |unfinished| Err(unfinished.error))
    }

    /// Computes some columns, to a destination that holds these only. This thread packs `step` of them at a time, and
    /// `threads` multiply them.
    fn run_columns(
        &self,
        columns: Range<usize>,
        destination: &mut Destination<'_, '_>,
        step: usize,
        threads: usize,
    ) -> Result<(), Stopped> {
        if let Some(sweep) = self.sweep {
            sweep.run(columns, destination);
            return Ok(());
        }
        let stopped = |at: usize| move |error: Error| Stopped { at, error };
        with_packed(&self.source, |packed| {
            if columns.len() <= step {
                packed.pack(&self.source, columns.clone(), self.needed).map_err(stopped(columns.start))?;
                packed::run(self.product, packed, destination, threads);
                return Ok(());
            }
            for start in columns.clone().step_by(step) {
                let some = start..columns.end.min(start + step);
                let place = start - columns.start..some.end - columns.start;
                packed.pack(&self.source, some, self.needed).map_err(stopped(start))?;
                packed::run(self.product, packed, &mut destination.columns(place), threads);
            }
            Ok(())
        })
    }
}

/// Some columns of an unpacked B, with their part of the output.
struct UnpackedColumns<'a, 'c, 'o> {
    all: &'a UnpackedProduct<'a>,
    columns: Range<usize>,
    destination: Destination<'c, 'o>,
    /// Whether another thread may run this, which has to reserve memory before it writes anything.
    reserve_first: bool,
}

/// Columns that were not computed for want of memory. Nothing of them was written.
struct Unfinished<'a, 'c, 'o> {
    columns: UnpackedColumns<'a, 'c, 'o>,
    error: Error,
}

impl Unfinished<'_, '_, '_> {
    fn run_again(self) -> Option<Self> {
        self.columns.run()
    }
}

impl<'a, 'c, 'o> UnpackedColumns<'a, 'c, 'o> {
    /// Computes the columns on this thread. Returns those that there was no memory for.
    fn run(mut self) -> Option<Unfinished<'a, 'c, 'o>> {
        let all = self.all;
        if self.reserve_first && all.sweep.is_none() {
            let columns = all.step.min(self.columns.len());
            if let Err(error) = with_packed(&all.source, |packed| packed.reserve(&all.source, columns)) {
                return Some(Unfinished { columns: self, error });
            }
        }
        let Stopped { at, error } =
            all.run_columns(self.columns.clone(), &mut self.destination, all.step, 1).err()?;
        (_, self.destination) = self.destination.split(Axis::Columns, at - self.columns.start);
        self.columns.start = at;
        Some(Unfinished { columns: self, error })
    }

    /// [`run`](Self::run), as a part of divided work.
    fn run_part(self, _: usize) -> Option<Unfinished<'a, 'c, 'o>> {
        self.run()
    }
}

impl Divide for UnpackedColumns<'_, '_, '_> {
    /// Cuts between panels.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let panels = self.columns.len().div_ceil(self.all.nr);
        if panels <= 1 {
            return Err(self);
        }
        let Self { all, columns, destination, reserve_first } = self;
        let here = parts / 2;
        let at = (panels * here / parts).max(1) * all.nr;
        let middle = columns.start + at;
        let (left, right) = destination.split(Axis::Columns, at);
        let first = Self { all, columns: columns.start..middle, destination: left, reserve_first };
        let second = Self { all, columns: middle..columns.end, destination: right, reserve_first: true };
        Ok(Halves { first: (first, here), second: (second, parts - here) })
    }
}
