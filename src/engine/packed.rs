//! Products with packed columns of B: chooses between one kernel call and the loop nest, and shares the loop nest's work
//! among threads.

use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::loops;
use crate::engine::operation::{Operation, StoredPair};
use crate::engine::plan::Needs;
use crate::engine::small::Small;
use crate::engine::threads::{GRAIN, Share};
use crate::error::Error;
use crate::output::destination::{Axis, Destination};
use crate::product::Product;
use crate::weights::packed_columns::PackedColumns;
use std::ops::Range;

/// Computes some rows and panels of the columns of a product that `b` holds, on threads as `share` says. Neither are
/// none.
///
/// # Errors
/// [`Error::Memory`] if there is not enough scratch memory. Nothing was written then.
pub(crate) fn run(
    product: &Product<'_>,
    b: &PackedColumns,
    (rows, panels): (Range<usize>, Range<usize>),
    destination: &mut Destination<'_, '_>,
    share: &Share<'_>,
) -> Result<(), Error> {
    let all = rows.len() == product.m && panels.len() == b.panels().len();
    let first = StoredPair::new(product, b, b.panels()[0].variant);
    let Some(other) = b.panels().iter().find(|panel| !first.serves(panel)) else {
        let small = if all { Small::new(product, b, &first, destination) } else { None };
        return match small {
            Some(small) => small.run(destination),
            None => run_blocked(product, b, &[first], (rows, panels), destination, share),
        };
    };
    let other = StoredPair::new(product, b, other.variant);
    run_blocked(product, b, &[first, other], (rows, panels), destination, share)
}

/// Computes the columns by the loop nest. Not inlined: its stack frame would slow small products.
#[inline(never)]
fn run_blocked(
    product: &Product<'_>,
    b: &PackedColumns,
    pairs: &[StoredPair],
    (rows, panels): (Range<usize>, Range<usize>),
    destination: &mut Destination<'_, '_>,
    share: &Share<'_>,
) -> Result<(), Error> {
    let i32_output = matches!(destination, Destination::I32 { .. });
    let operation = &Operation::new(product, b, pairs, i32_output);
    let needs = &operation.needs();
    if share.parts == 1 {
        return buffers::with(needs, |scratch| loops::run(operation, rows, panels, destination, scratch));
    }
    // Reserved on this thread first: it can then run the parts of a thread that has no memory.
    buffers::reserve(needs)?;
    let destination = destination.reborrow();
    divide(Block { operation, needs, rows, panels, destination }, share, |(), ()| ())
}

/// Rows and panels that are to be cut.
pub(crate) struct BlocksToCut {
    pub(crate) rows: usize,
    pub(crate) panels: usize,
    /// The multiply-adds of a row.
    pub(crate) row_work: usize,
}

impl BlocksToCut {
    /// The cut of a block that is to become `parts` parts, at least two: the axis, and the rows or panels before it;
    /// `None` if it cannot be cut. It lies between rows while there are several tiles of them, so that each thread widens
    /// and sums its own rows only; else between panels.
    pub(crate) fn cut(&self, mr: usize, parts: usize) -> Option<(Axis, usize)> {
        let Self { rows, panels, row_work } = *self;
        let (tiles, here) = (rows.div_ceil(mr), parts / 2);
        if tiles <= 1 && panels <= 1 {
            return None;
        }
        // Rows of nothing may be as many as a usize counts.
        let share = |count: usize| (count as u128 * here as u128 / parts as u128) as usize;
        if tiles >= parts.saturating_mul(4) || tiles > panels {
            // The same number of rows for each thread: 64 rows are tiles of 6 and 5, which takes less time than to wait
            // for 66 (2 % of 128x768x768). In a small product this thread has a head start, and whole tiles are better.
            let small = rows.saturating_mul(row_work) / parts < 8 * GRAIN;
            let at = if small { share(tiles) * mr } else { share(rows) };
            Some((Axis::Rows, at.max(1)))
        } else {
            Some((Axis::Columns, share(panels).max(1)))
        }
    }
}

/// Some rows and panels of an operation, with their part of the output.
struct Block<'a, 'c, 'o> {
    operation: &'a Operation<'a>,
    needs: &'a Needs,
    rows: Range<usize>,
    panels: Range<usize>,
    destination: Destination<'c, 'o>,
}

impl Work for Block<'_, '_, '_> {
    type Output = ();

    fn run(mut self, _: usize) -> Result<(), Undone<Self>> {
        let (rows, panels) = (self.rows.clone(), self.panels.clone());
        let destination = &mut self.destination;
        buffers::with(self.needs, |scratch| loops::run(self.operation, rows, panels, destination, scratch))
            .map_err(|error| Undone { rest: self, error })
    }

    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let Self { operation, needs, rows, panels, destination } = self;
        let (here, nr) = (parts / 2, operation.nr);
        let blocks = BlocksToCut { rows: rows.len(), panels: panels.len(), row_work: operation.row_work() };
        let (first, second) = match blocks.cut(operation.mr, parts) {
            None => return Err(Self { operation, needs, rows, panels, destination }),
            Some((Axis::Rows, at)) => {
                let middle = rows.start + at;
                let (top, bottom) = destination.split(Axis::Rows, at);
                let first = Self {
                    rows: rows.start..middle,
                    panels: panels.clone(),
                    destination: top,
                    operation,
                    needs,
                };
                (first, Self { rows: middle..rows.end, panels, destination: bottom, operation, needs })
            }
            Some((Axis::Columns, at)) => {
                let middle = panels.start + at;
                let (left, right) = destination.split(Axis::Columns, at * nr);
                let first = Self {
                    rows: rows.clone(),
                    panels: panels.start..middle,
                    destination: left,
                    operation,
                    needs,
                };
                (first, Self { rows, panels: middle..panels.end, destination: right, operation, needs })
            }
        };
        Ok(Halves { first: (first, here), second: (second, parts - here) })
    }
}
